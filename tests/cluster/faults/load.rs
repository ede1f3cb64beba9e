//! Admissions at a steady pace, whatever becomes of them, and a record of each.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Connection, admit, patched};

/// What is sent.
#[derive(Debug)]
pub struct Load<'a> {
    /// Portolan's host and port.
    pub address: &'a str,
    /// Admissions a second.
    pub rate: u32,
    pub time: Duration,
    /// The images of one admission each, in turn; with what each becomes if all is well.
    pub known: &'a [Image],
    /// Every fourth admission has one of these.
    pub unknown: &'a [Image],
}

/// An image as it is written, and as it runs.
#[derive(Clone, Debug)]
pub struct Image {
    pub written: String,
    pub pinned: String,
}

/// One admission.
#[derive(Clone, Copy, Debug)]
pub struct Admitted {
    pub known: bool,
    pub took: Duration,
    pub result: Result,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Result {
    Denied,
    /// No answer, or not to what was asked.
    Failed,
    /// After the API server's patience.
    Late,
    Pinned,
    /// To another digest than the registry has.
    PinnedWrong,
    Unpinned,
}

impl Load<'_> {
    /// Sends all of it.
    pub fn run(&self) -> Vec<Admitted> {
        let count =
            usize::try_from(self.rate).unwrap() * usize::try_from(self.time.as_millis()).unwrap() / 1000;
        let pause = Duration::from_secs(1) / self.rate;
        let next = AtomicUsize::new(0);
        // As many as can be waiting at once: only unknown images are waited for, for two seconds.
        let clients = usize::try_from(self.rate).unwrap();
        let mut connections: Vec<_> = (0..clients).map(|_| Connection::open(self.address).ok()).collect();
        let start = Instant::now();
        thread::scope(|scope| {
            let running: Vec<_> = connections
                .iter_mut()
                .map(|connection| {
                    let next = &next;
                    scope.spawn(move || {
                        let mut record = Vec::new();
                        loop {
                            let number = next.fetch_add(1, Ordering::Relaxed);
                            if number >= count {
                                return record;
                            }
                            let due = start + pause * u32::try_from(number).unwrap();
                            thread::sleep(due.saturating_duration_since(Instant::now()));
                            record.push(self.admit(connection, number));
                        }
                    })
                })
                .collect();
            running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        })
    }

    fn admit(&self, connection: &mut Option<Connection>, number: usize) -> Admitted {
        let known = number % 4 != 3;
        let image = if known {
            &self.known[(number / 4 * 3 + number % 4) % self.known.len()]
        } else {
            &self.unknown[number / 4 % self.unknown.len()]
        };
        let uid = format!("u-{number}");
        let sent = Instant::now();
        let answer = admit(connection, self.address, &uid, &image.written);
        let took = sent.elapsed();
        let result = match answer {
            Some(_) if took > TIMEOUT => Result::Late,
            Some(answer) => judge(&answer, &uid, &image.pinned),
            None => Result::Failed,
        };
        Admitted { known, took, result }
    }
}

fn judge(answer: &Value, uid: &str, pinned: &str) -> Result {
    let response = &answer["response"];
    if response["uid"] != uid {
        return Result::Failed;
    }
    if response["allowed"] != true {
        return Result::Denied;
    }
    match patched(answer) {
        Some(image) if image == pinned => Result::Pinned,
        Some(image) if image.contains('@') => Result::PinnedWrong,
        // Without a patch, too: so a rule has it for what is missing. Portolan's own failures look the same, and are
        // counted by itself.
        _ => Result::Unpinned,
    }
}

/// As the webhook configuration has it; the API server waits no longer.
const TIMEOUT: Duration = Duration::from_secs(3);
