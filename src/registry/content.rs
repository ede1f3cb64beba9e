//! What registries hold, byte for byte: pulled here, pushed in `push`.
//!
//! For moving images, not for admissions: nothing is remembered, nobody is left alone, and whoever asks says when to
//! try again ([`ContentError::is_passing`]). Manifests are checked here; blobs come as they are, in pieces, and are
//! checked by who puts the pieces together.

mod push;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE},
};
use serde::Deserialize;

pub use push::{Body, Mounted, Upload};

use super::{
    client::ACCEPTED,
    credentials::{Credentials, ScopedLogin},
    endpoint::{ConfigureError, EndpointConfig},
    host::Host,
    manifest::{FetchError, MAX_MANIFEST, digest_header, is_manifest, is_page},
    registries::Registries,
    token::{Access, Scope, TokenError},
    transport::{self, Message, Payload, Purpose, Reply, TransportError},
    trust::Trust,
};
use crate::image::{Digest, Reference};

/// The registries that content is moved from and to.
pub struct Content {
    registries: Registries,
}

/// One repository, as the login for it sees it.
#[derive(Clone)]
pub struct Repository {
    host: Arc<Host>,
    name: Box<str>,
    access: Access,
}

/// A manifest or an index, as the registry has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    /// Its bytes.
    pub bytes: Bytes,
    /// Their digest.
    pub digest: Digest,
    /// What the registry says that they are; empty if it does not.
    pub media_type: String,
}

/// A blob on its way.
#[derive(Debug)]
pub struct Blob {
    response: Response,
    start: u64,
}

