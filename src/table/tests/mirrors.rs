//! product.md §1: what a mirror makes of a reference, and "Inside a mirror".

use super::*;

#[test]
fn what_remains_after_the_source_is_appended_with_one_slash() {
    let table = table(&[
        "source: quay.io, mirrors: [r.corp]",
        "source: docker.io, mirrors: ['s.corp:5000/hub']",
        "source: ghcr.io/acme, mirrors: [s.corp/acme-mirror]",
    ]);
    for (written, expected) in [
        ("quay.io/a/b:1", "r.corp/a/b:1"),
        ("nginx", "s.corp:5000/hub/library/nginx:latest"),
        ("ghcr.io/acme/tool/cli:1", "s.corp/acme-mirror/tool/cli:1"),
    ] {
        assert_eq!(rewritten(&table, written), expected, "written as `{written}`");
    }
}

#[test]
fn a_source_that_is_the_whole_repository_appends_nothing() {
    let table = table(&["source: docker.io/library/nginx, mirrors: [r.corp/hardened/web]"]);
    assert_eq!(rewritten(&table, "nginx:1"), "r.corp/hardened/web:1");
    assert_eq!(rewritten(&table, "docker.io/library/nginx/x:1"), "r.corp/hardened/web/x:1");
}

#[test]
fn everything_and_wildcards_stand_for_the_whole_registry() {
    let table = table(&[
        "source: '*', mirrors: ['r.example.com:32000/{registry}']",
        "source: '*.gcr.io', mirrors: [r.example.com/gcr]",
    ]);
    assert_eq!(rewritten(&table, "nginx"), "r.example.com:32000/docker.io/library/nginx:latest");
    assert_eq!(rewritten(&table, "eu.gcr.io/a/b:1"), "r.example.com/gcr/a/b:1");
}

#[test]
fn the_placeholder_is_the_references_registry_with_its_port_behind_an_underscore() {
    let table = table(&["source: '*', mirrors: ['r.corp/by/{registry}/host']"]);
    assert_eq!(rewritten(&table, "quay.io:8443/a:1"), "r.corp/by/quay.io_8443/host/a:1");
    assert_eq!(rewritten(&table, "quay.io/a:1"), "r.corp/by/quay.io/host/a:1");
}

#[test]
fn tag_and_digest_are_carried_over_in_normalised_form() {
    let table = table(&["source: docker.io, mirrors: [r.corp]"]);
    let digest = digest('1');
    for (written, expected) in [
        ("nginx".into(), "r.corp/library/nginx:latest".into()),
        (format!("nginx:1@{digest}"), format!("r.corp/library/nginx:1@{digest}")),
        (format!("nginx@{digest}"), format!("r.corp/library/nginx@{digest}")), // a digest alone gets no tag
    ] {
        assert_eq!(rewritten(&table, &written), expected, "written as `{written}`");
    }
}

#[test]
fn of_an_exact_source_nothing_is_carried_over() {
    let (one, two) = (digest('1'), digest('2'));
    let table = table(&[
        "source: 'quay.io/a:1', mirrors: ['r.corp/a:fips']",
        &format!("source: 'quay.io/b@{one}', mirrors: ['r.corp/b:fixed@{two}']"),
        "source: 'quay.io/c:1', mirrors: ['r.corp/{registry}/c:fips']",
        "source: 'quay.io/d:1', mirrors: ['r.corp/by/{registry}:fips']",
    ]);
    for (written, expected) in [
        ("quay.io/a:1".into(), "r.corp/a:fips".into()),
        (format!("quay.io/b:1@{one}"), format!("r.corp/b:fixed@{two}")),
        ("quay.io/c:1".into(), "r.corp/quay.io/c:fips".into()),
        ("quay.io/d:1".into(), "r.corp/by/quay.io:fips".into()),
    ] {
        assert_eq!(rewritten(&table, &written), expected, "written as `{written}`");
    }
}

