//! Tokens from a registry's token service (distribution-spec's token authentication, with and without OAuth 2).
//!
//! A token is kept for nine tenths of its life, by service, scope and login; however many ask, one request fetches it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::Engine;
use moka::{policy::EvictionPolicy, sync::Cache};
use reqwest::{Method, StatusCode, Url, header::HeaderValue};
use serde::Deserialize;

use super::{
    challenge::TokenService,
    credentials::{Login, LoginId},
    flight::{Boarded, Flights},
    lane::MAX_UNDER_WAY,
    transport::{self, Message, Transport, TransportError},
};

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("the token service's answer holds no token")]
    BadAnswer,
    #[error("the registry names a token service that we do not send credentials to")]
    BadRealm,
    #[error("fetching the token came to nothing")]
    Lost,
    #[error("the token service refused our credentials")]
    Refused,
    #[error("the token service answered with status {status}")]
    Status { status: u16, retry_after: Option<Duration> },
    #[error("cannot reach the token service")]
    Transport(#[from] TransportError),
}

/// The tokens of one registry.
#[derive(Debug)]
pub(super) struct Tokens {
    kept: Cache<Key, Token>,
    flights: Arc<Flights<Key, Result<Token, Arc<TokenError>>>>,
}

/// What a token is for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) service: TokenService,
    pub(super) scope: Scope,
    pub(super) login: LoginId,
}

/// What is to be done with a token.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Scope {
    pub(super) repository: Box<str>,
    pub(super) access: Access,
    /// Another repository of the registry, whose blobs are to be taken over.
    pub(super) from: Option<Box<str>>,
}

/// What is to be done with a repository.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Access {
    /// It is read.
    Pull,
    /// It is written, too.
    Push,
}

impl Scope {
    /// Reading one repository.
    pub(super) fn pull(repository: &str) -> Self {
        Self { repository: repository.into(), access: Access::Pull, from: None }
    }

    /// As a token service reads them.
    fn texts(&self) -> impl Iterator<Item = String> {
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let from = self.from.iter().map(|from| format!("repository:{from}:pull"));
        std::iter::once(format!("repository:{}:{actions}", self.repository)).chain(from)
    }
}

/// A token, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// `Bearer …`, marked as sensitive: its `Debug` hides it.
    pub(super) header: HeaderValue,
    usable_until: Instant,
}

impl Tokens {
    pub(super) fn new() -> Self {
        let kept = Cache::builder().max_capacity(MAX_TOKENS).eviction_policy(EvictionPolicy::lru()).build();
        Self { kept, flights: Flights::new(MAX_FETCHES) }
    }

    /// A token from memory, if it is still good at `now`.
    pub(super) fn kept(&self, key: &Key, now: Instant) -> Option<Token> {
        self.kept.get(key).filter(|token| now < token.usable_until)
    }

    /// A token from the service (or from memory, if another asker was quicker).
    pub(super) async fn fetch(
        &self,
        key: &Key,
        login: Option<&Arc<Login>>,
        registry: &Url,
        transport: &Transport,
    ) -> Result<Token, Arc<TokenError>> {
        let boarded = self.flights.board(
            key,
            || self.kept(key, Instant::now()).map(Ok),
            |_| {
                let (kept, key, login) = (self.kept.clone(), key.clone(), login.cloned());
                let (registry, transport) = (registry.clone(), transport.clone());
                async move {
                    let fetched = tokio::time::timeout(
                        FETCH_TIME,
                        request(&key, login.as_deref(), &registry, &transport),
                    );
                    let token = fetched.await.unwrap_or(Err(TokenError::Lost))?;
                    kept.insert(key, token.clone());
                    Ok(token)
                }
            },
        );
        match boarded {
            Boarded::Full => Err(Arc::new(TokenError::Lost)),
            Boarded::Known(known) => known,
            Boarded::Flight(flight) => flight.wait().await.unwrap_or_else(|| Err(Arc::new(TokenError::Lost))),
        }
    }

    /// Drops a token that the registry no longer takes, unless it has been replaced already.
    pub(super) fn forget(&self, key: &Key, token: &HeaderValue) {
        if self.kept.get(key).is_some_and(|kept| kept.header == *token) {
            self.kept.invalidate(key);
        }
    }
}

/// The header of a login with every request.
pub(super) fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    sensitive(&format!("Basic {encoded}"))
}

