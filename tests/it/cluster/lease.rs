//! The Lease: several replicas against one API server.

use std::{sync::Arc, time::Duration};

use portolan::{
    cluster::{LEASE, Lease, LeasePolicy},
    metrics::Metrics,
};
use serde_json::{Value, json};

use super::{FakeApiServer, LIMIT, Mood, NAMESPACE, eventually};

/// Long enough for a busy machine to renew it, and else as quick as can be.
const POLICY: LeasePolicy = LeasePolicy {
    duration: Duration::from_secs(2),
    every: Duration::from_millis(50),
    pause: Duration::from_millis(500),
};

struct Replica {
    lease: Lease,
    metrics: Arc<Metrics>,
}

async fn replica(server: &FakeApiServer) -> Replica {
    replica_with(server, POLICY).await
}

async fn replica_with(server: &FakeApiServer, policy: LeasePolicy) -> Replica {
    let metrics = Arc::new(Metrics::new());
    let lease = Lease::follow(&server.client().await, NAMESPACE, policy, Arc::clone(&metrics));
    Replica { lease, metrics }
}

impl Replica {
    async fn acquired(&self) {
        tokio::time::timeout(LIMIT, self.lease.acquired()).await.expect("it should be had in time");
    }
}

fn holder(server: &FakeApiServer) -> Value {
    server.object("leases", LEASE).unwrap()["spec"]["holderIdentity"].clone()
}

fn count(server: &FakeApiServer, request: &str) -> usize {
    server.requests().iter().filter(|made| *made == request).count()
}

#[tokio::test]
async fn of_two_one_holds_it_and_when_it_is_given_back_the_other_does() {
    let server = FakeApiServer::start().await;
    let first = replica(&server).await;
    first.acquired().await;
    let made = server.object("leases", LEASE).unwrap()["spec"].clone();
    assert_eq!((&made["leaseDurationSeconds"], &made["leaseTransitions"]), (&json!(2), &json!(1)));
    assert!(first.metrics.encode().contains("portolan_lease_held 1\n"));

    let second = replica(&server).await;
    let looks = count(&server, "get leases/portolan");
    // More than the time after which it could be taken, had it not been renewed.
    eventually("many looks", || count(&server, "get leases/portolan") > looks + 60).await;
    assert!(first.lease.is_held() && !second.lease.is_held());
    assert_eq!(holder(&server), made["holderIdentity"], "renewed by the same");

    tokio::time::timeout(LIMIT, first.lease.end()).await.unwrap();
    assert!(!first.lease.is_held());
    assert!(first.metrics.encode().contains("portolan_lease_held 0\n"));
    second.acquired().await;
    let taken = server.object("leases", LEASE).unwrap()["spec"].clone();
    assert_eq!(taken["leaseTransitions"], 2);
    assert_ne!(taken["holderIdentity"], made["holderIdentity"]);
    assert!(second.metrics.encode().contains("portolan_lease_errors_total 0\n"));
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_is_taken_after_its_time_and_not_before() {
    let server = FakeApiServer::start().await;
    let first = replica(&server).await;
    first.acquired().await;
    tokio::time::timeout(LIMIT, first.lease.end()).await.unwrap();
    // As if its holder had died; by its own clock it was renewed long ago.
    server.edit("leases", LEASE, |lease| {
        lease["spec"]["holderIdentity"] = json!("other");
        lease["spec"]["leaseDurationSeconds"] = json!(3);
        lease["spec"]["renewTime"] = json!("2020-01-01T00:00:00.000000Z");
    });
    let begun = tokio::time::Instant::now();
    let second = replica(&server).await;
    second.acquired().await;
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(3), "no clock but ours counts: {waited:?}");
    assert_ne!(holder(&server), "other");
}

#[tokio::test]
async fn who_passes_it_on_leaves_it_to_the_others_for_a_while_and_then_takes_it_again() {
    let server = FakeApiServer::start().await;
    let (first, second) = (replica(&server).await, replica(&server).await);
    tokio::time::timeout(LIMIT, async {
        tokio::select! {
            () = first.lease.acquired() => {}
            () = second.lease.acquired() => {}
        }
    })
    .await
    .unwrap();
    let (had, waits) = if first.lease.is_held() { (&first, &second) } else { (&second, &first) };
    had.lease.pass_on();
    assert!(!had.lease.is_held(), "from now on");
    waits.acquired().await;
    assert!(!had.lease.is_held());
    waits.lease.pass_on();
    had.acquired().await;

    // With nobody else there.
    let (left, gone) = if first.lease.is_held() { (first, second) } else { (second, first) };
    drop(gone);
    left.lease.pass_on();
    assert!(!left.lease.is_held());
    eventually("it is free", || holder(&server).is_null()).await;
    left.acquired().await;
}

#[tokio::test]
async fn whoever_is_beaten_to_it_does_not_hold_it() {
    let server = FakeApiServer::start().await;
    let first = replica(&server).await;
    first.acquired().await;
    server.edit("leases", LEASE, |lease| lease["spec"]["holderIdentity"] = json!("other"));
    eventually("it is noticed", || !first.lease.is_held()).await;
    assert_eq!(holder(&server), "other");

    // Somebody writes between a look and a write each time.
    server.set_mood(Mood::BeFaster);
    eventually("it may be taken", || {
        server.edit("leases", LEASE, |lease| lease["spec"]["holderIdentity"] = Value::Null);
        count(&server, "replace leases/portolan") > 20
    })
    .await;
    assert!(!first.lease.is_held());
    assert!(first.metrics.encode().contains("portolan_lease_errors_total 0\n"), "that is no error");
    server.set_mood(Mood::Well);
    first.acquired().await;
}

#[tokio::test]
async fn without_an_api_server_it_is_soon_held_no_longer_and_that_is_counted() {
    let server = FakeApiServer::start().await;
    let policy = LeasePolicy { duration: Duration::from_secs(4), ..POLICY };
    let first = replica_with(&server, policy).await;
    first.acquired().await;
    let begun = tokio::time::Instant::now();
    server.set_mood(Mood::Refuse(403));
    eventually("it is over", || !first.lease.is_held()).await;
    assert!(begun.elapsed() < policy.duration, "before anybody else may take it");
    eventually("it is said", || first.metrics.encode().contains("portolan_lease_held 0\n")).await;
    assert!(!first.metrics.encode().contains("portolan_lease_errors_total 0\n"));

    server.set_mood(Mood::Well);
    first.acquired().await;
}
