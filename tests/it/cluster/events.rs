//! Events on the table's ConfigMap.

use std::sync::Arc;

use portolan::{
    cluster::{Events, Notice},
    metrics::Metrics,
};
use serde_json::json;

use super::{FakeApiServer, Mood, NAMESPACE, TABLE, eventually};

fn notice(text: &str) -> Notice {
    Notice {
        namespace: NAMESPACE.to_owned(),
        name: TABLE.to_owned(),
        reason: "TableRefused",
        action: "ReadTable",
        text: text.to_owned(),
    }
}

async fn start(server: &FakeApiServer) -> (Events, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    (Events::start(server.client().await, Arc::clone(&metrics)), metrics)
}

#[tokio::test]
async fn an_event_names_the_config_map_and_the_reporter() {
    let server = FakeApiServer::start().await;
    server.put("configmaps", TABLE, &json!({}));
    let (events, _) = start(&server).await;

    events.publish(notice("line 4"));

    eventually("an Event", || server.events().len() == 1).await;
    let event = server.events().remove(0);
    assert_eq!(event["metadata"]["namespace"], NAMESPACE);
    let regarding = &event["regarding"];
    assert_eq!((&regarding["kind"], &regarding["name"]), (&json!("ConfigMap"), &json!(TABLE)));
    assert_eq!(regarding["uid"], "uid-of-portolan-table", "`kubectl describe` finds it by this");
    assert_eq!((&event["reportingController"], &event["type"]), (&json!("portolan"), &json!("Warning")));
    assert_eq!((&event["reason"], &event["action"]), (&json!("TableRefused"), &json!("ReadTable")));
    assert_eq!(event["note"], "line 4");
    assert!(event["eventTime"].is_string() && event["reportingInstance"].is_string(), "{event}");
}

#[tokio::test]
async fn the_same_is_said_once_by_all_replicas_and_that_is_no_failure() {
    let server = FakeApiServer::start().await;
    server.put("configmaps", TABLE, &json!({}));
    for _ in 0..2 {
        let (events, metrics) = start(&server).await;
        let asked = server.requests().len();
        events.publish(notice("line 4"));
        events.publish(notice("line 4"));
        eventually("a try", || server.requests().len() == asked + 2).await;
        eventually("no failure", || metrics.encode().contains("portolan_event_errors_total 0\n")).await;
    }
    assert_eq!(server.events().len(), 1);
    assert_eq!(server.requests().iter().filter(|request| *request == "create events").count(), 2);
}

#[tokio::test]
async fn of_several_objects_none_is_forgotten() {
    let server = FakeApiServer::start().await;
    let (events, _) = start(&server).await;
    for name in ["one", "two"] {
        server.put("configmaps", name, &json!({}));
        events.publish(Notice { name: name.to_owned(), ..notice("gone") });
        events.publish(Notice { name: name.to_owned(), ..notice("moved") });
    }

    eventually("an Event each", || server.events().len() == 2).await;
    let mut said: Vec<_> = server
        .events()
        .iter()
        .map(|event| (event["regarding"]["name"].to_string(), event["note"].to_string()))
        .collect();
    said.sort();
    let moved = |name: &str| (format!("\"{name}\""), "\"moved\"".to_owned());
    assert_eq!(said, [moved("one"), moved("two")]);
}

#[tokio::test]
async fn what_is_said_for_another_reason_displaces_nothing() {
    let server = FakeApiServer::start().await;
    server.put("configmaps", TABLE, &json!({}));
    let (events, _) = start(&server).await;

    events.publish(notice("line 4"));
    events.publish(Notice { reason: "LockRefused", ..notice("line 5") });

    eventually("both", || server.events().len() == 2).await;
    let mut reasons: Vec<_> = server.events().iter().map(|event| event["reason"].to_string()).collect();
    reasons.sort();
    assert_eq!(reasons, ["\"LockRefused\"", "\"TableRefused\""]);
}

#[tokio::test]
async fn what_cannot_be_written_is_counted_and_holds_nobody_up() {
    let server = FakeApiServer::start().await;
    let (events, metrics) = start(&server).await;

    // There is no such ConfigMap: nothing to say it on, and no failure.
    events.publish(notice("line 3"));
    eventually("a look", || server.requests().len() == 1).await;
    server.set_mood(Mood::Refuse(403));
    let (refused, refusals) = start(&server).await;
    refused.publish(notice("line 4"));

    eventually("a count", || refusals.encode().contains("portolan_event_errors_total 1\n")).await;
    assert!(metrics.encode().contains("portolan_event_errors_total 0\n"));
    assert!(server.events().is_empty());
}
