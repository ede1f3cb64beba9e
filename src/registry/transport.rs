//! Bounded HTTP: requests with our own rule for redirects, bodies with a limit.
//!
//! Proxies are those of the environment (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, either case), read by
//! reqwest when a client is made. A registry on this machine is never reached through one, as in Go. A credential
//! goes only to the origin that it was given for: a redirect elsewhere drops it.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use reqwest::{
    Body, Method, Response, StatusCode, Url,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
        USER_AGENT,
    },
};
use rustls::ClientConfig;

/// Why there is no answer, or none that can be used. Holds no URL: those may carry secrets.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error("redirected to what is no URL")]
    BadLocation,
    #[error("redirected from HTTPS to plain HTTP")]
    Downgraded,
    #[error("the request failed")]
    Request(#[source] reqwest::Error),
    #[error("the body is longer than {limit} bytes")]
    TooLong { limit: usize },
    #[error("redirected more than {MAX_REDIRECTS} times")]
    TooManyRedirects,
}

/// An HTTP client with a pool of connections of its own.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    client: reqwest::Client,
    purpose: Purpose,
}

/// What a request is for; registries see it as the User-Agent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// To answer admissions, now or later.
    Admission,
    /// To see whether a locked digest is still there.
    LockCheck,
    /// To move images.
    Transfer,
}

/// What is sent: a request without who sends it and with which login.
pub(super) struct Message<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload<'a>,
}

/// What a request carries. It can be sent again, from its beginning.
pub(super) enum Payload<'a> {
    Bytes(Bytes),
    None,
    /// So many bytes, opened anew for each time that they are sent.
    Stream(u64, &'a (dyn Fn() -> ByteStream + Send + Sync)),
}

/// Bytes that come piece by piece.
pub type ByteStream = BoxStream<'static, std::io::Result<Bytes>>;

impl Message<'_> {
    /// A request without a body.
    pub(super) fn plain(method: Method, url: Url, accept: HeaderValue) -> Self {
        Self { method, url, headers: HeaderMap::from_iter([(ACCEPT, accept)]), payload: Payload::None }
    }

    /// Whether it changes nothing where it is sent.
    fn is_safe(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    /// Whether an answer sends it elsewhere. What changes something is sent on only where the status promises that it
    /// stays what it is.
    fn is_redirected_by(&self, status: StatusCode) -> bool {
        is_redirect(status) && (self.is_safe() || matches!(status.as_u16(), 307 | 308))
    }
}

/// An answer and whether it came from where we asked.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) response: Response,
    /// Another origin answered, after a redirect: what it says about logging in is not the registry's word.
    pub(super) elsewhere: bool,
}

impl Transport {
    /// Makes a client for the registry at `url`.
    pub(super) fn new(url: &Url, tls: ClientConfig) -> Result<Self, reqwest::Error> {
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIME)
            // A peer that is gone without a word must not hold a request, nor wait in the pool for the next one.
            .tcp_keepalive(DEAD_AFTER)
            .tcp_keepalive_interval(DEAD_AFTER / 3)
            .tcp_keepalive_retries(3)
            .pool_max_idle_per_host(MAX_IDLE);
        let builder = if is_loopback(url) { builder.no_proxy() } else { builder };
        Ok(Self { client: builder.build()?, purpose: Purpose::Admission })
    }

    /// The same, its connections too, for another purpose.
    pub(super) fn meant_for(&self, purpose: Purpose) -> Self {
        Self { client: self.client.clone(), purpose }
    }

    /// Sends a message and follows at most [`MAX_REDIRECTS`] redirects.
    pub(super) async fn send(
        &self,
        message: &Message<'_>,
        authorization: Option<HeaderValue>,
    ) -> Result<Reply, TransportError> {
        let origin = message.url.origin();
        let mut url = message.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let elsewhere = url.origin() != origin;
            let request = || {
                let request = self.client.request(message.method.clone(), url.clone());
                let request = request.headers(message.headers.clone());
                let request = request.header(USER_AGENT, self.purpose.user_agent());
                let request = match authorization.clone().filter(|_| !elsewhere) {
                    Some(authorization) => request.header(AUTHORIZATION, authorization),
                    None => request,
                };
                match &message.payload {
                    // Said also of nothing: without it, proxies answer 411.
                    Payload::Bytes(bytes) => request.header(CONTENT_LENGTH, bytes.len()).body(bytes.clone()),
                    Payload::None => request,
                    Payload::Stream(length, open) => {
                        request.header(CONTENT_LENGTH, *length).body(Body::wrap_stream(open()))
                    }
                }
            };
            let response = match request().send().await {
                // A kept connection may have been closed by the other side the moment we used it: no fault of the
                // registry's, and these requests change nothing there.
                Err(error) if message.is_safe() && was_hung_up(&error) => request().send().await,
                sent => sent,
            };
            let response = response.map_err(TransportError::of)?;
            if !message.is_redirected_by(response.status()) {
                return Ok(Reply { response, elsewhere });
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok());
            let next = next.filter(Url::has_host).ok_or(TransportError::BadLocation)?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(TransportError::Downgraded);
            }
            url = next;
        }
        Err(TransportError::TooManyRedirects)
    }

    /// Posts a form. No redirect is followed: the form holds a credential.
    pub(super) async fn post_form(&self, url: Url, form: String) -> Result<Response, TransportError> {
        let request = self.client.post(url).header(ACCEPT, "application/json");
        let request = request.header(USER_AGENT, self.purpose.user_agent());
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        request.send().await.map_err(TransportError::of)
    }
}

impl Purpose {
    const fn user_agent(self) -> &'static str {
        match self {
            Self::Admission => concat!("portolan/", env!("CARGO_PKG_VERSION")),
            Self::LockCheck => concat!("portolan-lock-check/", env!("CARGO_PKG_VERSION")),
            Self::Transfer => concat!("portolan-transfer/", env!("CARGO_PKG_VERSION")),
        }
    }
}

impl TransportError {
    pub(super) fn of(error: reqwest::Error) -> Self {
        Self::Request(error.without_url())
    }
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, TransportError> {
    let too_long = || TransportError::TooLong { limit };
    let announced = response.content_length().unwrap_or(0);
    let announced = usize::try_from(announced).ok().filter(|length| *length <= limit).ok_or_else(too_long)?;
    let mut body = Vec::with_capacity(announced);
    while let Some(chunk) = response.chunk().await.map_err(TransportError::of)? {
        if body.len() + chunk.len() > limit {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// How long who answered wants to be left alone (RFC 9110 §10.2.3). A date says nothing: their clock need not be ours.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Whether a connection ended before an answer began.
fn was_hung_up(error: &reqwest::Error) -> bool {
    error.is_request() && !error.is_connect() && !error.is_timeout()
}

/// The redirects that mean "ask there"; 304 and its like do not.
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Whether the URL is of this machine.
fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// The most redirects that are followed.
const MAX_REDIRECTS: usize = 3;

/// How long making a connection may take, TLS included.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// How long a connection may be silent before the kernel asks whether the peer is still there.
const DEAD_AFTER: Duration = Duration::from_secs(15);

/// The most connections that are kept for the next request.
const MAX_IDLE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_localhost_and_the_loopback_addresses() {
        for (url, expected) in [
            ("http://localhost:5000/", true),
            ("http://127.0.0.1:5000/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]:5000/", true),
            ("http://registry.example.com/", false),
            ("http://localhost.example.com/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
