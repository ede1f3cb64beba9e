//! Registries that do not answer: order and outcome, never a duration.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use portolan::rewrite::Mode;
use serde_json::json;

use super::{hub, pinned};
use crate::support::{
    eventually,
    fake_registry::Fault,
    review::pod,
    webhook::{hub_table, with_table},
};

/// Longer than any test waits: an answer that comes did not wait for this.
const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_stalled_registry_is_not_waited_for_beyond_the_resolve_timeout() {
    let registry = hub(&[("library/nginx", "1.25")]).await;
    let webhook = with_table(hub_table(&registry, ""))
        .options(|options| options.resolve_timeout = Duration::from_millis(100))
        .start();
    registry.fault(Fault::Stall);
    // The answer comes while the registry still holds the request.
    let answered = webhook.review("/mutate?timeout=30s", &pod().create().0).await;
    eventually("the request is there", async || registry.requests().len() == 1).await;
    let without = format!("{}/hub/library/nginx:1.25", registry.host());
    assert_eq!(answered.object["spec"]["containers"][0]["image"], without);
    assert_eq!(
        answered.sources(),
        json!({"containers/app": {"written": "nginx:1.25", "image": without, "reason": "unavailable"}})
    );
    // The late answer is kept: a Pod that comes after it is pinned, and no second request was made.
    registry.heal();
    eventually("the late answer is used", async || {
        let answered = webhook.mutate(&pod().create().0).await;
        answered.object["spec"]["containers"][0]["image"] == pinned(&registry, "library/nginx", "1.25")
    })
    .await;
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn a_stalled_registry_is_not_waited_for_beyond_the_requests_own_timeout() {
    let registry = hub(&[("library/nginx", "1.25")]).await;
    registry.fault(Fault::Stall);
    for timeout in ["1s", "1.2s"] {
        let webhook = with_table(hub_table(&registry, ", onUnavailable: deny"))
            .options(|options| options.resolve_timeout = NEVER)
            .start();
        let answered = webhook.review(&format!("/mutate?timeout={timeout}"), &pod().create().0).await;
        assert!(!answered.allowed());
        assert_eq!(answered.audited()[0]["reason"], "unavailable");
    }
}

#[tokio::test]
async fn what_is_known_is_pinned_though_a_sibling_stalls() {
    let registry = hub(&[("library/nginx", "1.25"), ("library/redis", "7")]).await;
    let webhook = with_table(hub_table(&registry, ""))
        .options(|options| options.resolve_timeout = Duration::from_secs(2))
        .start();
    registry.fault_at("redis", Fault::Stall);
    let answered =
        webhook.mutate(&pod().container("cache", "redis:7").init("same", "nginx:1.25").create().0).await;
    let image = |pointer: &str| answered.object.pointer(pointer).unwrap().as_str().unwrap();
    let nginx = pinned(&registry, "library/nginx", "1.25");
    assert_eq!(image("/spec/containers/0/image"), nginx);
    assert_eq!(image("/spec/initContainers/0/image"), nginx);
    assert_eq!(image("/spec/containers/1/image"), format!("{}/hub/library/redis:7", registry.host()));
    assert_eq!(registry.count("HEAD", "nginx"), 1, "one request for both");
    let reasons: Vec<_> = webhook.audit().iter().map(|line| line["reason"].clone()).collect();
    assert_eq!(reasons, ["pinned", "unavailable", "pinned"]);
}

#[tokio::test]
async fn while_a_registry_is_left_alone_nobody_waits_for_it() {
    let registry = hub(&[("library/nginx", "1.25")]).await;
    let mut builder = with_table(hub_table(&registry, ""))
        .options(|options| options.resolve_timeout = Duration::from_millis(100));
    builder.policy.leave_alone_for = NEVER;
    let webhook = builder.start();
    registry.fault(Fault::Stall);
    eventually("it is left alone", async || {
        webhook.mutate(&pod().create().0).await;
        let status = webhook.admission.resolver.status(Instant::now());
        status.registries[0].left_alone_for.is_some()
    })
    .await;
    let asked = registry.requests().len();
    for image in ["nginx:1.25", "redis:7"] {
        let body = pod().image(image).create().0.to_string().into();
        let answer = webhook.admission.answer(body, Mode::Enforce, Some(NEVER));
        assert!(answer.now_or_never().is_some(), "{image} was waited for");
    }
    assert_eq!(registry.requests().len(), asked);
}
