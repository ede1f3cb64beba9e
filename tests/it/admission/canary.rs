//! A credential, wherever it comes from, shows in no log, audit line, metric or answer.

use std::collections::BTreeMap;

use base64::Engine as _;
use portolan::registry::{Credentials, EndpointConfig};
use serde_json::json;

use super::put;
use crate::support::{
    fake_registry::{FakeRegistry, Fault},
    logs::Logs,
    review::pod,
    status,
    webhook::{hub_table, with_table},
};

const CANARY: &str = "c4n4ry-pa55word";
/// How the fake registry's tokens begin.
const TOKEN: &str = "token-canary";

#[tokio::test]
async fn a_canary_in_secret_header_url_token_and_pod_shows_nowhere() {
    let logs = Logs::capture();
    let mut shown = BTreeMap::new();
    for (login, registry) in [
        ("basic", FakeRegistry::builder().basic("robot", CANARY).start().await),
        ("token", FakeRegistry::builder().tokens("robot", CANARY).start().await),
        ("identity", FakeRegistry::builder().identity_token(CANARY).start().await),
    ] {
        put(&registry, "library/nginx", "1.25");
        let webhook = with_table(hub_table(&registry, "")).forgetful().start();
        let host = registry.host();
        let entry = match login {
            "identity" => json!({"identitytoken": CANARY}),
            _ => json!({"username": "robot", "password": CANARY}),
        };
        let secret = json!({"auths": {&host: entry}}).to_string();
        let endpoint = EndpointConfig {
            plain_http: true,
            credentials: Some(Credentials::parse(secret.as_bytes()).unwrap()),
            ..EndpointConfig::new(&*host)
        };
        webhook.admission.resolver.configure(vec![endpoint], None).unwrap();
        // What a Pod and its maker carry is none of ours to repeat.
        let mut carrier = pod().annotation("example.com/token", CANARY).label("token", CANARY);
        carrier.0["spec"]["containers"][0]["env"] = json!([{"name": "PASSWORD", "value": CANARY}]);
        let review = carrier.create().with(
            "userInfo",
            json!({"username": "alice", "extra": {"authentication.kubernetes.io/credential-id": [CANARY]}}),
        );
        let mut pinned = 0;
        for fault in [
            Fault::None,
            Fault::Close,
            Fault::Status(401),
            Fault::Status(500),
            Fault::Html,
            Fault::Redirect(format!("http://user:{CANARY}@127.0.0.1:1")),
            Fault::Unauthorized(format!(r#"Bearer realm="http://127.0.0.1:1/{CANARY}",service="{CANARY}""#)),
        ] {
            registry.fault(fault.clone());
            let answered = webhook.mutate(&review.0).await;
            let image = &answered.object["spec"]["containers"][0]["image"];
            pinned += usize::from(image.as_str().unwrap().contains('@'));
            let mut response = answered.response.clone();
            // The patched texts, readable.
            response["patch"] = json!(answered.patch);
            shown.insert(format!("answer, {login}, {fault:?}"), response.to_string());
            registry.heal();
        }
        assert_eq!(pinned, 1, "the login works: {login}");
        shown.insert(format!("audit log, {login}"), json!(webhook.audit()).to_string());
        shown.insert(format!("metrics, {login}"), webhook.admission.metrics.encode());
        shown.insert(
            format!("status page, {login}"),
            status::shown(&status::status_of(webhook.admission.clone())).await,
        );
        shown.insert(format!("debug output, {login}"), format!("{:?}", webhook.admission));
    }
    let log = logs.text();
    assert!(log.contains("DEBUG"), "nothing was logged");
    shown.insert("log".to_owned(), log);
    let encode = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    for secret in
        [CANARY.to_owned(), TOKEN.to_owned(), encode(CANARY.into()), encode(format!("robot:{CANARY}"))]
    {
        for (place, text) in &shown {
            // The names of the faults above hold it, nothing that was shown may.
            let line = text.lines().find(|line| line.contains(&secret));
            assert_eq!(line, None, "`{secret}` is shown in: {}", place.split(',').next().unwrap());
        }
    }
}
