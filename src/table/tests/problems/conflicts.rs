//! What contradicts itself or something else in the table.

use super::*;

#[test]
fn two_rules_of_equal_source_and_scope_are_refused() {
    let duplicate = |source: &str, line: usize, at: usize| {
        format!(
            "line {line}, column 14: source `{source}` is already mapped on line {at}; to try several mirrors in \
             order, list them under line {at} as `mirrors: [..]`"
        )
    };
    assert_eq!(
        problems(&[
            "source: docker.io, mirrors: [r.corp/a]",
            "source: index.docker.io, mirrors: [r.corp/b]",
            "source: 'docker.io/library/nginx:1', mirrors: ['r.corp/c:1']",
            "source: 'docker.io/nginx:1', keep: true",
            "source: docker.io, keep: true, namespaces: [a, 'b*']",
            "source: docker.io, keep: true, namespaces: ['b*', a, a]",
            "source: docker.io, keep: true, namespaces: ['b*']",
            "source: '*', keep: true",
            "source: '*', keep: true",
            "source: '*.gcr.io', keep: true",
            "source: '*.gcr.io', keep: true",
            "source: gcr.io, keep: true",
            "source: '*.gcr.io:5000', keep: true",
        ]),
        [
            duplicate("index.docker.io", 5, 4),
            duplicate("docker.io/nginx:1", 7, 6),
            duplicate("docker.io", 9, 8),
            duplicate("*", 12, 11),
            duplicate("*.gcr.io", 14, 13),
        ]
    );
}

#[test]
fn a_source_inside_a_mirror_is_refused_unless_it_is_an_exception() {
    let inside = |source: &str, line: usize, mirror: &str, of: usize| {
        format!(
            "line {line}, column 14: source `{source}` is inside the mirror `{mirror}` of line {of}; images in a \
             mirror are not moved: remove the rule, or write `keep: true` instead of mirrors"
        )
    };
    assert_eq!(
        problems(&[
            "source: r.corp/hub/team, mirrors: [s.corp/a]",
            "source: docker.io, mirrors: [r.corp/hub], namespaces: [elsewhere]",
            "source: 'r.corp/hub/x:1', mirrors: ['s.corp/x:1']",
            "source: r.corp/hub, mirrors: [s.corp/b]",
            "source: r.corp/hubble, mirrors: [s.corp/c]",
            "source: r.corp, mirrors: [s.corp/d]",
            "source: r.corp/hub/kept, keep: true",
            "source: t.corp, mirrors: ['t.corp/{registry}']",
            "source: t.corp/x, mirrors: [s.corp/e]",
            "source: 'u.corp/app:2', mirrors: ['u.corp/app:1']",
            "source: '*', mirrors: ['r.corp/all/{registry}']",
        ]),
        [
            inside("r.corp/hub/team", 4, "r.corp/hub", 5),
            inside("r.corp/hub/x:1", 6, "r.corp/hub", 5),
            inside("r.corp/hub", 7, "r.corp/hub", 5),
            inside("t.corp", 11, "t.corp/{registry}", 11),
            inside("t.corp/x", 12, "t.corp/{registry}", 11),
            inside("u.corp/app:2", 13, "u.corp/app:1", 13),
        ]
    );
}

#[test]
fn rules_whose_mirrors_have_equal_text_before_the_brace_agree_on_pin_and_lock() {
    let differ = |line: usize, column: usize, prefix: &str, said: &str| {
        format!(
            "line {line}, column {column}: images in `{prefix}` are under {said} by the rule on line 4, and not by \
             this one; let both rules say the same, or use another mirror"
        )
    };
    assert_eq!(
        problems(&[
            "source: docker.io, mirrors: [r.corp/a, 'r.corp/b/{registry}']",
            "source: quay.io, mirrors: [r.corp/a], onMissing: deny",
            "source: ghcr.io, mirrors: [r.corp/a], pin: digest",
            "source: gcr.io, mirrors: [r.corp/b], pin: off, lock: ignore, namespaces: [elsewhere]",
            "source: 'k8s.io/x:1', mirrors: ['r.corp/a:1'], lock: require",
            "source: a.io, mirrors: [r.corp/a/deeper], pin: digest",
        ]),
        [
            differ(6, 33, "r.corp/a", "`pin: tag-and-digest`"),
            differ(7, 32, "r.corp/b", "`pin: tag-and-digest` and `lock: prefer`"),
            differ(8, 38, "r.corp/a", "`lock: prefer`"),
        ]
    );
}

#[test]
fn require_with_pin_off_is_refused_wherever_it_comes_together() {
    let problem = |line: usize, column: usize| {
        format!(
            "line {line}, column {column}: `lock: require` with `pin: off`; `pin: off` ignores the lock: write `lock: \
             ignore` beside it, or pin"
        )
    };
    let rules = document(&[
        "source: docker.io, mirrors: [r.corp/a]",
        "source: quay.io, mirrors: [r.corp/b], pin: off",
        "source: ghcr.io, mirrors: [r.corp/c], lock: require",
        "source: gcr.io, mirrors: [r.corp/d], pin: digest, lock: require",
    ]);
    let with = |defaults: &str| problems_of(&(rules.clone() + "defaults: {" + defaults + "}\n"));
    assert_eq!(with("lock: prefer"), [""; 0]);
    assert_eq!(with("lock: require"), [problem(5, 49)]);
    assert_eq!(with("pin: off"), [problem(6, 50)]);
    assert_eq!(with("pin: off, lock: require"), [problem(5, 49), problem(6, 50), problem(8, 28)]);
}

#[test]
fn two_registries_of_one_host_are_refused() {
    let text = document(&[])
        + "registries: [{host: r.corp}, {host: 'r.corp:443'}, {host: docker.io}, {host: index.docker.io}, {host: \
           r.corp}]\n";
    let already = |column: usize, host: &str| {
        format!(
            "line 4, column {column}: registry `{host}` is already on line 4; put everything about it into one of them"
        )
    };
    assert_eq!(problems_of(&text), [already(78, "index.docker.io"), already(103, "r.corp")]);
}
