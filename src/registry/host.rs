//! One registry as the resolver sees it: how it is reached, who logs in, whether it is left alone, what is being asked.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, OnceCell, futures::Notified};

use super::{
    breaker::{Breaker, Pause, Permit},
    client::Client,
    credentials::{Candidate, ScopedLogin, brought, written},
    endpoint::{ConfigureError, EndpointConfig},
    flight::Flights,
    lane::{Lane, MAX_UNDER_WAY},
    manifest::{Ask, FetchError},
    memory::{Key, Probe},
    past::LoginName,
    transport::{Purpose, Transport},
    trust::Trust,
};
use crate::image::{Digest, Reference};

/// One registry. A change of how it is reached makes a new one, so nothing learnt with old settings outlives them.
#[derive(Debug)]
pub(super) struct Host {
    /// As configured, without the credentials: of those only the logins for this registry matter.
    config: EndpointConfig,
    candidates: Vec<Candidate>,
    /// The logins among the candidates; empty until programs that have to be asked for them were.
    logins: OnceCell<Vec<ScopedLogin>>,
    /// Where the logins are from. It may change when they do not: a Secret was edited and says the same.
    origin: ArcSwapOption<Box<str>>,
    client: Client,
    breaker: Breaker,
    /// Whether its last answer, or the want of one, was slower than who has another answer waits for.
    is_slow: AtomicBool,
    /// Wakes who waits for the registry when it is found to be silent.
    silence: Notify,
    pub(super) lane: Lane,
    pub(super) flights: Arc<Flights<Key, Fetched>>,
}

/// What came of a fetch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Found(Digest),
    Missing,
    Unauthorized,
    Unavailable,
}

/// A verdict and what stands behind it.
#[derive(Clone, Debug)]
pub(super) struct Fetched {
    pub(super) verdict: Verdict,
    /// Why there is no digest; `None` also where memory knew it.
    pub(super) error: Option<Arc<FetchError>>,
}

impl From<Verdict> for Fetched {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, error: None }
    }
}

impl Host {
    pub(super) fn new(
        config: EndpointConfig,
        candidates: Vec<Candidate>,
        trust: &Trust,
    ) -> Result<Self, ConfigureError> {
        let host = || config.host.clone();
        let url = config.url()?;
        let tls =
            trust.configure(&config).map_err(|source| ConfigureError::Trust { host: host(), source })?;
        let transport = Transport::new(&url, tls)
            .map_err(|error| ConfigureError::Client { host: host(), source: error.into() })?;
        Ok(Self {
            config: EndpointConfig { credentials: None, ..config },
            logins: OnceCell::new_with(written(&candidates)),
            candidates,
            origin: ArcSwapOption::empty(),
            client: Client::new(url, transport),
            breaker: Breaker::default(),
            is_slow: AtomicBool::new(false),
            silence: Notify::new(),
            lane: Lane::new(),
            flights: Flights::new(MAX_UNDER_WAY),
        })
    }

    /// Whether these settings are the ones in use.
    pub(super) fn is_reached_by(&self, config: &EndpointConfig, candidates: &[Candidate]) -> bool {
        let EndpointConfig { host, plain_http, ca_pem, credentials: _, client_certificate } = config;
        self.candidates == candidates
            && self.config.host == *host
            && self.config.plain_http == *plain_http
            && self.config.ca_pem == *ca_pem
            && self.config.client_certificate == *client_certificate
    }

    /// The name of the registry.
    pub(super) fn name(&self) -> &str {
        self.config.registry()
    }

