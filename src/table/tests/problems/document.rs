//! A document that is no table: its YAML, its keys, its types.

use super::*;

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
