//! Events on the owners of Pods.

use std::sync::Arc;

use portolan::{
    cluster::{OwnerEvents, OwnerNotice},
    metrics::Metrics,
};
use serde_json::json;

use super::{FakeApiServer, Mood, eventually};

fn notice(uid: &str) -> OwnerNotice {
    OwnerNotice {
        namespace: "shop".to_owned(),
        api_version: "postgresql.cnpg.io/v1".to_owned(),
        kind: "Cluster".to_owned(),
        name: "pg".to_owned(),
        uid: uid.to_owned(),
        reason: "FightOverImages",
        action: "RewriteImages",
        text: "again and again",
    }
}

async fn start(server: &FakeApiServer) -> (OwnerEvents, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    (OwnerEvents::start(server.client().await, Arc::clone(&metrics)), metrics)
}

#[tokio::test]
async fn an_event_names_the_owner_in_its_own_namespace_and_nothing_is_read() {
    let server = FakeApiServer::start().await;
    let (events, _) = start(&server).await;

    events.publish(notice("c-1"));

    eventually("an Event", || server.events().len() == 1).await;
    let event = server.events().remove(0);
    let regarding = json!({
        "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "namespace": "shop", "name": "pg", "uid": "c-1",
    });
    assert_eq!(event["regarding"], regarding);
    assert_eq!((&event["reason"], &event["type"]), (&json!("FightOverImages"), &json!("Warning")));
    assert_eq!((&event["action"], &event["note"]), (&json!("RewriteImages"), &json!("again and again")));
    assert_eq!(server.requests(), ["create events"]);
}

#[tokio::test]
async fn a_namespace_that_nothing_can_have_gets_into_no_path() {
    let server = FakeApiServer::start().await;
    let (events, metrics) = start(&server).await;

    events.publish(OwnerNotice { namespace: "shop/../../x?a=".to_owned(), ..notice("c-1") });
    events.publish(notice("c-2"));

    eventually("an Event", || server.events().len() == 1).await;
    assert_eq!(metrics.event_errors.get(), 0, "nothing was asked that the server does not know");
}

#[tokio::test]
async fn each_owner_has_its_event_though_they_come_together_and_replicas_say_the_same() {
    let server = FakeApiServer::start().await;
    for _ in 0..2 {
        let asked = server.requests().len();
        let (events, metrics) = start(&server).await;
        for uid in ["c-1", "c-2", "c-3"] {
            events.publish(notice(uid));
        }
        eventually("three tries", || server.requests().len() == asked + 3).await;
        eventually("no failure", || metrics.encode().contains("portolan_event_errors_total 0\n")).await;
    }
    assert_eq!(server.events().len(), 3);
}

#[tokio::test]
async fn what_cannot_be_written_or_is_too_much_is_counted_and_holds_nobody_up() {
    let server = FakeApiServer::start().await;
    server.set_mood(Mood::Refuse(403));
    let (events, metrics) = start(&server).await;
    events.publish(notice("c-1"));
    eventually("a count", || metrics.encode().contains("portolan_event_errors_total 1\n")).await;

    server.set_mood(Mood::Stall);
    let (events, metrics) = start(&server).await;
    (0..100).for_each(|uid| events.publish(notice(&uid.to_string())));
    assert!(metrics.event_errors.get() >= 100 - 65, "{} are dropped", metrics.event_errors.get());
    assert!(server.events().is_empty());
}
