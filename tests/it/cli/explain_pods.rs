//! `explain -f`: the Pods of manifests, whole.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::Folder;
use crate::support::{
    fake_registry::{FakeRegistry, manifest},
    review::{recorded, recorded_creates},
    webhook::{table, with_table},
};

const TABLE: &str = "apiVersion: portolan.dev/v1
kind: MappingTable
rules:
  - source: docker.io
    mirrors: [registry.example.com/hub]
  - source: quay.io
    mirrors: [registry.example.com/quay]
    lock: require
  - source: docker.io
    mirrors: [registry.example.com/team]
    namespaces: ['team-*']
registries:
  - host: registry.example.com
    pullSecret: harbor-pull
";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("table.yaml", TABLE);
    folder.write(
        "lock.txt",
        &format!("registry.example.com/hub/library/nginx:1.25 sha256:{}\n", "a".repeat(64)),
    );
    folder
}

const ARGUMENTS: [&str; 6] = ["explain", "--table", "table.yaml", "--lock", "lock.txt", "--offline"];

async fn explain(folder: &Folder, more: &[&str], stdin: &str) -> super::Ended {
    folder.run_with(&[&ARGUMENTS[..], more].concat(), stdin).await
}

/// The rows as JSON, of a manifest on stdin.
async fn rows(manifest: &str, more: &[&str]) -> (i32, Vec<Value>, String) {
    let ended = explain(&folder(), &[&["-f", "-", "-o", "json"], more].concat(), manifest).await;
    (ended.code, serde_json::from_str(&ended.stdout).unwrap_or_default(), ended.stderr)
}

const POD: &str = "apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
spec:
  initContainers:
    - {name: wait, image: auto}
  containers:
    - {name: app, image: 'nginx:1.25'}
    - {name: side, image: 'local/tool:1', imagePullPolicy: Never}
  volumes:
    - {name: data, image: {reference: 'team/data:7'}}
";

