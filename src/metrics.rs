//! Every metric, as a typed handle that is made at the start.
//!
//! A handle is found by indexing an array with an enum: counting an admission looks nothing up, and a label can
//! only be a word of a closed enum, never a name or an image. This room imports nothing of ours but the words of a
//! decision; the dry runs that count nowhere are left out by whoever calls.

use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::{Duration, SystemTime},
};

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::rewrite::{Mode, Outcome, Reason, ResolvedFrom};

mod label;
mod register;
mod series;

pub use label::{HandshakeError, LockCheck, RegistryResult, Verdict};

/// Every metric of the process.
///
/// ```
/// use portolan::{
///     metrics::{Metrics, Verdict},
///     rewrite::Mode,
/// };
///
/// let metrics = Metrics::new();
/// metrics.admission(Mode::Enforce, Verdict::Allowed, std::time::Duration::from_millis(1));
/// assert!(metrics.encode().contains(r#"portolan_admissions_total{mode="enforce",result="allowed"} 1"#));
/// ```
#[derive(Debug)]
pub struct Metrics {
    /// Errors that the audit log's writer met, such as a full disk.
    pub audit_errors: Counter,
    /// Failed attempts to read or write the answers kept in the cluster.
    pub answers_errors: Counter,
    /// How many answers are kept in the cluster, as this replica last saw.
    pub answers_kept: Count,
    /// How many answers from before the start could be used at the start.
    pub answers_restored: Count,
    /// Records that found the audit log's queue full.
    pub audit_dropped: Counter,
    /// How many answers of registries are remembered.
    pub cache_entries: Count,
    /// When the authority ends that signed the certificate which replicas share.
    pub certificate_authority_expiry: Stamp,
    /// Changed certificates that could not be used, and failed looks at the shared one.
    pub certificate_errors: Counter,
    /// When the serving certificate ends.
    pub certificate_expiry: Stamp,
    /// How many webhook configurations do not trust the shared certificate in use.
    pub certificate_untrusted: Count,
    /// Open connections to the webhook.
    pub connections: Count,
    /// Events that could not be written.
    pub event_errors: Counter,
    /// Owners of Pods that were noticed to fight over images.
    pub fights: Counter,
    /// How many of them go on.
    pub fights_going_on: Count,
    /// Failures of Portolan itself that let a Pod through.
    pub internal_errors: Counter,
    /// Failed attempts to keep the last good table.
    pub last_good_errors: Counter,
    /// 1 while the table in force is the kept one, because at start there was no good one.
    pub last_good_in_force: Count,
    /// Failed attempts to read or write the Lease.
    pub lease_errors: Counter,
    /// 1 while this replica holds the Lease.
    pub lease_held: Count,
    /// Locks that were refused.
    pub lock_errors: Counter,
    /// When a lock was last taken into force.
    pub lock_last_success: Stamp,
    /// How many lines the lock in force has.
    pub lock_lines: Count,
    /// How many of its lines have a digest that their mirror was seen to lack.
    pub lock_missing: Count,
    /// How many of its lines have a tag that was seen to lead elsewhere.
    pub lock_moved: Count,
    /// How many registries are left alone because they did not answer.
    pub registries_left_alone: Count,
    /// Tables that were refused.
    pub table_errors: Counter,
    /// When a table was last taken into force.
    pub table_last_success: Stamp,
    /// How many rules the table in force has.
    pub table_rules: Count,
    /// Failed looks for Pods that were admitted without Portolan.
    pub unrewritten_errors: Counter,
    /// How many there were, as this replica last saw.
    pub unrewritten_pods: Count,
    admission_seconds: Histogram,
    admissions: [[Counter; Verdict::ALL.len()]; Mode::ALL.len()],
    handshake_errors: [Counter; HandshakeError::ALL.len()],
    images: [[Counter; Reason::ALL.len()]; Outcome::WORDS.len()],
    lock_checks: [Counter; LockCheck::ALL.len()],
    registry_requests: [Counter; RegistryResult::ALL.len()],
    resolved: [Counter; ResolvedFrom::ALL.len()],
    validations: [Counter; Verdict::ALL.len()],
    registry: Registry,
}

