//! product.md §1, "Which rule".

use super::*;

#[test]
fn the_most_specific_source_wins() {
    let exact =
        format!("source: 'eu.gcr.io/a/b@{}', mirrors: ['r.corp/digest@{}']", digest('1'), digest('2'));
    let table = table(&[
        "source: '*', mirrors: [r.corp/everything]",
        "source: '*.io', mirrors: [r.corp/wildcard-io]",
        "source: '*.gcr.io', mirrors: [r.corp/wildcard-gcr]",
        "source: eu.gcr.io, mirrors: [r.corp/host]",
        "source: eu.gcr.io/a, mirrors: [r.corp/path]",
        "source: eu.gcr.io/a/b, mirrors: [r.corp/longer]",
        "source: 'eu.gcr.io/a/b:1', mirrors: ['r.corp/exact:one']",
        &exact,
    ]);
    for (written, expected) in [
        ("eu.gcr.io/a/b:1", "r.corp/exact:one".into()),
        (&format!("eu.gcr.io/a/b:1@{}", digest('1')), format!("r.corp/digest@{}", digest('2'))),
        ("eu.gcr.io/a/b:2", "r.corp/longer:2".into()),
        ("eu.gcr.io/a/c:2", "r.corp/path/c:2".into()),
        ("eu.gcr.io/c:2", "r.corp/host/c:2".into()),
        ("us.gcr.io/c:2", "r.corp/wildcard-gcr/c:2".into()),
        ("quay.io/c:2", "r.corp/wildcard-io/c:2".into()),
        ("quay.example.com/c:2", "r.corp/everything/c:2".into()),
    ] {
        assert_eq!(rewritten(&table, written), expected, "written as `{written}`");
    }
}

#[test]
fn the_longest_source_wins_on_a_segment_boundary() {
    let table = table(&[
        "source: docker.io, mirrors: [r.corp/hub]",
        "source: docker.io/library, mirrors: [r.corp/official]",
    ]);
    for (written, expected) in [
        ("nginx", "r.corp/official/nginx:latest"),
        ("bitnami/nginx", "r.corp/hub/bitnami/nginx:latest"),
        ("docker.io/libraryx/a", "r.corp/hub/libraryx/a:latest"), // not inside `library`
        ("docker.io.corp/library/a", "no rule"),
        ("docker.io:443/library/a", "no rule"),
    ] {
        assert_eq!(rewritten(&table, written), expected, "written as `{written}`");
    }
}

#[test]
fn a_wildcard_host_has_at_least_one_label_before_it_at_any_depth() {
    let table = table(&["source: '*.gcr.io', mirrors: [r.corp/gcr]"]);
    for (written, expected) in [
        ("eu.gcr.io/x:1", "r.corp/gcr/x:1"),
        ("a.b.c.gcr.io/x:1", "r.corp/gcr/x:1"),
        ("gcr.io/x:1", "no rule"),
        ("xgcr.io/x:1", "no rule"),
        ("eu.gcr.io.corp/x:1", "no rule"),
        ("eu-gcr.io/x:1", "no rule"),
    ] {
        assert_eq!(rewritten(&table, written), expected, "written as `{written}`");
    }
}

#[test]
fn a_wildcard_host_has_any_port_unless_it_has_one() {
    let table = table(&[
        "source: '*.gcr.io', mirrors: [r.corp/any]",
        "source: '*.gcr.io:5000', mirrors: [r.corp/port]",
        "source: '*.pkg.dev:5000', mirrors: [r.corp/only]",
    ]);
    for (written, expected) in [
        ("eu.gcr.io/x:1", "r.corp/any/x:1"),
        ("eu.gcr.io:443/x:1", "r.corp/any/x:1"),
        ("eu.gcr.io:5000/x:1", "r.corp/port/x:1"),
        ("eu.pkg.dev:5000/x:1", "r.corp/only/x:1"),
        ("eu.pkg.dev:5001/x:1", "no rule"),
        ("eu.pkg.dev/x:1", "no rule"),
    ] {
        assert_eq!(rewritten(&table, written), expected, "written as `{written}`");
    }
}

#[test]
fn the_longest_wildcard_host_wins_whatever_the_ports() {
    let table = table(&[
        "source: '*.gcr.io:5000', mirrors: [r.corp/port]",
        "source: '*.eu.gcr.io', mirrors: [r.corp/longer]",
    ]);
    assert_eq!(rewritten(&table, "a.eu.gcr.io:5000/x:1"), "r.corp/longer/x:1");
    assert_eq!(rewritten(&table, "eu.gcr.io:5000/x:1"), "r.corp/port/x:1");
}