#[tokio::test]
async fn a_pod_is_shown_whole_with_secrets_and_patch() {
    let folder = folder();
    folder.write("pod.yaml", POD);
    let ended = explain(&folder, &["-f", "pod.yaml"], "").await;
    assert_snapshot!(ended.shown(), @r#"
    exit 0
    --- stdout
    Pod web in shop
      containers/app: nginx:1.25
        rewritten (pinned)
        result      registry.example.com/hub/library/nginx:1.25@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        reference   docker.io/library/nginx:1.25
        rule        docker.io (line 4)
        mirror      registry.example.com/hub
        digest      sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        known from  lock
        mirrors     registry.example.com/hub/library/nginx:1.25  locked sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        considered  docker.io (line 4)            won
                    docker.io in team-* (line 9)  other namespace: it is for `team-*`, not for `shop`
      containers/side: local/tool:1
        kept (pull-never)
        result      local/tool:1
      initContainers/wait: auto
        kept (placeholder)
        result      auto
      volumes/data: team/data:7
        rewritten (offline)
        result      registry.example.com/hub/team/data:7
        reference   docker.io/team/data:7
        rule        docker.io (line 4)
        mirror      registry.example.com/hub
        mirrors     registry.example.com/hub/team/data:7  not asked: `--offline` asks no registry
        considered  docker.io (line 4)            won
                    docker.io in team-* (line 9)  other namespace: it is for `team-*`, not for `shop`
      secrets     harbor-pull  added
      patch       replace  /spec/containers/0/image                     registry.example.com/hub/library/nginx:1.25@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
                  replace  /spec/volumes/0/image/reference              registry.example.com/hub/team/data:7
                  add      /metadata/annotations                        {}
                  add      /metadata/annotations/portolan.dev~1sources  {"containers/app":{"written":"nginx:1.25","image":"registry.example.com/hub/library/nginx:1.25@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},"volumes/data":{"written":"team/data:7","image":"registry.example.com/hub/team/data:7"}}
                  add      /spec/imagePullSecrets                       []
                  add      /spec/imagePullSecrets/-                     {"name":"harbor-pull"}
    "#);
}

#[tokio::test]
async fn as_json_a_pod_has_its_images_with_their_fields_and_the_patch() {
    let (code, rows, _) = rows(POD, &[]).await;
    assert_eq!(code, 0);
    let [pod] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(
        (&pod["kind"], &pod["name"], &pod["namespace"]),
        (&json!("Pod"), &json!("web"), &json!("shop"))
    );
    let images: Vec<_> =
        pod["images"].as_array().unwrap().iter().map(|row| (&row["field"], &row["reason"])).collect();
    assert_eq!(
        images,
        [
            (&json!("/spec/containers/0/image"), &json!("pinned")),
            (&json!("/spec/containers/1/image"), &json!("pull-never")),
            (&json!("/spec/initContainers/0/image"), &json!("placeholder")),
            (&json!("/spec/volumes/0/image/reference"), &json!("offline")),
        ]
    );
    let mut object: Value = serde_saphyr::from_str(POD).unwrap();
    let patch: json_patch::Patch = serde_json::from_value(pod["patch"].clone()).unwrap();
    json_patch::patch(&mut object, &patch).unwrap();
    assert_eq!(object["spec"]["volumes"][0]["image"]["reference"], "registry.example.com/hub/team/data:7");
    assert_eq!(object["spec"]["imagePullSecrets"], json!([{"name": "harbor-pull"}]));
    assert_eq!(
        (&pod["pullSecrets"], &pod["denied"], &pod["warnings"]),
        (&json!(["harbor-pull"]), &Value::Null, &json!([]))
    );
}

#[tokio::test]
async fn workloads_are_explained_by_the_pods_that_they_make() {
    let deployment = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: team-a, labels: {portolan.dev/rewrite: disabled}}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: nginx}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  jobTemplate:
    spec:
      template:
        metadata: {labels: {portolan.dev/rewrite: disabled}}
        spec: {containers: [{name: job, image: nginx}]}
";
    let (code, rows, stderr) = rows(deployment, &[]).await;
    assert_eq!((code, &*stderr), (0, ""));
    let told: Vec<_> = rows
        .iter()
        .map(|pod| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let image = &pod["images"][0];
            [&pod["kind"], &pod["name"], &pod["namespace"], &image["reason"], &image["result"]]
                .map(text)
                .join(" ")
        })
        .collect();
    assert_eq!(
        told,
        [
            // The Deployment's own label says nothing about its Pods, its namespace chooses the rule.
            "Deployment web team-a offline registry.example.com/team/library/nginx:latest",
            // The template's does, and without a namespace it is kubectl's default.
            "CronJob nightly default opted-out nginx",
        ]
    );
    assert!(rows[0]["patch"].as_array().unwrap().len() > 2, "{}", rows[0]);
    assert_eq!(rows[1]["patch"], json!([]));
    let (_, rows, _) = self::rows(deployment, &["--namespace", "shop"]).await;
    assert_eq!(rows[0]["images"][0]["result"], "registry.example.com/hub/library/nginx:latest");
}

#[tokio::test]
async fn a_denied_image_is_exit_1_and_says_what_the_admission_would() {
    let pod = POD.replace("nginx:1.25", "quay.io/x/y:1");
    let (code, rows, _) = rows(&pod, &[]).await;
    assert_eq!(code, 1);
    let denied = rows[0]["denied"].as_str().unwrap();
    assert!(
        denied.starts_with("portolan: image `quay.io/x/y:1` of containers/app is denied (not-locked)"),
        "{denied}"
    );
    assert_eq!(rows[0]["patch"], json!([]));
    let (code, rows, _) = self::rows(&POD.replace("nginx:1.25", "Not::"), &[]).await;
    assert_eq!(code, 1);
    assert!(rows[0]["warnings"][0].as_str().unwrap().contains("it is no image reference"), "{}", rows[0]);
}