/// A gauge that counts things.
pub type Count = Gauge<i64, AtomicI64>;

/// A gauge that holds a moment, in seconds since 1970.
pub type Stamp = Gauge<f64, AtomicU64>;

/// A moment as a [`Stamp`] has it: seconds after 1970, and 0 before.
pub fn seconds(moment: SystemTime) -> f64 {
    moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            answers_errors: Counter::default(),
            answers_kept: Gauge::default(),
            answers_restored: Gauge::default(),
            audit_errors: Counter::default(),
            audit_dropped: Counter::default(),
            cache_entries: Gauge::default(),
            certificate_authority_expiry: Gauge::default(),
            certificate_errors: Counter::default(),
            certificate_expiry: Gauge::default(),
            certificate_untrusted: Gauge::default(),
            connections: Gauge::default(),
            event_errors: Counter::default(),
            fights: Counter::default(),
            fights_going_on: Gauge::default(),
            internal_errors: Counter::default(),
            last_good_errors: Counter::default(),
            last_good_in_force: Gauge::default(),
            lease_errors: Counter::default(),
            lease_held: Gauge::default(),
            lock_errors: Counter::default(),
            lock_last_success: Gauge::default(),
            lock_lines: Gauge::default(),
            lock_missing: Gauge::default(),
            lock_moved: Gauge::default(),
            registries_left_alone: Gauge::default(),
            table_errors: Counter::default(),
            table_last_success: Gauge::default(),
            table_rules: Gauge::default(),
            unrewritten_errors: Counter::default(),
            unrewritten_pods: Gauge::default(),
            admission_seconds: Histogram::new(ADMISSION_SECONDS),
            admissions: Default::default(),
            handshake_errors: Default::default(),
            images: std::array::from_fn(|_| Default::default()),
            lock_checks: Default::default(),
            registry_requests: Default::default(),
            resolved: Default::default(),
            validations: Default::default(),
            registry: Registry::default(),
        };
        metrics.registry = metrics.register();
        metrics
    }

    /// Counts one admission.
    pub fn admission(&self, mode: Mode, verdict: Verdict, elapsed: Duration) {
        count(self.admissions.get(mode as usize).and_then(|row| row.get(verdict as usize)));
        self.admission_seconds.observe(elapsed.as_secs_f64());
    }

    /// Counts one image decided.
    pub fn image(&self, outcome: &Outcome, reason: Reason) {
        let row = match outcome {
            Outcome::Denied => self.images.first(),
            Outcome::Kept => self.images.get(1),
            Outcome::Rewritten { .. } => self.images.get(2),
        };
        count(row.and_then(|row| row.get(reason as usize)));
    }

    /// Counts where a digest was known from.
    pub fn resolved(&self, from: ResolvedFrom) {
        count(self.resolved.get(from as usize));
    }

    /// Counts `requests` more to registries.
    pub fn registry_requests(&self, result: RegistryResult, requests: u64) {
        if let Some(counter) = self.registry_requests.get(result as usize) {
            counter.inc_by(requests);
        }
    }

    /// Counts one look for a locked digest.
    pub fn lock_check(&self, result: LockCheck) {
        count(self.lock_checks.get(result as usize));
    }

    /// Counts an admission that Portolan failed at.
    pub fn internal_error(&self) {
        self.internal_errors.inc();
    }

    /// Counts one edit of the table or a lock that was checked.
    pub fn validation(&self, verdict: Verdict) {
        count(self.validations.get(verdict as usize));
    }

    /// Counts a failed TLS handshake.
    pub fn handshake_error(&self, cause: HandshakeError) {
        count(self.handshake_errors.get(cause as usize));
    }

    /// The metrics as `OpenMetrics` text, which [`CONTENT_TYPE`] names.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        text::encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn count(counter: Option<&Counter>) {
    debug_assert!(counter.is_some(), "an enum's array is as long as the enum");
    if let Some(counter) = counter {
        counter.inc();
    }
}

