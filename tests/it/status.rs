//! The status port: what it shows, to whom, and on which addresses.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use portolan::{
    admission::{Act, Owner, Sighting},
    metrics::Metrics,
    server::{DrainPolicy, Health, Limits, Listener, Loopback, Shutdown, serve, status::routes},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    fake_registry::{FakeRegistry, manifest},
    review::pod,
    status::{ask, sources, status_of},
    webhook::{Webhook, hub_table, table, with_table},
};

async fn status(webhook: &Webhook) -> Value {
    let router = status_of(Arc::clone(&webhook.admission));
    let (code, headers, body) = ask(&router, "/status", "127.0.0.1:9442").await;
    assert_eq!((code, headers["content-type"].to_str().unwrap()), (200, "application/json"));
    serde_json::from_str(&body).unwrap()
}

async fn page(webhook: &Webhook) -> String {
    let (code, headers, body) = ask(&status_of(Arc::clone(&webhook.admission)), "/", "localhost:9442").await;
    assert_eq!((code, headers["content-type"].to_str().unwrap()), (200, "text/html; charset=utf-8"));
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("script"), "{policy}");
    body
}

/// Has a fight noticed that was seen last some seconds ago.
fn fight(webhook: &Webhook, owner: &str, pod: &str, ended: Duration) {
    let owner = Owner { api_version: "postgresql.cnpg.io/v1", kind: "Cluster", name: owner, uid: owner };
    let sighting = Sighting { namespace: "shop", owner, pod, host_name: "", act: Act::MadeSame };
    let now = Instant::now();
    for before in (0..15u32).rev() {
        let images = [("postgres:17", "r.corp/hub/library/postgres:17")];
        let at =
            now.checked_sub(ended + Duration::from_secs(20) * before).expect("the machine runs for longer");
        webhook.admission.fights.see(&sighting, images.into_iter(), at);
    }
}

