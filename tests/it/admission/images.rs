//! Which images of which requests are changed, and what beside them.

use portolan::{admission::Options, rewrite::PodOptOut};
use serde_json::{Value, json};

use super::{hub, pinned, put};
use crate::support::{
    fake_registry::FakeRegistry,
    review::{Pod, pod},
    webhook::{hub_table, table, with_table},
};

async fn nginx_and_busybox() -> FakeRegistry {
    hub(&[("library/nginx", "1.25"), ("library/nginx", "1.26"), ("library/busybox", "latest")]).await
}

#[tokio::test]
async fn all_four_places_that_name_an_image_are_rewritten_and_pinned() {
    let registry = nginx_and_busybox().await;
    let webhook = with_table(hub_table(&registry, "")).start();
    let (nginx, busybox) =
        (pinned(&registry, "library/nginx", "1.25"), pinned(&registry, "library/busybox", "latest"));
    let whole = pod().init("setup", "busybox").volume("model", "nginx:1.25").container("kept", "quay.io/a/b");
    let created = webhook.mutate(&whole.clone().create().0).await;
    let replace = |path: &str, value: &str| json!({"op": "replace", "path": path, "value": value});
    let sources = json!({
        "containers/app": {"written": "nginx:1.25", "image": nginx},
        "initContainers/setup": {"written": "busybox", "image": busybox},
        "volumes/model": {"written": "nginx:1.25", "image": nginx},
    });
    assert_eq!(created.sources(), sources);
    assert_eq!(
        created.patch[..4],
        [
            replace("/spec/containers/0/image", &nginx),
            replace("/spec/initContainers/0/image", &busybox),
            replace("/spec/volumes/0/image/reference", &nginx),
            json!({"op": "add", "path": "/metadata/annotations", "value": {}}),
        ]
    );
    assert_eq!(created.patch[4]["path"], "/metadata/annotations/portolan.dev~1sources");
    assert_eq!(created.patch.len(), 5);

    let before = Pod(created.object);
    let debugged = webhook.mutate(&before.clone().ephemeral("debugger", "busybox").debug(&before).0).await;
    assert_eq!(debugged.patch, [replace("/spec/ephemeralContainers/0/image", &busybox)]);
}

