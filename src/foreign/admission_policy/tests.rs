//! What is written, as text. What API servers make of it is for `tests/cluster`.

use super::*;

fn table(rules: &str) -> Table {
    let text = format!("apiVersion: portolan.dev/v1\nkind: MappingTable\nrules:\n{rules}");
    Table::parse(&text).unwrap_or_else(|problems| panic!("{problems}")).table
}

fn cover() -> Cover {
    Cover { own_namespace: "portolan".into(), labelled_pods: LabelledPods::LeftOut }
}

const RULES: &str = "
  - {source: docker.io, mirrors: [r.corp/hub, s.corp/hub]}
  - {source: 'docker.io/library/nginx:1.25', mirrors: ['r.corp/hard/nginx:1.25-fips'], pin: off, onMissing: deny, onUnavailable: deny}
  - {source: docker.io/acme/debug, keep: true}
  - {source: '*.gcr.io', mirrors: ['r.corp/{registry}'], namespaces: ['team-*', '*', shop, 'Never_'], lock: require, onMissing: rewrite}
  - {source: '*.gcr.io', mirrors: ['t.corp/x'], namespaces: ['team-a*'], onMissing: rewrite, onUnavailable: keep}
";

#[test]
fn sources_are_keys_with_their_scopes_the_most_specific_first() {
    let exported = validating_admission_policy(&table(RULES), &cover()).unwrap().text;
    for line in [
        "'docker.io': '+ '",
        "'docker.io/acme/debug': '- '",
        "'docker.io/library/nginx:1.25': '+ '",
        "'*.gcr.io': '{registry} ^shop$,+ ^team-a.*$,{registry} ^team-.*$,{registry} ^.*$'",
        // What is inside a mirror, and what holds one.
        "'r.corp': ''",
        "'r.corp/hard/nginx': ''",
        "'t.corp/x': ''",
    ] {
        assert!(exported.contains(&format!("\n          {line}")), "{line} not in\n{exported}");
    }
    let exported = mutating_admission_policy(&table(RULES), &cover()).unwrap().text;
    for line in [
        "'docker.io': 'r.corp/hub '",
        "'docker.io/acme/debug': '- '",
        "'docker.io/library/nginx:1.25': 'r.corp/hard/nginx:1.25-fips '",
        "'*.gcr.io': 'r.corp/{registry} ^shop$,t.corp/x ^team-a.*$,r.corp/{registry} ^team-.*$,r.corp/{registry} ^.*$'",
    ] {
        assert!(exported.contains(&format!("\n          {line}")), "{line} not in\n{exported}");
    }
}

#[test]
fn what_a_policy_cannot_say_is_warned_of_once_with_its_rules() {
    let rule = |number| format!("  - {{source: a{number}.io, mirrors: [r.corp/a]}}\n");
    let many = (0..7).map(rule).collect::<Vec<_>>().concat();
    let said = |exported: Result<Exported, TooLargeError>| exported.unwrap().warnings;
    let warnings = said(validating_admission_policy(&table(RULES), &cover()));
    let begin = |text: &str| warnings.iter().filter(|warning| warning.starts_with(text)).count();
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert_eq!(begin("the rules of lines 5, 8, 9: `pin` is not asked for"), 1, "{warnings:?}");
    assert_eq!(begin("the rule of line 8: `lock: require`"), 1, "{warnings:?}");
    assert_eq!(begin("the rule of line 5: `onMissing: keep`"), 1, "{warnings:?}");
    assert_eq!(begin("the rule of line 9: `onUnavailable: keep`"), 1, "{warnings:?}");
    let off = "  - {source: docker.io, mirrors: [r.corp/hub], pin: off, onMissing: rewrite}\n";
    assert_eq!(said(validating_admission_policy(&table(off), &cover())), [""; 0]);
    let warnings = said(validating_admission_policy(&table(&many), &cover()));
    assert!(warnings[0].starts_with("7 rules (lines 4, 5, 6, 7, 8, …): `pin`"), "{warnings:?}");

    let warnings = said(mutating_admission_policy(&table(RULES), &cover()));
    for text in [
        "`pin` cannot",
        "`lock: require` cannot",
        "`onMissing` and",
        "line 5: only the first",
        "no annotation",
    ] {
        assert_eq!(
            warnings.iter().filter(|warning| warning.contains(text)).count(),
            1,
            "{text}: {warnings:?}"
        );
    }
    let secret = format!("{off}registries: [{{host: r.corp, pullSecret: pull}}]\n");
    let warnings = said(mutating_admission_policy(&table(&secret), &cover()));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("`pullSecret`"), "{warnings:?}");
}

#[test]
fn pods_that_opt_out_are_left_out_unless_they_may_not() {
    let strict = Cover { labelled_pods: LabelledPods::Judged, ..cover() };
    for export in [validating_admission_policy, mutating_admission_policy] {
        assert!(export(&table(RULES), &cover()).unwrap().text.contains("\n    objectSelector:\n"));
        assert!(!export(&table(RULES), &strict).unwrap().text.contains("objectSelector"));
    }
}

#[test]
fn no_expression_is_longer_than_cel_takes_and_no_object_than_is_stored() {
    let rules = |count: usize| -> String {
        let rule = |number| {
            format!("  - {{source: registry.example.com/team-{number}, mirrors: [r.corp/team-{number}]}}\n")
        };
        (0..count).map(rule).collect::<Vec<_>>().concat()
    };
    let exported = validating_admission_policy(&table(&rules(10_000)), &cover()).unwrap();
    let longest = exported.text.split("expression: |-").map(|text| text.chars().count()).max().unwrap();
    assert!(longest < 100_000, "{longest}");
    assert!(exported.text.contains("variables.sources1["), "in several maps");
    assert!(
        exported.warnings.iter().any(|warning| warning.contains("--server-side")),
        "{:?}",
        exported.warnings
    );
    let error = validating_admission_policy(&table(&rules(30_000)), &cover()).unwrap_err();
    assert!(error.to_string().contains("an API server stores objects of no more than 1400000"), "{error}");
}
