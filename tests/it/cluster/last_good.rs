//! The last good table, kept in a ConfigMap.

use std::sync::Arc;

use portolan::{
    cluster::{LAST_GOOD, LastGood},
    metrics::Metrics,
};

use super::{FakeApiServer, Mood, NAMESPACE, eventually};

const OF: &str = "portolan/portolan-table";

async fn last_good(server: &FakeApiServer, of: &str) -> LastGood {
    LastGood::new(&server.client().await, NAMESPACE, of)
}

fn kept(server: &FakeApiServer) -> Option<String> {
    let object = server.object("configmaps", LAST_GOOD)?;
    object["data"]["table.yaml"].as_str().map(str::to_owned)
}

fn writes(server: &FakeApiServer) -> usize {
    server.requests().iter().filter(|request| request.starts_with("apply ")).count()
}

#[tokio::test]
async fn it_is_written_only_when_it_changed() {
    let server = FakeApiServer::start().await;
    let metrics = Arc::new(Metrics::new());
    let keep = last_good(&server, OF).await.keep(Arc::clone(&metrics));

    keep.send_replace(Some("first".into()));
    eventually("the first", || kept(&server).as_deref() == Some("first")).await;
    // As another replica, or the same after a restart.
    let other = last_good(&server, OF).await.keep(Arc::clone(&metrics));
    let asked = server.requests().len();
    other.send_replace(Some("first".into()));
    eventually("a look", || server.requests().len() > asked).await;
    other.send_replace(Some("second".into()));
    eventually("the second", || kept(&server).as_deref() == Some("second")).await;

    assert_eq!(writes(&server), 2, "{:?}", server.requests());
    assert!(metrics.encode().contains("portolan_table_last_good_errors_total 0\n"));
}

#[tokio::test]
async fn it_is_read_back_for_the_table_that_it_was_kept_of() {
    let server = FakeApiServer::start().await;
    let ours = last_good(&server, OF).await;
    assert_eq!(ours.read().await.unwrap(), None);

    let keep = ours.clone().keep(Arc::new(Metrics::new()));
    keep.send_replace(Some("rules: []".into()));
    eventually("it is kept", || kept(&server).is_some()).await;

    assert_eq!(ours.read().await.unwrap().as_deref(), Some("rules: []"));
    assert_eq!(last_good(&server, "portolan/other").await.read().await.unwrap(), None);
    server.set_mood(Mood::Refuse(500));
    ours.read().await.unwrap_err();
}

#[tokio::test]
async fn what_cannot_be_kept_is_counted_and_tried_again_with_the_latest() {
    let server = FakeApiServer::start().await;
    let metrics = Arc::new(Metrics::new());
    let keep = last_good(&server, OF).await.keep(Arc::clone(&metrics));
    server.set_mood(Mood::Refuse(403));

    keep.send_replace(Some("first".into()));
    let counted = |line: &str| metrics.encode().lines().any(|found| found == line);
    eventually("a second try", || counted("portolan_table_last_good_errors_total 2")).await;
    keep.send_replace(Some("second".into()));
    server.set_mood(Mood::Well);

    eventually("the second", || kept(&server).as_deref() == Some("second")).await;
}
