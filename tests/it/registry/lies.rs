//! Registries that lie, babble, redirect and hang up.

use std::time::{Duration, Instant};

use portolan::{
    image::Digest,
    registry::{Answer, AnswerSource, CachePolicy},
};

use super::{eager, forgetful, found, password, resolve, resolve_within, resolver, with_login};
use crate::support::{
    authority::Authority,
    eventually,
    fake_registry::{FakeRegistry, Fault, manifest},
    logs::Logs,
};

const UNAVAILABLE: Answer = Answer::Unavailable { mirror: 0 };

#[tokio::test]
async fn without_a_digest_header_the_digest_is_that_of_the_bytes() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    registry.fault(Fault::NoDigest);
    let resolver = resolver(forgetful(), &[&registry]);
    let host = registry.host();
    for image in [format!("{host}/team/app:v1"), format!("{host}/team/app@{digest}")] {
        assert_eq!(resolve(&resolver, &[&image]).await, found(0, &digest, AnswerSource::Registry), "{image}");
    }
    assert_eq!((registry.count("HEAD", ""), registry.count("GET", "")), (2, 2));
}

#[tokio::test]
async fn a_digest_that_is_not_that_of_the_bytes_is_an_error() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let other = Digest::of(b"something else");
    // Under the digest that is asked for lie other bytes.
    registry.put_at("team/liar", digest.as_str(), &manifest("another"));
    let resolver = resolver(forgetful(), &[&registry]);
    let host = registry.host();
    for (image, fault) in [
        (format!("{host}/team/liar@{digest}"), Fault::None),
        (format!("{host}/team/liar@{digest}"), Fault::NoDigest),
        (format!("{host}/team/app@{digest}"), Fault::DigestHeader(other.to_string())),
    ] {
        registry.fault(fault.clone());
        assert_eq!(resolve(&resolver, &[&image]).await, UNAVAILABLE, "{image}, {fault:?}");
    }
}

