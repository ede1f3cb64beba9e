//! product.md §1, "Warned".

use super::*;

#[test]
fn a_sound_table_has_no_warnings() {
    let sound = [
        "source: docker.io, mirrors: [r.corp/all]",
        "source: docker.io, mirrors: [r.corp/team], namespaces: ['team-*', shop]",
        "source: docker.io, mirrors: [r.corp/eu], namespaces: ['*-eu']",
        "source: docker.io, mirrors: [r.corp/us], namespaces: ['*-us']",
        "source: docker.io, mirrors: [r.corp/a], namespaces: [team-a, 'team-a-*', 'a*']",
        "source: quay.io, mirrors: [r.corp/quay], namespaces: ['team-*']",
        "source: '*', mirrors: [r.corp/everything]",
    ];
    assert_eq!(warnings(&sound), Vec::<String>::new());
}

#[test]
fn a_rule_that_can_never_win_is_warned_of() {
    for (rules, expected) in [
        (
            vec!["source: '*.svc', keep: true", "source: '*.tools.svc.cluster.local:5000', keep: true"],
            vec![
                "line 4, column 14: the rule can never win: `*.svc` is passed by in favour of the cluster's own \
                 registries; name the registry itself as the source",
                "line 5, column 14: the rule can never win: `*.tools.svc.cluster.local:5000` is passed by in favour \
                 of the cluster's own registries; name the registry itself as the source",
            ],
        ),
        (
            vec![
                "source: docker.io, mirrors: [r.corp/a]",
                "source: docker.io, keep: true, namespaces: ['*']",
            ],
            vec![
                "line 4, column 14: the rule can never win: line 5 has the same source for every namespace; remove \
                 it, or give it other namespaces",
            ],
        ),
        (
            vec![
                "source: docker.io, keep: true, namespaces: ['team-*', shop]",
                "source: docker.io, mirrors: [r.corp/a], namespaces: [shop, 'team-*', 'team-*-eu', 'Team?']",
            ],
            vec![
                "line 5, column 14: the rule can never win: line 4 has the same source and speaks for its \
                 namespaces; remove it, or give it other namespaces",
            ],
        ),
        (
            vec!["source: docker.io, keep: true, namespaces: [Team, 'a_*', '-a*', '']"],
            vec![
                "line 4, column 14: the rule can never win: no namespace can have a name that its patterns match; \
                 remove it, or give it other namespaces",
            ],
        ),
    ] {
        assert_eq!(warnings(&rules), expected);
    }
    // A namespace has no more than 63 letters; a `*` may stand for none.
    for (letters, expected) in [(63, 0), (64, 1)] {
        for pattern in ["x".repeat(letters), format!("{}*", "x".repeat(letters)), "*x".repeat(letters)] {
            let rule = format!("source: docker.io, keep: true, namespaces: ['{pattern}']");
            assert_eq!(warnings(&[&rule]).len(), expected, "{pattern}");
        }
    }
}

#[test]
fn patterns_of_two_rules_between_which_only_the_order_decides_are_warned_of() {
    for (first, second, ambiguous) in [
        ("['team-*', x]", "['team-*', y]", Some("team-*")),
        ("[shop, x]", "[shop, y]", Some("shop")),
        ("['a*b']", "['a*cb']", Some("a*cb")),
        ("['a*cb']", "['a*b']", Some("a*b")),
        ("['a*c*']", "['a*d*']", Some("a*d*")),
        ("['a*x']", "['a*']", Some("a*")),
        ("['a*b']", "['a*c']", None),
        ("['a*']", "['ab*']", None),
        ("['ab*']", "['a*']", None),
        ("[shop]", "['shop*']", None),
    ] {
        let found = warnings(&[
            &format!("source: docker.io, keep: true, namespaces: {first}"),
            &format!("source: docker.io, mirrors: [r.corp/a], namespaces: {second}"),
        ]);
        let expected: Vec<String> = ambiguous
            .map(|pattern| {
                format!(
                    "namespaces that `{pattern}` matches are matched as well by line 4, which was written first and \
                     wins; make one of the patterns longer before its first `*`, or name the namespace"
                )
            })
            .into_iter()
            .collect();
        assert_eq!(found.len(), expected.len(), "{first} {second}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with("line 5, ") && found.ends_with(&expected), "{first} {second}: {found}");
        }
    }
}

#[test]
fn a_tie_is_warned_of_at_the_pattern_that_it_is_about() {
    let found = warnings(&[
        "source: docker.io, keep: true, namespaces: ['team-*', x]",
        "source: docker.io, mirrors: [r.corp/a], namespaces: [y, 'team-*']",
    ]);
    assert!(found[0].starts_with("line 5, column 62: "), "{found:?}");
}

#[test]
fn plain_http_with_credentials_is_warned_of() {
    let with = |http: bool, credentials: &str| {
        let text = format!(
            "{}registries:\n  - host: r.corp\n    plainHttp: {http}\n{credentials}",
            document(&["source: docker.io, mirrors: [r.corp]"])
        );
        parse(&text).warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let expected = "line 7, column 16: `plainHttp` with `credentials`: the login is sent unencrypted; use TLS, with a \
                    `ca` if it is your own";
    assert_eq!(with(true, "    credentials: login\n"), [expected]);
    assert_eq!(with(false, "    credentials: login\n"), [""; 0]);
    assert_eq!(with(true, ""), [""; 0]);
}

#[test]
fn many_tenants_with_a_rule_each_are_read_without_trying_each_pair() {
    let rules: Vec<String> = (0..5_000)
        .map(|number| {
            format!(
                "source: docker.io, keep: true, namespaces: ['*-{number}-end', 't-{number}', 'x*-{number}']"
            )
        })
        .collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    assert_eq!(warnings(&rules), Vec::<String>::new());
}