#[test]
fn among_rules_of_equal_source_the_scoped_one_wins_where_it_admits() {
    let table = table(&[
        "source: docker.io, mirrors: [r.corp/all]",
        "source: docker.io, mirrors: [r.corp/team], namespaces: ['team-*', shop]",
    ]);
    for (namespace, expected) in [
        (Some("team-a"), "r.corp/team/a/b:1"),
        (Some("shop"), "r.corp/team/a/b:1"),
        (Some("shop-2"), "r.corp/all/a/b:1"),
        (None, "r.corp/all/a/b:1"),
    ] {
        assert_eq!(found(&table, "a/b:1", namespace), expected, "{namespace:?}");
    }
}

#[test]
fn source_goes_first_and_scope_second() {
    let table = table(&[
        "source: docker.io/a, mirrors: [r.corp/unscoped]",
        "source: docker.io, mirrors: [r.corp/scoped], namespaces: [shop]",
        "source: 'docker.io/a/b:1', mirrors: ['r.corp/exact:1']",
    ]);
    assert_eq!(found(&table, "a/b:1", Some("shop")), "r.corp/exact:1");
    assert_eq!(found(&table, "a/b:2", Some("shop")), "r.corp/unscoped/b:2");
    assert_eq!(found(&table, "c/b:2", Some("shop")), "r.corp/scoped/c/b:2");
}

#[test]
fn a_rule_whose_namespaces_do_not_admit_leaves_the_choice_to_a_shorter_source() {
    let table = table(&[
        "source: '*', mirrors: ['r.corp/all/{registry}']",
        "source: docker.io/a, mirrors: [r.corp/scoped], namespaces: [shop]",
        "source: 'docker.io/a/b:1', mirrors: ['r.corp/exact:1'], namespaces: [shop]",
        "source: '*.io', mirrors: [r.corp/wildcard], namespaces: [shop]",
    ]);
    assert_eq!(found(&table, "a/b:1", Some("other")), "r.corp/all/docker.io/a/b:1");
    assert_eq!(found(&table, "quay.io/b:1", Some("other")), "r.corp/all/quay.io/b:1");
    assert_eq!(found(&table, "quay.io/b:1", Some("shop")), "r.corp/wildcard/b:1");
}

#[test]
fn a_rules_best_matching_pattern_counts_exact_before_glob_then_the_longer_literal_prefix() {
    let table = table(&[
        "source: docker.io, mirrors: [r.corp/any], namespaces: ['*']",
        "source: docker.io, mirrors: [r.corp/team], namespaces: ['team-*']",
        "source: docker.io, mirrors: [r.corp/prod], namespaces: ['*-prod', 'team-shop-*']",
        "source: docker.io, mirrors: [r.corp/exact], namespaces: [team-shop-eu]",
    ]);
    for (namespace, expected) in [
        ("team-shop-eu", "r.corp/exact/a/b:1"),
        ("team-shop-us", "r.corp/prod/a/b:1"),
        ("team-prod", "r.corp/team/a/b:1"), // `team-` is longer than nothing
        ("shop-prod", "r.corp/any/a/b:1"),  // both begin with `*`: the first written
        ("default", "r.corp/any/a/b:1"),
    ] {
        assert_eq!(found(&table, "a/b:1", Some(namespace)), expected, "{namespace}");
    }
}

#[test]
fn of_patterns_that_match_equally_well_the_first_written_wins() {
    for (first, second) in [("'a*'", "'a*b'"), ("'a*b'", "'a*'"), ("'a*c*'", "'a*b'")] {
        let table = table(&[
            &format!("source: docker.io, mirrors: [r.corp/first], namespaces: [{first}]"),
            &format!("source: docker.io, mirrors: [r.corp/second], namespaces: [{second}]"),
        ]);
        assert_eq!(found(&table, "a/b:1", Some("a-c-b")), "r.corp/first/a/b:1", "{first} {second}");
    }
}

#[test]
fn index_docker_io_counts_as_docker_io_in_sources() {
    let table = table(&[
        "source: index.docker.io/acme, mirrors: [r.corp/acme]",
        "source: 'index.docker.io/library/nginx:1', mirrors: ['r.corp/nginx:1']",
    ]);
    assert_eq!(rewritten(&table, "acme/x:1"), "r.corp/acme/x:1");
    assert_eq!(rewritten(&table, "index.docker.io/acme/x:1"), "r.corp/acme/x:1");
    assert_eq!(rewritten(&table, "nginx:1"), "r.corp/nginx:1");
    assert_eq!(table.rules()[0].source(), "index.docker.io/acme", "as written");
}

