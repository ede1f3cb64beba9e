//! One registry as the resolver sees it: how it is reached, who logs in, whether it is left alone, what is being asked.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;

use super::{
    breaker::{Breaker, Permit},
    client::Client,
    credentials::ScopedLogin,
    endpoint::{ConfigureError, EndpointConfig},
    flight::Flights,
    manifest::{self, FetchError},
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
    logins: Vec<ScopedLogin>,
    /// Where the logins are from. It may change when they do not: a Secret was edited and says the same.
    origin: ArcSwapOption<Box<str>>,
    client: Client,
    breaker: Breaker,
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
        logins: Vec<ScopedLogin>,
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
            logins,
            origin: ArcSwapOption::empty(),
            client: Client::new(url, transport),
            breaker: Breaker::default(),
            flights: Flights::new(),
        })
    }

    /// Whether these settings are the ones in use.
    pub(super) fn is_reached_by(&self, config: &EndpointConfig, logins: &[ScopedLogin]) -> bool {
        let EndpointConfig { host, plain_http, ca_pem, credentials: _, client_certificate } = config;
        self.logins == logins
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

    /// Asks the registry, for at most [`FETCH_TIME`].
    pub(super) async fn fetch(&self, reference: &Reference, purpose: Purpose) -> Result<Digest, FetchError> {
        let digest = manifest::digest(&self.client, reference, self.login(reference), purpose);
        tokio::time::timeout(FETCH_TIME, digest).await.unwrap_or(Err(FetchError::Timeout))
    }

    /// Whether somebody may ask now.
    pub(super) fn permit(&self, now: Instant, pause: Duration) -> Permit {
        self.breaker.permit(now, pause)
    }

    /// How much longer nobody asks; `None`: someone may.
    pub(super) fn left_alone_for(&self, now: Instant) -> Option<Duration> {
        self.breaker.left_alone_for(now)
    }

    /// The registry answered a request begun at `begun`.
    pub(super) fn answered(&self, begun: Instant) {
        if self.breaker.answered(begun) {
            tracing::info!(mirror = self.name(), "registry is back");
        }
    }

    /// The registry did not answer a request begun at `begun`, or not as a registry does.
    pub(super) fn failed(&self, begun: Instant, now: Instant, pause: Duration, error: &FetchError) {
        if self.breaker.failed(begun, now, pause) {
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
        self.logins.iter().find(|login| login.is_for(reference.repository()))
    }
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

/// How long a fetch goes on; longer than any admission waits, because a late answer serves the next one.
const FETCH_TIME: Duration = Duration::from_secs(30);

/// The most characters of an error that are logged.
const MAX_TEXT: usize = 512;
