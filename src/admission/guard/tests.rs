use std::{
    future,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use serde_json::{Value, json};

use super::*;
use crate::{
    admission::{Fights, Options},
    audit::Log,
    metrics::Metrics,
    registry::Resolver,
    table::Table,
};

fn admission() -> Admission {
    let metrics = Arc::new(Metrics::new());
    Admission {
        table: ArcSwap::from_pointee(Table::default()),
        lock: ArcSwap::default(),
        resolver: Resolver::new(crate::registry::CachePolicy::default()),
        log: Log::start_with(std::io::sink(), 1, Arc::clone(&metrics)).unwrap(),
        fights: Fights::default(),
        metrics,
        options: Options::default(),
    }
}

fn review(dry_run: bool) -> String {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"uid": "u-1", "kind": {"version": "v1", "kind": "Pod"}, "dryRun": dry_run},
    })
    .to_string()
}

/// An hour for registries: only the guard itself may end what never ends.
fn deadline() -> Deadline {
    Deadline::new(Instant::now(), Some(Duration::from_secs(10)), Duration::from_hours(1))
}

async fn guarded(state: &Admission, body: &str, admission: impl Future<Output = Reply>) -> Reply {
    let call = Call { state, body: body.as_bytes(), mode: Mode::Enforce, deadline: deadline() };
    guard(call, admission).await
}

#[track_caller]
fn assert_let_through(reply: &Reply, cause: &str) {
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    let warning = format!("portolan: {cause}, so the images are as written (internal-error)");
    assert_eq!(reply.status, 200);
    assert_eq!(answer["response"], json!({"uid": "u-1", "allowed": true, "warnings": [warning]}));
}

#[tokio::test]
async fn an_admission_that_ends_is_answered_with_its_own_reply() {
    let state = admission();
    let own = Reply { status: 200, body: b"own".to_vec() };
    let later = async {
        tokio::task::yield_now().await;
        own.clone()
    };
    assert_eq!(guarded(&state, &review(false), later).await, own);
    assert_eq!(guarded(&state, &review(false), future::ready(own.clone())).await, own);
    assert_eq!(state.metrics.internal_errors.get(), 0);
}

#[tokio::test]
async fn an_admission_that_panics_lets_the_pod_through() {
    let state = admission();
    let at_once = async { panic!("expected by the test") };
    assert_let_through(&guarded(&state, &review(false), at_once).await, "the admission panicked");
    let later = async {
        tokio::task::yield_now().await;
        panic!("expected by the test")
    };
    assert_let_through(&guarded(&state, &review(false), later).await, "the admission panicked");
    assert_eq!(state.metrics.internal_errors.get(), 2);
}

#[tokio::test]
async fn an_admission_that_panics_in_a_spawned_task_lets_the_pod_through() {
    let state = admission();
    let spawned = async { tokio::spawn(async { panic!("expected by the test") }).await.unwrap() };
    assert_let_through(&guarded(&state, &review(false), spawned).await, "the admission panicked");
    assert_eq!(state.metrics.internal_errors.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_admission_that_never_ends_is_answered_before_the_api_server_gives_up() {
    let state = admission();
    let begin = tokio::time::Instant::now();
    let reply = guarded(&state, &review(false), future::pending()).await;
    assert_let_through(&reply, "the admission did not end in time");
    // After the registries' nine seconds, before the request's ten.
    let elapsed = begin.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(10)).contains(&elapsed), "{elapsed:?}");
    assert_eq!(state.metrics.internal_errors.get(), 1);
}

#[tokio::test]
async fn a_failure_at_a_dry_run_counts_nowhere_and_one_at_no_review_is_400() {
    let state = admission();
    let panics = || async { panic!("expected by the test") };
    assert_let_through(&guarded(&state, &review(true), panics()).await, "the admission panicked");
    assert_eq!(guarded(&state, "no review", panics()).await.status, 400);
    assert_eq!(state.metrics.internal_errors.get(), 0);
}

#[test]
fn registries_are_waited_for_a_second_less_than_the_api_server_waits() {
    let started = Instant::now();
    let seconds = Duration::from_secs;
    for (timeout, resolve_timeout, resolve, answer) in [
        (Some(seconds(3)), seconds(2), seconds(2), Duration::from_millis(2500)),
        (Some(seconds(3)), seconds(60), seconds(2), Duration::from_millis(2500)),
        (Some(seconds(30)), seconds(2), seconds(2), Duration::from_millis(2500)),
        (None, seconds(60), seconds(9), Duration::from_millis(9500)),
        (Some(seconds(1)), seconds(2), seconds(0), Duration::from_millis(500)),
        (Some(Duration::from_millis(400)), seconds(2), seconds(0), Duration::from_millis(200)),
    ] {
        let deadline = Deadline::new(started, timeout, resolve_timeout);
        assert_eq!(deadline.resolve - started, resolve, "{timeout:?}, {resolve_timeout:?}");
        assert_eq!(deadline.answer - started, answer, "{timeout:?}, {resolve_timeout:?}");
    }
}

#[test]
fn at_once_is_answered_what_need_not_wait_and_what_panics() {
    let state = admission();
    let body = review(false);
    let call = Call { state: &state, body: body.as_bytes(), mode: Mode::Enforce, deadline: deadline() };
    let own = Reply { status: 200, body: b"own".to_vec() };
    assert_eq!(at_once(call, || future::ready(own.clone())), Some(own));
    assert_eq!(at_once(call, future::pending), None);
    let panicked = at_once(call, || async { panic!("a bug") });
    assert_let_through(&panicked.unwrap(), "the admission panicked");
    assert_eq!(state.metrics.internal_errors.get(), 1);
}
