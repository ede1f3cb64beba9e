//! `explain` and the webhook never disagree: every image of the recorded Pod CREATEs is asked of both.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Folder;
use crate::support::{
    fake_registry::{FakeRegistry, manifest},
    review::{images, recorded, recorded_creates},
    webhook::{table, with_table},
};

/// A table by which the recorded images come to most of the outcomes that there are.
fn various(registry: &FakeRegistry) -> String {
    let host = registry.host();
    table(
        &[
            &format!("{{source: docker.io, mirrors: ['{host}/hub']}}"),
            &format!(
                "{{source: 'docker.io/library/redis:7.2', mirrors: ['{host}/hardened/redis:7.2-fips']}}"
            ),
            &format!(
                "{{source: docker.io/library/busybox, mirrors: ['{host}/scoped'], namespaces: ['bench-rec?', 'bench-*']}}"
            ),
            &format!(
                "{{source: docker.io/library/memcached, mirrors: ['{host}/scoped'], namespaces: [other]}}"
            ),
            "{source: docker.io/bitnami, keep: true}",
            &format!("{{source: docker.io/grafana, mirrors: ['{host}/none'], onMissing: deny}}"),
            &format!("{{source: docker.io/fluent, mirrors: ['{host}/fluent'], pin: off}}"),
            "{source: docker.io/envoyproxy, mirrors: ['127.0.0.1:1/x'], onUnavailable: keep}",
            &format!("{{source: '127.0.0.1:5000/mirror', mirrors: ['{host}/old'], onMissing: rewrite}}"),
        ],
        &[&format!("{{host: '{host}', plainHttp: true}}"), "{host: '127.0.0.1:1', plainHttp: true}"],
    )
}

#[tokio::test]
async fn check_says_of_every_recorded_pod_what_the_webhook_does() {
    let registry = FakeRegistry::start().await;
    for (repository, tag) in
        [("hub/library/nginx", "1.25"), ("hardened/redis", "7.2-fips"), ("scoped", "1.36")]
    {
        registry.put(repository, tag, &manifest(repository));
    }
    let text = various(&registry);
    let webhook = with_table(text.clone()).start();
    let folder = Folder::new();
    folder.write("table.yaml", &text);
    let fields = ["uid", "written", "outcome", "reason", "digest", "result", "rule", "mirror"];
    let told = |row: &Value, uid: &Value| -> Vec<Value> {
        fields.iter().map(|field| if *field == "uid" { uid.clone() } else { row[*field].clone() }).collect()
    };
    let mut checked = Vec::new();
    for (_, review) in recorded_creates() {
        let request = &review["request"];
        webhook.mutate(&review).await;
        let mut pod = request["object"].clone();
        pod["kind"] = json!("Pod");
        pod["metadata"]["namespace"] = request["namespace"].clone();
        let arguments = ["check", "-", "--table", "table.yaml", "-o", "json", "--resolve-timeout", "20s"];
        let ended = folder.run_with(&arguments, &pod.to_string()).await;
        let answer: Value =
            serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.shown()));
        let rows = answer["images"].as_array().unwrap();
        checked.extend(rows.iter().map(|row| told(row, &request["uid"])));
    }
    // An image is one row of `check`, however many containers have it.
    let sorted = |mut rows: Vec<Vec<Value>>| {
        rows.sort_by_key(|row| format!("{row:?}"));
        rows.dedup();
        rows
    };
    let by_webhook = sorted(webhook.audit().iter().map(|line| told(line, &line["uid"])).collect());
    assert_eq!(sorted(checked), by_webhook);
    let reasons: BTreeSet<_> = by_webhook.iter().map(|row| row[3].as_str().unwrap()).collect();
    assert!(recorded().is_empty() || reasons.len() > 4, "the table makes many outcomes: {reasons:?}");
}

#[tokio::test]
async fn explain_says_of_every_recorded_image_what_the_webhook_does() {
    let registry = FakeRegistry::start().await;
    for (repository, tag) in [
        ("hub/library/nginx", "1.25"),
        ("hub/library/nginx", "latest"),
        ("hardened/redis", "7.2-fips"),
        ("scoped", "1.36"),
    ] {
        registry.put(repository, tag, &manifest(repository));
    }
    let text = various(&registry);
    let webhook = with_table(text.clone()).start();
    let folder = Folder::new();
    folder.write("table.yaml", &text);
    let fields = ["written", "outcome", "reason", "digest", "result"];
    let mut explained = Vec::new();
    for (name, review) in recorded_creates() {
        let request = &review["request"];
        webhook.mutate(&review).await;
        let namespace = request["namespace"].as_str().unwrap();
        let list: Vec<_> = images(&request["object"]).into_iter().map(|(.., image)| image).collect();
        let arguments = [
            "explain",
            "-",
            "--namespace",
            namespace,
            "--table",
            "table.yaml",
            "-o",
            "json",
            "--resolve-timeout",
            "20s",
        ];
        let ended = folder.run_with(&arguments, &list.join("\n")).await;
        let rows: Vec<Value> =
            serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.shown()));
        assert_eq!(rows.len(), list.len(), "{name}");
        let denied = rows.iter().any(|row| row["outcome"] == "denied");
        assert_eq!(ended.code, i32::from(denied), "{name}");
        explained.extend(rows.into_iter().map(|mut row| {
            row["uid"] = request["uid"].clone();
            row
        }));
    }
    if recorded().is_empty() {
        return;
    }
    let told = |row: &Value| -> Vec<Value> {
        fields
            .iter()
            .chain(&["uid"])
            .map(|field| row.get(*field).cloned().unwrap_or_else(|| json!("absent")))
            .collect()
    };
    let by_webhook: Vec<_> = webhook.audit().iter().map(told).collect();
    let by_explain: Vec<_> = explained.iter().map(told).collect();
    assert_eq!(by_explain, by_webhook);
    let reasons: BTreeSet<_> = explained.iter().map(|row| row["reason"].as_str().unwrap()).collect();
    assert_eq!(
        Vec::from_iter(reasons),
        ["exception", "missing", "pin-off", "pinned", "unavailable"],
        "the table makes many outcomes"
    );
}
