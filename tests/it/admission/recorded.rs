//! Every review that was recorded from a real API server, compared with what a person would write.

use bytes::Bytes;
use futures::FutureExt as _;
use portolan::rewrite::Mode;
use serde_json::{Map, Value, json};

use super::{hub, pinned};
use crate::support::{
    fake_registry::FakeRegistry,
    review::{images, recorded},
    webhook::{Answered, hub_table, with_table},
};

/// The images of the recorded reviews that are `docker.io`'s: as written, repository, tag.
const IMAGES: &[(&str, &str, &str)] = &[
    ("busybox:1.36", "library/busybox", "1.36"),
    ("docker.io/bitnami/kubectl:1.29", "bitnami/kubectl", "1.29"),
    ("docker.io/grafana/agent:v0.40.3", "grafana/agent", "v0.40.3"),
    ("docker.io/library/redis:7.2", "library/redis", "7.2"),
    ("envoyproxy/envoy:v1.30.1", "envoyproxy/envoy", "v1.30.1"),
    ("fluent/fluent-bit:3.0", "fluent/fluent-bit", "3.0"),
    ("library/memcached:1.6", "library/memcached", "1.6"),
    ("nginx", "library/nginx", "latest"),
    ("nginx:1.25", "library/nginx", "1.25"),
    ("nginx:1.26", "library/nginx", "1.26"),
];

async fn registry() -> FakeRegistry {
    let images: Vec<_> = IMAGES.iter().map(|(_, repository, tag)| (*repository, *tag)).collect();
    hub(&images).await
}

/// Where the table takes a text; `None` if it leaves it alone.
fn expected(registry: &FakeRegistry, written: &str) -> Option<String> {
    let (_, repository, tag) = IMAGES.iter().find(|(image, ..)| *image == written)?;
    Some(pinned(registry, repository, tag))
}

/// The object as it should come out, made without any of our code.
fn changed_by_hand(review: &Value, registry: &FakeRegistry) -> Value {
    let request = &review["request"];
    let (mut object, old) = (request["object"].clone(), &request["oldObject"]);
    let mut sources = Map::new();
    let is_pod = request["kind"]["kind"] == "Pod";
    match (request["operation"].as_str().unwrap(), request["subResource"].as_str()) {
        ("CREATE" | "UPDATE", None) if is_pod => {
            for (key, pointer, written) in images(&object) {
                let before = old.pointer(&pointer).and_then(Value::as_str);
                if before == Some(&written) {
                    continue;
                }
                if let Some(to) = expected(registry, &written) {
                    *object.pointer_mut(&pointer).unwrap() = json!(to);
                    sources.insert(key, json!({"written": written, "image": to}));
                }
            }
        }
        ("UPDATE", Some("ephemeralcontainers")) => {
            let image = &mut object["spec"]["ephemeralContainers"][0]["image"];
            *image = json!(expected(registry, image.as_str().unwrap()).unwrap());
        }
        _ => {}
    }
    if !sources.is_empty() {
        object["metadata"]["annotations"]["portolan.dev/sources"] = Value::Object(sources);
    }
    object
}

/// The object that came out, its annotation read.
fn readable(answered: &Answered) -> Value {
    let mut object = answered.object.clone();
    if !answered.sources().is_null() {
        object["metadata"]["annotations"]["portolan.dev/sources"] = answered.sources();
    }
    object
}

#[tokio::test]
async fn every_recorded_review_comes_out_as_by_hand_and_a_second_pass_changes_nothing() {
    let registry = registry().await;
    let webhook = with_table(hub_table(&registry, "")).start();
    let mut changed = Vec::new();
    for (name, body) in recorded() {
        let review: Value = serde_json::from_slice(&body).unwrap();
        if name.contains("v1beta1") {
            let (status, text) = webhook.post("/mutate", body).await;
            assert_eq!(status, 400, "{name}");
            assert!(text.contains("`admission.k8s.io/v1beta1`"), "{name}: {text}");
            continue;
        }
        let answered = webhook.mutate(&review).await;
        assert!(answered.allowed(), "{name}");
        assert_eq!(answered.warnings(), Vec::<&str>::new(), "{name}");
        assert_eq!(readable(&answered), changed_by_hand(&review, &registry), "{name}");
        assert_eq!(answered.audited().is_null(), answered.patch.is_empty(), "{name}");
        if !answered.patch.is_empty() {
            changed.push(name.clone());
        }

        // A reinvocation sees the object as it was left.
        let mut again = review.clone();
        again["request"]["object"] = answered.object.clone();
        let second = webhook.mutate(&again).await;
        assert_eq!(second.patch, Vec::<Value>::new(), "{name}");
        // So does a later edit, by which nothing changes either.
        if review["request"]["kind"]["kind"] == "Pod" && !answered.object.is_null() {
            again["request"]["operation"] = json!("UPDATE");
            again["request"]["oldObject"] = answered.object.clone();
            again["request"]["object"]["metadata"]["labels"] = json!({"edited": "yes"});
            webhook.mutate(&again).await.assert_untouched();
        }
    }
    if !recorded().is_empty() {
        assert_eq!(
            changed,
            [
                "create-pod-dryrun.json",
                "create-pod-heavy-26k-generatename-replicaset.json",
                "create-pod-imagevolume-initcontainer.json",
                "create-pod-large-200k.json",
                "create-pod-medium-generatename-replicaset.json",
                "create-pod-new-1.34-fields.json",
                "create-pod-small.json",
                "update-pod-ephemeralcontainers.json",
                "update-pod-set-image.json",
            ]
        );
    }
}

#[tokio::test]
async fn an_admission_whose_images_are_all_known_never_suspends() {
    let registry = registry().await;
    let webhook = with_table(hub_table(&registry, "")).start();
    for (name, body) in recorded().into_iter().filter(|(name, _)| name.starts_with("create-pod-")) {
        if name.contains("v1beta1") || name.contains("imagevolume") {
            // The latter asks for one image always.
            continue;
        }
        let body = Bytes::from(body);
        let answer = || webhook.admission.answer(body.clone(), Mode::Enforce, None);
        let cold = answer().await;
        let requests = registry.requests().len();
        let warm = answer().now_or_never().unwrap_or_else(|| panic!("{name} suspends"));
        assert_eq!(warm, cold, "{name}");
        assert_eq!(registry.requests().len(), requests, "{name}");
    }
    // What is not known has to be waited for: the test can tell the two apart.
    registry.put("hub/library/unknown", "1", "{}");
    let unknown = crate::support::review::pod().image("unknown:1").create().0.to_string();
    assert_eq!(webhook.admission.answer(unknown.into(), Mode::Enforce, None).now_or_never(), None);
}
