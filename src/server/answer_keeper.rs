//! Keeps the answers of registries in the cluster, so that a start without registries finds them.
//!
//! They are read once, at the start. They are written by whoever holds the Lease, together with those that others wrote
//! before, once in its turn; then the Lease goes on to the next replica, since each knows the answers to its own
//! admissions only. Nothing of this is waited for by an admission, and whatever fails is counted and tried again.

mod merge;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};

use self::merge::{Merge, age};
use crate::{
    admission::Admission,
    cluster::{Answers, CallError, Kept, KeptAnswer, Lease, Plan, aside},
    registry::{CachePolicy, LoginName, PastAnswer},
    tls::wall_clock,
};

/// How answers are kept in the cluster.
#[derive(Clone, Copy, Debug)]
pub struct KeepAnswers {
    /// The most that are kept; none: nothing is written or read.
    pub entries: usize,
    /// The shortest time between two times of writing.
    pub every: Duration,
}

/// What writes and reads them. Only made where some are to be kept.
#[derive(Clone)]
pub(super) struct AnswerKeeper {
    pub(super) admission: Arc<Admission>,
    pub(super) answers: Answers,
    pub(super) lease: Lease,
    pub(super) policy: CachePolicy,
    pub(super) keep: KeepAnswers,
    pub(super) reading: watch::Sender<Reading>,
}

/// How far reading them has come; in this order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Reading {
    /// Not once.
    Untried,
    /// Tried in vain; it is tried again.
    Failed,
    /// They were read.
    Done,
}

/// Waits until reading the kept answers was tried, and no longer than [`READ_LIMIT`]: they are no condition of being
/// ready.
pub(super) async fn wait_for_answers(mut reading: watch::Receiver<Reading>) {
    let was_tried = async { reading.wait_for(|reading| *reading > Reading::Untried).await.is_ok() };
    if tokio::time::timeout(READ_LIMIT, was_tried).await.is_err() {
        tracing::warn!("the answers kept in the cluster could not be read yet");
    }
}

impl AnswerKeeper {
    /// Goes on for ever, whatever happens in it. Dropping the future stops it.
    pub(super) async fn follow(self) {
        let failed = |error| {
            self.admission.metrics.answers_errors.inc();
            tracing::error!(%error, "keeping answers in the cluster failed, beginning anew");
        };
        again_and_again(|| self.clone().read_and_write(), failed).await;
    }

    /// Writes what is new and gives the Lease back: the process is about to end. Takes no longer than [`LAST_LIMIT`] and
    /// [`RELEASE_LIMIT`] together.
    ///
    /// A replica that does not hold the Lease waits that long for it, if it has something to say: when all end at
    /// once, each has its turn.
    pub(super) async fn end(&self) {
        if *self.reading.borrow() == Reading::Done {
            match tokio::time::timeout(LAST_LIMIT, self.write_last()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.failed(&error, true),
                // As in a rolling update: the others go on, and will ask again.
                Err(_) => {
                    tracing::info!("the last answers are not kept, the Lease was not to be had in time");
                }
            }
        }
        if tokio::time::timeout(RELEASE_LIMIT, self.lease.end()).await.is_err() {
            tracing::warn!("no time was left to give the Lease back");
        }
    }

    async fn write_last(&self) -> Result<(), CallError> {
        loop {
            let was_held = self.lease.is_held();
            let (_, plan) = self.plan(self.answers.read().await?).await;
            if was_held || plan.is_empty() {
                return self.write(plan).await;
            }
            // Read again after it: another replica may have written meanwhile.
            self.lease.hurry();
            self.lease.acquired().await;
        }
    }

    async fn read_and_write(self) {
        if *self.reading.borrow() != Reading::Done {
            self.restore().await;
        }
        loop {
            self.lease.acquired().await;
            self.take_turn().await;
            self.lease.pass_on();
        }
    }

    /// Reads what is kept, as often as it takes.
    async fn restore(&self) {
        let mut pause = AGAIN;
        let kept = loop {
            match self.answers.read().await {
                Ok(kept) => break kept,
                Err(error) => self.failed(&error, pause == AGAIN),
            }
            self.reading.send_replace(Reading::Failed);
            tokio::time::sleep(pause).await;
            pause = LONGEST_AGAIN.min(pause * 2);
        };
        for problem in &kept.problems {
            tracing::warn!(%problem, "answers kept in the cluster cannot be read");
        }
        let read = kept.answers.len();
        let (resolver, entries) = (self.admission.resolver.clone(), self.keep.entries);
        let restored = aside(move || resolver.restore(past(kept.answers, entries), Instant::now())).await;
        let metrics = &self.admission.metrics;
        metrics.answers_restored.set(i64::try_from(restored).unwrap_or(i64::MAX));
        metrics.answers_kept.set(i64::try_from(read).unwrap_or(i64::MAX));
        tracing::info!(read, restored, "answers kept in the cluster are there for want of a registry");
        self.reading.send_replace(Reading::Done);
    }

