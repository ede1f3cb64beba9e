//! The lock's ConfigMaps as the cluster room sees them.

use std::collections::BTreeMap;

use portolan::cluster::{LockTexts, Trouble, read_lock, watch_lock};
use serde_json::json;

use super::{
    eventually,
    fake_api_server::{FakeApiServer, Mood, NAMESPACE},
    says, until,
};

/// The texts by ConfigMap and key, as `name/key=text`.
fn told(texts: &LockTexts) -> Vec<String> {
    let LockTexts::Read(maps) = texts else { return vec!["unread".into()] };
    let keys = |(map, data): (&String, &std::sync::Arc<BTreeMap<String, String>>)| {
        data.iter().map(|(key, text)| format!("{map}/{key}={text}")).collect::<Vec<_>>()
    };
    maps.iter().flat_map(keys).collect()
}

#[tokio::test]
async fn all_keys_of_all_labelled_config_maps_are_read_and_no_others() {
    let server = FakeApiServer::start().await;
    let client = server.client().await;
    assert_eq!(read_lock(&client, NAMESPACE).await.unwrap(), LockTexts::Read(BTreeMap::new()));

    server.put_lock("b", &json!({"x": "1"}));
    server.put_lock("a", &json!({"y": "2", "x": "3"}));
    server.put("configmaps", "portolan-table", &json!({"table.yaml": "rules: []"}));
    assert_eq!(told(&read_lock(&client, NAMESPACE).await.unwrap()), ["a/x=3", "a/y=2", "b/x=1"]);
    server.set_mood(Mood::Refuse(403));
    let error = read_lock(&client, NAMESPACE).await.unwrap_err();
    assert_eq!(error.to_string(), "the API server answered 403: refused with 403");
}

#[tokio::test]
async fn a_watched_lock_follows_create_edit_and_delete_of_each() {
    let server = FakeApiServer::start().await;
    let mut texts = watch_lock(&server.client().await, NAMESPACE).texts;
    until(&mut texts, |texts| *texts == LockTexts::Read(BTreeMap::new())).await;
    eventually("a watch", || server.open_watches() == 1).await;

    server.put_lock("a", &json!({"x": "1"}));
    until(&mut texts, |texts| told(texts) == ["a/x=1"]).await;
    server.put_lock("b", &json!({"x": "2"}));
    server.put("configmaps", "other", &json!({"x": "not ours"}));
    server.put_lock("a", &json!({"x": "3", "y": "4"}));
    until(&mut texts, |texts| told(texts) == ["a/x=3", "a/y=4", "b/x=2"]).await;
    server.delete("configmaps", "a");
    until(&mut texts, |texts| told(texts) == ["b/x=2"]).await;

    let lists = server.requests().iter().filter(|request| *request == "list configmaps").count();
    assert_eq!(lists, 1, "edits come by the watch: {:?}", server.requests());
}

#[tokio::test]
async fn a_lock_that_cannot_be_watched_keeps_its_last_texts_and_says_why() {
    let server = FakeApiServer::start().await;
    server.put_lock("a", &json!({"x": "1"}));
    let mut watch = watch_lock(&server.client().await, NAMESPACE);
    until(&mut watch.texts, |texts| told(texts) == ["a/x=1"]).await;

    server.set_mood(Mood::Refuse(403));
    server.close_watches();
    until(&mut watch.trouble, |trouble| says(trouble, "answered 403: refused with 403")).await;
    assert_eq!(told(&watch.texts.borrow()), ["a/x=1"]);

    server.delete("configmaps", "a");
    server.set_mood(Mood::Well);
    until(&mut watch.texts, |texts| told(texts).is_empty()).await;
    until(&mut watch.trouble, Trouble::is_none).await;
}