    /// Under which key answers about `reference` are kept. Allocates nothing.
    pub(super) fn probe<'a>(&self, reference: &'a Reference) -> Probe<'a> {
        let login = self.login(reference).map(|login| login.id).unwrap_or_default();
        Probe { reference, login }
    }

    /// Asks the programs that may know a login to this registry, once; how long that took. Nothing where none is named:
    /// so it is in the service, always.
    pub(super) async fn log_in(&self) -> Duration {
        if self.logins.initialized() {
            return Duration::ZERO;
        }
        let begun = Instant::now();
        self.logins.get_or_init(|| brought(&self.candidates)).await;
        begun.elapsed()
    }

    /// Says where the logins are from.
    pub(super) fn set_origin(&self, origin: Option<Arc<Box<str>>>) {
        self.origin.store(origin);
    }

    /// What the login for `reference` is called outside the process; `None`: nothing that could be.
    pub(super) fn login_name(&self, reference: &Reference) -> Option<LoginName> {
        match self.login(reference) {
            None => Some(LoginName::Anonymous),
            Some(_) => self.origin.load_full().map(LoginName::Origin),
        }
    }

    /// Asks the registry, for at most [`FETCH_TIME`] a question; `begun` is now.
    ///
    /// That a tag leads elsewhere than is `known` is believed by the bytes behind it.
    pub(super) async fn fetch(
        &self,
        reference: &Reference,
        purpose: Purpose,
        known: Option<&Digest>,
        begun: Instant,
    ) -> Result<Digest, FetchError> {
        self.log_in().await;
        let ask = Ask { client: &self.client, reference, login: self.login(reference), purpose };
        let named = in_time(ask.digest()).await?;
        if known.is_none_or(|known| *known == named) {
            return Ok(named);
        }
        // It has answered: whether, and when, the bytes come says nothing about the registry.
        self.answered(begun, Instant::now());
        in_time(ask.shown()).await.map_err(|error| FetchError::NotShown(Box::new(error)))
    }

    /// Whether somebody may ask now.
    pub(super) fn permit(&self, now: Instant, pause: Duration) -> Permit {
        self.breaker.permit(now, with_jitter(pause))
    }

    /// How much longer nobody asks; `None`: someone may.
    pub(super) fn left_alone_for(&self, now: Instant) -> Option<Duration> {
        self.breaker.left_alone_for(now)
    }

    /// Ready when the registry is found to be silent after this call. It says nothing about one that is already.
    pub(super) fn falls_silent(&self) -> Notified<'_> {
        self.silence.notified()
    }

    /// Whether it was slow to answer last.
    pub(super) fn is_slow(&self) -> bool {
        self.is_slow.load(Ordering::Relaxed)
    }

    /// The registry answered a request begun at `begun`.
    pub(super) fn answered(&self, begun: Instant, now: Instant) {
        self.is_slow.store(now.saturating_duration_since(begun) >= SLOW, Ordering::Relaxed);
        if self.breaker.answered(begun) {
            tracing::info!(mirror = self.name(), "registry is back");
        }
    }

    /// The registry did not answer a request begun at `begun`, or not as a registry does.
    ///
    /// It is left alone for `pause`, or for as long as it said, unless nobody is ever left alone (`pause` is zero).
    pub(super) fn failed(&self, begun: Instant, now: Instant, pause: Duration, error: &FetchError) {
        let pause = match error.retry_after() {
            Some(wish) if !pause.is_zero() => Pause::Wished(wish.clamp(SHORTEST_WISH, LONGEST_WISH)),
            _ => Pause::Ours(with_jitter(pause)),
        };
        if self.breaker.failed(begun, now, pause) {
            // What went wrong otherwise went wrong for one request; the others have their own answers any moment.
            if matches!(error, FetchError::Timeout) {
                self.is_slow.store(true, Ordering::Relaxed);
                self.silence.notify_waiters();
            }
            tracing::warn!(
                mirror = self.name(),
                error = %Chain(error),
                elapsed = ?now.saturating_duration_since(begun),
                "registry is left alone for a while"
            );
        }
    }

    /// What speaks to it.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The login for the reference's repository.
    pub(super) fn login(&self, reference: &Reference) -> Option<&ScopedLogin> {
        self.login_for(reference.repository())
    }

    /// The login for a repository.
    pub(super) fn login_for(&self, repository: &str) -> Option<&ScopedLogin> {
        self.logins.get()?.iter().find(|login| login.is_for(repository))
    }
}

/// One question, for at most [`FETCH_TIME`].
async fn in_time(question: impl Future<Output = Result<Digest, FetchError>>) -> Result<Digest, FetchError> {
    tokio::time::timeout(FETCH_TIME, question).await.unwrap_or(Err(FetchError::Timeout))
}

/// An error with its sources, cut to a bound.
pub(super) struct Chain<'a>(pub(super) &'a FetchError);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut source = std::error::Error::source(self.0);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        match text.char_indices().nth(MAX_TEXT) {
            Some((end, _)) => write!(f, "{}…", text.get(..end).unwrap_or_default()),
            None => f.write_str(&text),
        }
    }
}

/// A pause and at most a twentieth more, so that replicas do not come back to a registry in step.
fn with_jitter(pause: Duration) -> Duration {
    // Every `RandomState` is seeded anew.
    let thousandths = u32::try_from(RandomState::new().hash_one(()) % 1000).unwrap_or(0);
    pause + pause / 20 * thousandths / 1000
}

/// From when on an answer is slow: half of the time that an admission waits, unless told otherwise.
const SLOW: Duration = Duration::from_secs(1);

/// How long a registry is left alone that says how long it wants to be.
const SHORTEST_WISH: Duration = Duration::from_secs(1);
const LONGEST_WISH: Duration = Duration::from_mins(5);

/// How long a fetch goes on; longer than any admission waits, because a late answer serves the next one.
const FETCH_TIME: Duration = Duration::from_secs(30);

/// The most characters of an error that are logged.
const MAX_TEXT: usize = 512;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_pauses_need_be_the_same_and_none_is_shorter_or_much_longer() {
        let pauses: BTreeSet<_> = (0..100).map(|_| with_jitter(Duration::from_secs(10))).collect();
        assert!(pauses.len() > 50, "{} different ones", pauses.len());
        assert!(pauses.iter().all(|pause| (10_000..=10_500).contains(&pause.as_millis())), "{pauses:?}");
        assert_eq!(with_jitter(Duration::ZERO), Duration::ZERO);
    }
}