#[tokio::test]
async fn with_no_pod_opt_out_the_label_of_a_pod_counts_for_nothing() {
    let registry = nginx_and_busybox().await;
    let opted_out = pod().label("portolan.dev/rewrite", "disabled").create().0;
    let usual = with_table(hub_table(&registry, "")).start();
    usual.mutate(&opted_out).await.assert_untouched();

    let host = registry.host();
    let with_secret = table(
        &[&format!("{{source: docker.io, mirrors: ['{host}/hub']}}")],
        &[&format!("{{host: '{host}', plainHttp: true, pullSecret: pull}}")],
    );
    let ignoring = |options: &mut Options| options.pod_opt_out = PodOptOut::Ignored;
    let strict = with_table(with_secret).options(ignoring).start();
    let created = strict.mutate(&opted_out).await;
    assert_eq!(created.object["spec"]["containers"][0]["image"], pinned(&registry, "library/nginx", "1.25"));
    assert_eq!(created.object["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
    // What else is left alone still is.
    let mirror_pod = pod().annotation("kubernetes.io/config.mirror", "x").create().0;
    strict.mutate(&mirror_pod).await.assert_untouched();
}

#[tokio::test]
async fn through_the_subresource_only_what_is_new_is_looked_at() {
    let registry = nginx_and_busybox().await;
    let webhook = with_table(hub_table(&registry, "")).start();
    let old = pod().ephemeral("first", "busybox");
    let answered = webhook.mutate(&old.clone().ephemeral("second", "busybox").debug(&old).0).await;
    let paths: Vec<_> = answered.patch.iter().map(|operation| &operation["path"]).collect();
    assert_eq!(paths, ["/spec/ephemeralContainers/1/image"]);
    assert_eq!(webhook.audit().len(), 1);
    assert_eq!(registry.count("HEAD", "nginx"), 0);
}

#[tokio::test]
async fn an_update_changes_new_images_only_and_an_unedited_manifest_is_restored() {
    let registry = nginx_and_busybox().await;
    let webhook = with_table(hub_table(&registry, "").replace("mirrors", "onMissing: deny, mirrors")).start();
    let written = pod();
    let running = Pod(webhook.mutate(&written.clone().create().0).await.object);

    // Applied again after its tag has gone: the same digest runs on, and nobody is asked.
    registry.clear();
    let asked = registry.requests().len();
    let again = webhook.mutate(&running.clone().image("nginx:1.25").update(&running).0).await;
    assert_eq!(again.object, running.0);
    assert_eq!(again.audited()[0]["reason"], "restored");
    assert_eq!(registry.requests().len(), asked);

    // `kubectl replace` brings no annotation.
    let replaced = webhook.mutate(&written.clone().update(&running).0).await;
    assert_eq!(replaced.object, running.0);

    // Another image is decided anew, and so is the first one when it comes back: A → B → A.
    put(&registry, "library/nginx", "1.26");
    let to_b = webhook.mutate(&running.clone().image("nginx:1.26").update(&running).0).await;
    let b = pinned(&registry, "library/nginx", "1.26");
    assert_eq!(to_b.object["spec"]["containers"][0]["image"], b);
    assert_eq!(to_b.sources(), json!({"containers/app": {"written": "nginx:1.26", "image": b}}));
    put(&registry, "library/nginx", "1.25");
    let running_b = Pod(to_b.object);
    let back = webhook.mutate(&running_b.clone().image("nginx:1.25").update(&running_b).0).await;
    assert_eq!(back.object["spec"]["containers"][0]["image"], pinned(&registry, "library/nginx", "1.25"));
    assert_eq!(back.audited()[0]["reason"], "pinned");
}

#[tokio::test]
async fn the_namespace_is_the_requests_and_not_the_pods() {
    let registry = nginx_and_busybox().await;
    let webhook = with_table(hub_table(&registry, ", namespaces: [shop]")).start();
    let mut pod = pod();
    for (own, request, changed) in [("other", "shop", true), ("shop", "other", false)] {
        pod.0["metadata"]["namespace"] = json!(own);
        let answered = webhook.mutate(&pod.clone().create().with("namespace", request).0).await;
        assert_eq!(!answered.patch.is_empty(), changed, "the request is for `{request}`");
    }
}

#[tokio::test]
async fn pull_secrets_are_appended_once_and_on_create_only() {
    let registry = nginx_and_busybox().await;
    let host = registry.host();
    let webhook = with_table(table(
        &[&format!("{{source: docker.io, mirrors: ['{host}/hub']}}")],
        &[&format!("{{host: '{host}', plainHttp: true, pullSecret: pull}}")],
    ))
    .start();
    let names = |object: &Value| object["spec"]["imagePullSecrets"].clone();
    let created = webhook.mutate(&pod().container("second", "busybox").create().0).await;
    assert_eq!(names(&created.object), json!([{"name": "pull"}]));
    let own = pod().push("imagePullSecrets", json!({"name": "own"}));
    let created = webhook.mutate(&own.create().0).await;
    assert_eq!(names(&created.object), json!([{"name": "own"}, {"name": "pull"}]));
    // Already in the registry, so nothing else changes.
    let inside = pod().image(&pinned(&registry, "library/nginx", "1.25")).create();
    let answered = webhook.mutate(&inside.0).await;
    assert_eq!(names(&answered.object), json!([{"name": "pull"}]));
    assert_eq!(answered.audited(), Value::Null, "no image changed");
    // Nothing of ours, or not a CREATE.
    webhook.mutate(&pod().image("quay.io/a/b").create().0).await.assert_untouched();
    let updated = webhook.mutate(&pod().image("nginx:1.26").update(&pod()).0).await;
    assert_eq!(names(&updated.object), Value::Null);
}

#[tokio::test]
async fn what_is_to_be_left_alone_is_left_alone_whatever_the_table_says() {
    let registry = nginx_and_busybox().await;
    let webhook = with_table(hub_table(&registry, ", onMissing: deny, onUnavailable: deny"))
        .options(|options| options.own_namespace = Some("portolan".into()))
        .start();
    let never = pod().with("/spec/containers/0/imagePullPolicy", "Never");
    let never_volume = pod()
        .image("auto")
        .push("volumes", json!({"name": "v", "image": {"reference": "nginx", "pullPolicy": "Never"}}));
    for (review, reasons) in [
        (pod().label("portolan.dev/rewrite", "disabled").create(), vec!["opted-out"]),
        (pod().create().with("namespace", "portolan"), vec!["own-namespace"]),
        (pod().annotation("kubernetes.io/config.mirror", "x").create(), vec!["mirror-pod"]),
        (never.create(), vec!["pull-never"]),
        (never_volume.create(), vec!["placeholder", "pull-never"]),
        (pod().image("").create(), vec!["placeholder"]),
    ] {
        let review = review.with("uid", reasons.join(" "));
        let answered = webhook.mutate(&review.0).await;
        answered.assert_untouched();
        assert_eq!(answered.warnings(), Vec::<&str>::new(), "{reasons:?}");
    }
    for line in webhook.audit() {
        let reasons = line["uid"].as_str().unwrap();
        assert!(reasons.contains(line["reason"].as_str().unwrap()), "{line}");
        assert_eq!(line["outcome"], "kept");
        assert_eq!(line["result"], line["written"]);
    }
    assert_eq!(registry.requests().len(), 0);
}
