//! What comes of other tools' files, and that a table survives being told to another tool and back.

use std::{collections::BTreeSet, fs, path::Path};

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

use super::super::*;
use crate::{
    image::Reference,
    table::{Lookup, Rule, Table},
};

mod formats;
mod hosts_toml;
mod imageswap;
mod kubespray;
mod mirror_sets;
mod registries_conf;
mod registries_yaml;
mod round_trip;
mod webhooks;

/// A file's table without the line that says where it is from, and the warnings.
fn imported(kind: Kind, name: &str, text: &str) -> (String, Vec<String>) {
    all_imported(Some(kind), &[File { name, text }])
}

fn all_imported(kind: Option<Kind>, files: &[File<'_>]) -> (String, Vec<String>) {
    let imported = import(kind, files, &mut |_, _| None).unwrap_or_else(|error| panic!("{error}"));
    assert!(Table::parse(&imported.text).is_ok(), "{}", imported.text);
    let rules = imported.text.lines().skip(3).collect::<Vec<_>>().join("\n");
    (rules, imported.warnings)
}

/// Why a file is refused.
fn refused(kind: Kind, name: &str, text: &str) -> String {
    let result = import(Some(kind), &[File { name, text }], &mut |_, _| None);
    result.map(|imported| panic!("{}", imported.text)).unwrap_err().to_string()
}

/// A table's rules in short: what the lookup says of an image.
fn placed(text: &str, image: &str) -> Vec<String> {
    let table =
        Table::parse(&format!("apiVersion: portolan.dev/v1\nkind: MappingTable\n{text}\n")).unwrap().table;
    let reference = Reference::parse(image).unwrap();
    match table.lookup(&reference, Some("default")) {
        Lookup::Rule(rule) => (0..rule.mirrors().len())
            .map(|mirror| rule.place(mirror, &reference).unwrap().as_str().to_owned())
            .collect(),
        _ => Vec::new(),
    }
}

fn sample(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/mirrors").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const SAMPLES: [(Kind, &str); 13] = [
    (Kind::HarborContainerWebhook, "harbor-container-webhook/config.yaml"),
    (Kind::HostsToml, "hosts.toml/docs-01/docker.io/hosts.toml"),
    (Kind::HostsToml, "hosts.toml/docs-02/docker.io/hosts.toml"),
    (Kind::Icsp, "icsp/rook-ceph.yaml"),
    (Kind::ImageSwap, "imageswap/docs-01.conf"),
    (Kind::ImageSwap, "imageswap/install-configmap-1.yaml"),
    (Kind::K8sImageSwapper, "k8s-image-swapper/k8s-image-swapper.yml"),
    (Kind::Kubespray, "kubespray/offline-v2.24.0.enabled.yml"),
    (Kind::Kubespray, "kubespray/offline-v2.24.0.yml"),
    (Kind::RegistriesConf, "registries.conf/man-page-example.conf"),
    (Kind::RegistriesYaml, "registries.yaml/01-mirror.yaml"),
    (Kind::RegistriesYaml, "registries.yaml/02-rewrite.yaml"),
    (Kind::Icsp, "icsp/rook-ceph.yaml"),
];

#[test]
fn samples_are_recognised_as_what_they_are() {
    for (kind, path) in SAMPLES {
        let text = sample(path);
        let recognised = recognise(&File { name: path, text: &text });
        if path.ends_with("install-configmap-1.yaml") {
            // It has the environment of imageswap, and no maps.
            assert!(matches!(recognised, Err(ImportError::Unrecognised { .. })), "{recognised:?}");
        } else {
            assert_eq!(recognised, Ok(vec![kind]), "{path}");
        }
    }
}

/// A file of one kind may be read as another by mistake: whatever comes of it, it is no panic, and what is printed is a
/// table. The same of files that were damaged.
#[test]
fn nothing_that_is_read_makes_it_panic_and_what_is_printed_is_a_table() {
    let mut runner = TestRunner::deterministic();
    let damage = proptest::collection::vec(
        (any::<prop::sample::Index>(), 0_usize..12, "[\\PC\n\t &*!|>'\"{}\\[\\]:#=./-]{0,4}"),
        0..5,
    );
    let mut tables = 0;
    for (_, path) in SAMPLES {
        let text: Vec<char> = sample(path).chars().collect();
        // The long ones are long by what says nothing.
        let text: Vec<char> = text.into_iter().take(2500).collect();
        for kind in Kind::ALL.map(Some).into_iter().chain([None]) {
            for _ in 0..12 {
                let mut damaged = text.clone();
                for (at, length, with) in damage.new_tree(&mut runner).unwrap().current() {
                    let start = at.index(damaged.len() + 1);
                    let end = damaged.len().min(start + length);
                    damaged.splice(start..end, with.chars());
                }
                let damaged: String = damaged.into_iter().collect();
                let file = File { name: path, text: &damaged };
                match import(kind, &[file], &mut |_, _| Some(damaged.clone())) {
                    Ok(imported) => {
                        tables += 1;
                        assert!(Table::parse(&imported.text).is_ok(), "{}", imported.text);
                        assert!(imported.warnings.iter().all(|text| !text.contains(char::is_control)));
                    }
                    Err(error) => {
                        assert!(!matches!(error, ImportError::NoTable(_)), "{error}\n{damaged}");
                        assert!(!error.to_string().contains(char::is_control), "{error:?}");
                    }
                }
            }
        }
    }
    assert!(tables > 100, "{tables}");
}
