//! Waiting for a state, never for a time.

use std::{
    fmt::Debug,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Asks until there is an answer, and fails with the last reason why there was none.
#[track_caller]
pub fn eventually<T, E: Debug>(limit: Duration, mut condition: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(20);
    loop {
        match condition() {
            Ok(answer) => return answer,
            Err(reason) if Instant::now() >= deadline => panic!("not within {limit:?}: {reason:?}"),
            Err(_) => thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

/// Says to threads that it is time to end, also when the test fails before it comes to say so.
#[derive(Debug, Default)]
pub struct Done(AtomicBool);

impl Done {
    /// Whether it is time.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it when what is returned is dropped.
    pub fn when_dropped(&self) -> impl Drop {
        struct Guard<'a>(&'a AtomicBool);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        Guard(&self.0)
    }
}
