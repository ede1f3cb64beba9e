//! What is wrong in other clients (crates.md §4.2, by its letters) is right in ours. Defect I, garbage as a CA, is
//! also tested where PEM is read, in `registry::trust`.

use std::time::Duration;

use portolan::registry::{Answer, AnswerSource, ConfigureError, EndpointConfig, Resolver};

use super::{forgetful, found, password, plain, resolve, with_login};
use crate::support::fake_registry::{FakeRegistry, Fault, manifest};

#[tokio::test]
async fn defect_a_an_anonymous_registry_is_asked_for_manifests_and_nothing_else() {
    let registry = FakeRegistry::start().await;
    let resolver = super::resolver(forgetful(), &[&registry]);
    for tag in ["v1", "v2", "v3"] {
        let digest = registry.put("team/app", tag, &manifest(tag));
        let image = format!("{}/team/app:{tag}", registry.host());
        assert_eq!(resolve(&resolver, &[&image]).await, found(0, &digest, AnswerSource::Registry));
    }
    let requests = registry.requests();
    let asked: Vec<_> = requests.iter().map(|r| (r.method.as_str(), r.path.as_str())).collect();
    assert_eq!(
        asked,
        [
            ("HEAD", "/v2/team/app/manifests/v1"),
            ("HEAD", "/v2/team/app/manifests/v2"),
            ("HEAD", "/v2/team/app/manifests/v3"),
        ]
    );
    let accepted = requests[0].header("accept");
    for media_type in [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ] {
        assert!(accepted.contains(media_type), "{accepted}");
    }
}

