//! Puts a new lock in force: the one writer of [`Admission::lock`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{Condition, lock_check::Report, problems::on_one_line};
use crate::{
    admission::Admission,
    cluster::{LockTexts, Notice},
    lock::{ConfigMaps, Lock, Problem, Problems},
    metrics::seconds,
    tls::wall_clock,
};

/// Follows the lock's texts.
pub(super) struct LockKeeper {
    pub(super) admission: Arc<Admission>,
    /// Met by the first good lock; its note says what is wrong with a later one.
    pub(super) condition: Condition,
    /// How far it has come.
    pub(super) progress: watch::Sender<Progress>,
    /// Tells of broken ConfigMaps where they are; `None`: the lock is not read in a cluster.
    pub(super) report: Option<Report>,
}

/// How far the reading of the lock has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// Nothing was heard of it.
    Waiting,
    /// There is none, or none that could be read.
    Tried,
    /// One is in force.
    Read,
}

/// What came of reading the lock's texts.
pub(super) enum Reading {
    /// There are none.
    Absent,
    Lock(Lock),
    Refused(Problems),
    /// The API server has not answered yet.
    Unread,
}

impl LockKeeper {
    /// Goes on until the watch dies, which its owner has to take for the end of the process.
    pub(super) async fn follow<T: Clone>(self, mut texts: watch::Receiver<T>, read: impl Fn(&T) -> Reading) {
        loop {
            let now = texts.borrow_and_update().clone();
            self.take(read(&now));
            if texts.changed().await.is_err() {
                return;
            }
        }
    }

    fn take(&self, reading: Reading) {
        match reading {
            Reading::Absent => {
                self.put_in_force(Lock::default());
                self.condition.note("there is no ConfigMap with the label `portolan.dev/lock: \"true\"`");
                self.advance(Progress::Tried);
            }
            Reading::Lock(lock) => {
                tracing::info!(lines = lock.lines().len(), "lock in force");
                self.put_in_force(lock);
                self.admission.metrics.lock_last_success.set(seconds(wall_clock()));
                self.condition.meet();
                self.advance(Progress::Read);
            }
            Reading::Refused(problems) => {
                let problem = on_one_line(&problems);
                self.admission.metrics.lock_errors.inc();
                tracing::warn!(problem, "lock refused, the last good one stays in force");
                self.condition.note(problem);
                self.report(&problems);
                self.advance(Progress::Tried);
            }
            Reading::Unread => {}
        }
    }

    /// Says on each ConfigMap what is wrong with it.
    fn report(&self, problems: &Problems) {
        let Some(Report { events, namespace }) = &self.report else { return };
        let mut of_maps: BTreeMap<&str, Vec<&Problem>> = BTreeMap::new();
        for problem in problems {
            if let Some(map) = &problem.config_map {
                of_maps.entry(map).or_default().push(problem);
            }
        }
        for (name, problems) in of_maps {
            events.publish(Notice {
                namespace: namespace.clone(),
                name: name.to_owned(),
                reason: "LockRefused",
                action: "ReadLock",
                text: format!("lock refused, so it is not in force: {}", on_one_line(problems)),
            });
        }
    }

    /// What is known of the mirrors' content stays known.
    fn put_in_force(&self, lock: Lock) {
        lock.inherit(&self.admission.lock.load());
        let lines = i64::try_from(lock.lines().len()).unwrap_or(i64::MAX);
        self.admission.lock.store(Arc::new(lock));
        self.admission.metrics.lock_lines.set(lines);
    }

    /// What was read once counts as read.
    fn advance(&self, progress: Progress) {
        self.progress.send_if_modified(|reached| {
            let advances = *reached != Progress::Read && *reached != progress;
            if advances {
                *reached = progress;
            }
            advances
        });
    }
}

/// Reads the ConfigMaps' texts as one lock.
pub fn read_maps(maps: &ConfigMaps) -> Result<Lock, Problems> {
    Lock::read_keys(maps.iter().flat_map(|(map, data)| {
        data.iter().map(move |(key, text)| (map.as_str(), key.as_str(), text.as_str()))
    }))
}

/// [`Reading`] of a cluster's texts.
pub(super) fn read_texts(texts: &LockTexts) -> Reading {
    match texts {
        LockTexts::Read(maps) if maps.is_empty() => Reading::Absent,
        LockTexts::Read(maps) => read_maps(maps).map_or_else(Reading::Refused, Reading::Lock),
        LockTexts::Unread => Reading::Unread,
    }
}

/// [`Reading`] of a file's text.
pub(super) fn read_text(text: &Arc<str>) -> Reading {
    Lock::parse(text).map_or_else(Reading::Refused, Reading::Lock)
}

/// Waits until admissions may be answered: where the table requires a lock, until one was read; else only until it was
/// looked for, so that the first admissions do not ask registries for what is locked, and no longer than [`LIMIT`].
pub(super) async fn wait_for_lock(
    admission: &Admission,
    mut tables: watch::Receiver<u64>,
    mut progress: watch::Receiver<Progress>,
) {
    let mut patience = std::pin::pin!(tokio::time::sleep(LIMIT));
    let mut is_patient = true;
    loop {
        let reached = *progress.borrow_and_update();
        tables.mark_unchanged();
        let is_enough = match reached {
            Progress::Read => true,
            _ if admission.table.load().requires_lock() => false,
            Progress::Tried => true,
            Progress::Waiting => !is_patient,
        };
        if is_enough {
            return;
        }
        let changed = async {
            let changed = tokio::select! {
                changed = progress.changed() => changed,
                changed = tables.changed() => changed,
            };
            if changed.is_err() {
                // A keeper is gone, and with it the process.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = changed => {}
            () = &mut patience, if is_patient => is_patient = false,
        }
    }
}

/// How long the first admission waits for a lock that it could do without.
const LIMIT: Duration = Duration::from_secs(2);

#[cfg(test)]
pub(super) mod tests;