#[tokio::test]
async fn a_broken_document_is_exit_2_and_the_others_are_explained() {
    let two = format!("{POD}---\nkind: Pod\nspec: {{containers: [}}\n---\n{}", POD.replace("web", "third"));
    let (code, rows, stderr) = rows(&two, &[]).await;
    let names: Vec<_> = rows.iter().map(|pod| pod["name"].as_str().unwrap()).collect();
    assert_eq!((code, names), (2, vec!["web", "third"]));
    assert!(stderr.starts_with("error: cannot read a manifest: `stdin`, document 2, line "), "{stderr}");
    let (code, rows, stderr) = self::rows("apiVersion: v1\nkind: Pod\nspec: {containers: text}\n", &[]).await;
    assert_eq!((code, rows.len()), (2, 0));
    assert!(stderr.starts_with("error: cannot read a Pod: the object cannot be read"), "{stderr}");
    let (code, _, stderr) = self::rows("kind: Service\n", &[]).await;
    assert_eq!((code, &*stderr), (2, "error: `stdin` has no Pod and nothing that makes Pods\n"));
    let (code, _, stderr) = self::rows("nginx:1.25\n", &[]).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("give it to `portolan explain -`"), "{stderr}");
    let both = explain(&folder(), &["nginx", "-f", "-"], POD).await;
    assert_eq!(both.code, 2);
}

#[tokio::test]
async fn a_namespace_that_the_webhook_leaves_alone_is_warned_of() {
    let (code, rows, stderr) = rows(&POD.replace("shop", "kube-system"), &[]).await;
    assert_eq!((code, rows.len()), (0, 1));
    assert_eq!(
        stderr,
        "warning: in namespace `kube-system` the webhook is not called unless it is labelled `portolan.dev/rewrite: \
         enabled`\n"
    );
}

#[tokio::test]
async fn a_pipe_gets_no_colour() {
    let ended = explain(&folder(), &["-f", "-"], POD).await;
    assert!(!ended.stdout.contains('\u{1b}'), "{:?}", ended.stdout);
}

/// The recorded Pods, by the webhook and by `explain -f`: the same patch, warnings and decisions.
#[tokio::test]
async fn explain_predicts_the_webhook_s_answer_to_every_recorded_pod() {
    let registry = FakeRegistry::start().await;
    registry.put("hub/library/nginx", "1.25", &manifest("nginx"));
    registry.put("hub/library/nginx", "latest", &manifest("latest"));
    let host = registry.host();
    let text = table(
        &[
            &format!("{{source: docker.io, mirrors: ['{host}/hub']}}"),
            &format!("{{source: docker.io/library/busybox, mirrors: ['{host}/none'], onMissing: rewrite}}"),
            "{source: docker.io/bitnami, keep: true}",
            &format!("{{source: docker.io/grafana, mirrors: ['{host}/none'], onMissing: deny}}"),
        ],
        &[&format!("{{host: '{host}', plainHttp: true, pullSecret: harbor-pull}}")],
    );
    let folder = Folder::new();
    folder.write("table.yaml", &text);
    let (mut compared, mut patched, mut denied) = (0, 0, 0);
    for (name, review) in recorded_creates() {
        let request = &review["request"];
        let webhook = with_table(text.clone()).start();
        let answered = webhook.mutate(&review).await;
        let arguments = [
            "explain",
            "-f",
            "-",
            "--table",
            "table.yaml",
            "-o",
            "json",
            "--resolve-timeout",
            "20s",
            "--namespace",
            request["namespace"].as_str().unwrap(),
        ];
        let ended = folder.run_with(&arguments, &request["object"].to_string()).await;
        let rows: Vec<Value> =
            serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.shown()));
        let [pod] = &rows[..] else { panic!("{name}: {rows:?}") };
        assert_eq!(pod["patch"], json!(answered.patch), "{name}");
        assert_eq!(pod["warnings"], json!(answered.warnings()), "{name}");
        assert_eq!(pod["denied"], answered.response["status"]["message"], "{name}");
        let decided = |row: &Value| -> Vec<Value> {
            ["written", "field", "reference", "rule", "result", "digest", "outcome", "reason", "resolvedFrom"]
                .iter()
                .map(|key| row[*key].clone())
                .collect()
        };
        let by_webhook: Vec<_> = webhook.audit().iter().map(decided).collect();
        let by_explain: Vec<_> = pod["images"].as_array().unwrap().iter().map(decided).collect();
        assert_eq!(by_explain, by_webhook, "{name}");
        compared += 1;
        patched += usize::from(!answered.patch.is_empty());
        denied += usize::from(!answered.allowed());
    }
    if !recorded().is_empty() {
        assert!(compared >= 9 && patched >= 4 && denied >= 1, "{compared} {patched} {denied}");
    }
}