/// Why content could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The registry has more to do than it can, or is out of order.
    #[error("the registry answered with status {status}")]
    Busy {
        /// The status.
        status: u16,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// Bytes and digest do not fit.
    #[error("the registry's bytes are not those of `{digest}`")]
    Corrupt {
        /// The digest.
        digest: Digest,
    },
    /// It is not there.
    #[error("the registry says that it does not exist")]
    Missing,
    /// What came is no manifest.
    #[error("the registry's answer is no manifest that we can read (schema version 2)")]
    NotManifest,
    /// The registry does not keep to the protocol.
    #[error("the registry's answer {what}")]
    Protocol {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The registry does not want it.
    #[error("the registry answered with status {status}{said}")]
    Refused {
        /// The status.
        status: u16,
        /// What it says about that, cut to a bound.
        said: String,
    },
    /// Nothing came for too long.
    #[error("nothing came from the registry for {} seconds", limit.as_secs())]
    Stalled {
        /// How long.
        limit: Duration,
    },
    /// The login is not enough, or there is none.
    #[error("the registry refused us{}{said}", status.map(|status| format!(" with status {status}")).unwrap_or_default())]
    Unauthorized {
        /// The status; `None`: the token service said so.
        status: Option<u16>,
        /// What it says about that, cut to a bound: a quota is refused like a login.
        said: String,
    },
    /// No connection, or it broke.
    #[error("cannot reach the registry")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Content {
    /// Reads the system's roots.
    pub fn new() -> Self {
        Self { registries: Registries::new(Trust::load()) }
    }

    /// Says how registries are reached; one that is not listed is HTTPS. `fallback` has the logins.
    ///
    /// # Errors
    /// An endpoint that cannot be used. None of them is in force then.
    pub fn configure(
        &self,
        endpoints: Vec<EndpointConfig>,
        fallback: Option<Credentials>,
    ) -> Result<(), ConfigureError> {
        self.registries.configure(endpoints, fallback)
    }

    /// The repository of a reference, to be read.
    ///
    /// # Errors
    /// Its registry makes no URL.
    pub fn source(&self, reference: &Reference) -> Result<Repository, ContentError> {
        self.repository(reference, Access::Pull)
    }

    /// The repository of a reference, to be written.
    ///
    /// # Errors
    /// Its registry makes no URL.
    pub fn target(&self, reference: &Reference) -> Result<Repository, ContentError> {
        self.repository(reference, Access::Push)
    }

    fn repository(&self, reference: &Reference, access: Access) -> Result<Repository, ContentError> {
        let host = self.registries.get(reference.registry());
        let host =
            host.ok_or(ContentError::Protocol { what: "cannot be asked for: its name makes no URL" })?;
        Ok(Repository { host, name: reference.repository().into(), access })
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::new()
    }
}

impl Repository {
    /// Reads the manifest behind a tag or a digest; the bytes are those of the digest asked for and of the one named.
    ///
    /// # Errors
    /// It is not there, is too long or no manifest, or does not fit its digest.
    pub async fn manifest(&self, target: &str) -> Result<Manifest, ContentError> {
        let message = Message::plain(
            Method::GET,
            self.url(&format!("manifests/{target}"))?,
            HeaderValue::from_static(ACCEPTED),
        );
        let response = accept(self.ask(&message).await?, &[StatusCode::OK]).await?;
        if is_page(response.headers()) {
            return Err(ContentError::NotManifest);
        }
        let named = digest_header(response.headers());
        let media_type = media_type(response.headers());
        let read = tokio::time::timeout(STALL, transport::read(response, MAX_MANIFEST));
        let bytes = read.await.map_err(|_| stalled())?.map_err(ContentError::of)?;
        if !is_manifest(&bytes) {
            return Err(ContentError::NotManifest);
        }
        let asked = target.parse::<Digest>().ok();
        for digest in asked.iter().chain(&named) {
            if !digest.matches(&bytes) {
                return Err(ContentError::Corrupt { digest: digest.clone() });
            }
        }
        let digest = asked.or(named).unwrap_or_else(|| Digest::of(&bytes));
        Ok(Manifest { bytes: bytes.into(), digest, media_type })
    }

    /// Begins to read a blob, from a byte on. The registry may begin with the first byte all the same.
    ///
    /// # Errors
    /// It is not there, or the registry does not give it.
    pub async fn blob(&self, digest: &Digest, from: u64) -> Result<Blob, ContentError> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let mut message = Message::plain(Method::GET, url, HeaderValue::from_static("*/*"));
        if from > 0 {
            let range = HeaderValue::try_from(format!("bytes={from}-"));
            message.headers.insert(RANGE, range.expect("a number has only digits"));
        }
        let answered = [StatusCode::OK, StatusCode::PARTIAL_CONTENT, StatusCode::RANGE_NOT_SATISFIABLE];
        let response = accept(self.ask(&message).await?, &answered).await?;
        match response.status() {
            StatusCode::OK => Ok(Blob { response, start: 0 }),
            StatusCode::PARTIAL_CONTENT if range_start(response.headers()) == Some(from) => {
                Ok(Blob { response, start: from })
            }
            _ if from > 0 => {
                // It cannot go on from there: from the beginning, then.
                message.headers.remove(RANGE);
                let response = accept(self.ask(&message).await?, &[StatusCode::OK]).await?;
                Ok(Blob { response, start: 0 })
            }
            _ => Err(ContentError::Protocol { what: "is a part of a blob that was asked for whole" }),
        }
    }

    fn url(&self, path: &str) -> Result<reqwest::Url, ContentError> {
        self.host.client().url(&format!("v2/{}/{path}", self.name)).map_err(ContentError::of_fetch)
    }

    /// The login, which a program may have to be asked for first.
    async fn login(&self) -> Option<&ScopedLogin> {
        self.host.log_in().await;
        self.host.login_for(&self.name)
    }

    fn scope(&self) -> Scope {
        Scope { access: self.access, ..Scope::pull(&self.name) }
    }

    /// Sends what is answered at once.
    async fn ask(&self, message: &Message<'_>) -> Result<Reply, ContentError> {
        debug_assert!(!matches!(message.payload, Payload::Stream(..)), "a stream takes its time");
        self.ask_for(message, &self.scope()).await
    }

    async fn ask_for(&self, message: &Message<'_>, scope: &Scope) -> Result<Reply, ContentError> {
        let login = self.login().await;
        let sent = self.host.client().send(message, scope, login, Purpose::Transfer);
        tokio::time::timeout(STALL, sent).await.map_err(|_| stalled())?.map_err(ContentError::of_fetch)
    }
}

impl Blob {
    /// Which byte of the blob the first piece begins with.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The next piece; `None` after the last one.
    ///
    /// # Errors
    /// The connection broke, or nothing came for too long.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ContentError> {
        let piece = tokio::time::timeout(STALL, self.response.chunk()).await.map_err(|_| stalled())?;
        piece.map_err(|error| ContentError::of(TransportError::of(error)))
    }
}

