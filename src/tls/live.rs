//! The pair in use, and the tasks that replace it.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwapOption;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{
    Authority, IssueError,
    bundle::is_due,
    pair::{Contents, Pair, PairFiles, ReadPairError},
};
use crate::metrics::{Metrics, seconds};

/// The pair that handshakes use; without one they fail. Reading it waits for nobody.
#[derive(Debug, Default)]
pub struct LivePair {
    current: ArcSwapOption<Pair>,
}

/// How a certificate's life stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expiry {
    /// It has ended: every client refuses it.
    Ended,
    /// Less than a fifth of its life is left.
    EndsSoon,
    /// There is time.
    Fine,
}

/// Keeps the live pair equal to what two files hold.
///
/// The contents are compared, not the files watched: a mounted Secret changes by a symbolic link that is swapped
/// above them. Certificate and key may be seen from two sides of such a swap; so a pair that cannot be used is only
/// complained about, once, when it is still the same at the next look.
#[derive(Debug)]
pub struct FollowFiles {
    files: PairFiles,
    live: Arc<LivePair>,
    metrics: Arc<Metrics>,
    interval: Duration,
    in_use: Option<Contents>,
    complaint: Complaint,
    said: Option<(Expiry, Instant)>,
}

/// Renews a pair that this process issued itself.
#[derive(Debug)]
pub struct Renew {
    authority: Authority,
    names: Vec<String>,
    live: Arc<LivePair>,
    metrics: Arc<Metrics>,
}

/// What is wrong with the files, if anything.
#[derive(Debug)]
enum Complaint {
    /// Nothing.
    None,
    /// Something that the next look may find gone; its text.
    Seen(String),
    /// Something that was logged.
    Said(String),
}

impl LivePair {
    /// The pair in use.
    pub fn current(&self) -> Option<Arc<Pair>> {
        self.current.load_full()
    }

    /// Takes a pair into use for the handshakes to come.
    pub fn replace(&self, pair: Pair) {
        self.current.store(Some(Arc::new(pair)));
    }
}

impl ResolvesServerCert for LivePair {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load().as_ref().map(|pair| Arc::clone(pair.key()))
    }
}

impl Pair {
    /// How the certificate's life stands at `now`.
    pub fn expiry(&self, now: SystemTime) -> Expiry {
        let life = self.ends().duration_since(self.begins()).unwrap_or_default();
        match self.ends().duration_since(now) {
            Err(_) => Expiry::Ended,
            Ok(left) if left.is_zero() => Expiry::Ended,
            Ok(left) if left < life / 5 => Expiry::EndsSoon,
            Ok(_) => Expiry::Fine,
        }
    }
}

impl FollowFiles {
    /// Reads the files once and takes the pair into use.
    pub fn start(
        files: PairFiles,
        live: Arc<LivePair>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ReadPairError> {
        let contents = files.contents()?;
        let pair = files.parse(&contents)?;
        let mut follow = Self {
            files,
            live,
            metrics,
            interval: LOOK_EVERY,
            in_use: None,
            complaint: Complaint::None,
            said: None,
        };
        follow.take(pair, contents);
        Ok(follow)
    }

    /// Looks at the files this often, instead of every second.
    #[must_use]
    pub fn with_interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// Looks at the files every second, for ever.
    pub async fn run(mut self) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let files = self.files.clone();
            // The files are small, but the disk under them may hang.
            if let Ok(read) = tokio::task::spawn_blocking(move || files.contents()).await {
                self.look(read);
            }
            self.judge(wall_clock(), Instant::now());
        }
    }

    /// Judges what one look at the files found.
    fn look(&mut self, read: Result<Contents, ReadPairError>) {
        let error = match read {
            Ok(contents) if self.in_use.as_ref() == Some(&contents) => {
                self.complaint = Complaint::None;
                return;
            }
            Ok(contents) => match self.files.parse(&contents) {
                Ok(pair) => {
                    self.take(pair, contents);
                    return;
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        let text = chain(&error);
        self.complaint = match std::mem::replace(&mut self.complaint, Complaint::None) {
            Complaint::Said(said) if said == text => Complaint::Said(said),
            Complaint::Seen(seen) if seen == text => {
                self.metrics.certificate_errors.inc();
                tracing::warn!(error = text, "the changed certificate cannot be used; the last one stays");
                Complaint::Said(text)
            }
            _ => Complaint::Seen(text),
        };
    }

    fn take(&mut self, pair: Pair, contents: Contents) {
        tracing::info!(serial = pair.serial(), "certificate in use");
        self.metrics.certificate_expiry.set(seconds(pair.ends()));
        self.live.replace(pair);
        self.in_use = Some(contents);
        self.complaint = Complaint::None;
        self.said = None;
    }

    /// Says that the certificate's end is near, or past: at once, then every hour.
    fn judge(&mut self, now: SystemTime, instant: Instant) -> Option<Expiry> {
        let expiry = self.live.current()?.expiry(now);
        let said = self
            .said
            .is_some_and(|(said, at)| said == expiry && instant.saturating_duration_since(at) < SAY_EVERY);
        if said || expiry == Expiry::Fine {
            return None;
        }
        self.said = Some((expiry, instant));
        match expiry {
            Expiry::Ended => tracing::error!("the certificate has ended: API servers refuse it"),
            Expiry::EndsSoon | Expiry::Fine => tracing::warn!("the certificate ends soon"),
        }
        Some(expiry)
    }
}

impl Renew {
    /// Makes an authority and takes a certificate for this machine and `names` into use.
    pub fn start(names: &[String], live: Arc<LivePair>, metrics: Arc<Metrics>) -> Result<Self, IssueError> {
        let now = wall_clock();
        let names = Authority::local_names(names);
        let renew = Self { authority: Authority::new(now)?, names, live, metrics };
        renew.issue(now)?;
        Ok(renew)
    }

    /// The authority's certificate as PEM, which clients are to trust.
    pub fn authority(&self) -> String {
        self.authority.certificate()
    }

    /// Renews the certificate when two thirds of its life are over, for ever.
    pub async fn run(self) {
        loop {
            tokio::time::sleep(JUDGE_EVERY).await;
            self.renew(wall_clock());
        }
    }

    fn renew(&self, now: SystemTime) {
        let due = self.live.current().is_none_or(|pair| is_due(pair.begins(), pair.ends(), now));
        if due && let Err(error) = self.issue(now) {
            self.metrics.certificate_errors.inc();
            tracing::warn!(error = chain(&error), "the certificate could not be renewed");
        }
    }

    fn issue(&self, now: SystemTime) -> Result<(), IssueError> {
        let issued = self.authority.issue(&self.names, now)?;
        let pair = Pair::parse(issued.certificate().as_bytes(), issued.key().as_bytes())
            .expect("what was just issued is a pair");
        tracing::info!(serial = pair.serial(), "certificate in use, issued by this process");
        self.metrics.certificate_expiry.set(seconds(pair.ends()));
        self.live.replace(pair);
        Ok(())
    }
}

/// An error with what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Now, by the clock that certificates begin and end by.
#[expect(clippy::disallowed_methods, reason = "a certificate's life is stamped and judged by it")]
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// A changed Secret is in use this soon after the kubelet has written it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often a certificate of our own is looked at; it is renewed a month before its end.
const JUDGE_EVERY: Duration = Duration::from_mins(5);

/// How often the end of a certificate is complained about.
const SAY_EVERY: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests;