#[test]
fn a_sources_path_is_taken_as_written() {
    let table = table(&["source: docker.io/nginx, mirrors: [r.corp/organisation]"]);
    assert_eq!(rewritten(&table, "nginx/unit:1"), "r.corp/organisation/unit:1");
    assert_eq!(rewritten(&table, "nginx:1"), "no rule"); // that one is `library/nginx`
}

#[test]
fn a_source_with_a_tag_matches_that_tag_written_without_a_digest() {
    let table = table(&["source: 'docker.io/library/nginx:1.25', mirrors: ['r.corp/nginx:fips']"]);
    for (written, expected) in [
        ("nginx:1.25", "r.corp/nginx:fips"),
        ("nginx:1.26", "no rule"),
        ("nginx", "no rule"),
        ("nginx:1.25/x:1.25", "no rule"),
        (&format!("nginx:1.25@{}", digest('1')), "no rule"),
        (&format!("nginx@{}", digest('1')), "no rule"),
    ] {
        if let Ok(reference) = Reference::parse(written) {
            assert_eq!(rewritten(&table, reference.written()), expected, "written as `{written}`");
        }
    }
}

#[test]
fn a_source_with_a_digest_matches_that_digest_whatever_the_tag() {
    for source in ["quay.io/a/b@", "quay.io/a/b:tag@"] {
        let source = format!("{source}{}", digest('1'));
        let table = table(&[&format!("source: '{source}', mirrors: ['r.corp/b:good']")]);
        for (written, expected) in [
            (format!("quay.io/a/b@{}", digest('1')), "r.corp/b:good"),
            (format!("quay.io/a/b:1@{}", digest('1')), "r.corp/b:good"),
            (format!("quay.io/a/b:1@{}", digest('2')), "no rule"),
            (format!("quay.io/a/c@{}", digest('1')), "no rule"),
            ("quay.io/a/b:tag".into(), "no rule"),
        ] {
            assert_eq!(rewritten(&table, &written), expected, "source `{source}`, written as `{written}`");
        }
    }
}

#[test]
fn a_source_with_the_tag_latest_matches_an_image_without_a_tag() {
    let table = table(&["source: 'docker.io/library/nginx:latest', mirrors: ['r.corp/nginx:stable']"]);
    assert_eq!(rewritten(&table, "nginx"), "r.corp/nginx:stable");
    assert_eq!(rewritten(&table, "nginx:latest"), "r.corp/nginx:stable");
    assert_eq!(rewritten(&table, &format!("nginx@{}", digest('1'))), "no rule");
}

#[test]
fn an_exception_wins_by_the_same_rules_and_leaves_the_image_as_written() {
    let table = table(&[
        "source: ghcr.io/acme, mirrors: [r.corp/acme]",
        "source: ghcr.io/acme/debug, keep: true",
        "source: r.corp/acme/own, keep: true",
        "source: ghcr.io/acme/debug/tool, mirrors: [r.corp/tool]",
    ]);
    assert_eq!(rewritten(&table, "ghcr.io/acme/x:1"), "r.corp/acme/x:1");
    assert_eq!(rewritten(&table, "ghcr.io/acme/debug:1"), "exception of ghcr.io/acme/debug");
    assert_eq!(rewritten(&table, "ghcr.io/acme/debug/tool:1"), "r.corp/tool:1");
    assert_eq!(rewritten(&table, "r.corp/acme/own/x:1"), "exception of r.corp/acme/own"); // also inside a mirror
}

/// Every rule considered: its line, the mirror that holds the image, its fate and why.
fn considered(table: &Table, written: &str, namespace: Option<&str>) -> Vec<String> {
    let rows = table.considered(&reference(written), namespace);
    let row = |row: &Considered<'_>| {
        let mirror = row.mirror.map(|mirror| format!(" by {}", mirror.as_str())).unwrap_or_default();
        let why = row.why.as_deref().unwrap_or("-");
        format!("{}{mirror}: {}: {why}", row.rule.line(), row.fate.word())
    };
    rows.iter().map(row).collect()
}

