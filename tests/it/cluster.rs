//! The cluster room against an API server of our own on loopback.

mod answers;
mod certificates;
mod events;
mod fake_api_server;
mod last_good;
mod lease;
mod lock;
mod logins;
mod owner_events;
mod restart;
mod unrewritten;
mod webhook_probe;

use std::{collections::BTreeSet, time::Duration};

use portolan::cluster::{
    CallError, SecretNames, SecretState, Secrets, TableText, Trouble, WatchPolicy, read_table, watch_secrets,
    watch_table,
};
use serde_json::json;
use tokio::sync::watch;

use self::fake_api_server::{FakeApiServer, Mood, NAMESPACE};

const TABLE: &str = "portolan-table";

#[tokio::test]
async fn a_table_is_read_once() {
    let server = FakeApiServer::start().await;
    let client = server.client().await;

    assert_eq!(read_table(&client, NAMESPACE, TABLE).await.unwrap(), TableText::Absent);
    server.put("configmaps", TABLE, &json!({"other.yaml": "rules: []"}));
    assert_eq!(read_table(&client, NAMESPACE, TABLE).await.unwrap(), TableText::KeyMissing);
    server.put("configmaps", TABLE, &json!({"table.yaml": "rules: []"}));
    let expected = TableText::Text { text: "rules: []".into(), resource_version: "3".into() };
    assert_eq!(read_table(&client, NAMESPACE, TABLE).await.unwrap(), expected);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_servers_words() {
    let server = FakeApiServer::start().await;
    let client = server.client().await;
    server.set_mood(Mood::Refuse(403));

    let error = read_table(&client, NAMESPACE, TABLE).await.unwrap_err();

    assert_eq!(error.to_string(), "the API server answered 403: refused with 403");
    assert_eq!(server.requests().len(), 1, "a single call is not repeated");
}

#[tokio::test]
async fn a_server_that_says_429_is_not_asked_over_and_over_by_one_call() {
    let server = FakeApiServer::start().await;
    let client = server.client().await;
    server.set_mood(Mood::Refuse(429));

    let error = read_table(&client, NAMESPACE, TABLE).await.unwrap_err();

    assert!(matches!(error, CallError::Refused { code: 429, .. }), "{error:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let server = FakeApiServer::start().await;
    let policy = WatchPolicy { call_timeout: Duration::from_millis(100), ..WatchPolicy::default() };
    let client = server.client_with(policy).await;
    server.set_mood(Mood::Stall);

    let error = read_table(&client, NAMESPACE, TABLE).await.unwrap_err();

    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn nobody_listening_is_told_with_its_cause() {
    let server = FakeApiServer::start().await;
    let client = server.client().await;
    drop(server);

    let error = eventually_refused(&client).await;

    assert!(error.starts_with("cannot call the API server: "), "{error}");
    assert!(error.contains("onnection refused"), "{error}");
}

#[tokio::test]
async fn a_watched_table_follows_create_edit_and_delete() {
    let server = FakeApiServer::start().await;
    let mut table = watch_table(&server.client().await, NAMESPACE, TABLE).text;

    until(&mut table, |text| *text == TableText::Absent).await;
    server.put("configmaps", TABLE, &json!({"table.yaml": "first"}));
    until(&mut table, |text| holds(text, "first")).await;
    server.put("configmaps", "another", &json!({"table.yaml": "not ours"}));
    server.put("configmaps", TABLE, &json!({"table.yaml": "second"}));
    until(&mut table, |text| holds(text, "second")).await;
    server.put("configmaps", TABLE, &json!({}));
    until(&mut table, |text| *text == TableText::KeyMissing).await;
    server.delete("configmaps", TABLE);
    until(&mut table, |text| *text == TableText::Absent).await;

    let lists = server.requests().iter().filter(|request| *request == "list configmaps").count();
    assert_eq!(lists, 1, "edits come by the watch: {:?}", server.requests());
}

#[tokio::test]
async fn an_edit_while_no_watch_is_open_is_seen_when_it_resumes() {
    let server = FakeApiServer::start().await;
    server.put("configmaps", TABLE, &json!({"table.yaml": "first"}));
    let mut table = watch_table(&server.client().await, NAMESPACE, TABLE).text;
    until(&mut table, |text| holds(text, "first")).await;

    server.put_silently("configmaps", TABLE, &json!({"table.yaml": "second"}));
    server.close_watches();
    until(&mut table, |text| holds(text, "second")).await;

    eventually("a new watch", || server.open_watches() == 1).await;
    server.put("configmaps", TABLE, &json!({"table.yaml": "third"}));
    until(&mut table, |text| holds(text, "third")).await;
}

#[tokio::test]
async fn a_watch_whose_connection_died_silently_is_renewed() {
    let server = FakeApiServer::start().await;
    server.put("configmaps", TABLE, &json!({"table.yaml": "first"}));
    // 5 s more are granted to a server that closes late: with 0 the watch is renewed after those.
    let policy = WatchPolicy { watch_timeout: Duration::ZERO, ..WatchPolicy::default() };
    let mut table = watch_table(&server.client_with(policy).await, NAMESPACE, TABLE).text;
    until(&mut table, |text| holds(text, "first")).await;
    eventually("a watch", || server.open_watches() == 1).await;

    server.put_silently("configmaps", TABLE, &json!({"table.yaml": "second"}));

    until(&mut table, |text| holds(text, "second")).await;
}

#[tokio::test]
async fn a_version_that_is_gone_means_another_list() {
    let gone =
        r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","code":410,"message":"too old"}}"#;
    let server = FakeApiServer::start().await;
    let watch = watch_table(&server.client().await, NAMESPACE, TABLE);
    let mut table = watch.text;
    until(&mut table, |text| *text == TableText::Absent).await;
    eventually("a watch", || server.open_watches() == 1).await;

    // As an event of a running watch …
    server.put_silently("configmaps", TABLE, &json!({"table.yaml": "first"}));
    server.tell_raw(gone);
    until(&mut table, |text| holds(text, "first")).await;

    // … and as the answer to a new one.
    server.set_mood(Mood::RefuseWatch(410));
    server.close_watches();
    server.put_silently("configmaps", TABLE, &json!({"table.yaml": "second"}));
    until(&mut table, |text| holds(text, "second")).await;
    assert_eq!(*watch.trouble.borrow(), None, "being late is no trouble");
}

#[tokio::test]
async fn a_line_that_is_no_event_does_not_end_the_watch() {
    let server = FakeApiServer::start().await;
    let mut table = watch_table(&server.client().await, NAMESPACE, TABLE).text;
    until(&mut table, |text| *text == TableText::Absent).await;
    eventually("a watch", || server.open_watches() == 1).await;

    server.tell_raw(r#"{"type":"MODIFIED","object":7}"#);
    server.put("configmaps", TABLE, &json!({"table.yaml": "first"}));

    until(&mut table, |text| holds(text, "first")).await;
}

#[tokio::test]
async fn an_object_that_was_not_asked_for_is_not_the_table() {
    let other =
        r#"{"type":"MODIFIED","object":{"metadata":{"name":"other"},"data":{"table.yaml":"not ours"}}}"#;
    let server = FakeApiServer::start().await;
    let mut table = watch_table(&server.client().await, NAMESPACE, TABLE).text;
    until(&mut table, |text| *text == TableText::Absent).await;
    eventually("a watch", || server.open_watches() == 1).await;
    table.mark_unchanged();

    server.tell_raw(other);
    server.close_watches();

    eventually("a new watch", || server.open_watches() == 1).await;
    assert!(!table.has_changed().unwrap(), "{:?}", *table.borrow());
}

#[tokio::test]
async fn a_watch_that_cannot_read_keeps_the_last_table_and_says_why_until_it_can() {
    let server = FakeApiServer::start().await;
    server.put("configmaps", TABLE, &json!({"table.yaml": "first"}));
    let mut watch = watch_table(&server.client().await, NAMESPACE, TABLE);
    until(&mut watch.text, |text| holds(text, "first")).await;
    until(&mut watch.trouble, Trouble::is_none).await;

    server.set_mood(Mood::Refuse(403));
    server.close_watches();
    until(&mut watch.trouble, |trouble| says(trouble, "answered 403: refused with 403")).await;
    assert!(holds(&watch.text.borrow(), "first"), "the last good one stays");

    server.put("configmaps", TABLE, &json!({"table.yaml": "second"}));
    server.set_mood(Mood::Well);
    until(&mut watch.text, |text| holds(text, "second")).await;
    until(&mut watch.trouble, Trouble::is_none).await;
}

#[tokio::test]
async fn a_table_that_may_be_listed_but_not_watched_is_still_followed() {
    let server = FakeApiServer::start().await;
    server.set_mood(Mood::RefuseWatch(403));
    let mut watch = watch_table(&server.client().await, NAMESPACE, TABLE);
    until(&mut watch.trouble, |trouble| says(trouble, "403")).await;

    server.put("configmaps", TABLE, &json!({"table.yaml": "first"}));

    until(&mut watch.text, |text| holds(text, "first")).await;
}

#[tokio::test]
async fn a_watch_that_nobody_follows_any_more_is_closed() {
    let server = FakeApiServer::start().await;
    let mut watch = watch_table(&server.client().await, NAMESPACE, TABLE);
    until(&mut watch.text, |text| *text == TableText::Absent).await;
    eventually("a watch", || server.open_watches() == 1).await;

    drop(watch);

    eventually("no watch", || server.open_watches() == 0).await;
}

#[tokio::test]
async fn exactly_the_named_secrets_are_read() {
    let server = FakeApiServer::start().await;
    server.put("secrets", "harbor-pull", &json!({".dockerconfigjson": "e30=", "other": "AA=="}));
    server.put("secrets", "harbor-client", &json!({"tls.crt": "Y3J0", "tls.key": "a2V5"}));
    server.put("secrets", "portolan-tls", &json!({"tls.key": "a2V5"}));
    let (_names, receiver) = names(&["harbor-pull", "harbor-client"]);

    let mut secrets = watch_secrets(&server.client().await, NAMESPACE, receiver).secrets;
    until(&mut secrets, |secrets| {
        secrets.get("harbor-pull").is_some() && secrets.get("harbor-client").is_some()
    })
    .await;

    let secrets = secrets.borrow().clone();
    let pull = secrets.get("harbor-pull").unwrap();
    assert_eq!(pull.docker_config(), Some(&b"{}"[..]));
    assert_eq!((pull.tls_certificate(), pull.tls_key()), (None, None));
    let client = secrets.get("harbor-client").unwrap();
    assert_eq!((client.tls_certificate(), client.tls_key()), (Some(&b"crt"[..]), Some(&b"key"[..])));
    let asked: BTreeSet<_> = server.requests().into_iter().collect();
    assert_eq!(Vec::from_iter(asked), ["get secrets/harbor-client", "get secrets/harbor-pull"]);
}

#[tokio::test]
async fn a_missing_secret_is_picked_up_when_it_appears_and_followed_after() {
    let server = FakeApiServer::start().await;
    let (_names, receiver) = names(&["harbor-pull"]);
    let mut watch = watch_secrets(&server.client().await, NAMESPACE, receiver);
    until(&mut watch.secrets, |secrets| *secrets.state("harbor-pull") == SecretState::Absent).await;
    assert_eq!(*watch.trouble.borrow(), None, "an absent Secret is an answer");

    server.put("secrets", "harbor-pull", &json!({".dockerconfigjson": "e30="}));
    until(&mut watch.secrets, |secrets| login(secrets) == Some(b"{}".into())).await;
    server.put("secrets", "harbor-pull", &json!({".dockerconfigjson": "W10="}));
    until(&mut watch.secrets, |secrets| login(secrets) == Some(b"[]".into())).await;
    server.delete("secrets", "harbor-pull");
    until(&mut watch.secrets, |secrets| *secrets.state("harbor-pull") == SecretState::Absent).await;
}

#[tokio::test]
async fn reading_the_same_again_wakes_nobody() {
    let server = FakeApiServer::start().await;
    server.put("secrets", "harbor-pull", &json!({".dockerconfigjson": "e30="}));
    let (_names, receiver) = names(&["harbor-pull"]);
    let mut secrets = watch_secrets(&server.client().await, NAMESPACE, receiver).secrets;
    until(&mut secrets, |secrets| secrets.get("harbor-pull").is_some()).await;
    secrets.mark_unchanged();

    let before = server.requests().len();
    eventually("three more rounds", || server.requests().len() >= before + 3).await;

    assert!(!secrets.has_changed().unwrap());
}

#[tokio::test]
async fn the_names_change_with_the_table() {
    let server = FakeApiServer::start().await;
    server.put("secrets", "old", &json!({".dockerconfigjson": "e30="}));
    server.put("secrets", "new", &json!({".dockerconfigjson": "e30="}));
    let (names, receiver) = names(&["old"]);
    // Rounds come too seldom to matter: a change of names must not wait for the next one.
    let policy = WatchPolicy { secrets_every: Duration::from_mins(10), ..WatchPolicy::default() };
    let mut secrets = watch_secrets(&server.client_with(policy).await, NAMESPACE, receiver).secrets;
    until(&mut secrets, |secrets| secrets.get("old").is_some()).await;

    names.send(SecretNames::from(["new".into(), "../nodes".into()])).unwrap();

    until(&mut secrets, |secrets| secrets.get("new").is_some()).await;
    assert_eq!(*secrets.borrow().state("old"), SecretState::Unread, "forgotten");
    until(&mut secrets, |secrets| *secrets.state("../nodes") == SecretState::Absent).await;
    assert!(!server.requests().iter().any(|request| request.contains("nodes")), "{:?}", server.requests());
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_stays_as_it_was_and_the_trouble_quotes_nothing_of_it() {
    let server = FakeApiServer::start().await;
    server.put("secrets", "harbor-pull", &json!({".dockerconfigjson": "e30="}));
    let (_names, receiver) = names(&["harbor-pull"]);
    let mut watch = watch_secrets(&server.client().await, NAMESPACE, receiver);
    until(&mut watch.secrets, |secrets| secrets.get("harbor-pull").is_some()).await;

    for (mood, expected) in [
        (Mood::Refuse(403), "secret `harbor-pull`: the API server answered 403: refused with 403"),
        // Not an API server's own 404: something between us and it knows no such path.
        (Mood::Refuse(404), "secret `harbor-pull`: the API server answered 404: refused with 404"),
        (Mood::Babble, "secret `harbor-pull`: the API server's answer cannot be read"),
        (Mood::Stall, "secret `harbor-pull`: the API server did not answer within 2s"),
    ] {
        server.set_mood(mood);
        until(&mut watch.trouble, |trouble| trouble.as_deref() == Some(expected)).await;
        assert_eq!(login(&watch.secrets.borrow()), Some(b"{}".into()), "{mood:?}");
    }

    server.set_mood(Mood::Well);
    until(&mut watch.trouble, Trouble::is_none).await;
}

fn names(names: &[&str]) -> (watch::Sender<SecretNames>, watch::Receiver<SecretNames>) {
    watch::channel(names.iter().map(|name| Box::from(*name)).collect())
}

fn login(secrets: &Secrets) -> Option<Vec<u8>> {
    secrets.get("harbor-pull")?.docker_config().map(<[u8]>::to_vec)
}

fn holds(table: &TableText, expected: &str) -> bool {
    matches!(table, TableText::Text { text, .. } if &**text == expected)
}

fn says(trouble: &Trouble, expected: &str) -> bool {
    trouble.as_deref().is_some_and(|trouble| trouble.contains(expected))
}

/// Waits for a published value; one that is replaced before it was looked at is not seen.
async fn until<T>(receiver: &mut watch::Receiver<T>, condition: impl FnMut(&T) -> bool) {
    let found = tokio::time::timeout(LIMIT, receiver.wait_for(condition)).await;
    found.expect("the value should have come in time").expect("the watch should go on");
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + LIMIT;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "{what} should have come in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The error of a server that was just ended: its last connection may still have been answered.
async fn eventually_refused(client: &portolan::cluster::Client) -> String {
    let mut error = String::new();
    for _ in 0..100 {
        error = match read_table(client, NAMESPACE, TABLE).await {
            Ok(_) => "answered".to_owned(),
            Err(error) => error.to_string(),
        };
        if error.contains("onnection refused") {
            break;
        }
    }
    error
}

/// Far more than anything here takes; the machine may be busy.
const LIMIT: Duration = Duration::from_secs(30);