#[test]
fn what_is_no_valid_reference_then_is_not_representable() {
    let table = table(&[
        "source: '*', mirrors: ['r.corp/{registry}']",
        "source: docker.io/library/bare, mirrors: [r.corp]",
    ]);
    let hub = super::table(&["source: quay.io, mirrors: [docker.io]"]);
    let long = |length: usize| format!("x.corp/{}:1", "a".repeat(length - "r.corp/x.corp/".len()));
    assert_eq!(rewritten(&table, &long(255)).len(), 255 + ":1".len());
    for written in [
        long(256).as_str(),
        "UPPER/x:1",              // an upper-case host as a path
        "[2001:db8::1]:5000/x:1", // a bracketed one
        "bare:1",                 // a registry and no path
    ] {
        assert_eq!(rewritten(&table, written), "unrepresentable", "written as `{written}`");
    }
    // That would be read as `docker.io/library/x`.
    assert_eq!(rewritten(&hub, "quay.io/x:1"), "unrepresentable");
    assert_eq!(rewritten(&hub, "quay.io/x/y:1"), "docker.io/x/y:1");
}

#[test]
fn each_mirror_of_a_rule_has_its_own_place() {
    let table = table(&["source: docker.io, mirrors: [r.corp/a, 's.corp/{registry}']"]);
    let reference = reference("x/y:1");
    let Lookup::Rule(rule) = table.lookup(&reference, None) else { panic!("no rule") };
    let place = |mirror| rule.place(mirror, &reference).map(|place| place.to_string());
    assert_eq!(place(0).as_deref(), Some("r.corp/a/x/y:1"));
    assert_eq!(place(1).as_deref(), Some("s.corp/docker.io/x/y:1"));
    assert_eq!(place(2), None);
    assert_eq!(rule.place(0, &super::reference("quay.io/x")), None, "the source does not hold it");
    assert_eq!(rule.mirrors()[1].registry(), "s.corp");
}

#[test]
fn an_image_inside_a_mirror_stays_where_it_is() {
    let table = table(&[
        "source: docker.io, mirrors: ['r.corp:5000/hub']",
        "source: '*', mirrors: ['s.corp/by/{registry}', t.corp]",
        "source: 'quay.io/a:1', mirrors: ['u.corp/deep/a:1']",
    ]);
    for (written, expected) in [
        ("r.corp:5000/hub/library/nginx:1", "inside r.corp:5000/hub"),
        ("r.corp:5000/hub:1", "inside r.corp:5000/hub"), // the prefix itself
        ("r.corp:5000/hubble/x:1", "no rule"),           // not on a boundary; its registry is passed by
        ("s.corp/by/anything/at/all:1", "inside s.corp/by/{registry}"),
        ("s.corp/bye:1", "no rule"),
        ("t.corp/x:1", "inside t.corp"),
        ("u.corp/deep/a:2", "inside u.corp/deep/a:1"), // a tag stands for its repository
        ("u.corp/deep/a/b:2", "inside u.corp/deep/a:1"),
        ("u.corp/deep:2", "no rule"),
    ] {
        assert_eq!(rewritten(&table, written), expected, "written as `{written}`");
    }
}

#[test]
fn the_longest_mirror_that_holds_the_image_gives_the_rule_then_the_first_written() {
    let table = table(&[
        "source: quay.io, mirrors: [r.corp]",
        "source: docker.io, mirrors: [r.corp/hub]",
        "source: ghcr.io, mirrors: ['r.corp/{registry}']",
    ]);
    let inside = |written: &str| match table.lookup(&reference(written), None) {
        Lookup::Inside { rule, mirror } => (rule.id(), mirror),
        other => panic!("{other:?}"),
    };
    assert_eq!(inside("r.corp/hub/x"), (1, 0));
    assert_eq!(inside("r.corp/other/x"), (0, 0));
}

