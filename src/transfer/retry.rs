//! When something is tried again, and after how long.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use super::failure::TransferError;
use crate::registry::ContentError;

/// How often and after how long something is tried again that may pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetryPolicy {
    /// How often in a row without any progress.
    pub retries: u32,
    /// The pause before the first; it doubles.
    pub first_pause: Duration,
    /// The longest pause of our own choice; a registry may wish for a longer one.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { retries: 5, first_pause: Duration::from_millis(500), longest_pause: Duration::from_secs(30) }
    }
}

impl RetryPolicy {
    /// How long to wait after an error before trying again; `None`: it is not tried again. `failures` counts those
    /// before it without progress.
    fn pause(&self, failures: u32, error: &ContentError) -> Option<Duration> {
        if !error.is_passing() || failures >= self.retries {
            return None;
        }
        let doubled = self.first_pause.saturating_mul(2_u32.saturating_pow(failures));
        let pause = error.retry_after().unwrap_or_default().max(doubled.min(self.longest_pause));
        // Up to a quarter more, so that those who failed together do not come back together.
        let random = u32::try_from(RandomState::new().hash_one(failures) % 256).unwrap_or_default();
        Some(pause + pause / 1024 * random)
    }

    /// Counts a failure, tells of it and waits until it is time to try again.
    ///
    /// # Errors
    /// The failure, if it is not to be tried again.
    pub(super) async fn wait_after(
        &self,
        failures: &mut u32,
        error: ContentError,
        about: impl FnOnce(ContentError) -> TransferError,
        tell: impl FnOnce(&TransferError, Duration),
    ) -> Result<(), TransferError> {
        let pause = self.pause(*failures, &error);
        let error = about(error);
        let Some(pause) = pause else { return Err(error) };
        *failures += 1;
        tell(&error, pause);
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_unless_the_registry_wishes_for_longer() {
        let policy = RetryPolicy {
            retries: 4,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(3),
        };
        let busy = |retry_after: Option<u64>| ContentError::Busy {
            status: 429,
            retry_after: retry_after.map(Duration::from_secs),
        };
        for (failures, wish, expected) in [
            (0, None, Some(1)),
            (1, None, Some(2)),
            (2, None, Some(3)),
            (3, None, Some(3)),
            (4, None, None),
            (0, Some(7), Some(7)),
            (2, Some(1), Some(3)),
            (4, Some(7), None),
        ] {
            let pause = policy.pause(failures, &busy(wish));
            let least = expected.map(Duration::from_secs);
            assert!(
                pause >= least && pause <= least.map(|least| least * 5 / 4),
                "{failures} {wish:?}: {pause:?}"
            );
        }
        assert_eq!(policy.pause(0, &ContentError::Missing), None);
    }
}
