use std::{fs, path::Path};

use super::{
    super::metadata::{CONFIG_MIRROR, SOURCES},
    *,
};

/// Every body that was recorded from a real API server, by name.
fn recorded() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reviews");
    let Ok(entries) = fs::read_dir(&folder) else {
        assert!(std::env::var_os("CI").is_none(), "the recorded reviews are missing: {}", folder.display());
        return Vec::new();
    };
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn every_recorded_review_is_read_as_a_whole_parse_reads_it() {
    for (name, body) in recorded() {
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let review = Review::parse(&body).unwrap_or_else(|error| panic!("{name}: {error}"));
        if name.contains("v1beta1") {
            assert!(matches!(review.into_request(), Err(ParseReviewError::OtherKind { .. })), "{name}");
            continue;
        }
        let request = review.into_request().unwrap();
        assert_eq!(*request.uid, *value["request"]["uid"].as_str().unwrap(), "{name}");
        assert_eq!(*request.operation, *value["request"]["operation"].as_str().unwrap(), "{name}");
        for (pod, whole) in [
            (&request.object, &value["request"]["object"]),
            (&request.old_object, &value["request"]["oldObject"]),
        ] {
            assert_eq!(pod.is_some(), whole.is_object(), "{name}");
            let Some(pod) = pod else { continue };
            let images = |containers: &Option<Vec<Container<'_>>>| -> Vec<String> {
                containers.iter().flatten().map(|container| container.image.to_string()).collect()
            };
            let spec = pod.spec.as_ref().unwrap();
            for (found, field) in [
                (images(&spec.containers), "containers"),
                (images(&spec.init_containers), "initContainers"),
                (images(&spec.ephemeral_containers), "ephemeralContainers"),
            ] {
                let expected: Vec<_> = whole["spec"][field]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|container| container["image"].as_str().unwrap().to_owned())
                    .collect();
                assert_eq!(found, expected, "{name}: {field}");
            }
        }
    }
}

#[test]
fn an_envelope_says_what_a_body_is_without_its_objects() {
    for (body, expected) in [
        ("", "no AdmissionReview"),
        ("{", "no AdmissionReview"),
        ("[]", "a field has the wrong type at line 1 column 1"),
        ("{}", "the body is `` of ``"),
        (r#"{"apiVersion":"v1","kind":"Pod"}"#, "the body is `Pod` of `v1`"),
        (
            r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}"#,
            "`admission.k8s.io/v1beta1`",
        ),
        (r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#, "no request"),
        (r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}"#, "no request"),
    ] {
        let message = Envelope::parse(body.as_bytes()).unwrap_err().to_string();
        assert!(message.contains(expected), "`{body}`: {message}");
    }
    let odd = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1",
        "request":{"uid":"u","kind":{"group":"x","version":"v1","kind":"Pod"},"object":{"spec":{"containers":7}}}}"#;
    assert!(Review::parse(odd.as_bytes()).is_err());
    assert_eq!(
        Envelope::parse(odd.as_bytes()).unwrap(),
        Envelope { uid: "u".into(), is_config_map: false, is_pod: false, dry_run: false }
    );
}

#[test]
fn texts_are_borrowed_unless_they_have_escapes_and_null_is_empty() {
    let read = |json: &'static str| serde_json::from_str::<Vec<Text<'static>>>(json).unwrap();
    let texts = read(r#"["plain", "a\nb", null]"#);
    assert!(matches!(texts[0].0, std::borrow::Cow::Borrowed("plain")));
    assert!(matches!(&texts[1].0, std::borrow::Cow::Owned(text) if text == "a\nb"));
    assert_eq!(&*texts[2], "");
    assert_eq!(&*Text::from("plain"), "plain");
}

#[test]
fn annotations_are_measured_and_the_three_that_matter_are_found() {
    let pod: Pod<'_> = serde_json::from_str(
        r#"{"metadata":{"labels":{"a":"b","portolan.dev/rewrite":"disabled"},
            "annotations":{"kubernetes.io/config.mirror":"x","portolan.dev/sources":"{}","k\n":"é"}}}"#,
    )
    .unwrap();
    let metadata = pod.metadata.unwrap();
    assert_eq!(metadata.labels.unwrap().rewrite.as_deref(), Some("disabled"));
    let annotations = metadata.annotations.unwrap();
    assert!(annotations.is_mirror);
    assert_eq!(annotations.sources.as_deref(), Some("{}"));
    assert_eq!(annotations.size, CONFIG_MIRROR.len() + 1 + SOURCES.len() + 2 + 2 + 2);
    let bare: Pod<'_> =
        serde_json::from_str(r#"{"metadata":{"annotations":null,"labels":null},"spec":null}"#).unwrap();
    assert!(bare.metadata.unwrap().annotations.is_none());
}

#[test]
fn a_pod_is_of_its_kind_group_and_version() {
    for (group, version, kind, expected) in [
        ("", "v1", "Pod", true),
        ("x", "v1", "Pod", false),
        ("", "v2", "Pod", false),
        ("", "v1", "ConfigMap", false),
    ] {
        let body = format!(
            r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1",
                "request":{{"uid":"u","kind":{{"group":"{group}","version":"{version}","kind":"{kind}"}}}}}}"#
        );
        let request = Review::parse(body.as_bytes()).unwrap().into_request().unwrap();
        assert_eq!(request.is_pod(), expected, "{kind} of {group}/{version}");
        assert_eq!(Envelope::parse(body.as_bytes()).unwrap().is_pod, expected);
    }
}

#[test]
fn the_owner_is_the_one_that_manages_the_pod_else_the_first() {
    for (owners, expected) in [
        (r"null", None),
        (r"[]", None),
        (r#"[{"name":"a"},{"name":"b"}]"#, Some("a")),
        (r#"[{"name":"a","controller":false},{"name":"b","controller":true}]"#, Some("b")),
    ] {
        let text = format!(r#"{{"metadata":{{"ownerReferences":{owners}}}}}"#);
        let pod: Pod<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(pod.metadata.unwrap().owner().map(|owner| &*owner.name), expected, "{owners}");
    }
}
