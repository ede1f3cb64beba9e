//! Steady Pod creation, and what became of every Pod.
//!
//! Pods are begun by the clock, not one after the other: who hangs does not make the load lighter. They are made by
//! server-side dry run, which calls webhooks like any other, and leaves nothing behind.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http::Method;
use serde_json::json;
use tokio::{task::JoinSet, time::MissedTickBehavior};

use super::installation::LIMIT;
use crate::support::{Api, Done, eventually, image, runtime};

/// What is made, and what should come of it.
#[derive(Clone)]
pub struct Load {
    /// The API server that is asked.
    pub api: Api,
    /// Where Pods are made.
    pub namespace: String,
    /// The image as written.
    pub written: String,
    /// The image that Portolan makes of it.
    pub expected: String,
}

/// The time since the load began.
#[derive(Clone, Copy)]
pub struct Clock(Instant);

/// What became of every Pod.
#[derive(Debug)]
pub struct Record {
    day: String,
    pods: Vec<Made>,
    lasted: Duration,
}

/// One Pod.
#[derive(Debug)]
struct Made {
    /// When it was begun.
    at: Duration,
    took: Duration,
    fate: Fate,
}

#[derive(Debug, PartialEq)]
enum Fate {
    /// As it should.
    AsExpected,
    /// Portolan refused it, as the table asks.
    Denied,
    /// The API server could not answer, or answered that it cannot: nothing of Portolan's.
    NoAnswer(String),
    /// Refused for any other reason.
    Refused(String),
    /// Rewritten, but to something else: most often without a digest.
    Otherwise(String),
    /// Admitted as written.
    Unrewritten,
}

impl Load {
    /// Makes Pods as long as `events` runs; what it returned, and what became of them. The row is printed.
    pub fn during<T>(&self, day: &str, events: impl FnOnce(Clock) -> T) -> (T, Record) {
        let (done, pods) = (Arc::new(Done::default()), Arc::new(Mutex::new(Vec::new())));
        let clock = Clock(Instant::now());
        let making = runtime().spawn(self.clone().make(clock, Arc::clone(&done), Arc::clone(&pods)));
        let end = done.when_dropped();
        let came = events(clock);
        let lasted = clock.now();
        drop(end);
        runtime().block_on(making).unwrap();
        let pods = std::mem::take(&mut *pods.lock().unwrap());
        let record = Record { day: day.to_owned(), pods, lasted };
        eprintln!("{}", record.row());
        (came, record)
    }

    /// Makes one Pod.
    pub async fn make_one(&self, name: &str) -> Result<String, (u16, String)> {
        let path = format!("/api/v1/namespaces/{}/pods?dryRun=All", self.namespace);
        let pod = json!({
            "metadata": {"name": name}, "spec": {"containers": [{"name": "web", "image": self.written}]},
        });
        let made = self.api.request(Method::POST, &path, Some(&pod)).await;
        made.map(|pod| image(&pod, "containers/web").to_owned())
            .map_err(|refusal| (refusal.code, refusal.message))
    }

    /// Waits until Pods come out rewritten.
    #[track_caller]
    pub fn wait_rewritten(&self) {
        eventually(LIMIT, || match runtime().block_on(self.make_one("probe")) {
            Ok(came) if came == self.expected => Ok(()),
            other => Err(other),
        });
    }

