//! Looking for locked digests in the background.

use std::time::{Duration, Instant};

use portolan::{
    image::{Digest, Reference},
    registry::{CachePolicy, EndpointConfig, Resolver, Verified},
};

use super::resolver;
use crate::support::fake_registry::{FakeRegistry, Fault, manifest};

fn quick() -> CachePolicy {
    CachePolicy { leave_alone_for: Duration::from_secs(60), ..CachePolicy::default() }
}

async fn verify(resolver: &Resolver, place: &str, digest: &Digest) -> Verified {
    let place: Reference = place.parse().unwrap();
    resolver.verify(&place, digest).await
}

#[tokio::test]
async fn a_digest_is_present_moved_missing_or_nobody_can_say() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let old = registry.put("team/app", "v1", &manifest("old"));
    let resolver = resolver(quick(), &[&registry]);
    let (tag, both) = (format!("{host}/team/app:v1"), format!("{host}/team/app:v1@{old}"));
    let alone = format!("{host}/team/app@{old}");
    for place in [&tag, &both, &alone] {
        assert_eq!(verify(&resolver, place, &old).await, Verified::Present, "{place}");
    }
    assert_eq!(registry.requests().len(), 3, "one request each where all is well: {:?}", registry.requests());

    let gone = format!("{host}/team/app:gone");
    assert_eq!(verify(&resolver, &gone, &old).await, Verified::Moved, "the tag is gone, the content is not");
    registry.put("team/app", "v1", &manifest("new"));
    assert_eq!(verify(&resolver, &tag, &old).await, Verified::Moved);
    assert_eq!(verify(&resolver, &alone, &old).await, Verified::Present);
    let other = Digest::of(b"nobody has it");
    assert_eq!(verify(&resolver, &tag, &other).await, Verified::Missing);
    assert_eq!(verify(&resolver, &gone, &other).await, Verified::Missing);
    assert_eq!(verify(&resolver, &format!("{host}/team/app@{other}"), &other).await, Verified::Missing);

    registry.fault_at("/manifests/v1", Fault::DigestHeader(other.to_string()));
    assert_eq!(verify(&resolver, &tag, &old).await, Verified::Unknown, "a header is no proof");
    registry.heal();
    registry.fault(Fault::Status(403));
    assert_eq!(verify(&resolver, &tag, &old).await, Verified::Unknown);
    assert_eq!(resolver.status(Instant::now()).registries[0].left_alone_for, None, "a 403 is an answer");
    registry.heal();
    registry.fault(Fault::Status(500));
    assert_eq!(verify(&resolver, &tag, &old).await, Verified::Unknown);
    let asked = registry.requests().len();
    assert_eq!(verify(&resolver, &tag, &old).await, Verified::Unknown);
    assert_eq!(registry.requests().len(), asked, "it is left alone");
}

#[tokio::test]
async fn its_requests_are_told_apart_by_their_user_agent_and_their_answers_are_not_remembered() {
    let registry = FakeRegistry::builder().anonymous_tokens().start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let resolver = resolver(quick(), &[&registry]);
    let place = format!("{}/team/app:v1", registry.host());
    assert_eq!(verify(&resolver, &place, &digest).await, Verified::Present);
    let checks = registry.requests();
    assert_eq!(checks.len(), 3, "refused, a token, and again: {checks:?}");
    let expected = concat!("portolan-lock-check/", env!("CARGO_PKG_VERSION"));
    for request in &checks {
        assert_eq!(request.header("user-agent"), expected, "{request:?}");
    }
    assert_eq!(super::remembered(&resolver, &[&place], Instant::now()), None);
    super::resolve(&resolver, &[&place]).await;
    let admission = registry.requests().pop().unwrap();
    assert_eq!(admission.header("user-agent"), concat!("portolan/", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_registry_that_is_not_there_says_nothing() {
    let resolver = Resolver::new(quick());
    let endpoint = EndpointConfig { plain_http: true, ..EndpointConfig::new("127.0.0.1:1") };
    resolver.configure(vec![endpoint], None).unwrap();
    assert_eq!(verify(&resolver, "127.0.0.1:1/a:1", &Digest::of(b"")).await, Verified::Unknown);
}
