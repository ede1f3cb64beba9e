use super::*;
use crate::lock::Finding;

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
    plan(table, &Lock::default(), written, Pull::Sometimes, Some("shop"))
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
    assert_eq!(decision.reference().unwrap().as_str(), "docker.io/library/nginx:1.25");
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
    let without_tag = format!("r.corp/x@sha256:{HEX}");
    assert_eq!(told(&settled(&digest, &without_tag)), ("kept", "mirrored", "-".into()));
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
fn a_decision_names_rule_mirror_and_digest_as_far_as_there_are_any() {
    let long = format!("quay.io/{}:1", "a".repeat(245));
    let pinned = format!("r.corp/x:1@sha256:{HEX}");
    let table = table(&[
        "{source: ghcr.io/acme/debug, keep: true}",
        "{source: quay.io, mirrors: [r.corp/a/longer/place]}",
        "{source: docker.io, mirrors: [s.corp/hub, r.corp], onMissing: rewrite}",
        "{source: gcr.io, mirrors: [t.corp/gcr], lock: require}",
    ]);
    // The rule's line, the mirror, the digest and where it is known from.
    let of = |decision: &Decision| {
        let line = decision.rule().map(|rule| rule.line());
        (line, decision.mirror, decision.digest.clone(), decision.resolved_from)
    };
    let reference = Some(ResolvedFrom::Reference);
    for (written, expected) in [
        ("auto", (None, None, None, None)),
        ("ghcr.io/x", (None, None, None, None)),
        ("ghcr.io/acme/debug:1", (Some(4), None, None, None)),
        (&long, (Some(5), None, None, None)),
        (&pinned, (Some(6), Some(1), Some(digest()), reference)),
        ("gcr.io/x", (Some(7), Some(0), None, None)),
    ] {
        let decision = settled(&table, written);
        assert_eq!(of(&decision), expected, "{written}");
        assert_eq!(decision.reference().is_some(), written != "auto");
    }
    for (answer, expected) in [
        (found(), (Some(6), Some(0), Some(digest()), Some(ResolvedFrom::Registry))),
        (Answer::Missing, (Some(6), Some(0), None, None)),
        (Answer::Unavailable { candidate: 1 }, (Some(6), Some(1), None, None)),
        (Answer::Offline, (Some(6), Some(0), None, None)),
    ] {
        assert_eq!(of(&concluded(&table, "nginx", answer)), expected);
    }
    let carried = concluded(&table, &format!("nginx@sha256:{HEX}"), Answer::Missing);
    assert_eq!(of(&carried), (Some(6), Some(0), Some(digest()), reference));
}

#[test]
fn a_text_is_read_up_to_its_limit() {
    // No repository is that long, but a host may be.
    let of_length = |length: usize| format!("{}.b/x", "a".repeat(length - ".b/x".len()));
    for (length, reason) in [(MAX_IMAGE_TEXT, "no-rule"), (MAX_IMAGE_TEXT + 1, "invalid-reference")] {
        let written = of_length(length);
        assert_eq!(written.len(), length);
        assert_eq!(told(&settled(&table(&["{source: quay.io, keep: true}"]), &written)).1, reason);
    }
}

