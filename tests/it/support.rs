//! What the tests stand on: fake servers, certificates, captured logs.

use std::time::{Duration, Instant};

pub(crate) mod authority;
pub(crate) mod fake_registry;
pub(crate) mod logs;

/// Waits until `condition` holds; fails after `limit`.
pub(crate) async fn eventually(limit: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + limit;
    while !condition().await {
        assert!(Instant::now() < end, "it did not come about within {limit:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
