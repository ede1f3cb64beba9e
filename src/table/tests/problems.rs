//! product.md §1, "Refused whole".

use super::*;

const MISTAKES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tables/twenty-mistakes.yaml"));
const LINES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tables/twenty-mistakes.txt"));

#[test]
fn twenty_mistakes_are_twenty_lines() {
    let problems = Table::parse(MISTAKES).unwrap_err();
    assert_eq!(problems.to_string(), LINES.trim_end());
    assert_eq!(problems.iter().count(), 20);
    assert!(problems.iter().all(|problem| problem.remedy.is_some()));
}

#[test]
fn a_syntax_error_is_one_problem_with_its_place() {
    for (text, expected) in [
        (
            "apiVersion: [portolan.dev/v1\nkind: MappingTable\n",
            "line 2, column 5: this is no YAML: illegal placement of ':'",
        ),
        (
            "apiVersion: &a portolan.dev/v1\nrules: [}\n",
            "line 2, column 8: this is no YAML: mismatched bracket",
        ),
        ("rules:\n\t- source: docker.io\n", "line 2, column 2: this is no YAML: tabs"),
    ] {
        let lines = problems_of(text);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with(expected), "{lines:?}");
    }
}

#[test]
fn whatever_a_document_says_a_problem_is_one_line_without_control_characters() {
    for text in [
        "\"a\\nb\\e[31m\": 1\n",
        "? |\n  a\n  b\n: 1\n",
        "kind: \"x\\ny\"\n",
        "rules: [{source: \"\\e[31m/x\\n\", keep: \"\\0\"}]\n",
        "%TAG ! \u{1b}[31m\n---\nx\n",
        "a: \u{1b}[31m\n",
    ] {
        let problems = Table::parse(text).unwrap_err();
        let lines: Vec<String> = (&problems).into_iter().map(ToString::to_string).collect();
        assert!(!lines.is_empty(), "{text}");
        for line in lines {
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}

#[test]
fn a_document_that_is_no_table_is_refused() {
    let empty = "line 1, column 1: the table is empty; write at least `apiVersion: portolan.dev/v1`, `kind: \
                 MappingTable` and `rules: []`";
    for (text, expected) in [
        ("", vec![empty]),
        ("# nothing but a comment\n", vec![empty]),
        ("---\n", vec![empty]),
        (
            "- source: docker.io\n",
            vec![
                "line 1, column 1: the table is a map of keys and values, found a list; its keys are `apiVersion`, \
                 `kind`, `defaults`, `rules` and `registries`",
            ],
        ),
        (
            "kind: MappingTable\n",
            vec![
                "line 1, column 1: the key `apiVersion` is missing; write `apiVersion: portolan.dev/v1`",
                "line 1, column 1: the key `rules` is missing; write `rules: []`",
            ],
        ),
        (
            "{apiVersion: portolan.dev/v1, kind: MappingTable, rules: }",
            vec![
                "line 1, column 56: `rules` is a list, found nothing; write a rule behind a `- ` each, or `rules: \
                 []` for none",
            ],
        ),
    ] {
        assert_eq!(problems_of(text), expected, "{text}");
    }
}

#[test]
fn a_second_document_is_refused() {
    let text = document(&[]) + "---\n" + &document(&["source: wrong"]);
    assert_eq!(
        problems_of(&text),
        [
            "line 4, column 1: a second document begins here; a table is one document: put everything into the first"
        ]
    );
}

#[test]
fn yaml_anchors_aliases_merge_keys_and_tags_are_refused() {
    let text = document(&[
        "source: &a docker.io, mirrors: [r.corp/a]",
        "source: *a, mirrors: [r.corp/b]",
        "source: *unknown, mirrors: [r.corp/b]",
        "<<: *a, source: ghcr.io, mirrors: [r.corp/c]",
        "source: !!str quay.io, mirrors: !list [r.corp/d]",
        "'<<': x, source: '<<', mirrors: [r.corp/d]",
    ]);
    assert_eq!(
        problems_of(&text),
        [
            "line 4, column 14: YAML anchors are not read here: `&a`; remove it and write the value out where it is \
             needed",
            "line 5, column 14: YAML aliases are not read here; write the value out",
            "line 6, column 14: YAML aliases are not read here; write the value out",
            "line 7, column 6: YAML merge keys are not read here; write the keys out",
            "line 8, column 14: YAML tags are not read here; remove it; a text that looks like something else is \
             written in quotes",
            "line 8, column 38: YAML tags are not read here; remove it; a text that looks like something else is \
             written in quotes",
            "line 9, column 6: unknown key `<<`; the keys of a rule are `source`, `mirrors`, `keep`, `namespaces`, \
             `pin`, `onMissing`, `onUnavailable` and `lock`",
            "line 9, column 23: source `<<` is no reference: the repository is not made of lower-case letters and \
             digits, joined by `.`, `_`, `__`, `-` and `/`; write a registry and perhaps a path, as in \
             `docker.io/library`",
        ]
    );
}

#[test]
fn unknown_and_repeated_keys_are_refused_in_every_section() {
    let text = "apiVersion: portolan.dev/v1\nkind: MappingTable\ndefault: {}\ndefaults: {pins: off, lock: ignore, \
                lock: ignore}\nrules:\n  - {source: docker.io, mirror: r.corp, sources: x}\nregistries:\n  - {host: \
                r.corp, insecure: true, plainHTTP: true}\nkind: MappingTable\n";
    assert_eq!(
        problems_of(text),
        [
            "line 3, column 1: unknown key `default`; did you mean `defaults`?",
            "line 4, column 12: unknown key `pins`; did you mean `pin`?",
            "line 4, column 37: the key `lock` is written again, first on line 4; write it once",
            "line 6, column 25: unknown key `mirror`; did you mean `mirrors`?",
            "line 6, column 41: unknown key `sources`; did you mean `source`?",
            "line 8, column 20: unknown key `insecure`; the keys of a registry are `host`, `plainHttp`, `ca`, \
             `credentials`, `clientCertificate` and `pullSecret`",
            "line 8, column 36: unknown key `plainHTTP`; did you mean `plainHttp`?",
            "line 9, column 1: the key `kind` is written again, first on line 2; write it once",
        ]
    );
    // What is misspelt is not missing as well, but what else is missing is.
    assert_eq!(
        problems_of("apiVersion: portolan.dev/v1\nkynd: MappingTable\n"),
        [
            "line 1, column 1: the key `rules` is missing; write `rules: []`",
            "line 2, column 1: unknown key `kynd`; did you mean `kind`?",
        ]
    );
}

#[test]
fn wrong_types_are_refused() {
    let not_a_switch = |found: &str| {
        vec![format!(
            "line 4, column 35: `keep` is `true` or `false`, found {found}; write one of them, without quotes"
        )]
    };
    for (rule, expected) in [
        ("source: docker.io/xyz, keep: yes", not_a_switch("the text `yes`")),
        ("source: docker.io/xyz, keep: 'true'", not_a_switch("the text `true`")),
        ("source: docker.io/xyz, keep: 1", not_a_switch("the text `1`")),
        ("source: docker.io/xyz, keep: ~", not_a_switch("nothing")),
        ("source: docker.io/xyz, keep: []", not_a_switch("a list")),
        (
            "keep: true, source: [docker.io]",
            vec!["line 4, column 26: `source` is a text, found a list; write one text, in quotes if need be".into()],
        ),
        (
            "keep: true, source: true",
            vec!["line 4, column 26: `source` is a text, found `true`; write one text, in quotes if need be".into()],
        ),
        (
            "keep: true, source: ",
            vec!["line 4, column 24: `source` is a text, found nothing; write one text, in quotes if need be".into()],
        ),
        (
            "source: docker.io, mirrors: r.corp",
            vec![
                "line 4, column 34: `mirrors` is a list of texts, found the text `r.corp`; write `mirrors: [r.corp]`"
                    .into(),
            ],
        ),
        (
            "source: docker.io, mirrors: true",
            vec!["line 4, column 34: `mirrors` is a list of texts, found `true`; write `mirrors: [TEXT, …]`".into()],
        ),
        (
            "source: docker.io, mirrors: ''",
            vec!["line 4, column 34: `mirrors` is a list of texts, found the text ``; write `mirrors: [TEXT, …]`".into()],
        ),
        (
            "source: docker.io, mirrors: [r.corp, {url: x}, null]",
            vec![
                "line 4, column 43: `mirrors` is a list of texts, found a map in it; write a text, in quotes if need \
                 be"
                    .into(),
                "line 4, column 53: `mirrors` is a list of texts, found nothing in it; write a text, in quotes if \
                 need be"
                    .into(),
            ],
        ),
        (
            "source: docker.io, mirrors: [r.corp], pin: sometimes",
            vec![
                "line 4, column 49: `pin` cannot be `sometimes`; write one of `tag-and-digest`, `digest` and `off`"
                    .into(),
            ],
        ),
        (
            "source: docker.io, mirrors: [r.corp], pin: false",
            vec![
                "line 4, column 49: `pin` is a word, found `false`; write `tag-and-digest`, `digest` or `off`".into(),
            ],
        ),
        (
            "source: docker.io, mirrors: [r.corp], onMissing: denny",
            vec!["line 4, column 55: `onMissing` cannot be `denny`; did you mean `deny`?".into()],
        ),
    ] {
        assert_eq!(problems(&[rule]), expected, "{rule}");
    }
    let text = document(&[]) + "defaults: [pin]\nregistries: r.corp\n";
    assert_eq!(
        problems_of(&text),
        [
            "line 4, column 11: the section `defaults` is a map of keys and values, found a list; its keys are `pin`, \
             `onMissing`, `onUnavailable` and `lock`",
            "line 5, column 13: `registries` is a list, found the text `r.corp`; write a registry behind a `- ` each, \
             or `registries: []` for none",
        ]
    );
    let text = document(&[]).replace("[]", "[docker.io, [x]]");
    assert_eq!(problems_of(&text).len(), 2);
}

#[test]
fn bad_sources_are_refused() {
    let example = "write a registry and perhaps a path, as in `docker.io/library`";
    let stars = "`*` stands alone, or as `*.` before a host";
    let grammar = "is no reference: the repository is not made of lower-case letters and digits, joined by `.`, `_`, \
                   `__`, `-` and `/`";
    for (source, why, remedy) in [
        ("", "is no registry, path or reference", example),
        ("nginx", "does not begin with a registry", example),
        ("library/nginx", "does not begin with a registry", "write `docker.io/library/nginx`"),
        ("nginx/unit:1", "does not begin with a registry", "write `docker.io/nginx/unit:1`"),
        (
            "nginx:1.25",
            "is no reference: the registry is no host name or address with an optional port",
            example,
        ),
        ("https://quay.io/", "is no registry, path or reference", "leave out `https://`: write `quay.io`"),
        (
            "quay.io/acme/",
            "is no registry, path or reference",
            "write `quay.io/acme`, without the `/` at its end",
        ),
        ("/", grammar, example),
        (" quay.io", "is no registry, path or reference", "write `quay.io`, without blanks around it"),
        ("quay.io/Acme", grammar, example),
        ("quay.io//acme", grammar, example),
        ("quay.io/{registry}", grammar, example),
        (
            "quay.io/a@sha256:12",
            "is no reference: the part after `@` is no digest: a digest of `sha256` has 64 \
          lower-case hex digits",
            example,
        ),
        ("quay.io/*", "ends in `/*`", "write `quay.io`: a source holds all that is below it"),
        ("gcr.*", "has a `*` where none can be", stars),
        ("*gcr.io", "has a `*` where none can be", stars),
        ("*/x", "has a `*` where none can be", stars),
        ("*:5000", "has a `*` where none can be", stars),
        ("*.", "has no host after `*.`", "write a host with or without a port, as in `*.gcr.io`"),
        ("*.*.io", "has no host after `*.`", "write a host with or without a port, as in `*.gcr.io`"),
        ("*.gcr.io/acme", "has a path after its wildcard host", "write `*.gcr.io`"),
        ("*.gcr.io:x", "has no host after `*.`", "write a host with or without a port, as in `*.gcr.io`"),
    ] {
        let rule = format!("source: '{source}', keep: true");
        assert_eq!(
            problems(&[&rule]),
            [format!("line 4, column 14: source `{source}` {why}; {remedy}")],
            "{source}"
        );
    }
}

#[test]
fn bad_mirrors_are_refused() {
    let example = "write a registry's host and perhaps a path, as in `registry.example.com/hub`";
    let begin = "begin with the registry's host, as in `registry.example.com/{registry}`";
    let whole = "make it a whole segment between two `/`";
    let grammar = "is no place for images: the repository is not made of lower-case letters and digits, joined by \
                   `.`, `_`, `__`, `-` and `/`";
    for (mirror, why, remedy) in [
        ("", "is no registry or path", "write a registry and perhaps a path, as in `docker.io/library`"),
        ("harbor", "has no host", example),
        ("harbor/hub", "has no host", example),
        ("{registry}", "has no host", begin),
        ("{registry}/hub", "has no host", begin),
        ("{registry}.corp/hub", "has no host", begin),
        ("http://r.corp/hub", "is no registry or path", "leave out `http://`: write `r.corp/hub`"),
        ("r.corp/", "is no registry or path", "write `r.corp`, without the `/` at its end"),
        ("r.corp/x-{registry}", "has `{registry}` as a part of a segment", whole),
        ("r.corp/{registry}x/y", "has `{registry}` as a part of a segment", whole),
        ("r.corp/{registry}{registry}", "has `{registry}` as a part of a segment", whole),
        ("r.corp/{registry}/{registry}", "has `{registry}` more than once", "write it once"),
        ("r.corp/{host}", "has a placeholder that is not known", "`{registry}` is the only one"),
        ("r.corp/{registry", "has a placeholder that is not known", "`{registry}` is the only one"),
        ("r.corp/Hub", grammar, example),
        ("r.corp//hub", grammar, example),
        ("r.corp/*", grammar, example),
        ("index.docker.io/acme", "is another name of `docker.io`", "write `docker.io/acme`"),
    ] {
        let rule = format!("source: quay.io, mirrors: ['{mirror}']");
        assert_eq!(
            problems(&[&rule]),
            [format!("line 4, column 33: mirror `{mirror}` {why}; {remedy}")],
            "{mirror}"
        );
    }
    // The shortest image needs two more characters of the 255 that a repository has.
    let of_length = |length: usize| format!("source: quay.io, mirrors: [r.corp/{}]", "x".repeat(length));
    assert_eq!(problems(&[&of_length(253)]), [""; 0]);
    let too_long = problems(&[&of_length(254)]);
    assert!(
        too_long[0].contains("is no place for images: the repository is longer than 255"),
        "{too_long:?}"
    );
    assert_eq!(
        problems(&["source: 'quay.io/x:1', mirrors: ['docker.io/nginx:1']"]),
        [
            "line 4, column 39: mirror `docker.io/nginx:1` is not written in full; write `docker.io/library/nginx:1`"
        ]
    );
}

#[test]
fn a_whole_reference_and_its_mirror_both_name_a_tag_or_a_digest() {
    assert_eq!(
        problems(&[
            "source: 'quay.io/x:1', mirrors: [r.corp/x]",
            "source: quay.io/y, mirrors: ['r.corp/y:1']"
        ]),
        [
            "line 4, column 39: mirror `r.corp/x` names no tag or digest, as its source does; add one: nothing is \
             carried over from a source that is a whole reference",
            "line 5, column 35: mirror `r.corp/y:1` names a tag or a digest, as its source does not; remove it: those \
             of the image are carried over",
        ]
    );
}

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
fn both_or_neither_of_keep_and_mirrors_are_refused() {
    let both = "both `keep: true` and `mirrors`; remove one of them: `keep: true` leaves images as written";
    let neither = "neither `mirrors` nor `keep: true`; list `mirrors`, or write `keep: true` to leave images as written";
    let empty = "`mirrors` is empty; list at least one, or write `keep: true` to leave images as written";
    for (rule, expected) in [
        ("source: quay.io, keep: true, mirrors: [r.corp]", Some(format!("line 4, column 29: {both}"))),
        ("source: quay.io, keep: true, mirrors: []", Some(format!("line 4, column 29: {both}"))),
        ("source: quay.io", Some(format!("line 4, column 5: {neither}"))),
        ("source: quay.io, keep: false", Some(format!("line 4, column 5: {neither}"))),
        ("source: quay.io, mirrors: []", Some(format!("line 4, column 32: {empty}"))),
        ("source: quay.io, keep: false, mirrors: [r.corp]", None),
        ("source: quay.io, keep: true", None),
    ] {
        assert_eq!(problems(&[rule]), expected.into_iter().collect::<Vec<_>>(), "{rule}");
    }
}

#[test]
fn an_empty_list_of_namespaces_is_refused() {
    assert_eq!(
        problems(&["source: quay.io, keep: true, namespaces: []"]),
        [
            "line 4, column 47: `namespaces` is empty; name at least one, or remove the key: the rule is then for all"
        ]
    );
}

#[test]
fn bad_registries_are_refused() {
    let shape = "write a host with a `.`, a port or both, as in `registry.example.com:5000`";
    for (registry, expected) in [
        ("host: harbor", format!("line 5, column 12: `harbor` is no registry; {shape}")),
        ("host: '*.corp'", format!("line 5, column 12: `*.corp` is no registry; {shape}")),
        ("host: 'r.corp:x'", format!("line 5, column 12: `r.corp:x` is no registry; {shape}")),
        ("host: r.corp/hub", "line 5, column 12: `r.corp/hub` is no registry; write `r.corp`, without a path".into()),
        (
            "host: https://r.corp",
            "line 5, column 12: `https://r.corp` is no registry; leave out `https://`: write `r.corp`".into(),
        ),
        ("plainHttp: true", "line 5, column 5: the key `host` is missing; write `host: REGISTRY`".into()),
        (
            "host: r.corp, credentials: Harbor Pull",
            "line 5, column 33: `Harbor Pull` cannot be a Secret's name; write lower-case letters, digits, `-` and `.`"
                .into(),
        ),
        (
            "host: r.corp, ca: /etc/ssl/ca.pem",
            "line 5, column 24: `ca` has no certificate; put a whole PEM certificate here, from `-----BEGIN \
             CERTIFICATE-----` to its end"
                .into(),
        ),
    ] {
        let text = document(&[]) + "registries:\n  - {" + registry + "}\n";
        assert_eq!(problems_of(&text), [expected], "{registry}");
    }
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

#[test]
fn a_table_with_many_problems_says_a_hundred_and_how_many_more() {
    let rules = vec!["source: nginx, keep: true"; 250];
    let lines = problems(&rules);
    assert_eq!(lines.len(), 101);
    assert_eq!(lines.last().map(String::as_str), Some("and 150 more"));
    assert!(lines[99].starts_with("line 103, "), "{}", lines[99]);
}