#[test]
fn a_question_says_whether_it_has_one_place_and_asks_again_at_every_start() {
    let table = table(&[
        "{source: quay.io, mirrors: [r1.corp/q, r2.corp/q]}",
        "{source: docker.io, mirrors: [r1.corp/hub]}",
    ]);
    for (written, is_single) in [("quay.io/a", false), ("nginx", true)] {
        for (pull, is_always) in [(Pull::Always, true), (Pull::Sometimes, false), (Pull::Never, false)] {
            match plan(&table, &Lock::default(), written, pull, None) {
                Plan::Ask(question) => {
                    assert_eq!((question.is_single(), question.is_always()), (is_single, is_always));
                    assert_eq!(question.candidates().count(), if is_single { 1 } else { 2 });
                }
                Plan::Settled(decision) => panic!("`{written}` is settled: {decision:?}"),
            }
        }
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

/// A digest of one digit.
fn locked(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// What becomes of an image by table and lock alone: outcome, reason and result, or `ask`.
fn by_lock(table: &Table, lock: &Lock, written: &str) -> (&'static str, &'static str, String) {
    match plan(table, lock, written, Pull::Always, Some("shop")) {
        Plan::Settled(decision) => told(&decision),
        Plan::Ask(_) => ("ask", "", String::new()),
    }
}

fn lock(lines: &[(&str, &str)]) -> Lock {
    let text: Vec<_> = lines.iter().map(|(place, digest)| format!("{place} {digest}\n")).collect();
    Lock::parse(&text.concat()).unwrap()
}

fn ask() -> (&'static str, &'static str, String) {
    ("ask", "", String::new())
}

fn not_locked() -> (&'static str, &'static str, String) {
    ("denied", "not-locked", "-".into())
}

#[test]
fn what_is_locked_is_pinned_by_its_line_and_nobody_is_asked() {
    let [a, b] = ['a', 'b'].map(locked);
    let lock = lock(&[("r.corp/hub/library/nginx:1.25", &a), ("r.corp/quay/a:2", &b)]);
    for mode in ["prefer", "require"] {
        let table = table(&[
            &format!("{{source: docker.io, mirrors: [r.corp/hub], lock: {mode}}}"),
            &format!("{{source: quay.io, mirrors: [r.corp/quay], pin: digest, lock: {mode}}}"),
        ]);
        for (written, result) in [
            ("nginx:1.25", format!("r.corp/hub/library/nginx:1.25@{a}")),
            ("quay.io/a:2", format!("r.corp/quay/a@{b}")),
        ] {
            assert_eq!(by_lock(&table, &lock, written), ("rewritten", "pinned", result));
        }
        let unknown = if mode == "prefer" { ask() } else { not_locked() };
        assert_eq!(by_lock(&table, &lock, "nginx:1.26"), unknown);
        assert_eq!(by_lock(&table, &lock, "redis:1.25"), unknown);
    }
    let Plan::Settled(decision) = plan(
        &table(&["{source: docker.io, mirrors: [r.corp/hub]}"]),
        &lock,
        "nginx:1.25",
        Pull::Always,
        None,
    ) else {
        panic!()
    };
    assert_eq!((decision.resolved_from, decision.mirror), (Some(ResolvedFrom::Lock), Some(0)));
    assert_eq!(decision.digest.unwrap().as_str(), a);
}

#[test]
fn the_first_mirror_with_a_line_is_used_and_one_that_lacks_its_digest_only_where_the_lock_is_required() {
    let [a, b, c] = ['a', 'b', 'c'].map(locked);
    let lock = lock(&[("r2.corp/q/x:1", &a), ("r3.corp/q/x:1", &b), ("r1.corp/q/y:1", &c)]);
    let with = |mode: &str| {
        table(&[&format!("{{source: quay.io, mirrors: [r1.corp/q, r2.corp/q, r3.corp/q], lock: {mode}}}")])
    };
    let (prefer, require) = (with("prefer"), with("require"));
    let pinned = |mirror: &str, digest: &str| ("rewritten", "pinned", format!("{mirror}.corp/q/{digest}"));
    for table in [&prefer, &require] {
        assert_eq!(by_lock(table, &lock, "quay.io/x:1"), pinned("r2", &format!("x:1@{a}")));
        assert_eq!(by_lock(table, &lock, "quay.io/y:1"), pinned("r1", &format!("y:1@{c}")));
    }
    for line in lock.lines() {
        let finding =
            if line.reference().registry() == "r3.corp" { Finding::Moved } else { Finding::Missing };
        lock.note(line, finding);
    }
    assert_eq!(by_lock(&prefer, &lock, "quay.io/x:1"), pinned("r3", &format!("x:1@{b}")));
    assert_eq!(by_lock(&prefer, &lock, "quay.io/y:1"), ask());
    assert_eq!(by_lock(&require, &lock, "quay.io/x:1"), pinned("r2", &format!("x:1@{a}")));
    assert_eq!(by_lock(&require, &lock, "quay.io/y:1"), pinned("r1", &format!("y:1@{c}")));
}

#[test]
fn a_digest_exists_where_a_line_of_the_mirrors_repository_has_it_whatever_its_tag() {
    let [a, b] = ['a', 'b'].map(locked);
    let lock = lock(&[("r.corp/q/x:1", &a), ("r.corp/q/y:1", &b)]);
    let with =
        |mode: &str| table(&[&format!("{{source: quay.io, mirrors: [r0.corp/q, r.corp/q], lock: {mode}}}")]);
    for written in [format!("quay.io/x@{a}"), format!("quay.io/x:2@{a}")] {
        let result = format!("r.corp/q/{}", written.strip_prefix("quay.io/").unwrap());
        for mode in ["prefer", "require"] {
            assert_eq!(by_lock(&with(mode), &lock, &written), ("rewritten", "carried", result.clone()));
        }
        assert_eq!(by_lock(&with("ignore"), &lock, &written), ask());
    }
    for written in [format!("quay.io/x@{b}"), format!("quay.io/x:1@{b}"), format!("quay.io/y:1@{a}")] {
        assert_eq!(by_lock(&with("prefer"), &lock, &written), ask(), "{written}");
        assert_eq!(by_lock(&with("require"), &lock, &written), not_locked(), "{written}");
    }
}

#[test]
fn inside_a_mirror_an_image_is_pinned_by_the_lock_too_and_denied_where_it_is_required_and_has_no_line() {
    let [a, b] = ['a', 'b'].map(locked);
    let lock = lock(&[("r.corp/q/x:1", &a)]);
    let with = |more: &str| table(&[&format!("{{source: quay.io, mirrors: [r.corp/q]{more}}}")]);
    let (prefer, require) = (with(""), with(", lock: require"));
    for table in [&prefer, &require] {
        let pinned = format!("r.corp/q/x:1@{a}");
        assert_eq!(by_lock(table, &lock, "r.corp/q/x:1"), ("rewritten", "mirrored", pinned.clone()));
        assert_eq!(by_lock(table, &lock, &pinned), ("kept", "mirrored", "-".into()));
    }
    let (tag, digest) = ("r.corp/q/x:2", format!("r.corp/q/x:1@{b}"));
    assert_eq!(by_lock(&prefer, &lock, tag), ask());
    assert_eq!(by_lock(&prefer, &lock, &digest), ("kept", "mirrored", "-".into()));
    assert_eq!(by_lock(&require, &lock, tag), not_locked());
    assert_eq!(by_lock(&require, &lock, &digest), not_locked());
    let dropping = with(", lock: require, pin: digest");
    assert_eq!(
        by_lock(&dropping, &lock, &format!("r.corp/q/x:1@{a}")),
        ("rewritten", "mirrored", format!("r.corp/q/x@{a}"))
    );
    assert_eq!(by_lock(&dropping, &lock, &digest), not_locked());
}

#[test]
fn without_pins_and_where_it_is_ignored_the_lock_says_nothing() {
    let a = locked('a');
    let lock = lock(&[("r.corp/q/x:1", &a)]);
    let off = table(&["{source: quay.io, mirrors: [r.corp/q], pin: off}"]);
    assert_eq!(by_lock(&off, &lock, "quay.io/x:1"), ("rewritten", "pin-off", "r.corp/q/x:1".into()));
    assert_eq!(by_lock(&off, &lock, "r.corp/q/x:1"), ("kept", "mirrored", "-".into()));
    let ignore = table(&["{source: quay.io, mirrors: [r.corp/q], lock: ignore}"]);
    assert_eq!(by_lock(&ignore, &lock, "quay.io/x:1"), ask());
    assert_eq!(by_lock(&ignore, &lock, "r.corp/q/x:1"), ask());
}
