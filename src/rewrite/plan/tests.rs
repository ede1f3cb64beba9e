use super::*;

const HEX: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

fn digest() -> Digest {
    format!("sha256:{HEX}").parse().unwrap()
}

/// A table of the given rules, in YAML, each line a rule's flow map.
fn table(rules: &[&str]) -> Table {
    let mut text = "apiVersion: portolan.dev/v1\nkind: MappingTable\nrules:\n".to_owned();
    for rule in rules {
        text.push_str("  - ");
        text.push_str(rule);
        text.push('\n');
    }
    Table::parse(&text).unwrap().table
}

fn planned(table: &Table, written: &str) -> Plan {
    plan(table, written, Pull::Sometimes, Some("shop"), &mut String::new())
}

fn settled(table: &Table, written: &str) -> Decision {
    match planned(table, written) {
        Plan::Settled(decision) => decision,
        Plan::Ask(question) => panic!("`{written}` is a question: {question:?}"),
    }
}

fn concluded(table: &Table, written: &str, answer: Answer) -> Decision {
    match planned(table, written) {
        Plan::Ask(question) => question.conclude(answer),
        Plan::Settled(decision) => panic!("`{written}` is settled: {decision:?}"),
    }
}

fn found() -> Answer {
    Answer::Found { candidate: 0, digest: digest(), from: ResolvedFrom::Registry }
}

/// Outcome, reason and what the Pod would run, `-` where the text stays.
fn told(decision: &Decision) -> (&'static str, &'static str, String) {
    (decision.outcome.word(), decision.reason.word(), decision.result().unwrap_or("-").to_owned())
}

#[test]
fn a_tag_is_pinned_by_the_digest_that_the_mirror_reports() {
    let table = table(&["{source: docker.io, mirrors: [r.corp/hub]}"]);
    let decision = concluded(&table, "nginx:1.25", found());
    assert_eq!(
        told(&decision),
        ("rewritten", "pinned", format!("r.corp/hub/library/nginx:1.25@sha256:{HEX}"))
    );
    assert_eq!(decision.digest, Some(digest()));
    assert_eq!(decision.resolved_from, Some(ResolvedFrom::Registry));
    assert_eq!(decision.mirror, Some(0));
    assert_eq!(decision.reference.unwrap().as_str(), "docker.io/library/nginx:1.25");
}

#[test]
fn pin_digest_drops_the_tag_and_pin_off_asks_nobody() {
    let table = table(&[
        "{source: docker.io, mirrors: [r.corp/hub], pin: digest}",
        "{source: quay.io, mirrors: [r.corp/quay], pin: off}",
    ]);
    assert_eq!(
        told(&concluded(&table, "nginx:1", found())),
        ("rewritten", "pinned", format!("r.corp/hub/library/nginx@sha256:{HEX}"))
    );
    assert_eq!(told(&settled(&table, "quay.io/a/b:1")), ("rewritten", "pin-off", "r.corp/quay/a/b:1".into()));
    let written = format!("quay.io/a/b:1@sha256:{HEX}");
    assert_eq!(
        told(&settled(&table, &written)),
        ("rewritten", "pin-off", format!("r.corp/quay/a/b:1@sha256:{HEX}"))
    );
}

#[test]
fn a_digest_in_the_reference_is_carried_over_and_never_dropped() {
    for (pin, expected) in [("tag-and-digest", "a/b:1@"), ("digest", "a/b@")] {
        let table = table(&[&format!(
            "{{source: quay.io, mirrors: [r.corp/quay], pin: {pin}, onUnavailable: rewrite, onMissing: rewrite}}"
        )]);
        let written = format!("quay.io/a/b:1@sha256:{HEX}");
        let result = format!("r.corp/quay/{expected}sha256:{HEX}");
        for (answer, reason) in [
            (found(), "carried"),
            (Answer::Missing, "missing"),
            (Answer::Unauthorized { candidate: 0 }, "unauthorized"),
            (Answer::Unavailable { candidate: 0 }, "unavailable"),
            (Answer::Offline, "carried"),
        ] {
            assert_eq!(
                told(&concluded(&table, &written, answer)),
                ("rewritten", reason, result.clone()),
                "{pin}"
            );
        }
    }
    let table = table(&["{source: quay.io, mirrors: [r.corp/quay]}"]);
    let alone = concluded(&table, &format!("quay.io/a@sha256:{HEX}"), found());
    assert_eq!(told(&alone), ("rewritten", "carried", format!("r.corp/quay/a@sha256:{HEX}")));
    assert_eq!(alone.resolved_from, Some(ResolvedFrom::Reference));
}