#[test]
fn only_rules_whose_namespaces_admit_the_request_speak_for_an_image_inside_a_mirror() {
    let table = table(&[
        "source: quay.io, mirrors: [r.corp], namespaces: [team]",
        "source: docker.io, mirrors: [r.corp/hub], namespaces: ['shop-*']",
        "source: ghcr.io, mirrors: [r.corp/hub], namespaces: [shop-eu, team]",
    ]);
    let inside = |namespace| match table.lookup(&reference("r.corp/hub/x"), namespace) {
        Lookup::Inside { rule, .. } => Some(rule.id()),
        Lookup::InsideNoRule => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(inside(Some("shop-eu")), Some(1), "the first written, not the one that names the namespace");
    assert_eq!(inside(Some("team")), Some(2), "the longest");
    assert_eq!(inside(Some("other")), None);
    assert_eq!(inside(None), None);
    assert_eq!(found(&table, "r.corp/x", Some("team")), "inside r.corp");
    assert_eq!(found(&table, "r.corp/x", Some("shop-eu")), "inside, no rule");
}

#[test]
fn wildcards_never_match_a_registry_that_holds_a_mirror_of_any_rule() {
    let table = table(&[
        "source: '*', mirrors: ['r.corp:5000/{registry}']",
        "source: '*.corp', mirrors: [s.corp/hub]",
        "source: docker.io, mirrors: [t.corp/hub], namespaces: [elsewhere]",
    ]);
    for (written, expected) in [
        ("s.corp/own/app:1", "no rule"),
        ("t.corp/own/app:1", "no rule"),
        ("r.corp:5000/x/y:1", "inside r.corp:5000/{registry}"),
        ("r.corp/x:1", "s.corp/hub/x:1"), // another port is another registry
        ("u.corp/x:1", "s.corp/hub/x:1"),
    ] {
        assert_eq!(rewritten(&table, written), expected, "written as `{written}`");
    }
}

#[test]
fn wildcards_never_match_what_is_local_unless_a_rule_names_it() {
    let wild = table(&["source: '*', mirrors: ['r.corp/{registry}']", "source: '*.svc', keep: true"]);
    let named = table(&[
        "source: '*', mirrors: ['r.corp/{registry}']",
        "source: 'localhost:32000', mirrors: [r.corp/local]",
        "source: registry.tools.svc/base, mirrors: [r.corp/base]",
        "source: 127.0.0.1/x, keep: true",
    ]);
    for written in [
        "localhost/x:1",
        "localhost:32000/x:1",
        "127.0.0.1/x:1",
        "127.0.0.1:5000/x:1",
        "127.255.3.4:5000/x:1",
        "[::1]/x:1",
        "[::1]:5000/x:1",
        "[0:0:0:0:0:0:0:1]:5000/x:1",
        "registry.tools.svc/x:1",
        "registry.tools.svc:5000/x:1",
        "registry.tools.svc.cluster.local/x:1",
        "registry.tools.svc.cluster.local:5000/x:1",
    ] {
        assert_eq!(rewritten(&wild, written), "no rule", "written as `{written}`");
    }
    for (written, expected) in [
        ("128.0.0.1/x:1", "r.corp/128.0.0.1/x:1"),
        ("localhost.corp/x:1", "r.corp/localhost.corp/x:1"),
        ("registry.svc.corp/x:1", "r.corp/registry.svc.corp/x:1"),
        ("svc.cluster.local/x:1", "r.corp/svc.cluster.local/x:1"), // nothing before it
        ("notsvc.corp/x:1", "r.corp/notsvc.corp/x:1"),
        ("registry.notsvc/x:1", "r.corp/registry.notsvc/x:1"),
    ] {
        assert_eq!(rewritten(&wild, written), expected, "written as `{written}`");
    }
    assert_eq!(rewritten(&named, "localhost:32000/x:1"), "r.corp/local/x:1");
    assert_eq!(rewritten(&named, "localhost:32001/x:1"), "no rule");
    assert_eq!(rewritten(&named, "registry.tools.svc/base/x:1"), "r.corp/base/x:1");
    assert_eq!(rewritten(&named, "registry.tools.svc/other/x:1"), "no rule");
    assert_eq!(rewritten(&named, "127.0.0.1/x:1"), "exception of 127.0.0.1/x");
}

#[test]
fn a_source_above_its_own_mirror_moves_an_image_once() {
    let table = table(&["source: r.corp, mirrors: [r.corp/proxy]"]);
    assert_eq!(rewritten(&table, "r.corp/x:1"), "r.corp/proxy/x:1");
    assert_eq!(rewritten(&table, "r.corp/proxy/x:1"), "inside r.corp/proxy");
}
