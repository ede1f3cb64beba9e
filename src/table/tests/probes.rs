//! How often a lookup looks into a map: docs/performance.md counts on it.

use super::*;

#[test]
fn a_lookup_makes_as_many_probes_with_100_000_rules_as_with_10() {
    let many = |count: usize| {
        let mut rules: Vec<String> = (0..count)
            .map(|number| format!("source: docker.io/o-{number}, mirrors: ['r.corp:5000/hub/o-{number}']"))
            .collect();
        for number in 0..count.min(1_000) {
            rules.push(format!("source: ghcr.io, keep: true, namespaces: [t-{number}, 't-{number}-*x']"));
        }
        rules.push("source: '*.gcr.io', mirrors: ['r.corp:5000/{registry}']".into());
        rules.push("source: 'docker.io/o-1/x:1', mirrors: ['r.corp:5000/x:1']".into());
        rules.push("source: '*', mirrors: ['r.corp:5000/{registry}']".into());
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        table(&rules)
    };
    let (few, many) = (many(10), many(100_000));
    for (written, most) in [
        ("docker.io/o-3/x/y:1", 8),
        ("docker.io/o-1/x:1", 8),
        ("docker.io/none/x/y:1", 8),
        ("a.b.gcr.io:5000/x:1", 12),
        ("r.corp:5000/hub/o-3/x", 12),
        ("ghcr.io/a/b", 12),
    ] {
        let reference = reference(written);
        let probes = |table: &Table| table.lookup_counted(&reference, Some("t-5")).1;
        assert_eq!(probes(&few), probes(&many), "{written}");
        assert!(probes(&many) <= most, "{written}: {}", probes(&many));
    }
}

#[test]
fn every_look_into_a_map_is_counted_once() {
    let exact = "source: 'docker.io/library/nginx:1', mirrors: ['r.corp/nginx:1']";
    let path = "source: docker.io/library, mirrors: [r.corp/official], namespaces: [shop, 's*', 'sh*']";
    let wildcard = "source: '*.gcr.io', mirrors: ['r.corp/{registry}']";
    let everything = "source: '*', mirrors: [r.corp/all], namespaces: [shop]";
    for (rules, written, namespace, expected) in [
        // Name and versions; then whether the registry holds a mirror.
        (&[exact, path][..], "nginx:1", None, 2 + 1),
        // Name and versions; `docker.io/library/nginx` and `docker.io/library`, there the name; the registry.
        (&[exact, path], "nginx:2", Some("shop"), 2 + 2 + 1 + 1),
        // Without a namespace nobody is asked; then `docker.io`, and whether wildcards pass by.
        (&[exact, path], "nginx:2", None, 2 + 3 + 1 + 1),
        // The name of nobody, then the texts before a `*`: `sh`.
        (&[path], "nginx:2", Some("shy"), 2 + (1 + 1) + 1),
        // `sh` has none, `s` has one.
        (&[path], "nginx:2", Some("sx"), 2 + (1 + 2) + 1),
        // The name of a repository, and its registry; wildcards; `b.gcr.io:1`, `b.gcr.io`, `gcr.io:1`, `gcr.io`.
        (&[wildcard], "a.b.gcr.io:1/x", None, 2 + 1 + 4 + 1),
        // All names; wildcards; the name of the namespace; the registry.
        (&[everything], "quay.io/x", Some("shop"), 2 + 1 + 1 + 1),
        // The name, three names and wildcards; the registry, and three names: the mirror is there for nobody.
        (&[exact, path], "r.corp/official/x", None, 1 + 3 + 1 + 1 + 3),
        // There the name and the two texts before a `*`.
        (&[path], "r.corp/official/x", Some("shop"), 3 + 1 + 1 + 2 + 3),
    ] {
        let probes = table(rules).lookup_counted(&reference(written), namespace).1;
        assert_eq!(probes, expected, "{written} in {namespace:?}");
    }
}
