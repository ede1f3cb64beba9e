//! What is said about the shared certificate: in the log, once and then every hour, and on `/readyz?verbose`.

use std::{
    error::Error,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use super::{Condition, KeepCertificateError};
use crate::cluster::{CONFIGURATION, CallError, ConfigurationKind};

/// How far API servers trust what is served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// A webhook configuration does not trust it.
    Distrusted(ConfigurationKind),
    /// There is nothing to serve yet.
    NotServed,
    /// All trust it.
    Trusted,
    /// The webhook configurations could not be read, for this reason if there is one.
    Unknown(Option<Box<str>>),
}

/// Says it.
pub(super) struct Report {
    condition: Condition,
    ready: watch::Sender<bool>,
    /// Since when there is something to serve.
    served: Option<Instant>,
    said: Option<(String, Instant)>,
    /// Whether the clocks were apart when they were last compared.
    are_apart: bool,
}

impl Report {
    pub(super) fn new(condition: Condition, ready: watch::Sender<bool>) -> Self {
        condition.note("the shared certificate was not read yet");
        Self { condition, ready, served: None, said: None, are_apart: false }
    }

    /// Whether the condition was met, by trust or by time.
    pub(super) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// A look could not be ended.
    pub(super) fn failed(&mut self, error: &KeepCertificateError, instant: Instant) {
        let text = text_of(error);
        // Who has read the note finds it in the log.
        self.warn(text.clone(), instant);
        self.condition.note(text);
        self.meet_late(instant);
    }

    /// The Secret is of no use yet, and it is for another replica to fill it.
    pub(super) fn waiting(&mut self, text: &str) {
        self.condition.note(text);
    }

    /// A look was ended.
    pub(super) fn looked(&mut self, standing: &Standing, instant: Instant) {
        let text = match standing {
            Standing::NotServed => return,
            Standing::Trusted => {
                self.condition.meet();
                self.ready.send_replace(true);
                self.said = None;
                return;
            }
            Standing::Distrusted(kind) => {
                format!("{} `{CONFIGURATION}` does not trust the certificate", kind.name())
            }
            Standing::Unknown(trouble) => {
                let why = trouble.as_deref().map(|why| format!(": {why}{}", remedy(why.contains(FORBIDDEN))));
                format!("the webhook configurations cannot be read{}", why.unwrap_or_default())
            }
        };
        self.condition.note(text.clone());
        self.served.get_or_insert(instant);
        if self.meet_late(instant) {
            self.warn(text, instant);
        }
    }

    /// Says that our clock is not the API server's.
    pub(super) fn clocks(&mut self, own: SystemTime, judge: SystemTime) {
        let apart = own.duration_since(judge).unwrap_or_else(|error| error.duration());
        let are_apart = apart > APART;
        if are_apart && !self.are_apart {
            tracing::warn!(
                ?apart,
                "our clock and the API server's are apart; certificates go by the API server's"
            );
        }
        self.are_apart = are_apart;
    }

    /// Nobody is to wait for ever for what is for others to mend. Whether it is late.
    fn meet_late(&mut self, instant: Instant) -> bool {
        let is_late =
            self.served.is_some_and(|since| instant.saturating_duration_since(since) >= TRUST_LIMIT);
        if is_late {
            self.condition.waive();
            self.ready.send_replace(true);
        }
        is_late
    }

    fn warn(&mut self, text: String, instant: Instant) {
        let is_said = self
            .said
            .as_ref()
            .is_some_and(|(said, at)| *said == text && instant.saturating_duration_since(*at) < SAY_EVERY);
        if !is_said {
            tracing::warn!(error = text, "the shared certificate cannot be kept, trying again");
            self.said = Some((text, instant));
        }
    }
}

/// An error with what caused it and, where it is a missing right, the remedy.
fn text_of(error: &KeepCertificateError) -> String {
    let mut text = error.to_string();
    if let Some(source) = error.source() {
        text = text + ": " + &source.to_string();
    }
    let is_forbidden = match error {
        KeepCertificateError::Configuration { source, .. } | KeepCertificateError::Secret { source, .. } => {
            matches!(source, CallError::Refused { code: 403, .. })
        }
        KeepCertificateError::Issue(_) | KeepCertificateError::Useless { .. } => false,
    };
    text + remedy(is_forbidden)
}

fn remedy(is_forbidden: bool) -> &'static str {
    if is_forbidden {
        "; `--tls-self` needs the rights of manifests/base/rbac.yaml: apply it again"
    } else {
        ""
    }
}

/// How a watch's trouble says that a right is missing.
const FORBIDDEN: &str = "answered 403";

/// How long a replica that could serve is not ready for want of trust: writing a `caBundle` takes a moment, and a Lease
/// whose holder died is free after 15 s.
const TRUST_LIMIT: Duration = Duration::from_secs(20);

/// More than two clocks that somebody sets are apart.
const APART: Duration = Duration::from_mins(1);

/// How often the same is logged.
const SAY_EVERY: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Health, Shutdown};

    #[test]
    fn a_certificate_that_nobody_trusts_is_waited_for_and_then_said() {
        let health = Health::new(Shutdown::new());
        let (ready, is_ready) = watch::channel(false);
        let mut report = Report::new(health.condition("certificate"), ready);
        let begun = Instant::now();
        assert!(
            health
                .report()
                .1
                .starts_with("[-] certificate missing: the shared certificate was not read yet\n")
        );

        let distrusted = Standing::Distrusted(ConfigurationKind::Mutating);
        report.looked(&Standing::NotServed, begun);
        report.looked(&distrusted, begun);
        report.looked(&distrusted, begun + TRUST_LIMIT.saturating_sub(Duration::from_millis(1)));
        let said = "MutatingWebhookConfiguration `portolan` does not trust the certificate\n";
        assert!(health.report().1.starts_with(&format!("[-] certificate missing: {said}")));
        assert!(!*is_ready.borrow());
        report.looked(&distrusted, begun + TRUST_LIMIT);
        assert!(health.report().1.starts_with(&format!("[+] certificate ok: {said}")));
        assert!(*is_ready.borrow());
        report.looked(&Standing::Trusted, begun + TRUST_LIMIT);
        assert_eq!(health.report(), (true, "[+] certificate ok\nready\n".to_owned()));
    }

    #[test]
    fn a_missing_right_is_said_with_its_remedy() {
        let error = |code| KeepCertificateError::Configuration {
            verb: "patch",
            kind: ConfigurationKind::Validating,
            source: CallError::Refused { code, message: "no".into() },
        };
        let text = text_of(&error(403));
        let begins =
            "cannot patch ValidatingWebhookConfiguration `portolan`: the API server answered 403: no; ";
        assert!(text.starts_with(begins) && text.contains("manifests/base/rbac.yaml"), "{text}");
        assert!(!text_of(&error(500)).contains("rbac"));
    }
}
