//! Logging in: passwords, tokens, refresh tokens.

use portolan::registry::{Answer, AnswerSource, CachePolicy, Credentials, Resolver};

use super::{entry, forgetful, found, password, plain, resolve, resolver, with_login};
use crate::support::{
    authority::Authority,
    fake_registry::{FakeRegistry, Fault, manifest},
};

#[tokio::test]
async fn a_password_is_sent_with_the_second_request_and_with_every_later_one() {
    let registry = FakeRegistry::builder().basic("robot", "s3cret").start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let resolver = with_login(forgetful(), &registry, password(&registry, "robot", "s3cret"));
    let image = format!("{}/team/app:v1", registry.host());
    for requests in [2, 3, 4] {
        assert_eq!(resolve(&resolver, &[&image]).await, found(0, &digest, AnswerSource::Registry));
        assert_eq!(registry.requests().len(), requests);
    }
    assert_eq!(registry.requests()[0].header("authorization"), "", "not before it was asked for");
}

#[tokio::test]
async fn a_token_is_asked_for_with_service_and_scope_and_used_again() {
    let registry = FakeRegistry::builder().tokens("robot", "s3cret").service("a service").start().await;
    for repository in ["team/app", "team/other"] {
        registry.put(repository, "v1", &manifest(repository));
    }
    let resolver = with_login(forgetful(), &registry, password(&registry, "robot", "s3cret"));
    for repository in ["team/app", "team/other", "team/app"] {
        let answer = resolve(&resolver, &[&format!("{}/{repository}:v1", registry.host())]).await;
        assert!(matches!(answer, Answer::Found { .. }), "{repository}: {answer:?}");
    }
    let requests = registry.requests();
    let tokens: Vec<_> = requests.iter().filter(|request| request.path.starts_with("/token")).collect();
    assert_eq!(tokens.len(), 2, "one for each repository");
    assert_eq!(tokens[0].path, "/token?service=a+service&scope=repository%3Ateam%2Fapp%3Apull");
    assert_eq!(registry.count("HEAD", "/v2/"), 1 + 3, "only the very first was refused");
}

