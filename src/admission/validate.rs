//! Checks an edit of the table's or a lock's ConfigMap before it is stored: refused with what the watch would refuse it
//! with.
//!
//! It reads a document with [`Table::parse`] and [`Lock::read_keys`], as the watch and `explain` do, so that nothing is
//! accepted that cannot be loaded. Reading takes a while with thousands of rules: it is done where threads may be blocked,
//! so that admissions of Pods go on beside it. Portolan's own failure, a panic included, allows the edit with a warning.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::{Deadline, Reply, message};
use crate::{
    lock::{self, Lock},
    metrics::{Metrics, Verdict as Counted},
    review::{Answer, ConfigMap, ConfigMapRequest, Envelope, ParseReviewError, Texts, Verdict},
    table::{Parsed, Table},
};

/// What is known of the ConfigMaps that are to be checked.
#[derive(Debug)]
pub struct Validation {
    /// Where the table is; `None` if it is in a file.
    pub table: Option<TablePlace>,
    /// Where ConfigMaps may be locks: Portolan's namespace; `None` outside a cluster.
    pub lock_namespace: Option<String>,
    /// The lock's ConfigMaps as they were last seen. Replaced whole by the lock's watch, and by nothing else; empty where
    /// the lock is not read in a cluster.
    pub lock_maps: ArcSwap<lock::ConfigMaps>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// The ConfigMap and the key that hold the table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TablePlace {
    /// The ConfigMap's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The key in it.
    pub key: &'static str,
}

impl Validation {
    /// Answers one body posted to `/validate`. `timeout` is the request's query, the time that the API server waits.
    pub async fn answer(self: Arc<Self>, body: Bytes, timeout: Option<Duration>) -> Reply {
        let deadline = Deadline::new(Instant::now(), timeout, CHECK_LIMIT);
        let (checking, checked) = (Arc::clone(&self), body.clone());
        let check = tokio::task::spawn_blocking(move || checking.check(&checked));
        self.guard(&body, deadline, check).await
    }

    /// Waits for `check` and answers for it if it panics or does not end: allowed, with a warning.
    async fn guard<E>(
        &self,
        body: &[u8],
        deadline: Deadline,
        check: impl Future<Output = Result<Checked, E>>,
    ) -> Reply {
        let checked = match tokio::time::timeout_at(deadline.answer.into(), check).await {
            Ok(Ok(checked)) => checked,
            Ok(Err(_panic)) => fail_open(body, "the check panicked"),
            Err(_elapsed) => fail_open(body, "the check did not end in time"),
        };
        let Checked { reply, counted } = checked;
        if let Some(verdict) = counted {
            self.metrics.validation(verdict);
        }
        reply
    }

    fn check(&self, body: &[u8]) -> Checked {
        let Ok(request) = ConfigMapRequest::parse(body) else { return unreadable(body) };
        if !request.is_edit() {
            return Checked::allowed(&request);
        }
        let Some(object) = &request.object else { return fail_open(body, "the review has no object") };
        match self.findings(&request, object) {
            Ok(warnings) => Checked::of(&request, Verdict::Allowed, &bounded(&warnings)),
            Err(problems) => {
                tracing::info!(
                    uid = &*request.uid,
                    namespace = &*request.namespace,
                    configmap = &*request.name,
                    "broken edit refused"
                );
                Checked::of(&request, Verdict::Denied(&problems), &[])
            }
        }
    }

    /// What is odd about the edit.
    ///
    /// # Errors
    /// What is wrong with it.
    fn findings(
        &self,
        request: &ConfigMapRequest<'_>,
        object: &ConfigMap<'_>,
    ) -> Result<Vec<String>, String> {
        let of_table = match &self.table {
            Some(place) if *place.namespace == *request.namespace && *place.name == *request.name => {
                table_findings(place, object)
            }
            _ => Ok(Vec::new()),
        };
        let of_lock = match object.label(lock::LABEL) {
            Some(value) if self.lock_namespace.as_deref() == Some(&*request.namespace) => {
                self.lock_findings(request, object, value)
            }
            _ => Ok(Vec::new()),
        };
        match (of_table, of_lock) {
            (Ok(table), Ok(lock)) => Ok([table, lock].concat()),
            (Err(problems), Ok(_)) | (Ok(_), Err(problems)) => Err(problems),
            (Err(table), Err(lock)) => Err(format!("{table}\n{lock}")),
        }
    }

    /// All keys of the ConfigMap are one text of the lock.
    fn lock_findings(
        &self,
        request: &ConfigMapRequest<'_>,
        object: &ConfigMap<'_>,
        label: &str,
    ) -> Result<Vec<String>, String> {
        if label != "true" {
            return Ok(vec![format!(
                "label `{}` is not `true`, so that this ConfigMap is no lock",
                lock::LABEL
            )]);
        }
        let (namespace, name) = (&*request.namespace, &*request.name);
        let texts = object.data.iter().flat_map(Texts::iter);
        let keys: Vec<_> = texts.map(|(key, text)| (name, key, text)).collect();
        match Lock::read_keys(keys.iter().copied()) {
            Ok(lock) if lock.lines().is_empty() => Ok(vec!["the lock has no line".to_owned()]),
            Ok(_) => Ok(self.contradictions(name, &keys)),
            Err(problems) => {
                let place = format!("the ConfigMaps of `{namespace}` labelled `{}`", lock::SELECTOR);
                Err(format!("cannot read the lock in {place}: {problems}"))
            }
        }
    }

