//! One admission from bytes to bytes: read, decide, patch, answer, record.
//!
//! [`Admission::answer`] is what the webhook's routes call. It always answers with the request's uid, never later
//! than the API server waits, and never with a denial that is Portolan's own fault. [`decide`] is the one function
//! behind it, `explain` and `check`. [`Validation`] does the same for edits of the ConfigMaps that Portolan reads.
//!
//! The warm path (every image known) does no I/O, spawns nothing and never suspends.

mod admit;
mod decide;
mod fights;
mod guard;
mod message;
mod preview;
mod scratch;
mod sighting;
mod validate;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;

pub use admit::Circumstances;
pub use decide::{Asking, decide};
pub use fights::{Act, Fight, Fights, Owner, Sighting};
pub use message::AUDIT_KEY;
pub use preview::{Preview, PreviewError, PreviewedImage, preview};
pub use validate::{TablePlace, Validation};

use crate::{
    audit,
    lock::Lock,
    metrics::Metrics,
    registry::Resolver,
    rewrite::{Mode, PodOptOut},
    table::Table,
};

/// What every admission shares.
#[derive(Debug)]
pub struct Admission {
    /// Replaced whole by whoever watches the table, and by nothing else.
    pub table: ArcSwap<Table>,
    /// Replaced whole by whoever watches the lock, and by nothing else.
    pub lock: ArcSwap<Lock>,
    /// Asks registries and remembers what they said.
    pub resolver: Resolver,
    /// Where the audit lines go.
    pub log: audit::Log,
    /// Notices who fights over images.
    pub fights: Fights,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What the command line chose.
    pub options: Options,
}

/// What the command line chooses for every admission.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace in which Portolan runs, which is always left alone; `None` outside a cluster.
    pub own_namespace: Option<String>,
    /// `audit`: decide and say, but change nothing, whatever the path.
    pub mode: Mode,
    /// Whether Pods may opt out by their label.
    pub pod_opt_out: PodOptOut,
    /// The longest that an admission waits for registries.
    pub resolve_timeout: Duration,
}

/// The answer to one HTTP request, ready to be written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The HTTP status: 200 with a review, else a text that says why not.
    pub status: u16,
    /// An `AdmissionReview` as JSON, or the text.
    pub body: Vec<u8>,
}

/// When an admission began and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// When the body had been read.
    started: Instant,
    /// When registries are waited for no longer.
    resolve: Instant,
    /// When the answer is given in any case.
    answer: Instant,
}

impl Admission {
    /// Answers one body posted to `/mutate` or `/mutate/audit`.
    ///
    /// `timeout` is the request's query, the time that the API server waits.
    pub async fn answer(&self, body: Bytes, mode: Mode, timeout: Option<Duration>) -> Reply {
        let mode = if self.options.mode == Mode::Audit { Mode::Audit } else { mode };
        let deadline = Deadline::new(Instant::now(), timeout, self.options.resolve_timeout);
        let call = guard::Call { state: self, body: &body, mode, deadline };
        match guard::at_once(call, || admit::admit(call)) {
            Some(reply) => reply,
            // Begun anew, with the fetches that are under way by now.
            None => Box::pin(guard::guard(call, admit::admit(call))).await,
        }
    }
}

impl Deadline {
    /// The lesser of `timeout` less a second (the API server rounds up to whole seconds) and `resolve_timeout`.
    pub fn new(started: Instant, timeout: Option<Duration>, resolve_timeout: Duration) -> Self {
        let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
        let resolve = started + timeout.saturating_sub(ROUNDING).min(resolve_timeout);
        Self { started, resolve, answer: resolve + timeout.min(ROUNDING) / 2 }
    }
}

/// What an admission may take if the request does not say: the API server's own default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// By how much the API server may have rounded the timeout up.
const ROUNDING: Duration = Duration::from_secs(1);

impl Default for Options {
    fn default() -> Self {
        Self {
            own_namespace: None,
            mode: Mode::Enforce,
            pod_opt_out: PodOptOut::Honoured,
            resolve_timeout: Duration::from_secs(2),
        }
    }
}