#[tokio::test]
async fn a_get_that_names_another_digest_than_its_bytes_have_is_an_error() {
    let registry = FakeRegistry::start().await;
    registry.put("team/app", "v1", &manifest("app"));
    let resolver = resolver(forgetful(), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    registry.fault_at("HEAD", Fault::NoDigest);
    assert!(matches!(resolve(&resolver, &[&image]).await, Answer::Found { .. }));
    registry.fault_at("GET", Fault::DigestHeader(Digest::of(b"something else").to_string()));
    assert_eq!(resolve(&resolver, &[&image]).await, UNAVAILABLE);
}

#[tokio::test]
async fn that_a_tag_has_moved_is_believed_by_its_bytes_alone() {
    let registry = FakeRegistry::start().await;
    let old = registry.put("team/app", "v1", &manifest("old"));
    let resolver = resolver(eager(), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    let gets = || registry.count("GET", "manifests");
    assert_eq!(resolve(&resolver, &[&image]).await, found(0, &old, AnswerSource::Registry));
    assert_eq!(resolve(&resolver, &[&image]).await, found(0, &old, AnswerSource::Registry));
    assert_eq!(gets(), 0, "nothing has changed");

    registry.fault(Fault::DigestHeader(Digest::of(b"something else").to_string()));
    assert_eq!(resolve(&resolver, &[&image]).await, found(0, &old, AnswerSource::Stale), "a lie all through");
    assert_eq!(gets(), 1);
    registry.fault_at("GET", Fault::NoDigest);
    registry.fault_at("HEAD", Fault::DigestHeader(Digest::of(b"something else").to_string()));
    eventually("it is asked again", async || {
        resolve(&resolver, &[&image]).await == found(0, &old, AnswerSource::Registry)
    })
    .await;

    registry.fault(Fault::None);
    let new = registry.put("team/app", "v1", &manifest("new"));
    let before = gets();
    assert_eq!(resolve(&resolver, &[&image]).await, found(0, &new, AnswerSource::Registry));
    assert_eq!(resolve(&resolver, &[&image]).await, found(0, &new, AnswerSource::Registry));
    assert_eq!(gets() - before, 1, "it moved once");
}

#[tokio::test]
async fn where_no_older_digest_may_be_used_a_moved_tag_needs_no_proof() {
    let registry = FakeRegistry::start().await;
    let old = registry.put("team/app", "v1", &manifest("old"));
    let resolver = resolver(forgetful(), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    assert_eq!(resolve(&resolver, &[&image]).await, found(0, &old, AnswerSource::Registry));
    let new = registry.put("team/app", "v1", &manifest("new"));
    registry.fault_at("GET", Fault::Status(503));
    assert_eq!(resolve(&resolver, &[&image]).await, found(0, &new, AnswerSource::Registry));
}

#[tokio::test]
async fn a_moved_tag_whose_bytes_are_not_to_be_had_stays_and_its_registry_is_not_left_alone() {
    let registry = FakeRegistry::start().await;
    let old = registry.put("team/app", "v1", &manifest("old"));
    let policy = CachePolicy { leave_alone_for: CachePolicy::default().leave_alone_for, ..eager() };
    let resolver = resolver(policy, &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    assert_eq!(resolve(&resolver, &[&image]).await, found(0, &old, AnswerSource::Registry));
    registry.put("team/app", "v1", &manifest("new"));
    for fault in [Fault::Status(503), Fault::Status(404), Fault::Close, Fault::Body("{}".into())] {
        registry.heal();
        registry.fault_at("GET", fault.clone());
        let before = registry.count("GET", "manifests");
        eventually("it is asked again", async || {
            assert_eq!(resolve(&resolver, &[&image]).await, found(0, &old, AnswerSource::Stale), "{fault:?}");
            registry.count("GET", "manifests") > before
        })
        .await;
        assert_eq!(resolver.status(Instant::now()).registries[0].left_alone_for, None, "{fault:?}");
    }
    registry.heal();
    let new = Digest::of(manifest("new").as_bytes());
    eventually("it is asked again", async || {
        resolve(&resolver, &[&image]).await == found(0, &new, AnswerSource::Registry)
    })
    .await;
    // Who waits for them to the end does not take the registry for silent: it has answered HEAD.
    registry.put("team/app", "v1", &manifest("newer"));
    registry.fault_at("GET", Fault::Stall);
    let before = registry.count("GET", "manifests");
    let answer = resolve_within(&resolver, &[&image], Duration::from_secs(2)).await;
    assert_eq!(answer, found(0, &new, AnswerSource::Stale));
    assert_eq!(registry.count("GET", "manifests"), before + 1);
    assert_eq!(resolver.status(Instant::now()).registries[0].left_alone_for, None);
}

#[tokio::test]
async fn a_longer_digest_is_taken_as_the_registry_names_it() {
    let registry = FakeRegistry::start().await;
    let text = manifest("app");
    registry.put("team/app", "v1", &text);
    let resolver = resolver(forgetful(), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    let sha512 = format!("sha512:{}", "a".repeat(128));
    registry.fault(Fault::DigestHeader(sha512.clone()));
    assert_eq!(
        resolve(&resolver, &[&image]).await,
        found(0, &sha512.parse().unwrap(), AnswerSource::Registry)
    );
}

#[tokio::test]
async fn pages_and_bytes_that_are_no_manifest_are_errors_and_the_registry_is_not_left_alone_for_them() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let none = std::time::Duration::ZERO;
    let policy = CachePolicy { fresh_for: none, negative_for: none, ..CachePolicy::default() };
    let resolver = resolver(policy, &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    for fault in [
        Fault::Html,
        Fault::Body("{}".into()),
        Fault::Body("<html>".into()),
        Fault::Body("".into()),
        Fault::Body(r#"{"schemaVersion": 1}"#.into()),
        Fault::Endless,
    ] {
        registry.fault(fault.clone());
        assert_eq!(resolve(&resolver, &[&image]).await, UNAVAILABLE, "{fault:?}");
    }
    registry.heal();
    assert_eq!(resolve(&resolver, &[&image]).await, found(0, &digest, AnswerSource::Registry));
}

#[tokio::test]
async fn a_manifest_of_schema_1_is_refused_though_it_has_a_digest() {
    let registry = FakeRegistry::start().await;
    let logs = Logs::capture();
    let resolver = resolver(CachePolicy::default(), &[&registry]);
    for kind in ["json", "prettyjws"] {
        let media = format!("application/vnd.docker.distribution.manifest.v1+{kind}");
        registry.put("team/app", kind, &format!(r#"{{"schemaVersion":1,"mediaType":"{media}"}}"#));
        let image = format!("{}/team/app:{kind}", registry.host());
        assert_eq!(resolve(&resolver, &[&image]).await, UNAVAILABLE, "{kind}");
    }
    assert_eq!(registry.count("HEAD", ""), 2);
    assert_eq!(logs.text().matches("schema 1, which container runtimes no longer pull").count(), 2);
}

#[tokio::test]
async fn an_answer_of_no_use_is_not_asked_for_again_at_once() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let policy =
        CachePolicy { negative_for: std::time::Duration::from_millis(500), ..CachePolicy::default() };
    let resolver = resolver(policy, &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    registry.fault(Fault::Html);
    for _ in 0..10 {
        assert_eq!(resolve(&resolver, &[&image]).await, UNAVAILABLE);
    }
    assert_eq!(registry.requests().len(), 1);
    // Of another image it says nothing.
    registry.fault_at("other", Fault::None);
    let other = format!("{}/team/other:v1", registry.host());
    assert_eq!(resolve(&resolver, &[&other]).await, Answer::Missing);
    registry.heal();
    eventually("the resolver comes to it", async || {
        resolve(&resolver, &[&image]).await == found(0, &digest, AnswerSource::Registry)
    })
    .await;
}

#[tokio::test]
async fn a_manifest_of_more_than_4_mib_is_not_read() {
    let registry = FakeRegistry::start().await;
    let manifest = |spaces: usize| format!(r#"{{"schemaVersion":2{}}}"#, " ".repeat(spaces));
    let resolver = resolver(forgetful(), &[&registry]);
    registry.fault(Fault::NoDigest);
    let fits = registry.put("team/app", "fits", &manifest(4 * 1024 * 1024 - 19));
    registry.put("team/app", "exceeds", &manifest(4 * 1024 * 1024 - 18));
    let host = registry.host();
    let answer = resolve(&resolver, &[&format!("{host}/team/app:fits")]).await;
    assert_eq!(answer, found(0, &fits, AnswerSource::Registry));
    assert_eq!(resolve(&resolver, &[&format!("{host}/team/app:exceeds")]).await, UNAVAILABLE);
}

#[tokio::test]
async fn a_registry_that_hangs_up_is_unavailable() {
    let registry = FakeRegistry::start().await;
    registry.fault(Fault::Close);
    let resolver = resolver(forgetful(), &[&registry]);
    assert_eq!(resolve(&resolver, &[&format!("{}/team/app:v1", registry.host())]).await, UNAVAILABLE);
    assert_eq!(
        registry.requests().len(),
        2,
        "tried once more, as a kept connection may just have ended, and no more"
    );
}

#[tokio::test]
async fn a_connection_that_ends_under_a_request_costs_no_answer() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    registry.fault(Fault::CloseOnce);
    let resolver = resolver(forgetful(), &[&registry]);
    let answer = resolve(&resolver, &[&format!("{}/team/app:v1", registry.host())]).await;
    assert_eq!(answer, found(0, &digest, AnswerSource::Registry));
}

#[tokio::test]
async fn a_redirect_elsewhere_is_followed_without_the_credentials() {
    let elsewhere = FakeRegistry::start().await;
    let digest = elsewhere.put("team/app", "v1", &manifest("app"));
    for builder in
        [FakeRegistry::builder().basic("robot", "s3cret"), FakeRegistry::builder().tokens("robot", "s3cret")]
    {
        let registry = builder.start().await;
        registry.put("team/app", "v0", &manifest("app"));
        let resolver = with_login(forgetful(), &registry, password(&registry, "robot", "s3cret"));
        let host = registry.host();
        assert!(matches!(resolve(&resolver, &[&format!("{host}/team/app:v0")]).await, Answer::Found { .. }));
        registry.fault_at("v1", Fault::Redirect(elsewhere.url().into()));
        let answer = resolve(&resolver, &[&format!("{host}/team/app:v1")]).await;
        assert_eq!(answer, found(0, &digest, AnswerSource::Registry));
        let redirected =
            registry.requests().into_iter().find(|request| request.path.ends_with("/v1")).unwrap();
        assert_ne!(redirected.header("authorization"), "", "the registry itself gets them");
    }
    let requests = elsewhere.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.header("authorization").is_empty()), "{requests:?}");
}

#[tokio::test]
async fn who_a_redirect_leads_to_cannot_ask_for_our_credentials() {
    let thief = FakeRegistry::builder().basic("robot", "s3cret").start().await;
    let registry = FakeRegistry::start().await;
    registry.fault(Fault::Redirect(thief.url().into()));
    let resolver = with_login(forgetful(), &registry, password(&registry, "robot", "s3cret"));
    let image = format!("{}/team/app:v1", registry.host());
    for fault in
        [Fault::None, Fault::Unauthorized(format!(r#"Bearer realm="{}/token",service="x""#, thief.url()))]
    {
        thief.fault(fault);
        assert_eq!(resolve(&resolver, &[&image]).await, Answer::Unauthorized { mirror: 0 });
    }
    assert!(thief.requests().iter().all(|request| request.header("authorization").is_empty()));
    assert_eq!(thief.count("GET", "/token"), 0);
    registry.heal();
    registry.put("team/app", "v1", &manifest("app"));
    assert!(matches!(resolve(&resolver, &[&image]).await, Answer::Found { .. }));
    assert!(
        registry.requests().iter().all(|request| request.header("authorization").is_empty()),
        "nor was it learnt"
    );
}

#[tokio::test]
async fn three_redirects_are_followed_and_not_a_fourth() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let resolver = resolver(forgetful(), &[&registry]);
    // Each hop leads to the one before it; the first of them answers.
    let mut hops = vec![registry];
    for _ in 0..4 {
        let hop = FakeRegistry::start().await;
        hop.fault(Fault::Redirect(hops.last().unwrap().url().into()));
        hops.push(hop);
    }
    let hosts: Vec<_> = hops.iter().map(FakeRegistry::host).collect();
    let endpoints = hosts.iter().map(|host| super::plain(host)).collect();
    resolver.configure(endpoints, None).unwrap();
    for (hop, expected) in [
        (0, found(0, &digest, AnswerSource::Registry)),
        (3, found(0, &digest, AnswerSource::Registry)),
        (4, UNAVAILABLE),
    ] {
        let answer = resolve(&resolver, &[&format!("{}/team/app:v1", hosts[hop])]).await;
        assert_eq!(answer, expected, "{hop} redirects");
    }
}

#[tokio::test]
async fn a_redirect_from_https_to_plain_http_or_to_nowhere_is_not_followed() {
    let authority = Authority::new();
    let plain = FakeRegistry::start().await;
    plain.put("team/app", "v1", &manifest("app"));
    let registry = FakeRegistry::builder().tls(&authority).start().await;
    let resolver = portolan::registry::Resolver::new(forgetful());
    let endpoint = portolan::registry::EndpointConfig {
        ca_pem: Some(authority.pem().into()),
        ..portolan::registry::EndpointConfig::new(registry.host())
    };
    resolver.configure(vec![endpoint], None).unwrap();
    for target in [plain.url(), "file://", "mailto:", "https://"] {
        registry.fault(Fault::Redirect(target.into()));
        let answer = resolve(&resolver, &[&format!("{}/team/app:v1", registry.host())]).await;
        assert_eq!(answer, UNAVAILABLE, "{target}");
    }
    assert_eq!(plain.requests().len(), 0);
}