#[test]
fn what_is_considered_is_listed_best_first_with_its_fate_and_why() {
    let table = table(&[
        "source: '*', mirrors: ['r.corp/{registry}']",
        "source: docker.io, mirrors: [r.corp/hub]",
        "source: docker.io, mirrors: [r.corp/shop], namespaces: [shop]",
        "source: docker.io/a, mirrors: [r.corp/a], namespaces: [team]",
        "source: quay.io, mirrors: [r.corp/quay]",
        "source: 'docker.io/a/b:1', keep: true",
        "source: docker.io, mirrors: [r.corp/s], namespaces: ['sh*', 's*']",
        "source: docker.io, mirrors: [r.corp/p], namespaces: ['s*', x]",
        "source: '*.gcr.io', keep: true",
        "source: '*.eu.gcr.io', keep: true",
        "source: '*.eu.gcr.io:5000', keep: true",
        "source: x.eu.gcr.io, keep: true, namespaces: [shop]",
    ]);
    let rows = |written, namespace| considered(&table, written, namespace);
    assert_eq!(
        rows("a/b", Some("shop")),
        [
            "7: other namespace: it is for `team`, not for `shop`",
            "6: won: -",
            "10: less specific: line 6 has the same source and names the namespace",
            "11: less specific: line 6 has the same source and names the namespace",
            "5: less specific: line 6 has the same source and speaks for this namespace",
            "4: less specific: `docker.io` of line 6 names the registry",
        ]
    );
    assert_eq!(
        rows("a/b", Some("sx"))[1..3],
        [
            "10: won: -",
            "11: less specific: line 10 has the same source, is as specific and was written first"
        ]
    );
    assert_eq!(
        rows("a/b:1", Some("shy")).iter().take(5).collect::<Vec<_>>(),
        [
            "9: won: -",
            "7: other namespace: it is for `team`, not for `shy`",
            "10: less specific: line 9 names exactly this reference",
            "11: less specific: line 9 names exactly this reference",
            "5: less specific: line 9 names exactly this reference",
        ]
    );
    assert_eq!(
        rows("x.eu.gcr.io:5000/y", None),
        [
            "14: won: -",
            "13: less specific: `*.eu.gcr.io:5000` of line 14 names the port, too",
            "12: less specific: `*.eu.gcr.io:5000` of line 14 is a longer host",
            "4: less specific: `*.eu.gcr.io:5000` of line 14 names a part of the host",
        ]
    );
    assert_eq!(
        rows("x.eu.gcr.io/y", None)[0],
        "15: for some namespaces only: it is for `shop`, and no namespace was given"
    );
    assert_eq!(
        rows("r.corp/x", None),
        [
            "4 by r.corp/{registry}: won: the image is inside this mirror: it is not moved, only pinned as this rule \
             says",
            "4: wildcards pass by this registry: `r.corp` holds a mirror of line 4",
        ]
    );
    assert_eq!(
        rows("localhost:5000/x", None),
        [
            "4: wildcards pass by this registry: `localhost:5000` is a registry of the cluster or the machine itself"
        ]
    );
    assert_eq!(rows("ghcr.io/x", None), ["4: won: -"]);
}

#[test]
fn of_an_image_inside_a_mirror_the_rules_of_mirrors_are_considered_first() {
    let table = table(&[
        "source: docker.io, mirrors: [r.corp/hub]",
        "source: docker.io/library, mirrors: [s.corp/x, r.corp/hub/library]",
        "source: quay.io, mirrors: [r.corp/hub]",
        "source: ghcr.io, mirrors: [r.corp/hub/library], namespaces: [team]",
        "source: r.corp/hub/library/kept, keep: true",
        "source: r.corp, mirrors: [t.corp/r]",
    ]);
    let rows = |written, namespace| considered(&table, written, namespace);
    let inside = "the image is inside this mirror: it is not moved, only pinned as this rule says";
    assert_eq!(
        rows("r.corp/hub/library/nginx", Some("shop")),
        [
            &format!("5 by r.corp/hub/library: won: {inside}"),
            "7 by r.corp/hub/library: other namespace: it is for `team`, not for `shop`",
            "4 by r.corp/hub: less specific: the mirror `r.corp/hub/library` of line 5 is longer",
            "6 by r.corp/hub: less specific: the mirror `r.corp/hub/library` of line 5 is longer",
            "9: inside a mirror already: the image is inside the mirror `r.corp/hub/library` of line 5",
        ]
    );
    assert_eq!(
        rows("r.corp/hub/x", Some("shop"))[1],
        "6 by r.corp/hub: less specific: line 4 has the same mirror and was written first"
    );
    assert_eq!(
        rows("r.corp/hub/library/kept", None),
        [
            "8: won: -",
            "9: less specific: `r.corp/hub/library/kept` of line 8 is longer",
            "5 by r.corp/hub/library: an exception goes first: line 8 leaves the image as written",
            "7 by r.corp/hub/library: an exception goes first: line 8 leaves the image as written",
            "4 by r.corp/hub: an exception goes first: line 8 leaves the image as written",
            "6 by r.corp/hub: an exception goes first: line 8 leaves the image as written",
        ]
    );
}