    /// What this ConfigMap's keys say otherwise than the lock's other ConfigMaps.
    ///
    /// It is said and not refused: who moves a line from one ConfigMap to the other, as `portolan lock` may that writes a
    /// grown lock anew, cannot apply both at once, and what the second one says is not known here yet.
    fn contradictions(&self, name: &str, keys: &[(&str, &str, &str)]) -> Vec<String> {
        let maps = self.lock_maps.load();
        let others = maps.iter().filter(|(other, _)| *other != name).flat_map(|(other, data)| {
            data.iter().map(move |(key, text)| (other.as_str(), key.as_str(), text.as_str()))
        });
        // Read last, so that it is this one whose line is the problem, which names the other one's.
        let Err(problems) = Lock::read_keys(others.chain(keys.iter().copied())) else { return Vec::new() };
        let of_this = problems.iter().filter(|problem| problem.config_map.as_deref() == Some(name));
        of_this.map(|problem| format!("the lock will not be in force: {problem}")).collect()
    }
}

/// The text is the one of `portolan explain`.
fn table_findings(place: &TablePlace, object: &ConfigMap<'_>) -> Result<Vec<String>, String> {
    let TablePlace { namespace, name, key } = place;
    let unreadable = format!("cannot read the mapping table in ConfigMap `{namespace}/{name}`");
    let text = object.text(key).ok_or_else(|| format!("{unreadable}: it has no key `{key}`"))?;
    match Table::parse(text) {
        Ok(Parsed { warnings, .. }) => {
            Ok(warnings.iter().map(|warning| format!("mapping table: {warning}")).collect())
        }
        Err(problems) => Err(format!("{unreadable}: {problems}")),
    }
}

/// The answer, and how it counts; not at all in a dry run.
struct Checked {
    reply: Reply,
    counted: Option<Counted>,
}

impl Checked {
    fn of(request: &ConfigMapRequest<'_>, verdict: Verdict<'_>, warnings: &[String]) -> Self {
        let counted = match verdict {
            Verdict::Allowed => Counted::Allowed,
            Verdict::Denied(_) => Counted::Denied,
        };
        let counted = (!request.dry_run.unwrap_or_default()).then_some(counted);
        Self { reply: reply(&request.uid, verdict, warnings), counted }
    }

    fn allowed(request: &ConfigMapRequest<'_>) -> Self {
        Self::of(request, Verdict::Allowed, &[])
    }

    /// The answer to a body that is no review.
    fn refused(error: &ParseReviewError) -> Self {
        let reply = Reply { status: 400, body: format!("{error}\n").into_bytes() };
        Self { reply, counted: Some(Counted::Error) }
    }
}

/// A review whose object could not be read as a ConfigMap: fine if it is none.
fn unreadable(body: &[u8]) -> Checked {
    match Envelope::parse(body) {
        Ok(envelope) if envelope.is_config_map => {
            fail_open(body, "the ConfigMap in the review could not be read")
        }
        Ok(envelope) => Checked {
            reply: reply(&envelope.uid, Verdict::Allowed, &[]),
            counted: (!envelope.dry_run).then_some(Counted::Allowed),
        },
        Err(error) => Checked::refused(&error),
    }
}

/// The answer to a review that Portolan failed at.
fn fail_open(body: &[u8], cause: &'static str) -> Checked {
    let envelope = match Envelope::parse(body) {
        Ok(envelope) => envelope,
        Err(error) => return Checked::refused(&error),
    };
    tracing::error!(uid = envelope.uid, cause, "check failed, the edit goes on unchecked");
    let warnings = [message::unchecked(cause)];
    Checked {
        reply: reply(&envelope.uid, Verdict::Allowed, &warnings),
        counted: (!envelope.dry_run).then_some(Counted::Error),
    }
}

fn reply(uid: &str, verdict: Verdict<'_>, warnings: &[String]) -> Reply {
    let answer = Answer { uid, verdict, patch: None, audit_annotation: None, warnings };
    Reply { status: 200, body: answer.to_json() }
}

/// As many warnings as an answer may have, each as long as it may be.
fn bounded(findings: &[String]) -> Vec<String> {
    let more = findings.len().saturating_sub(message::MAX_WARNINGS);
    let shown = if more > 0 { message::MAX_WARNINGS - 1 } else { findings.len() };
    let mut warnings: Vec<_> = findings
        .iter()
        .take(shown)
        .map(|finding| message::shortened(&format!("portolan: {finding}"), message::MAX_WARNING).into_owned())
        .collect();
    if more > 0 {
        warnings.push(format!("portolan: and {} more warnings; `portolan explain` shows them", more + 1));
    }
    warnings
}

/// The longest that a check may take: the biggest table takes a tenth of it.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
