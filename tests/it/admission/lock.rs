//! What the lock changes: no registry is asked, and where it is required nothing else is let through.

use portolan::image::Digest;
use serde_json::{Value, json};

use super::{hub, pinned};
use crate::support::{
    review::pod,
    webhook::{hub_table, table, with_table},
};

/// The line of an image of `docker.io` in the `hub` of that registry, with the digest of its stand-in.
fn line(host: &str, repository: &str, tag: &str) -> String {
    format!("{host}/hub/{repository}:{tag} {}\n", digest(repository, tag))
}

fn digest(repository: &str, tag: &str) -> Digest {
    Digest::of(crate::support::fake_registry::manifest(&format!("{repository}:{tag}")).as_bytes())
}

#[tokio::test]
async fn with_a_full_lock_no_registry_is_asked() {
    let registry = hub(&[("library/nginx", "1.25"), ("library/busybox", "latest")]).await;
    let host = registry.host();
    let nginx = digest("library/nginx", "1.25");
    let lock = line(&host, "library/nginx", "1.25") + &line(&host, "library/busybox", "latest");
    for mode in ["prefer", "require"] {
        let webhook = with_table(hub_table(&registry, &format!(", lock: {mode}"))).locked(&*lock).start();
        let whole = pod()
            .init("setup", "busybox")
            .volume("model", "nginx:1.25")
            .container("by-digest", &format!("nginx@{nginx}"))
            .container("inside", &format!("{host}/hub/library/nginx:1.25"))
            .with("/spec/containers/0/imagePullPolicy", "Always");
        let answered = webhook.mutate(&whole.create().0).await;
        let images: Vec<_> =
            crate::support::review::images(&answered.object).into_iter().map(|(.., image)| image).collect();
        let pinned_nginx = pinned(&registry, "library/nginx", "1.25");
        for image in [
            &pinned_nginx,
            &pinned(&registry, "library/busybox", "latest"),
            &format!("{host}/hub/library/nginx@{nginx}"),
        ] {
            assert!(images.contains(image), "{image} is not among {images:?}");
        }
        assert_eq!(images.iter().filter(|image| **image == pinned_nginx).count(), 3, "{images:?}");
        let told: Vec<_> = webhook
            .audit()
            .iter()
            .map(|line| json!([line["container"], line["reason"], line["resolvedFrom"]]))
            .collect();
        for expected in [
            json!(["app", "pinned", "lock"]),
            json!(["setup", "pinned", "lock"]),
            json!(["by-digest", "carried", "reference"]),
            json!(["inside", "mirrored", "lock"]),
        ] {
            assert!(told.contains(&expected), "{expected} is not in {told:?}");
        }
        assert_eq!(webhook.metric(r#"portolan_resolved_total{from="registry"}"#), 0);
    }
    assert!(registry.requests().is_empty(), "{:?}", registry.requests());
}

#[tokio::test]
async fn a_registry_that_was_never_there_is_not_missed() {
    let text = table(
        &["{source: docker.io, mirrors: ['127.0.0.1:1/hub']}"],
        &["{host: '127.0.0.1:1', plainHttp: true}"],
    );
    let webhook = with_table(text).locked(line("127.0.0.1:1", "library/nginx", "1.25")).start();
    let answered = webhook.mutate(&pod().container("other", "redis:7").create().0).await;
    let image = |container: usize| answered.object["spec"]["containers"][container]["image"].clone();
    assert_eq!(image(0), format!("127.0.0.1:1/hub/library/nginx:1.25@{}", digest("library/nginx", "1.25")));
    assert_eq!(image(1), "127.0.0.1:1/hub/library/redis:7", "what has no line is asked about, in vain");
    assert_eq!(answered.warnings().len(), 1, "{:?}", answered.warnings());
}

#[tokio::test]
async fn where_the_lock_is_required_what_has_no_line_is_denied_and_nobody_is_asked() {
    let registry = hub(&[("library/redis", "7")]).await;
    let host = registry.host();
    let webhook = with_table(hub_table(&registry, ", lock: require"))
        .locked(line(&host, "library/nginx", "1.25"))
        .start();
    let inside = format!("{host}/hub/library/redis:7");
    for image in ["redis:7", &inside, &format!("nginx@{}", digest("library/redis", "7"))] {
        let answered = webhook.mutate(&pod().container("other", image).create().0).await;
        assert!(!answered.allowed(), "{image}");
        let message = answered.response["status"]["message"].as_str().unwrap();
        let expected = format!(
            "portolan: image `{image}` of containers/other is denied (not-locked) by the rule for `docker.io`: the lock \
             has no line for it in `{host}/hub`; add one, or set `lock` to prefer"
        );
        assert_eq!(message, expected);
        assert_eq!(answered.audited()[1]["image"], Value::Null);
    }
    let audited = webhook.review("/mutate/audit?timeout=30s", &pod().image("redis:7").create().0).await;
    assert!(audited.allowed());
    assert_eq!(
        audited.warnings(),
        ["portolan: containers/app: `redis:7` would be denied (not-locked): the lock has no line for it"]
    );
    assert!(registry.requests().is_empty(), "{:?}", registry.requests());
}
