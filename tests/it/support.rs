//! What the tests stand on: fake servers, certificates, captured logs, the service on a socket.

pub(crate) mod authority;
pub(crate) mod fake_registry;
pub(crate) mod http;
pub(crate) mod layout;
pub(crate) mod logs;
pub(crate) mod review;
pub(crate) mod service;
pub(crate) mod stand_in;
pub(crate) mod status;
pub(crate) mod terminal;
pub(crate) mod webhook;

use std::time::{Duration, Instant};

/// The longest time that anything is waited for; no test needs it when all is well.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !condition().await {
        assert!(begin.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