/// Asks the token service.
async fn request(
    key: &Key,
    login: Option<&Login>,
    registry: &Url,
    transport: &Transport,
) -> Result<Token, TokenError> {
    let mut url = realm(&key.service.realm, registry)?;
    let asked = Instant::now();
    let ours: Vec<String> = key.scope.texts().collect();
    let scopes = || ours.iter().map(String::as_str).chain(key.service.scopes.iter().map(AsRef::as_ref));
    let response = if let Some(Login::IdentityToken(identity)) = login {
        // Only a URL of reqwest's knows how to encode a form; its query is the form's text.
        let mut form = Url::parse("form:").expect("a constant URL");
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("client_id", "portolan")
            .append_pair("refresh_token", identity)
            .append_pair("scope", &scopes().collect::<Vec<_>>().join(" "))
            .extend_pairs(key.service.service.iter().map(|service| ("service", service)));
        let response = transport.post_form(url, form.query().unwrap_or_default().to_owned()).await?;
        if response.status() == StatusCode::BAD_REQUEST {
            // RFC 6749 §5.2: how a service says that it does not know the refresh token.
            return Err(TokenError::Refused);
        }
        response
    } else {
        url.query_pairs_mut()
            .extend_pairs(key.service.service.iter().map(|service| ("service", service)))
            .extend_pairs(scopes().map(|scope| ("scope", scope)));
        let authorization = match login {
            Some(Login::Password { user, password }) => basic(user, password),
            _ => None,
        };
        let accept = HeaderValue::from_static("application/json");
        transport.send(&Message::plain(Method::GET, url, accept), authorization).await?.response
    };
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(TokenError::Refused),
        status => {
            let retry_after = transport::retry_after(&response);
            return Err(TokenError::Status { status: status.as_u16(), retry_after });
        }
    }
    let body = transport::read(response, MAX_ANSWER).await?;
    let answer: Answer = serde_json::from_slice(&body).map_err(|_| TokenError::BadAnswer)?;
    answer.into_token(asked)
}

/// Judges where the registry sends us for a token.
///
/// Credentials go there, so a registry reached by TLS cannot name a service without it.
fn realm(realm: &str, registry: &Url) -> Result<Url, TokenError> {
    let url = Url::parse(realm).map_err(|_| TokenError::BadRealm)?;
    let safe = match url.scheme() {
        "https" => true,
        "http" => registry.scheme() == "http",
        _ => false,
    };
    (safe && url.has_host() && url.username().is_empty() && url.password().is_none())
        .then_some(url)
        .ok_or(TokenError::BadRealm)
}

#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
    token: Option<String>,
}

impl Answer {
    fn into_token(self, asked: Instant) -> Result<Token, TokenError> {
        let text = self.token.filter(|token| !token.is_empty()).or(self.access_token).unwrap_or_default();
        if text.is_empty() {
            return Err(TokenError::BadAnswer);
        }
        let header = sensitive(&format!("Bearer {text}")).ok_or(TokenError::BadAnswer)?;
        let life = Duration::from_secs(self.expires_in.unwrap_or(DEFAULT_LIFE).min(MAX_LIFE));
        Ok(Token { header, usable_until: asked + life * 9 / 10 })
    }
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The life in seconds of a token whose service does not say (distribution-spec: for compatibility, 60 s).
const DEFAULT_LIFE: u64 = 60;

/// No token is kept for longer than a day, whatever its service says.
const MAX_LIFE: u64 = 24 * 60 * 60;

/// The most tokens kept for one registry: one per repository and login in use.
const MAX_TOKENS: u64 = 10_000;

/// The most tokens of one registry that are fetched at once: as many as manifests are asked for.
const MAX_FETCHES: usize = MAX_UNDER_WAY;

/// The longest answer of a token service.
const MAX_ANSWER: usize = 64 * 1024;

/// How long a token service may take.
const FETCH_TIME: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_a_registry_with_tls_go_to_no_token_service_without() {
        for (registry, service, allowed) in [
            ("https://r.corp/", "https://auth.corp/token", true),
            ("https://r.corp/", "https://r.corp/token?x=y", true),
            ("https://r.corp/", "http://auth.corp/token", false),
            ("https://r.corp/", "http://r.corp/token", false),
            ("http://r.corp/", "http://auth.corp/token", true),
            ("http://r.corp/", "https://auth.corp/token", true),
            ("http://r.corp/", "file:///etc/passwd", false),
            ("http://r.corp/", "/token", false),
            ("https://r.corp/", "https://user:canary@auth.corp/token", false),
        ] {
            let found = realm(service, &Url::parse(registry).unwrap());
            assert_eq!(found.is_ok(), allowed, "{registry} names {service}: {found:?}");
        }
    }

    #[test]
    fn a_token_is_used_for_nine_tenths_of_its_life() {
        let asked = Instant::now();
        for (json, seconds) in [
            (r#"{"token": "t", "expires_in": 300}"#, Some(270)),
            (r#"{"access_token": "t"}"#, Some(54)),
            (r#"{"token": "", "access_token": "t", "expires_in": null}"#, Some(54)),
            (r#"{"token": "t", "expires_in": 18446744073709551615}"#, Some(77760)),
            (r#"{"token": "", "expires_in": 300}"#, None),
            (r#"{"token": "two\nlines"}"#, None),
        ] {
            let answer: Answer = serde_json::from_str(json).unwrap();
            let life = answer.into_token(asked).ok().map(|token| (token.usable_until - asked).as_secs());
            assert_eq!(life, seconds, "{json}");
        }
    }

    #[test]
    fn debug_output_hides_tokens_and_passwords() {
        let token = Token { header: sensitive("Bearer canary").unwrap(), usable_until: Instant::now() };
        assert_eq!(format!("{:?}", token.header), "Sensitive");
        assert!(!format!("{token:?} {:?}", basic("canary", "canary")).contains("Y2Fu"));
    }
}