#[test]
fn what_is_missing_unauthorized_or_unavailable_follows_its_policy() {
    let two = "mirrors: [r1.corp/q, r2.corp/q]";
    for (policy, outcome) in [("keep", "kept"), ("rewrite", "rewritten"), ("deny", "denied")] {
        let missing =
            table(&[&format!("{{source: quay.io, {two}, onMissing: {policy}, onUnavailable: keep}}")]);
        let silent =
            table(&[&format!("{{source: quay.io, {two}, onMissing: keep, onUnavailable: {policy}}}")]);
        let result = |mirror: &str| {
            if policy == "rewrite" { format!("{mirror}.corp/q/a:1") } else { "-".into() }
        };
        assert_eq!(
            told(&concluded(&missing, "quay.io/a:1", Answer::Missing)),
            (outcome, "missing", result("r1"))
        );
        assert_eq!(
            told(&concluded(&silent, "quay.io/a:1", Answer::Unavailable { candidate: 1 })),
            (outcome, "unavailable", result("r2")),
            "the first mirror that did not say 404 is named"
        );
        assert_eq!(
            told(&concluded(&silent, "quay.io/a:1", Answer::Unauthorized { candidate: 0 })),
            (outcome, "unauthorized", result("r1"))
        );
    }
}

#[test]
fn inside_a_mirror_an_image_is_pinned_where_it_is_and_never_moved_or_denied() {
    let rule = "source: '*', mirrors: ['r.corp/{registry}'], onMissing: deny, onUnavailable: deny";
    let both = table(&[&format!("{{{rule}}}")]);
    assert_eq!(
        told(&concluded(&both, "r.corp/docker.io/x:1", found())),
        ("rewritten", "mirrored", format!("r.corp/docker.io/x:1@sha256:{HEX}"))
    );
    assert_eq!(told(&concluded(&both, "r.corp/x:1", Answer::Missing)), ("kept", "missing", "-".into()));
    let silent = concluded(&both, "r.corp/x", Answer::Unavailable { candidate: 0 });
    assert_eq!(told(&silent), ("kept", "unavailable", "-".into()));
    let pinned = format!("r.corp/x:1@sha256:{HEX}");
    assert_eq!(told(&settled(&both, &pinned)), ("kept", "mirrored", "-".into()));
    assert_eq!(told(&concluded(&both, "r.corp/x:1", Answer::Offline)), ("kept", "offline", "-".into()));

    let digest = table(&[&format!("{{{rule}, pin: digest}}")]);
    assert_eq!(told(&settled(&digest, &pinned)), ("rewritten", "mirrored", format!("r.corp/x@sha256:{HEX}")));
    let off = table(&["{source: '*', mirrors: ['r.corp/{registry}'], pin: off}"]);
    assert_eq!(told(&settled(&off, "r.corp/x:1")), ("kept", "mirrored", "-".into()));
}

#[test]
fn what_the_table_does_not_move_is_kept_with_its_reason() {
    let long = format!("quay.io/{}:1", "a".repeat(245));
    let table = table(&[
        "{source: ghcr.io/acme/debug, keep: true}",
        "{source: ghcr.io, mirrors: [r.corp/ghcr]}",
        "{source: quay.io, mirrors: [r.corp/a/longer/place]}",
    ]);
    for (written, reason) in [
        ("", "placeholder"),
        ("auto", "placeholder"),
        ("nginx::", "invalid-reference"),
        ("nginx\u{7}", "invalid-reference"),
        (&"n".repeat(MAX_IMAGE_TEXT + 1), "invalid-reference"),
        ("ghcr.io/acme/debug:1", "exception"),
        ("nginx", "no-rule"),
        (&long, "unrepresentable"),
    ] {
        assert_eq!(told(&settled(&table, written)), ("kept", reason, "-".into()), "{written}");
    }
}

#[test]
fn offline_an_image_that_would_be_asked_about_is_rewritten_to_the_first_mirror() {
    let table = table(&["{source: quay.io, mirrors: [r1.corp/q, r2.corp/q], onUnavailable: deny}"]);
    let decision = concluded(&table, "quay.io/a", Answer::Offline);
    assert_eq!(told(&decision), ("rewritten", "offline", "r1.corp/q/a:latest".into()));
    assert_eq!(decision.digest, None);
}

#[test]
fn of_an_exact_source_the_mirrors_own_tag_or_digest_is_used() {
    let table = table(&[
        "{source: 'docker.io/library/nginx:1.25', mirrors: ['r.corp/hardened/nginx:1.25-fips']}",
        &format!("{{source: 'docker.io/library/redis:7', mirrors: ['r.corp/redis@sha256:{HEX}']}}"),
    ]);
    assert_eq!(
        told(&concluded(&table, "nginx:1.25", found())),
        ("rewritten", "pinned", format!("r.corp/hardened/nginx:1.25-fips@sha256:{HEX}"))
    );
    assert_eq!(
        told(&concluded(&table, "redis:7", found())),
        ("rewritten", "carried", format!("r.corp/redis@sha256:{HEX}"))
    );
    assert_eq!(told(&settled(&table, "nginx:1.26")), ("kept", "no-rule", "-".into()));
}
