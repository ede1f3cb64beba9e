//! Admissions without an API server: a review of a Pod with one container, sent as it would.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::Connection;

/// Sends one review and gives the answer; `None` if there was none, or no review. A connection that is open is used, and
/// left open.
pub fn admit(connection: &mut Option<Connection>, address: &str, uid: &str, written: &str) -> Option<Value> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open(address).ok()?,
    };
    // Registries are given what `--resolve-timeout` says, by default as much as under the shipped configuration's 3 s.
    open.write("/mutate?timeout=10s", &review(uid, written)).ok()?;
    let answer = open.read().ok()?;
    if !answer.close {
        *connection = Some(open);
    }
    (answer.status == 200).then(|| serde_json::from_slice(&answer.body).ok()).flatten()
}

/// The image that the answer's patch puts into the container.
pub fn patched(answer: &Value) -> Option<String> {
    let patch = STANDARD.decode(answer["response"]["patch"].as_str()?).ok()?;
    let operations: Vec<Value> = serde_json::from_slice(&patch).ok()?;
    let image = operations.iter().find(|operation| operation["path"] == "/spec/containers/0/image")?;
    image["value"].as_str().map(ToOwned::to_owned)
}

fn review(uid: &str, image: &str) -> String {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE",
            "namespace": "load",
            "userInfo": {"username": "load"},
            "object": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"generateName": "load-", "namespace": "load"},
                "spec": {"containers": [{"name": "app", "image": image}]},
            },
            "oldObject": null,
        },
    })
    .to_string()
}