#[tokio::test]
async fn a_scope_that_is_no_repositorys_is_asked_for_too() {
    let service = FakeRegistry::builder().anonymous_tokens().start().await;
    let registry = FakeRegistry::builder().realm(&format!("{}/token", service.url())).start().await;
    registry.put("team/app", "v1", &manifest("app"));
    let challenge = format!(r#"Bearer realm="{}/token",service="x",scope="aws""#, service.url());
    let resolver = resolver(forgetful(), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    registry.fault(Fault::Unauthorized(challenge));
    assert_eq!(resolve(&resolver, &[&image]).await, Answer::Unauthorized { mirror: 0 });
    assert_eq!(service.requests()[0].path, "/token?service=x&scope=repository%3Ateam%2Fapp%3Apull&scope=aws");
}

#[tokio::test]
async fn a_public_repository_behind_tokens_needs_no_login() {
    let registry = FakeRegistry::builder().anonymous_tokens().start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let resolver = resolver(forgetful(), &[&registry]);
    let answer = resolve(&resolver, &[&format!("{}/team/app:v1", registry.host())]).await;
    assert_eq!(answer, found(0, &digest, AnswerSource::Registry));
}

#[tokio::test]
async fn an_identity_token_is_exchanged_for_access_tokens() {
    let registry = FakeRegistry::builder().identity_token("refresh/me+please").start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let image = format!("{}/team/app:v1", registry.host());
    let resolver =
        with_login(forgetful(), &registry, entry(&registry, r#"{"identitytoken": "refresh/me+please"}"#));
    for _ in 0..2 {
        assert_eq!(resolve(&resolver, &[&image]).await, found(0, &digest, AnswerSource::Registry));
    }
    assert_eq!((registry.count("POST", "/token"), registry.count("GET", "/token")), (1, 0));
    let wrong = with_login(forgetful(), &registry, entry(&registry, r#"{"identitytoken": "another"}"#));
    assert_eq!(resolve(&wrong, &[&image]).await, Answer::Unauthorized { mirror: 0 });
}

#[tokio::test]
async fn a_refresh_token_is_not_posted_on_by_a_redirect() {
    let elsewhere = FakeRegistry::builder().identity_token("refresh").start().await;
    let registry = FakeRegistry::builder().identity_token("refresh").start().await;
    registry.fault_at("/token", Fault::Redirect(elsewhere.url().into()));
    let resolver = with_login(forgetful(), &registry, entry(&registry, r#"{"identitytoken": "refresh"}"#));
    let answer = resolve(&resolver, &[&format!("{}/team/app:v1", registry.host())]).await;
    assert_eq!(answer, Answer::Unavailable { mirror: 0 });
    assert_eq!(elsewhere.requests().len(), 0);
}

#[tokio::test]
async fn a_wrong_login_or_none_is_unauthorized() {
    for builder in
        [FakeRegistry::builder().basic("robot", "s3cret"), FakeRegistry::builder().tokens("robot", "s3cret")]
    {
        let registry = builder.start().await;
        let image = format!("{}/team/app:v1", registry.host());
        let wrong = with_login(forgetful(), &registry, password(&registry, "robot", "wrong"));
        assert_eq!(resolve(&wrong, &[&image]).await, Answer::Unauthorized { mirror: 0 });
        assert_eq!(
            resolve(&resolver(forgetful(), &[&registry]), &[&image]).await,
            Answer::Unauthorized { mirror: 0 }
        );
    }
    let registry = FakeRegistry::start().await;
    let resolver = resolver(forgetful(), &[&registry]);
    for fault in [Fault::Status(401), Fault::Status(403), Fault::Unauthorized("Negotiate".into())] {
        registry.fault(fault.clone());
        let answer = resolve(&resolver, &[&format!("{}/team/app:v1", registry.host())]).await;
        assert_eq!(answer, Answer::Unauthorized { mirror: 0 }, "{fault:?}");
    }
}

#[tokio::test]
async fn a_token_that_expires_is_fetched_again() {
    let registry = FakeRegistry::builder().tokens("robot", "s3cret").expires_in(0).start().await;
    registry.put("team/app", "v1", &manifest("app"));
    let resolver = with_login(forgetful(), &registry, password(&registry, "robot", "s3cret"));
    for tokens in 1..=3 {
        let answer = resolve(&resolver, &[&format!("{}/team/app:v1", registry.host())]).await;
        assert!(matches!(answer, Answer::Found { .. }), "{answer:?}");
        assert_eq!(registry.count("GET", "/token"), tokens);
    }
    assert_eq!(registry.count("HEAD", "/v2/"), 1 + 3, "an expired token is not even tried");
}

#[tokio::test]
async fn a_registry_with_tls_does_not_send_us_to_a_token_service_without() {
    let authority = Authority::new();
    let thief = FakeRegistry::builder().anonymous_tokens().start().await;
    let registry =
        FakeRegistry::builder().tls(&authority).realm(&format!("{}/token", thief.url())).start().await;
    let resolver = Resolver::new(forgetful());
    let endpoint = super::EndpointConfig {
        ca_pem: Some(authority.pem().into()),
        credentials: Some(password(&registry, "robot", "s3cret")),
        ..super::EndpointConfig::new(registry.host())
    };
    resolver.configure(vec![endpoint], None).unwrap();
    let answer = resolve(&resolver, &[&format!("{}/team/app:v1", registry.host())]).await;
    assert_eq!(answer, Answer::Unavailable { mirror: 0 });
    assert_eq!(thief.requests().len(), 0);
}

#[tokio::test]
async fn each_repository_has_the_login_of_its_longest_key() {
    let registry = FakeRegistry::builder().tokens("robot", "s3cret").start().await;
    for repository in ["team/app", "other/app"] {
        registry.put(repository, "v1", &manifest(repository));
    }
    let host = registry.host();
    let json = format!(
        r#"{{"auths": {{"{host}": {{"username": "robot", "password": "wrong"}}, "{host}/team": {{"username": "robot", "password": "s3cret"}}}}}}"#
    );
    let resolver = with_login(forgetful(), &registry, Credentials::parse(json.as_bytes()).unwrap());
    let answer = resolve(&resolver, &[&format!("{host}/team/app:v1")]).await;
    assert!(matches!(answer, Answer::Found { .. }), "{answer:?}");
    let answer = resolve(&resolver, &[&format!("{host}/other/app:v1")]).await;
    assert_eq!(answer, Answer::Unauthorized { mirror: 0 });
}

#[tokio::test]
async fn the_fallback_logs_in_where_an_endpoint_has_no_credentials_and_nowhere_else() {
    let registry = FakeRegistry::builder().basic("robot", "s3cret").start().await;
    registry.put("team/app", "v1", &manifest("app"));
    let image = format!("{}/team/app:v1", registry.host());
    let fallback = || Some(password(&registry, "robot", "s3cret"));
    let resolver = Resolver::new(CachePolicy::default());
    resolver.configure(vec![plain(&registry.host())], fallback()).unwrap();
    assert!(matches!(resolve(&resolver, &[&image]).await, Answer::Found { .. }));
    let other =
        Credentials::parse(br#"{"auths": {"other.example.com": {"username": "u", "password": "p"}}}"#);
    let endpoint = super::EndpointConfig { credentials: other.ok(), ..plain(&registry.host()) };
    resolver.configure(vec![endpoint], fallback()).unwrap();
    assert_eq!(resolve(&resolver, &[&image]).await, Answer::Unauthorized { mirror: 0 });
}

#[tokio::test]
async fn unchanged_endpoints_keep_their_tokens_when_others_change() {
    let registry = FakeRegistry::builder().tokens("robot", "s3cret").start().await;
    registry.put("team/app", "v1", &manifest("app"));
    let image = format!("{}/team/app:v1", registry.host());
    let endpoint = || super::EndpointConfig {
        credentials: Some(password(&registry, "robot", "s3cret")),
        ..plain(&registry.host())
    };
    let resolver = Resolver::new(forgetful());
    for other in ["a.example.com", "b.example.com"] {
        resolver.configure(vec![endpoint(), plain(other)], None).unwrap();
        assert!(matches!(resolve(&resolver, &[&image]).await, Answer::Found { .. }));
    }
    assert_eq!(registry.count("GET", "/token"), 1);
    assert_eq!(registry.count("HEAD", "/v2/"), 3);
}

#[tokio::test]
async fn a_token_service_that_is_no_more_is_forgotten_and_the_registry_asked_anew() {
    for realm in ["http://127.0.0.1:1/token", "http://[,=;"] {
        let registry = FakeRegistry::builder().tokens("robot", "s3cret").start().await;
        let digest = registry.put("team/app", "v1", &manifest("app"));
        let resolver = with_login(forgetful(), &registry, password(&registry, "robot", "s3cret"));
        let image = format!("{}/team/app:v1", registry.host());
        registry.fault(Fault::Unauthorized(format!(r#"Bearer realm="{realm}""#)));
        for _ in 0..3 {
            assert_eq!(resolve(&resolver, &[&image]).await, Answer::Unavailable { mirror: 0 }, "{realm}");
        }
        registry.heal();
        // One more may go by what was learnt before.
        resolve(&resolver, &[&image]).await;
        let answer = resolve(&resolver, &[&image]).await;
        assert_eq!(answer, found(0, &digest, AnswerSource::Registry), "{realm}");
    }
}
