//! From Secrets to logins: what is in them reaches the registry that the table names, or is said to be no login.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use portolan::{
    cluster::{Secret, Secrets, watch_secrets},
    image::Reference,
    registry::{Answer, CachePolicy, Question, Resolver},
    server::{endpoints, reach},
    table::Table,
};
use serde_json::json;

use super::{FakeApiServer, NAMESPACE, names, until};
use crate::support::{
    fake_registry::{FakeRegistry, manifest},
    logs::Logs,
};

const CANARY: &str = "c4n4ry";

fn encoded(text: &str) -> String {
    STANDARD.encode(text)
}

async fn ask(resolver: &Resolver, registry: &FakeRegistry) -> Answer {
    let image: Reference = format!("{}/team/app:v1", registry.host()).parse().unwrap();
    let question = Question { mirrors: &[&image], always: false };
    resolver.resolve(&question, std::time::Instant::now() + Duration::from_secs(20)).await
}

#[tokio::test]
async fn a_secret_that_is_no_login_leaves_its_registry_anonymous_and_costs_the_others_nothing() {
    let logs = Logs::capture();
    let server = FakeApiServer::start().await;
    let good = FakeRegistry::builder().basic("robot", CANARY).start().await;
    let bad = FakeRegistry::builder().basic("robot", CANARY).start().await;
    let open = FakeRegistry::start().await;
    for registry in [&good, &bad, &open] {
        registry.put("team/app", "v1", &manifest("app"));
    }
    let login = json!({"auths": {good.host(): {"username": "robot", "password": CANARY}}}).to_string();
    server.put("secrets", "good", &json!({".dockerconfigjson": encoded(&login)}));
    let client = json!({"tls.crt": encoded(CANARY), "tls.key": encoded(CANARY)});
    server.put("secrets", "client", &client);
    let table = Table::parse(&format!(
        "apiVersion: portolan.dev/v1\nkind: MappingTable\nrules: []\nregistries:\n\
         - {{host: '{}', plainHttp: true, credentials: good}}\n\
         - {{host: '{}', plainHttp: true, credentials: bad}}\n\
         - {{host: '{}', plainHttp: true, clientCertificate: client}}\n",
        good.host(),
        bad.host(),
        open.host(),
    ))
    .unwrap()
    .table;
    for (content, expected) in [
        (json!({".dockerconfigjson": encoded(CANARY)}), "Secret is no dockerconfigjson"),
        (
            json!({".dockerconfigjson": encoded(&format!(r#"{{"auths": "{CANARY}"}}"#))}),
            "Secret is no dockerconfigjson",
        ),
        (json!({"password": encoded(CANARY)}), "Secret has no key `.dockerconfigjson`"),
    ] {
        server.put("secrets", "bad", &content);
        let (_names, receiver) = names(&["good", "bad", "client"]);
        let mut secrets = watch_secrets(&server.client().await, NAMESPACE, receiver).secrets;
        let all =
            |secrets: &Secrets| ["good", "bad", "client"].iter().all(|name| secrets.get(name).is_some());
        until(&mut secrets, all).await;
        let secrets = secrets.borrow().clone();
        let secret = |name: &str| -> Option<Arc<Secret>> { secrets.get(name).map(Arc::clone) };
        let resolver = Resolver::new(CachePolicy::default());
        reach(&resolver, endpoints(&table, secret), None);
        assert!(matches!(ask(&resolver, &good).await, Answer::Found { .. }), "{content}");
        assert_eq!(ask(&resolver, &bad).await, Answer::Unauthorized { mirror: 0 }, "{content}");
        assert!(matches!(ask(&resolver, &open).await, Answer::Found { .. }), "{content}");
        assert!(logs.count("WARN", expected) > 0, "{expected} is not in {}", logs.text());
    }
    assert_eq!(logs.count("WARN", "registry cannot be reached as the table says"), 3, "{}", logs.text());
    for secret in [CANARY.to_owned(), encoded(CANARY), encoded(&login)] {
        assert!(!logs.text().contains(&secret), "`{secret}` is in the log");
    }
}
