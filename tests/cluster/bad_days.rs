//! Bad days: Pods are made all the time, something breaks, and every Pod is accounted for.
//!
//! Each day prints a row of the table in `docs/reliability.md`. `make test` runs the short form of each,
//! `make e2e-full` (`PORTOLAN_LONG=1`) the long one.

mod away;
mod clock;
mod installation;
mod load;
mod machine;
mod plane;
mod replicas;
mod rollout;
mod rotation;
mod state;

use std::{env, time::Duration};

use libtest_mimic::Trial;

use self::{
    installation::Installation,
    load::{Clock, Load, Record},
};

/// The tests of this theme.
pub fn trials() -> Vec<Trial> {
    [
        replicas::trials(),
        machine::trials(),
        rollout::trials(),
        plane::trials(),
        state::trials(),
        clock::trials(),
        away::trials(),
        rotation::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whether the long forms are wanted.
fn is_long() -> bool {
    env::var_os("PORTOLAN_LONG").is_some_and(|long| !long.is_empty() && long != "0")
}

/// How long something lasts in the short form and in the long one.
fn span(short: u64, long: u64) -> Duration {
    Duration::from_secs(if is_long() { long } else { short })
}
