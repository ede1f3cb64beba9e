//! Values that say nothing that can be done.

use super::*;

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
