//! How many requests one registry is sent at once. The rest wait in line.
//!
//! Who waits in line is not yet asking: that nobody answers it says nothing about the registry. A request that hangs
//! keeps its place for a while only, so that a registry that is back finds room for new ones.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// The places of one registry.
#[derive(Debug)]
pub(super) struct Lane {
    places: Semaphore,
}

/// A place, free again when it is dropped.
pub(super) struct Place<'a>(#[expect(dead_code, reason = "held, not read")] SemaphorePermit<'a>);

impl Lane {
    pub(super) fn new() -> Self {
        Self { places: Semaphore::new(AT_ONCE) }
    }

    /// Waits for a place.
    pub(super) async fn place(&self) -> Place<'_> {
        Place(self.places.acquire().await.expect("nobody closes it"))
    }
}

impl Place<'_> {
    /// Runs a request, which keeps the place until it ends, but not for longer than [`KEPT`].
    pub(super) async fn keep_for<T>(self, request: impl Future<Output = T>) -> T {
        let mut request = std::pin::pin!(request);
        if let Ok(done) = tokio::time::timeout(KEPT, &mut request).await {
            return done;
        }
        drop(self);
        request.await
    }
}

/// How many requests a registry gets at once.
const AT_ONCE: usize = 64;

/// How long a request that hangs keeps its place; shorter than the pause that its registry gets.
const KEPT: Duration = Duration::from_secs(5);

/// The most fetches of one registry, waiting in line or under way. Who wants another one is answered without it.
pub(super) const MAX_UNDER_WAY: usize = 2_048;

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_that_hangs_gives_up_its_place_and_goes_on() {
        let lane = Arc::new(Lane::new());
        for _ in 0..AT_ONCE {
            let lane = Arc::clone(&lane);
            tokio::spawn(async move { lane.place().await.keep_for(pending::<()>()).await });
        }
        while lane.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let waited = tokio::time::Instant::now();
        let late = async {
            tokio::time::sleep(KEPT * 2).await;
            7
        };
        assert_eq!(lane.place().await.keep_for(late).await, 7);
        assert_eq!(waited.elapsed(), KEPT * 3);
        assert_eq!(lane.places.available_permits(), AT_ONCE);
    }
}
