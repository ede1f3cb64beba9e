//! A credential appears in nothing that anybody may read.

use std::time::{Duration, Instant};

use base64::Engine;
use portolan::registry::{Answer, ClientCertificate, Credentials, EndpointConfig, Resolver};

use super::{entry, forgetful, password, plain, resolve, resolve_within};
use crate::support::{
    fake_registry::{FakeRegistry, Fault, manifest},
    logs::Logs,
    status,
};

const CANARY: &str = "c4n4ry-pa55word";

/// The tokens of the fake registry.
const TOKEN: &str = "token-canary";

#[tokio::test]
async fn a_canary_in_every_credential_shows_in_no_log_error_or_debug_output() {
    let logs = Logs::capture();
    let mut shown = Vec::new();
    let registries = [
        FakeRegistry::builder().basic("robot", CANARY).start().await,
        FakeRegistry::builder().tokens("robot", CANARY).start().await,
        FakeRegistry::builder().identity_token(CANARY).start().await,
    ];
    for registry in registries {
        registry.put("team/app", "v1", &manifest("app"));
        let image = format!("{}/team/app:v1", registry.host());
        for credentials in [
            password(&registry, "robot", CANARY),
            password(&registry, CANARY, "wrong"),
            entry(&registry, &format!(r#"{{"identitytoken": "{CANARY}"}}"#)),
        ] {
            let endpoint = EndpointConfig { credentials: Some(credentials), ..plain(&registry.host()) };
            shown.push(format!("{endpoint:?}"));
            let resolver = Resolver::new(forgetful());
            resolver.configure(vec![endpoint], None).unwrap();
            for fault in [
                Fault::None,
                Fault::Close,
                Fault::Html,
                Fault::Status(401),
                Fault::Status(500),
                Fault::Redirect("http://user:".to_owned() + CANARY + "@127.0.0.1:1"),
                Fault::Unauthorized(format!(r#"Bearer realm="http://{CANARY}@127.0.0.1:1/""#)),
                Fault::Unauthorized(format!(r#"Bearer realm="http://127.0.0.1:1/{CANARY}""#)),
            ] {
                for part in ["/v2/", "/token"] {
                    registry.heal();
                    registry.fault_at(part, fault.clone());
                    let answer = resolve(&resolver, &[&image]).await;
                    shown.push(format!("{answer:?} {resolver:?} {:?}", resolver.status(Instant::now())));
                }
            }
            let status = status::shown(&status::status_of_resolver(&resolver)).await;
            assert!(status.contains(&registry.host()), "the status page names the registry: {status}");
            shown.push(status);
            registry.fault_at("/", Fault::Stall);
            shown.push(format!(
                "{:?}",
                resolve_within(&resolver, &[&image], Duration::from_millis(150)).await
            ));
            registry.heal();
        }
        assert!(
            registry.requests().iter().any(|request| format!("{request:?}").contains(CANARY)
                || request.header("authorization").starts_with("Basic ")),
            "the canary was on the wire"
        );
    }
    for text in
        [CANARY.to_owned(), format!(r#"{{"auths": {{"a": "{CANARY}"}}}}"#), format!(r#"{{"{CANARY}": 1}}"#)]
    {
        let error = Credentials::parse(text.as_bytes()).unwrap_err();
        shown.push(format!("{error} {error:?}"));
    }
    let endpoint = EndpointConfig {
        ca_pem: Some(CANARY.into()),
        client_certificate: Some(ClientCertificate { chain_pem: CANARY.into(), key_pem: CANARY.into() }),
        ..EndpointConfig::new("a.example.com")
    };
    let error = Resolver::new(forgetful()).configure(vec![endpoint], None).unwrap_err();
    shown.push(format!("{error} {error:?}"));

    let (shown, log) = (shown.join("\n"), logs.text());
    assert!(log.contains("no digest") && log.contains("registry is left alone"), "nothing was logged: {log}");
    for secret in [
        CANARY.to_owned(),
        TOKEN.to_owned(),
        base64::engine::general_purpose::STANDARD.encode(format!("robot:{CANARY}")),
        base64::engine::general_purpose::STANDARD.encode(format!("{CANARY}:wrong")),
    ] {
        for text in [&shown, &log] {
            let before = text.split_once(&secret).map(|(before, _)| before.to_owned());
            let before = before.map(|before| before.chars().rev().take(200).collect::<Vec<_>>());
            let before = before.map(|before| before.into_iter().rev().collect::<String>());
            assert_eq!(before, None, "a secret is shown after this");
        }
    }
}

#[tokio::test]
async fn a_digest_that_one_login_may_see_is_unknown_to_another() {
    let registry = FakeRegistry::builder().basic("robot", CANARY).start().await;
    registry.put("team/app", "v1", &manifest("app"));
    let image = format!("{}/team/app:v1", registry.host());
    let resolver = Resolver::new(portolan::registry::CachePolicy::default());
    let configure = |credentials| {
        let endpoint = EndpointConfig { credentials, ..plain(&registry.host()) };
        resolver.configure(vec![endpoint], None).unwrap();
    };
    configure(Some(password(&registry, "robot", CANARY)));
    assert!(matches!(resolve(&resolver, &[&image]).await, Answer::Found { .. }));
    configure(Some(password(&registry, "another", "login")));
    assert_eq!(super::remembered(&resolver, &[&image], Instant::now()), None);
    assert_eq!(resolve(&resolver, &[&image]).await, Answer::Unauthorized { mirror: 0 });
    configure(Some(password(&registry, "robot", CANARY)));
    let known = super::remembered(&resolver, &[&image], Instant::now());
    assert!(
        matches!(known, Some(Answer::Found { .. })),
        "the first login's answer is still there: {known:?}"
    );
}
