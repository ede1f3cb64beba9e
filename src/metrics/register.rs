//! Under which name and with which help each metric is given out.

use prometheus_client::{metrics::info::Info, registry::Registry};

use super::{
    HandshakeError, LockCheck, Metrics, RegistryResult, Verdict,
    series::{Series, pairs, series},
};
use crate::rewrite::{Mode, Outcome, Reason, ResolvedFrom};

impl Metrics {
    /// Every metric under its name.
    pub(super) fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("portolan");
        registry.register("build", "The version that runs", Info::new([("version", VERSION)]));
        registry.register_collector(Box::new(Series {
            name: "admissions",
            help: "Admission requests answered",
            rows: pairs(("mode", Mode::ALL.map(Mode::word)), ("result", Verdict::ALL.map(Verdict::word)))
                .zip(self.admissions.iter().flatten().cloned())
                .collect(),
        }));
        registry.register(
            "admission_seconds",
            "Time from a request's last byte to its answer",
            self.admission_seconds.clone(),
        );
        registry.register_collector(Box::new(Series {
            name: "images",
            help: "Images decided",
            rows: pairs(("outcome", Outcome::WORDS), ("reason", Reason::ALL.map(Reason::word)))
                .zip(self.images.iter().flatten().cloned())
                // A word of `explain` alone.
                .filter(|([_, (_, reason)], _)| *reason != Reason::Offline.word())
                .collect(),
        }));
        registry.register_collector(Box::new(series(
            "resolved",
            "Digests had, by where they were known from",
            ("from", ResolvedFrom::ALL.map(ResolvedFrom::word)),
            &self.resolved,
        )));
        registry.register_collector(Box::new(series(
            "registry_requests",
            "Requests to registries",
            ("result", RegistryResult::ALL.map(RegistryResult::word)),
            &self.registry_requests,
        )));
        registry.register(
            "registry_left_alone",
            "Registries left alone for a while because they did not answer",
            self.registries_left_alone.clone(),
        );
        registry.register("cache_entries", "Answers of registries remembered", self.cache_entries.clone());
        registry.register("table_rules", "Rules of the table in force", self.table_rules.clone());
        registry.register("table_errors", "Tables refused", self.table_errors.clone());
        registry.register(
            "table_last_success_timestamp_seconds",
            "When a table was last taken into force",
            self.table_last_success.clone(),
        );
        registry.register(
            "table_last_good_in_force",
            "1 while the table in force is the last good one kept in the cluster, for want of a good one at start",
            self.last_good_in_force.clone(),
        );
        registry.register(
            "table_last_good_errors",
            "Attempts to keep the last good table in the cluster that failed",
            self.last_good_errors.clone(),
        );
        registry.register(
            "answers_kept",
            "Answers kept in the cluster for a start without registries, as this replica last saw",
            self.answers_kept.clone(),
        );
        registry.register(
            "answers_restored",
            "Answers kept in the cluster that could be used when this replica started",
            self.answers_restored.clone(),
        );
        registry.register(
            "answers_errors",
            "Attempts to read or write the answers kept in the cluster that failed",
            self.answers_errors.clone(),
        );
        registry.register("lease_held", "1 while this replica holds the Lease", self.lease_held.clone());
        registry.register(
            "lease_errors",
            "Attempts to read or write the Lease that failed",
            self.lease_errors.clone(),
        );
        registry.register("event_errors", "Events that could not be written", self.event_errors.clone());
        registry.register(
            "fights",
            "Owners noticed to make Pods, or set their images back, again and again",
            self.fights.clone(),
        );
        registry.register("fights_going_on", "Such owners that go on with it", self.fights_going_on.clone());
        registry.register(
            "unrewritten_pods",
            "Pods that run images as written though the table moves them: admitted while no Portolan answered, by the last \
             look of this replica, if it has had the turn lately",
            self.unrewritten_pods.clone(),
        );
        registry.register(
            "unrewritten_errors",
            "Looks for such Pods that failed",
            self.unrewritten_errors.clone(),
        );
        registry.register("lock_lines", "Lines of the lock in force", self.lock_lines.clone());
        registry.register("lock_errors", "Locks refused", self.lock_errors.clone());
        registry.register_collector(Box::new(series(
            "lock_checks",
            "Looks for a locked digest in its mirror",
            ("result", LockCheck::ALL.map(LockCheck::word)),
            &self.lock_checks,
        )));
        registry.register(
            "lock_missing",
            "Lines of the lock whose digest their mirror was seen to lack",
            self.lock_missing.clone(),
        );
        registry.register(
            "lock_moved",
            "Lines of the lock whose tag was seen to lead elsewhere",
            self.lock_moved.clone(),
        );
        registry.register(
            "lock_last_success_timestamp_seconds",
            "When a lock was last taken into force",
            self.lock_last_success.clone(),
        );
        registry.register("audit_dropped", "Audit records lost to a full queue", self.audit_dropped.clone());
        registry.register("audit_errors", "Errors when writing the audit log", self.audit_errors.clone());
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When the serving certificate ends",
            self.certificate_expiry.clone(),
        );
        registry.register(
            "certificate_errors",
            "Changed certificates that could not be used, and failed attempts to keep the shared one",
            self.certificate_errors.clone(),
        );
        registry.register(
            "certificate_authority_expiry_timestamp_seconds",
            "When the authority ends that signed the certificate which replicas share; 0 without one",
            self.certificate_authority_expiry.clone(),
        );
        registry.register(
            "certificate_untrusted",
            "Webhook configurations that do not trust the certificate which replicas share",
            self.certificate_untrusted.clone(),
        );
        registry.register_collector(Box::new(series(
            "tls_handshake_errors",
            "TLS handshakes that failed",
            ("cause", HandshakeError::ALL.map(HandshakeError::word)),
            &self.handshake_errors,
        )));
        registry.register("connections", "Open connections to the webhook", self.connections.clone());
        registry.register_collector(Box::new(series(
            "validations",
            "Edits of the table or a lock that were checked",
            ("result", Verdict::ALL.map(Verdict::word)),
            &self.validations,
        )));
        registry.register(
            "internal_errors",
            "Failures of Portolan itself that let a Pod through",
            self.internal_errors.clone(),
        );
        registry
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