#[tokio::test]
async fn it_shows_table_lock_registries_memory_and_counts_and_asks_nobody() {
    let registry = FakeRegistry::start().await;
    registry.put("hub/library/nginx", "1.25", &manifest("nginx"));
    let host = registry.host();
    let locked = format!("{host}/hub/library/redis:7 sha256:{}", "a".repeat(64));
    let webhook =
        with_table(hub_table(&registry, ", onMissing: deny, namespaces: ['sh*']")).locked(locked).start();
    webhook.mutate(&pod().create().0).await;
    let asked = registry.requests().len();

    let status = status(&webhook).await;

    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&status["mode"], &status["ready"]), (&json!("enforce"), &json!(true)));
    assert_eq!(status["conditions"][0], json!({"name": "table", "isMet": true, "note": null}));
    let rule = json!({
        "line": 3, "source": "docker.io", "namespaces": ["sh*"], "keep": false, "mirrors": [format!("{host}/hub")],
        "pin": "tag-and-digest", "onMissing": "deny", "onUnavailable": "rewrite", "lock": "prefer",
    });
    let table = json!({
        "from": "ConfigMap `portolan/portolan-table`", "inForceSince": null, "isLastGood": false, "note": null,
        "ruleCount": 1, "rules": [rule],
    });
    assert_eq!(status["table"], table);
    let lock = json!({
        "from": "file `lock.txt`", "inForceSince": null, "note": null, "lines": 1, "missing": 0, "moved": 0,
    });
    assert_eq!(status["lock"], lock);
    assert_eq!(status["registries"], json!([{"host": host, "leftAloneForSeconds": null}]));
    assert_eq!(status["memory"], json!({"answers": 1, "refusals": 0}));
    assert_eq!(status["fights"], json!([]));
    let counts = status["counts"].as_object().unwrap();
    assert_eq!(counts[r#"portolan_admissions_total{mode="enforce",result="allowed"}"#], 1);
    assert!(
        counts.keys().all(|name| name.starts_with("portolan_") && !name.contains("_bucket")),
        "{counts:?}"
    );
    let time: jiff::Timestamp = status["time"].as_str().unwrap().parse().unwrap();
    assert_eq!(time.subsec_nanosecond(), 0);
    assert!(page(&webhook).await.contains("1 rules from ConfigMap `portolan/portolan-table`"));
    assert_eq!(registry.requests().len(), asked, "nobody is asked");
}

#[tokio::test]
async fn a_registry_that_is_left_alone_a_moment_and_what_is_amiss_are_said() {
    let webhook = with_table(table(&["{source: docker.io, mirrors: ['127.0.0.1:1/hub']}"], &[])).start();
    webhook.mutate(&pod().create().0).await;
    webhook.admission.metrics.table_last_success.set(1_800_000_000.25);
    webhook.admission.metrics.certificate_expiry.set(1_900_000_000.0);
    webhook.admission.metrics.last_good_in_force.set(1);
    let shutdown = Shutdown::new();
    let health = Health::new(shutdown.clone());
    health.condition("table").note("line 4, column 2: `x` is no key");
    shutdown.drain();
    let router = routes(&Arc::new(sources(Arc::clone(&webhook.admission), health)));

    let (_, _, body) = ask(&router, "/status", "localhost").await;

    let status: Value = serde_json::from_str(&body).unwrap();
    let left_alone = status["registries"][0]["leftAloneForSeconds"].as_u64().unwrap();
    assert!((1..=10).contains(&left_alone), "{left_alone}");
    assert_eq!(status["ready"], false);
    let names: Vec<_> = status["conditions"].as_array().unwrap().iter().map(|found| &found["name"]).collect();
    assert_eq!(names, ["table", "running"]);
    let table = &status["table"];
    assert_eq!(
        (&table["note"], &table["isLastGood"]),
        (&json!("line 4, column 2: `x` is no key"), &json!(true))
    );
    assert_eq!(table["inForceSince"], "2027-01-15T08:00:00Z");
    assert_eq!(status["certificateExpires"], "2030-03-17T17:46:40Z");
    let (_, _, page) = ask(&router, "/", "localhost").await;
    for text in ["not ready", "line 4, column 2: `x` is no key", "did not answer; left alone for", "as kept"]
    {
        assert!(page.contains(text), "`{text}` is not in {page}");
    }
}

#[tokio::test]
async fn a_fight_is_listed_with_all_that_is_known_of_it() {
    let webhook = with_table(table(&[], &[])).start();
    fight(&webhook, "pg", "pg-1", Duration::ZERO);
    fight(&webhook, "older", "older-1", Duration::from_secs(400));

    let status = status(&webhook).await;

    let [latest, older] = &status["fights"].as_array().unwrap()[..] else { panic!("{status}") };
    assert_eq!(latest["namespace"], "shop");
    let owner = json!({"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "name": "pg", "uid": "pg"});
    assert_eq!(latest["owner"], owner);
    assert_eq!((&latest["pod"], &latest["act"]), (&json!("pg-1"), &json!("made-same")));
    let images = json!([{"written": "postgres:17", "result": "r.corp/hub/library/postgres:17"}]);
    assert_eq!((&latest["images"], &latest["times"]), (&images, &json!(15)));
    assert_eq!((&latest["isGoingOn"], &older["isGoingOn"]), (&json!(true), &json!(false)));
    let time = |field: &str| latest[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(time("since").duration_until(time("last")).as_secs(), 280);
    let page = page(&webhook).await;
    for text in
        ["Cluster/pg in shop (postgresql.cnpg.io/v1)", "pg-1 (made-same)", "15 times", "docs/operators.md"]
    {
        assert!(page.contains(text), "`{text}` is not in {page}");
    }
    assert!(
        page.contains("postgres:17 → r.corp/hub/library/postgres:17") && page.contains("(over)"),
        "{page}"
    );
}

#[tokio::test]
async fn no_text_of_anybodys_is_markup_and_nothing_is_fetched() {
    let webhook = with_table(table(&[], &[])).start();
    fight(&webhook, "<script>alert('x')</script>&\"", "a&b", Duration::ZERO);

    let page = page(&webhook).await;

    assert!(
        page.contains("Cluster/&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot; in shop"),
        "{page}"
    );
    assert!(page.contains("a&amp;b"), "{page}");
    for text in ["<script", "http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(text), "`{text}` is in {page}");
    }
    let status = status(&webhook).await;
    assert_eq!(status["fights"][0]["owner"]["name"], "<script>alert('x')</script>&\"");
}

#[tokio::test]
async fn of_a_large_table_the_first_thousand_rules_are_shown() {
    let rules: Vec<_> =
        (0..1001).map(|n| format!("{{source: docker.io/{n}, mirrors: ['r.corp/{n}']}}")).collect();
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    let webhook = with_table(table(&rules, &[])).start();

    let table = &status(&webhook).await["table"];

    assert_eq!((&table["ruleCount"], table["rules"].as_array().unwrap().len()), (&json!(1001), 1000));
    assert!(page(&webhook).await.contains("and 1 more"));
}

#[tokio::test]
async fn it_answers_this_machine_only_whatever_name_it_is_called_by() {
    let router = status_of(Arc::clone(&with_table(table(&[], &[])).start().admission));
    for host in ["localhost", "localhost:9442", "LOCALHOST:1", "127.0.0.1:9442", "127.8.8.8", "[::1]:9442"] {
        for path in ["/", "/status"] {
            assert_eq!(ask(&router, path, host).await.0, 200, "{host}");
        }
    }
    for host in
        ["evil.example", "localhost.evil.example:9442", "10.0.0.1:9442", "127.0.0.1.evil.example", "a b"]
    {
        for path in ["/", "/status"] {
            let (status, _, body) = ask(&router, path, host).await;
            assert_eq!(status, 403, "{host}");
            assert!(!body.contains("portolan"), "{body}");
        }
    }
    assert_eq!(ask(&router, "/metrics", "localhost").await.0, 404);
}

#[tokio::test]
async fn it_serves_on_a_socket_and_to_nobody_elsewhere() {
    for address in ["127.0.0.1:0", "[::1]:0", "127.1.2.3:9442", "[::ffff:127.0.0.1]:9442"] {
        assert!(Loopback::try_from(address.parse::<std::net::SocketAddr>().unwrap()).is_ok(), "{address}");
    }
    for address in ["0.0.0.0:9442", "[::]:9442", "10.0.0.1:9442", "[2001:db8::1]:9442", "[::ffff:10.0.0.1]:1"]
    {
        let error = Loopback::try_from(address.parse::<std::net::SocketAddr>().unwrap()).unwrap_err();
        assert!(error.to_string().contains(address), "{error}");
    }

    let webhook = with_table(table(&[], &[])).start();
    let address = Loopback::try_from("127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap()).unwrap();
    let listener = Listener::bind(address.into(), Limits::default()).unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, metrics) = (Shutdown::new(), Arc::new(Metrics::new()));
    let policy = DrainPolicy { delay: Duration::ZERO, ..DrainPolicy::default() };
    let router = status_of(Arc::clone(&webhook.admission));
    let serving = tokio::spawn(serve(listener, None, router, policy, shutdown.clone(), metrics));
    for (path, expected) in [("/status", "\"version\": "), ("/", "<h1>Portolan ")] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(expected), "{answer}");
    }
    shutdown.drain();
    serving.await.unwrap();
}
