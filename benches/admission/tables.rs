//! Mapping tables of any length, in which the recorded images find their rules among others.

use std::fmt::Write as _;

/// A table of `rules` rules, at least 10, whose mirrors are all in `registry`.
pub(crate) fn text(rules: usize, registry: &str) -> String {
    let mut text = String::from("apiVersion: portolan.dev/v1\nkind: MappingTable\nrules:\n");
    let others = rules - USED.len();
    let mut add = |source: &str, mirror: &str| {
        writeln!(text, "  - source: {source}\n    mirrors: [\"{registry}/{mirror}\"]").unwrap();
    };
    for number in 0..others / 2 {
        other(number, &mut add);
    }
    for (source, mirror) in USED {
        add(source, mirror);
    }
    for number in others / 2..others {
        other(number, &mut add);
    }
    writeln!(text, "registries:\n  - host: {registry}\n    plainHttp: true").unwrap();
    text
}

/// A lock that has `lines` and as many others as there are `rules`.
pub(crate) fn lock(rules: usize, registry: &str, lines: &[(String, String)]) -> String {
    let mut text = String::new();
    for (reference, digest) in lines {
        writeln!(text, "{reference} {digest}").unwrap();
    }
    for number in 0..rules {
        writeln!(text, "{registry}/project-{number}:1 sha256:{number:064x}").unwrap();
    }
    text
}

/// A rule that no recorded image is held by.
fn other(number: usize, add: &mut impl FnMut(&str, &str)) {
    let source = format!("registry-{}.example.com/team-{}/project-{number}", number % 50, number % 1000);
    add(&source, &format!("project-{number}"));
}

/// Rules for the recorded images, and some of the kinds that a lookup goes through after them.
const USED: [(&str, &str); 8] = [
    ("docker.io/library", "library"),
    ("docker.io/bitnami", "bitnami"),
    ("docker.io", "hub"),
    ("quay.io", "quay"),
    ("ghcr.io", "ghcr"),
    ("registry.k8s.io", "k8s"),
    ("\"*.gcr.io\"", "{registry}"),
    ("\"*\"", "others/{registry}"),
];

/// As few as anyone has, as many as most have, and as many as a file holds.
pub(crate) const FEW: usize = 10;
pub(crate) const SOME: usize = 100;
pub(crate) const MANY: usize = 100_000;
