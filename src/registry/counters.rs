//! What the resolver has done, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often each thing happened since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Fetches begun, background ones included.
    pub asked: u64,
    /// Fetches that found a digest.
    pub found: u64,
    /// Fetches that the registry answered with 404.
    pub missing: u64,
    /// Fetches that the registry or its token service refused.
    pub unauthorized: u64,
    /// Fetches without a usable answer.
    pub unavailable: u64,
    /// Fetches begun in the background.
    pub refreshed: u64,
}

/// The counters behind [`Counts`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) asked: Counter,
    pub(super) found: Counter,
    pub(super) missing: Counter,
    pub(super) unauthorized: Counter,
    pub(super) unavailable: Counter,
    pub(super) refreshed: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counters {
    pub(super) fn read(&self) -> Counts {
        Counts {
            asked: self.asked.read(),
            found: self.found.read(),
            missing: self.missing.read(),
            unauthorized: self.unauthorized.read(),
            unavailable: self.unavailable.read(),
            refreshed: self.refreshed.read(),
        }
    }
}

impl Counter {
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
