use proptest::prelude::*;

use super::*;

/// Inputs and what `distribution/reference` 0.6.0 (`ParseNormalizedNamed`, `TagNameOnly`) makes of them; `-`: refused.
const DISTRIBUTION: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/references/distribution.tsv"));

#[test]
fn every_input_comes_out_as_distribution_reference_has_it() {
    let mut wrong = Vec::new();
    for line in DISTRIBUTION.lines() {
        let (written, expected) = line.rsplit_once('\t').unwrap();
        let found = Reference::parse(written).map_or_else(|_| "-".into(), |reference| reference.to_string());
        if found != expected {
            wrong.push(format!("`{written}`: expected `{expected}`, found `{found}`"));
        }
    }
    assert!(DISTRIBUTION.lines().count() > 150, "the table of inputs was cut");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn an_upper_case_first_segment_is_a_registry_not_a_path_in_the_default_one() {
    for (written, registry, repository) in
        [("Foo/bar", "Foo", "bar"), ("LOCALHOST/x", "LOCALHOST", "x"), ("Docker/docker", "Docker", "docker")]
    {
        let reference = Reference::parse(written).unwrap();
        assert_eq!((reference.registry(), reference.repository()), (registry, repository));
    }
}

#[test]
fn an_upper_case_letter_of_any_script_makes_a_registry_that_is_none() {
    assert_eq!(Reference::parse("Äb/x"), Err(ParseReferenceError::BadRegistry));
    assert_eq!(Reference::parse("äb/x"), Err(ParseReferenceError::BadRepository));
}

#[test]
fn an_ipv6_host_in_brackets_is_a_registry() {
    for (written, registry) in
        [("[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000"), ("[::1]/x", "[::1]"), ("[:]/x", "[:]")]
    {
        assert_eq!(Reference::parse(written).unwrap().registry(), registry);
    }
}

#[test]
fn an_underscore_before_the_first_slash_is_left_where_containerd_reads_it() {
    let reference = Reference::parse("foo_bar.com/baz").unwrap();
    assert_eq!((reference.registry(), reference.repository()), ("foo_bar.com", "baz"));
    assert_eq!(reference.as_str(), "foo_bar.com/baz:latest");
}

#[test]
fn sixty_four_hex_digits_upper_case_hex_and_unicode_tags_are_refused() {
    assert_eq!(Reference::parse(&"f".repeat(64)), Err(ParseReferenceError::Identifier));
    assert!(matches!(
        Reference::parse(&format!("x@sha256:{}", "F".repeat(64))),
        Err(ParseReferenceError::BadDigest(ParseDigestError::BadHex { .. }))
    ));
    for tag in ["日本", "täg"] {
        assert_eq!(Reference::parse(&format!("x:{tag}")), Err(ParseReferenceError::BadTag));
    }
}

#[test]
fn each_part_is_found_and_the_text_as_written_is_kept() {
    let digest = format!("sha256:{}", "1".repeat(64));
    let written = format!("index.docker.io/nginx:1.25@{digest}");
    let reference = Reference::parse(&written).unwrap();
    assert_eq!(reference.written(), written);
    assert_eq!(reference.name(), "docker.io/library/nginx");
    assert_eq!(reference.registry(), "docker.io");
    assert_eq!(reference.repository(), "library/nginx");
    assert_eq!(reference.tag(), Some("1.25"));
    assert_eq!(reference.digest(), Some(digest.as_str()));
    assert_eq!(reference.without_digest(), "docker.io/library/nginx:1.25");
    let alone = Reference::parse(&format!("quay.io/x@{digest}")).unwrap();
    assert_eq!((alone.tag(), alone.without_digest()), (None, "quay.io/x"));
}

#[test]
fn a_text_that_we_put_together_is_taken_only_if_a_reader_would_leave_it_as_it_is() {
    assert!(Reference::from_normalised("r.corp/library/nginx:1").is_some());
    for text in ["docker.io/nginx:1", "nginx:1", "r.corp/nginx", "r.corp/UP:1", "index.docker.io/a/b:1"] {
        assert_eq!(Reference::from_normalised(text), None, "{text}");
    }
    let long = |length: usize| format!("r.corp/{}:1", "a".repeat(length - "r.corp/".len()));
    assert!(Reference::from_normalised(&long(255)).is_some());
    assert_eq!(Reference::from_normalised(&long(256)), None);
}

proptest! {
    #[test]
    fn printing_and_parsing_are_inverse(
        written in "(([a-zA-Z0-9.-]{1,12}|\\[[0-9a-f:]{1,9}\\])(:[0-9]{1,5})?/)?[a-z0-9]{1,4}([._/-]{1,2}[a-z0-9]{1,4}){0,3}(:[a-zA-Z0-9_.-]{1,9})?(@sha256:[0-9a-f]{64})?"
    ) {
        if let Ok(reference) = Reference::parse(&written) {
            let printed = reference.to_string();
            let again = Reference::parse(&printed).unwrap();
            prop_assert_eq!(again.as_str(), printed.as_str());
            prop_assert_eq!(&again, &reference);
            prop_assert_eq!(reference.written(), written.as_str());
        }
    }

    #[test]
    fn renaming_is_putting_the_text_together_and_reading_it(
        written in "[a-z]{1,3}(:[a-zA-Z0-9_.-]{1,9})?(@sha256:[0-9a-f]{64})?",
        registry in "docker\\.io|r\\.corp|localhost|R\\.corp:5000|\\[::1\\](:5000)?",
        path in "(/[a-z0-9A-Z]{0,3}([._:-]{0,2}[a-z0-9]{1,3}){0,2}){0,3}|/a{246,253}",
    ) {
        let Ok(reference) = Reference::parse(&written) else { return Ok(()) };
        let name = format!("{registry}{path}");
        let renamed = reference.renamed(&name, registry.len());
        let version = reference.as_str().strip_prefix(reference.name()).unwrap();
        // Read whole, `r.corp:1` would be an official image, and the last colon of a path without a tag a tag's.
        let read = Reference::from_normalised(&format!("{name}{version}")).filter(|read| read.name() == name);
        prop_assert_eq!(&renamed, &read);
        let parts = |reference: &Reference| {
            [reference.written(), reference.registry(), reference.name(), reference.without_digest()].map(str::to_owned)
        };
        prop_assert_eq!(renamed.as_ref().map(parts), read.as_ref().map(parts));
    }

    #[test]
    fn no_input_panics(text in "\\PC{0,80}") {
        let _ = Reference::parse(&text);
    }
}

#[test]
fn references_are_equal_if_they_are_when_normalised() {
    use std::hash::BuildHasher;

    let parse = |written| Reference::parse(written).unwrap();
    let build = std::hash::RandomState::new();
    for (one, other, expected) in [
        ("nginx", "docker.io/library/nginx:latest", true),
        ("nginx:1", "nginx:1", true),
        ("nginx:1", "nginx:2", false),
        ("nginx", "quay.io/library/nginx", false),
    ] {
        let (one, other) = (parse(one), parse(other));
        assert_eq!(one == other, expected, "{one} {other}");
        assert_eq!(build.hash_one(&one) == build.hash_one(&other), expected, "{one} {other}");
    }
    assert_eq!(format!("{:?}", parse("nginx")), "Reference(docker.io/library/nginx:latest)");
}