    /// While the Lease is held: writes once, as soon as there is something new, and then holds it for as long as nobody
    /// may write again.
    async fn take_turn(&self) {
        let mut end = Instant::now() + self.keep.every;
        let (mut kept, mut is_written, mut is_well) = (None, false, true);
        while self.lease.is_held() && Instant::now() < end {
            if !is_written {
                match self.look(kept.take()).await {
                    Ok(Some(seen)) => (kept, is_well) = (Some(seen), true),
                    Ok(None) => {
                        is_written = true;
                        end = Instant::now() + self.keep.every;
                    }
                    Err(error) => {
                        self.failed(&error, is_well);
                        is_well = false;
                    }
                }
            }
            let pause = (self.keep.every / LOOKS).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
            tokio::time::sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// Writes if there is something new; else gives back what is kept as it was read, since nobody else writes during a
    /// turn.
    async fn look(&self, kept: Option<Kept>) -> Result<Option<Kept>, CallError> {
        let kept = match kept {
            Some(kept) => kept,
            None => self.answers.read().await?,
        };
        let (kept, plan) = self.plan(kept).await;
        // Also a process that was stopped for a while must not write after its time.
        if plan.is_empty() || !self.lease.is_held() {
            return Ok(Some(kept));
        }
        self.write(plan).await.map(|()| None)
    }

    async fn write(&self, plan: Plan) -> Result<(), CallError> {
        let answers = plan.answers;
        self.answers.write(plan).await?;
        self.admission.metrics.answers_kept.set(i64::try_from(answers).unwrap_or(i64::MAX));
        tracing::debug!(answers, "answers kept in the cluster");
        Ok(())
    }

    /// What is to be kept now.
    async fn plan(&self, kept: Kept) -> (Kept, Plan) {
        let (resolver, keep) = (self.admission.resolver.clone(), self.keep);
        let merge = Merge { entries: keep.entries, now: wall_clock(), policy: self.policy };
        let wanted = move |kept: &[KeptAnswer]| {
            let now = Instant::now();
            merge.merge(kept, resolver.answers(keep.entries, now), &resolver.missing(now))
        };
        self.answers.plan(kept, wanted).await
    }

    fn failed(&self, error: &CallError, is_new: bool) {
        self.admission.metrics.answers_errors.inc();
        if is_new {
            tracing::warn!(%error, "cannot read or write the answers kept in the cluster, trying again");
        }
    }
}

/// The youngest ones, as many as may be kept.
fn past(mut answers: Vec<KeptAnswer>, entries: usize) -> Vec<PastAnswer> {
    let now = wall_clock();
    answers.sort_by_key(|answer| age(answer, now));
    answers.truncate(entries);
    let past = answers.into_iter().map(|answer| PastAnswer {
        age: age(&answer, now),
        reference: answer.reference,
        digest: answer.digest,
        login: answer.login.map_or(LoginName::Anonymous, LoginName::Origin),
    });
    past.collect()
}

/// Runs what ends only by a panic, again after each, for ever. It has a task of its own, so that a panic gets no
/// further, and ends with this future.
pub(super) async fn again_and_again<F>(run: impl Fn() -> F, failed: impl Fn(JoinError))
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let mut task = JoinSet::new();
        task.spawn(run());
        if let Some(Err(error)) = task.join_next().await {
            failed(error);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// How long the first admission waits for the kept answers.
const READ_LIMIT: Duration = Duration::from_secs(2);

/// How long the end of the process waits for the last answers, and for the Lease to be given back. Of the 5 s that the
/// manifests' grace period has to spare.
const LAST_LIMIT: Duration = Duration::from_secs(2);
const RELEASE_LIMIT: Duration = Duration::from_secs(1);

/// The pause after what failed, and the longest one after it has failed again and again.
const AGAIN: Duration = Duration::from_secs(1);
const LONGEST_AGAIN: Duration = Duration::from_secs(60);

/// How often it is looked for something new in the time of a turn.
const LOOKS: u32 = 20;
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_panics_is_counted_and_begun_anew() {
        let (runs, failures) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let run = || {
            let runs = Arc::clone(&runs);
            async move {
                assert!(runs.fetch_add(1, Ordering::SeqCst) >= 3, "expected by the test");
                std::future::pending::<()>().await;
            }
        };
        let failed = |_| {
            failures.fetch_add(1, Ordering::SeqCst);
        };
        tokio::time::timeout(Duration::from_secs(60), again_and_again(run, failed)).await.unwrap_err();
        assert_eq!((runs.load(Ordering::SeqCst), failures.load(Ordering::SeqCst)), (4, 3));
    }
}