impl ContentError {
    /// Whether trying again later may help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Stalled { .. } | Self::Unreachable(_))
    }

    /// How long the registry wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    fn of(error: TransportError) -> Self {
        match error {
            TransportError::TooLong { .. } => Self::Protocol { what: "is longer than a manifest may be" },
            other => Self::Unreachable(other.into()),
        }
    }

    fn of_fetch(error: FetchError) -> Self {
        match error {
            FetchError::Transport(error) => Self::of(error),
            FetchError::Token(error) => match &*error {
                TokenError::Refused => Self::Unauthorized { status: None, said: String::new() },
                TokenError::Status { status, retry_after } if *status == 429 || *status >= 500 => {
                    Self::Busy { status: *status, retry_after: retry_after.map(bounded_wish) }
                }
                TokenError::BadAnswer | TokenError::BadRealm | TokenError::Status { .. } => {
                    Self::Protocol { what: "leads to no token that can be used" }
                }
                TokenError::Lost | TokenError::Transport(_) => Self::Unreachable(error.into()),
            },
            FetchError::BadUrl => Self::Protocol { what: "cannot be asked for: its name makes no URL" },
            other => Self::Unreachable(other.into()),
        }
    }
}

/// Looks at the status before anything else.
async fn accept(reply: Reply, accepted: &[StatusCode]) -> Result<Response, ContentError> {
    let status = reply.response.status();
    if accepted.contains(&status) {
        return Ok(reply.response);
    }
    Err(match status {
        StatusCode::NOT_FOUND => ContentError::Missing,
        StatusCode::FORBIDDEN => {
            ContentError::Unauthorized { status: Some(status.as_u16()), said: reason(reply.response).await }
        }
        StatusCode::UNAUTHORIZED => {
            ContentError::Unauthorized { status: Some(status.as_u16()), said: String::new() }
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            busy(&reply.response)
        }
        // What a server does not do now it will not do later.
        StatusCode::NOT_IMPLEMENTED
        | StatusCode::HTTP_VERSION_NOT_SUPPORTED
        | StatusCode::INSUFFICIENT_STORAGE => refused(reply.response).await,
        status if status.is_server_error() => busy(&reply.response),
        _ => refused(reply.response).await,
    })
}

fn busy(response: &Response) -> ContentError {
    let retry_after = transport::retry_after(response).map(bounded_wish);
    ContentError::Busy { status: response.status().as_u16(), retry_after }
}

fn bounded_wish(wish: Duration) -> Duration {
    wish.min(LONGEST_WISH)
}

async fn refused(response: Response) -> ContentError {
    ContentError::Refused { status: response.status().as_u16(), said: reason(response).await }
}

/// What an answer says about a refusal, behind a colon; empty if it says nothing.
async fn reason(response: Response) -> String {
    let read = tokio::time::timeout(STALL, transport::read(response, MAX_REASON)).await;
    let text = read.ok().and_then(Result::ok).unwrap_or_default();
    let text = match serde_json::from_slice(&text) {
        Ok(Reasons { errors }) => errors.iter().map(Reason::text).collect::<Vec<_>>().join("; "),
        Err(_) => String::from_utf8_lossy(&text).into_owned(),
    };
    let said: String = text.chars().filter(|character| !character.is_control()).take(MAX_SAID).collect();
    if said.is_empty() { said } else { format!(": {said}") }
}

/// How a registry says what is wrong (distribution-spec §error-codes).
#[derive(Deserialize)]
struct Reasons {
    #[serde(default)]
    errors: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Reason {
    fn text(&self) -> String {
        let parts = [&*self.code, &*self.message].into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join(": ")
    }
}

/// The first byte of what was sent (RFC 9110 §14.4).
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}

/// A media type without its parameters.
fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_owned()
}

fn stalled() -> ContentError {
    ContentError::Stalled { limit: STALL }
}

/// How long nothing may come before a request counts as lost.
const STALL: Duration = Duration::from_secs(60);

/// The longest that a registry is left alone because it says so.
const LONGEST_WISH: Duration = Duration::from_secs(10 * 60);

/// The longest explanation that is read, and how much of it is shown.
const MAX_REASON: usize = 64 * 1024;
const MAX_SAID: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_of_a_part_is_read_from_its_header() {
        for (text, expected) in [
            ("bytes 100-199/200", Some(100)),
            ("bytes 0-0/*", Some(0)),
            ("bytes */200", None),
            ("items 1-2/3", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_RANGE, text.parse().unwrap())]);
            assert_eq!(range_start(&headers), expected, "{text}");
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (error, expected) in [
            (ContentError::Busy { status: 503, retry_after: None }, true),
            (stalled(), true),
            (ContentError::Unreachable("reset".into()), true),
            (ContentError::Missing, false),
            (ContentError::Unauthorized { status: Some(401), said: String::new() }, false),
            (ContentError::Corrupt { digest: Digest::of(b"") }, false),
        ] {
            assert_eq!(error.is_passing(), expected, "{error}");
        }
    }
}