    async fn make(self, clock: Clock, done: Arc<Done>, pods: Arc<Mutex<Vec<Made>>>) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut under_way = JoinSet::new();
        for burst in 0.. {
            ticks.tick().await;
            if done.is_set() {
                break;
            }
            for number in 0..BURST {
                let (load, pods) = (self.clone(), Arc::clone(&pods));
                under_way.spawn(async move {
                    let at = clock.now();
                    let came = load.make_one(&format!("steady-{burst}-{number}")).await;
                    let made = Made { at, took: clock.now().saturating_sub(at), fate: load.fate(came) };
                    pods.lock().unwrap().push(made);
                });
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    fn fate(&self, came: Result<String, (u16, String)>) -> Fate {
        match came {
            Ok(image) if image == self.expected => Fate::AsExpected,
            Ok(image) if image == self.written => Fate::Unrewritten,
            Ok(image) => Fate::Otherwise(image),
            Err((_, message)) if message.contains("not-locked") => Fate::Denied,
            // Its own words until it knows which webhooks there are.
            Err((403, message)) if message.contains("not yet ready to handle request") => {
                Fate::NoAnswer(message)
            }
            Err((0 | 429 | 500.., message)) if !message.contains("webhook") => Fate::NoAnswer(message),
            Err((code, message)) => Fate::Refused(format!("{code}: {message}")),
        }
    }
}

impl Clock {
    /// The time now.
    pub fn now(self) -> Duration {
        self.0.elapsed()
    }
}

impl Record {
    /// Asserts that none was refused, and that there were as many as there should have been.
    #[track_caller]
    pub fn none_failed(&self) -> &Self {
        let refused: Vec<_> = self.pods.iter().filter(|made| matches!(made.fate, Fate::Refused(_))).collect();
        assert!(refused.is_empty(), "{}: {} failed: {:?}", self.day, refused.len(), some(&refused));
        let least = self.lasted.as_secs() * 20;
        assert!(self.pods.len() as u64 >= least, "{}: {} Pods are too few", self.day, self.pods.len());
        self
    }

    /// Asserts that the API server always answered, and nothing was denied.
    #[track_caller]
    pub fn all_answered(&self) -> &Self {
        let others: Vec<_> =
            self.pods.iter().filter(|made| matches!(made.fate, Fate::Denied | Fate::NoAnswer(_))).collect();
        assert!(others.is_empty(), "{}: {} without an answer: {:?}", self.day, others.len(), some(&others));
        self
    }

    /// Asserts that all were rewritten.
    #[track_caller]
    pub fn none_unrewritten(&self) -> &Self {
        self.none_unrewritten_but(&[])
    }

    /// Asserts that those were rewritten that were not under way in one of these spans of time.
    #[track_caller]
    pub fn none_unrewritten_but(&self, gaps: &[(Duration, Duration)]) -> &Self {
        let is_in_gap =
            |made: &Made| gaps.iter().any(|(from, to)| made.at <= *to && made.at + made.took >= *from);
        let lost: Vec<_> = self
            .pods
            .iter()
            .filter(|made| matches!(made.fate, Fate::Unrewritten | Fate::Otherwise(_)) && !is_in_gap(made))
            .collect();
        assert!(lost.is_empty(), "{}: {} not rewritten: {:?}", self.day, lost.len(), some(&lost));
        self
    }

    /// How many were denied as the table asks.
    pub fn denied(&self) -> usize {
        self.count(|fate| *fate == Fate::Denied)
    }

    /// How many that were begun later than that were answered.
    pub fn answered_after(&self, moment: Duration) -> usize {
        let later = self.pods.iter().filter(|made| made.at > moment);
        later.filter(|made| !matches!(made.fate, Fate::NoAnswer(_))).count()
    }

    /// How many were admitted as written.
    pub fn unrewritten(&self) -> usize {
        self.count(|fate| *fate == Fate::Unrewritten)
    }

    /// The longest that one took of those the API server answered.
    pub fn slowest(&self) -> Duration {
        let answered = self.pods.iter().filter(|made| !matches!(made.fate, Fate::NoAnswer(_)));
        answered.map(|made| made.took).max().unwrap_or_default()
    }

    /// The row of the table in `docs/reliability.md`.
    fn row(&self) -> String {
        let failed = self.count(|fate| matches!(fate, Fate::Refused(_)));
        let otherwise = self.count(|fate| matches!(fate, Fate::Otherwise(_)));
        let (unrewritten, slowest) = (self.unrewritten(), self.slowest());
        let mut row = format!(
            "| {} | {} | {failed} | {unrewritten} | {} ms |",
            self.day,
            self.pods.len(),
            slowest.as_millis()
        );
        let no_answer = self.count(|fate| matches!(fate, Fate::NoAnswer(_)));
        for (count, what) in
            [(otherwise, "rewritten otherwise"), (self.denied(), "denied"), (no_answer, "no API server")]
        {
            if count > 0 {
                write!(row, " {count} {what} |").unwrap();
            }
        }
        row
    }

    fn count(&self, is: impl Fn(&Fate) -> bool) -> usize {
        self.pods.iter().filter(|made| is(&made.fate)).count()
    }
}

fn some<'a>(made: &'a [&'a Made]) -> &'a [&'a Made] {
    &made[..made.len().min(5)]
}

/// Twenty-five a second, five at once: the API server then calls by as many connections, and so every replica.
const EVERY: Duration = Duration::from_millis(200);
const BURST: usize = 5;