#[tokio::test]
async fn defect_b_the_status_is_looked_at_first_and_no_refusal_costs_a_second_request() {
    let registry = FakeRegistry::start().await;
    let resolver = super::resolver(forgetful(), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    assert_eq!(resolve(&resolver, &[&image]).await, Answer::Missing);
    for status in [400, 405, 429, 500, 503] {
        registry.fault(Fault::Status(status));
        assert_eq!(resolve(&resolver, &[&image]).await, Answer::Unavailable { mirror: 0 }, "{status}");
    }
    assert_eq!((registry.count("HEAD", ""), registry.count("GET", "")), (6, 0));
}

#[tokio::test]
async fn defect_c_twenty_first_calls_fetch_one_token() {
    let registry = FakeRegistry::builder().tokens("robot", "s3cret").start().await;
    registry.fault_at("/token", Fault::Delay(Duration::from_millis(100)));
    let resolver = with_login(forgetful(), &registry, password(&registry, "robot", "s3cret"));
    let images: Vec<_> = (0..20).map(|number| format!("{}/team/app:v{number}", registry.host())).collect();
    for number in 0..20 {
        registry.put("team/app", &format!("v{number}"), &manifest("app"));
    }
    let asked = images.iter().map(|image| async { resolve(&resolver, &[image]).await });
    for answer in futures::future::join_all(asked).await {
        assert!(matches!(answer, Answer::Found { .. }), "{answer:?}");
    }
    assert_eq!(registry.count("GET", "/token"), 1);
    assert_eq!(registry.count("GET", "/v2/"), 0, "nothing but manifests was asked for, by HEAD");
}

#[tokio::test]
async fn defect_d_a_token_that_is_no_longer_good_is_replaced_and_the_request_sent_again() {
    let registry = FakeRegistry::builder().tokens("robot", "s3cret").start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let resolver = with_login(forgetful(), &registry, password(&registry, "robot", "s3cret"));
    let image = format!("{}/team/app:v1", registry.host());
    for tokens in 1..=3 {
        assert_eq!(resolve(&resolver, &[&image]).await, found(0, &digest, AnswerSource::Registry));
        assert_eq!(resolve(&resolver, &[&image]).await, found(0, &digest, AnswerSource::Registry));
        assert_eq!(registry.count("GET", "/token"), tokens, "one for both, until it is revoked");
        registry.revoke_tokens();
    }
}

/// Seen at registries that answer 400 or 403 to an old token: <https://github.com/oras-project/oras-go/issues/1227>
#[tokio::test]
async fn defect_d_also_where_an_old_token_is_answered_with_another_status() {
    let registry = FakeRegistry::builder().tokens("robot", "s3cret").start().await;
    registry.put("team/app", "v1", &manifest("app"));
    let resolver = with_login(forgetful(), &registry, password(&registry, "robot", "s3cret"));
    let image = format!("{}/team/app:v1", registry.host());
    for (status, expected) in
        [(400, Answer::Unavailable { mirror: 0 }), (403, Answer::Unauthorized { mirror: 0 })]
    {
        assert!(matches!(resolve(&resolver, &[&image]).await, Answer::Found { .. }));
        let (heads, tokens) = (registry.count("HEAD", "/v2/"), registry.count("GET", "/token"));
        registry.fault(Fault::Status(status));
        assert_eq!(resolve(&resolver, &[&image]).await, expected);
        let more = (registry.count("HEAD", "/v2/") - heads, registry.count("GET", "/token") - tokens);
        assert_eq!(more, (2, 1), "once more with a new token, then believed: {status}");
        registry.heal();
    }
}

#[tokio::test]
async fn defect_e_changed_credentials_are_used_from_the_next_request_on() {
    for builder in
        [FakeRegistry::builder().basic("robot", "s3cret"), FakeRegistry::builder().tokens("robot", "s3cret")]
    {
        let registry = builder.start().await;
        let digest = registry.put("team/app", "v1", &manifest("app"));
        let image = format!("{}/team/app:v1", registry.host());
        let resolver = super::resolver(forgetful(), &[&registry]);
        assert_eq!(resolve(&resolver, &[&image]).await, Answer::Unauthorized { mirror: 0 });
        for (secret, expected) in [
            ("wrong", Answer::Unauthorized { mirror: 0 }),
            ("s3cret", found(0, &digest, AnswerSource::Registry)),
            ("wrong again", Answer::Unauthorized { mirror: 0 }),
        ] {
            let credentials = Some(password(&registry, "robot", secret));
            let endpoint = EndpointConfig { credentials, ..plain(&registry.host()) };
            resolver.configure(vec![endpoint], None).unwrap();
            let answer = resolve(&resolver, &[&image]).await;
            // The digest that the right login may see is not for a wrong one, not even a stale one.
            assert_eq!(answer, expected, "with `{secret}`");
        }
    }
}

#[tokio::test]
async fn defect_f_a_token_service_that_fails_is_no_refusal() {
    let registry = FakeRegistry::builder().tokens("robot", "s3cret").start().await;
    registry.put("team/app", "v1", &manifest("app"));
    let resolver = with_login(forgetful(), &registry, password(&registry, "robot", "s3cret"));
    let image = format!("{}/team/app:v1", registry.host());
    for fault in [
        Fault::Status(503),
        Fault::Close,
        Fault::Html,
        Fault::Endless,
        Fault::Body("{}".into()),
        Fault::Body(r#"{"token": 7}"#.into()),
    ] {
        registry.fault_at("/token", fault.clone());
        let before = registry.count("HEAD", "/v2/");
        assert_eq!(resolve(&resolver, &[&image]).await, Answer::Unavailable { mirror: 0 }, "{fault:?}");
        let sent = registry.requests().into_iter().filter(|request| request.method == "HEAD").skip(before);
        assert!(sent.count() <= 1, "not sent again without a token: {fault:?}");
    }
    registry.heal();
    assert!(matches!(resolve(&resolver, &[&image]).await, Answer::Found { .. }));
}

#[tokio::test]
async fn defect_i_a_bad_endpoint_changes_nothing_and_is_said() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let resolver = super::resolver(forgetful(), &[&registry]);
    let garbage =
        EndpointConfig { ca_pem: Some("garbage".into()), ..EndpointConfig::new("other.example.com") };
    let refused = resolver.configure(vec![EndpointConfig::new(registry.host()), garbage], None);
    assert!(
        matches!(&refused, Err(ConfigureError::Trust { host, .. }) if host == "other.example.com"),
        "{refused:?}"
    );
    let twice = resolver.configure(vec![plain("a.example.com"), plain("a.example.com")], None);
    assert!(matches!(twice, Err(ConfigureError::Repeated { .. })), "{twice:?}");
    // Still by plain HTTP: neither set of endpoints came into force.
    let image = format!("{}/team/app:v1", registry.host());
    assert_eq!(resolve(&resolver, &[&image]).await, found(0, &digest, AnswerSource::Registry));
}

#[tokio::test]
async fn defect_j_a_header_that_is_no_digest_is_never_passed_on() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let resolver = super::resolver(forgetful(), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    for header in
        ["not-a-digest; rm -rf", "sha256:", "sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e", ""]
    {
        registry.fault(Fault::DigestHeader(header.into()));
        let answer = resolve(&resolver, &[&image]).await;
        assert_eq!(
            answer,
            found(0, &digest, AnswerSource::Registry),
            "the bytes' own digest, not `{header}`"
        );
    }
}

#[tokio::test]
async fn without_endpoints_a_resolver_asks_by_https() {
    let registry = FakeRegistry::start().await;
    registry.put("team/app", "v1", &manifest("app"));
    let resolver = Resolver::new(forgetful());
    let image = format!("{}/team/app:v1", registry.host());
    assert_eq!(resolve(&resolver, &[&image]).await, Answer::Unavailable { mirror: 0 });
    assert_eq!(registry.requests().len(), 0, "it speaks no TLS");
}