/// What an answer with [`Metrics::encode`]'s text says that it is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From what a warm admission takes to the longest deadline that an API server can give (30 s).
const ADMISSION_SECONDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(word: &str) -> Outcome {
        match word {
            "denied" => Outcome::Denied,
            "kept" => Outcome::Kept,
            _ => Outcome::Rewritten { to: "".into() },
        }
    }

    #[test]
    fn every_outcome_and_reason_counts_under_its_own_words() {
        for word in Outcome::WORDS {
            for reason in Reason::ALL.into_iter().filter(|reason| *reason != Reason::Offline) {
                let metrics = Metrics::new();
                metrics.image(&outcome(word), reason);
                let line =
                    format!("portolan_images_total{{outcome=\"{word}\",reason=\"{}\"}} 1\n", reason.word());
                let text = metrics.encode();
                assert!(text.contains(&line), "{line} not in\n{text}");
                let counted = text.lines().filter(|line| line.starts_with("portolan_images_total"));
                assert_eq!(counted.filter(|line| line.ends_with(" 1")).count(), 1);
            }
        }
    }

    #[test]
    fn every_other_label_counts_under_its_own_word() {
        let metrics = Metrics::new();
        let mut expected = Vec::new();
        for (times, from) in (1u32..).zip(ResolvedFrom::ALL) {
            (0..times).for_each(|_| metrics.resolved(from));
            expected.push(format!("portolan_resolved_total{{from=\"{}\"}} {times}", from.word()));
        }
        for (times, result) in (1u32..).zip(RegistryResult::ALL) {
            metrics.registry_requests(result, times.into());
            expected
                .push(format!("portolan_registry_requests_total{{result=\"{}\"}} {times}", result.word()));
        }
        for (times, result) in (1u32..).zip(LockCheck::ALL) {
            (0..times).for_each(|_| metrics.lock_check(result));
            expected.push(format!("portolan_lock_checks_total{{result=\"{}\"}} {times}", result.word()));
        }
        for (times, cause) in (1u32..).zip(HandshakeError::ALL) {
            (0..times).for_each(|_| metrics.handshake_error(cause));
            expected
                .push(format!("portolan_tls_handshake_errors_total{{cause=\"{}\"}} {times}", cause.word()));
        }
        let mut times = 0;
        for mode in Mode::ALL {
            for verdict in Verdict::ALL {
                times += 1;
                (0..times).for_each(|_| metrics.admission(mode, verdict, Duration::ZERO));
                expected.push(format!(
                    "portolan_admissions_total{{mode=\"{}\",result=\"{}\"}} {times}",
                    mode.word(),
                    verdict.word()
                ));
            }
        }
        let text = metrics.encode();
        for line in expected {
            assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
        }
        assert!(text.contains("portolan_admission_seconds_count 21\n"), "{text}");
    }

    #[test]
    fn the_names_are_the_documented_ones_and_the_text_is_the_same_twice() {
        let metrics = Metrics::new();
        metrics.certificate_expiry.set(1_800_000_000.0);
        metrics.connections.inc();
        let text = metrics.encode();
        for line in [
            concat!("portolan_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "portolan_answers_errors_total 0",
            "portolan_answers_kept 0",
            "portolan_answers_restored 0",
            "portolan_audit_dropped_total 0",
            "portolan_audit_errors_total 0",
            "portolan_cache_entries 0",
            "portolan_certificate_errors_total 0",
            "portolan_certificate_expiry_timestamp_seconds 1800000000.0",
            "portolan_connections 1",
            "portolan_event_errors_total 0",
            "portolan_fights_going_on 0",
            "portolan_fights_total 0",
            "portolan_internal_errors_total 0",
            "portolan_lease_errors_total 0",
            "portolan_lease_held 0",
            "portolan_lock_errors_total 0",
            "portolan_lock_last_success_timestamp_seconds 0.0",
            "portolan_lock_lines 0",
            "portolan_lock_missing 0",
            "portolan_lock_moved 0",
            "portolan_registry_left_alone 0",
            "portolan_table_errors_total 0",
            "portolan_table_last_good_errors_total 0",
            "portolan_table_last_good_in_force 0",
            "portolan_table_last_success_timestamp_seconds 0.0",
            "portolan_table_rules 0",
            "portolan_unrewritten_errors_total 0",
            "portolan_unrewritten_pods 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
        }
        assert!(!text.contains("offline"));
        assert_eq!(text, metrics.encode());
    }
}
