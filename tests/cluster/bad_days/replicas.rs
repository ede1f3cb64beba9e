//! Replicas that end, die and hang: one, the one with the Lease, and all.

use std::{thread, time::Duration};

use super::{
    Clock, Installation, Record,
    installation::{LIMIT, Replica, WATCHED},
    is_long, span,
};
use crate::{
    support::{Outcome, eventually},
    trials,
};

trials!["bad_days::replicas";
    who_ends_is_not_missed,
    who_dies_is_missed_until_its_endpoint_goes,
    who_hangs_costs_the_timeout_until_its_endpoint_goes,
];

/// Whom a day befalls.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Whom {
    All,
    Another,
    Leader,
}

impl Whom {
    /// The leader is a replica as well: it alone in the short form.
    fn each() -> &'static [Self] {
        if is_long() { &[Self::Another, Self::Leader, Self::All] } else { &[Self::Leader, Self::All] }
    }

    fn of(self, installation: &Installation) -> Vec<Replica> {
        let mut replicas = installation.replicas();
        match self {
            Self::All => replicas,
            Self::Another => replicas.split_off(replicas.len() - 1),
            Self::Leader => {
                replicas.truncate(1);
                replicas
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::All => "of all",
            Self::Another => "of a replica",
            Self::Leader => "of the leader",
        }
    }
}

fn who_ends_is_not_missed() -> Outcome {
    let installation = Installation::start(&[], "")?;
    for whom in Whom::each() {
        let replicas = whom.of(&installation);
        installation.wait_connected(&replicas);
        let (gap, record) = installation.load.during(&format!("SIGTERM {}", whom.name()), |clock| {
            let processes: Vec<_> = replicas.iter().map(Replica::process).collect();
            let signalled = clock.now();
            signal_all(&replicas, "TERM");
            // Until then they answer.
            let from = clock.now();
            let gap = if *whom == Whom::All {
                // From when the last endpoint goes, or stops listening, until the first is back.
                wait_ended(&processes);
                installation.rolled_out(2);
                Some((from, clock.now()))
            } else if went_before_it_ended(&installation, &replicas, &processes) {
                None
            } else {
                // The kubelet asks every two seconds, and once more: a machine may be too slow even for that.
                assert!(clock.now().saturating_sub(signalled) >= DRAIN, "it ended too early");
                eprintln!("  (its endpoint was still there when it had ended)");
                installation.wait_out(&replicas);
                Some((signalled + DRAIN, clock.now() + WATCHED))
            };
            wait_ended(&processes);
            installation.rolled_out(2);
            settle();
            gap
        });
        record.none_failed().all_answered().none_unrewritten_but(gap.as_slice());
        installation.renew_for(*whom);
    }
    Ok(())
}

fn who_dies_is_missed_until_its_endpoint_goes() -> Outcome {
    let installation = Installation::start(&[], "")?;
    for whom in Whom::each() {
        let replicas = whom.of(&installation);
        installation.wait_connected(&replicas);
        let (gap, record) = installation.load.during(&format!("kill -9 {}", whom.name()), |clock| {
            settle();
            let from = clock.now();
            signal_all(&replicas, "KILL");
            let to = until_out_and_back(&installation, &replicas, clock);
            settle();
            (from, to)
        });
        assert_missed(&record, gap);
        installation.renew_for(*whom);
    }
    Ok(())
}

fn who_hangs_costs_the_timeout_until_its_endpoint_goes() -> Outcome {
    let installation = Installation::start(&[], "")?;
    for whom in Whom::each() {
        let replicas = whom.of(&installation);
        installation.wait_connected(&replicas);
        let others = 2 - replicas.len() as u64;
        let (gap, record) = installation.load.during(&format!("SIGSTOP {}", whom.name()), |clock| {
            settle();
            let from = clock.now();
            signal_all(&replicas, "STOP");
            installation.wait_endpoints(others);
            // Who has a connection to it open may still use it once.
            let out = clock.now() + WEBHOOK_TIMEOUT;
            thread::sleep(span(4, 15));
            let back = clock.now();
            signal_all(&replicas, "CONT");
            installation.rolled_out(2);
            let to = if others == 0 { clock.now() } else { out.min(back) };
            settle();
            (from, to)
        });
        assert_missed(&record, gap);
        // A Pod may be sent twice; and the machine may have other things to do.
        assert!(record.slowest() < DEFAULT_TIMEOUT, "{:?}", record.slowest());
        installation.renew_for(*whom);
    }
    Ok(())
}

impl Installation {
    /// Has new Pods for the day after this one, if there is one: a container that ended is started again ever later.
    fn renew_for(&self, whom: Whom) {
        if Whom::each().last() != Some(&whom) {
            self.renew();
        }
    }
}

/// None failed, and those unrewritten were begun in the gap.
#[track_caller]
fn assert_missed(record: &Record, gap: (Duration, Duration)) {
    eprintln!("  (the gap lasted {:.1} s)", gap.1.saturating_sub(gap.0).as_secs_f64());
    record.none_failed().all_answered().none_unrewritten_but(&[gap]);
}

/// When the endpoints of the dead are out, or, if none is left, when one is back.
fn until_out_and_back(installation: &Installation, dead: &[Replica], clock: Clock) -> Duration {
    installation.wait_out(dead);
    let out = clock.now() + WATCHED;
    installation.rolled_out(2);
    if dead.len() == 2 { clock.now() } else { out }
}

fn signal_all(replicas: &[Replica], signal: &str) {
    for replica in replicas {
        replica.signal(signal);
    }
}

/// Some Pods more.
fn settle() {
    thread::sleep(Duration::from_secs(1));
}

/// Waits for the end of one of them, and says whether all of their endpoints were out before.
fn went_before_it_ended(installation: &Installation, replicas: &[Replica], processes: &[u32]) -> bool {
    eventually(LIMIT, || {
        // In this order: what is out now was out when it still ran.
        let (are_out, run) = (installation.are_out(replicas), processes.iter().all(|id| is_running(*id)));
        if are_out || !run { Ok(are_out && run) } else { Err("it runs, and is an endpoint") }
    })
}

fn is_running(id: u32) -> bool {
    std::path::Path::new("/proc").join(id.to_string()).exists()
}

fn wait_ended(processes: &[u32]) {
    eventually(LIMIT, || match processes.iter().find(|id| is_running(**id)) {
        Some(id) => Err(format!("{id} is still running")),
        None => Ok(()),
    });
}

/// `--drain-delay`, as it is by default.
const DRAIN: Duration = Duration::from_secs(5);

/// How long a webhook is waited for whose configuration does not say it: more than twice as long.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// As in the shipped configuration.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(3);
