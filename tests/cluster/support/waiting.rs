//! Waiting for a state, never for a time.

use std::{
    fmt::Debug,
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

/// A condition for [`eventually`].
pub fn holds(condition: bool, otherwise: &str) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise.to_owned()) }
}
