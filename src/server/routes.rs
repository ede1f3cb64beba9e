//! Which paths there are, and reading a request's body.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::Request,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt;

use super::health::Health;
use crate::{
    admission::Reply,
    metrics::{self, Metrics},
    rewrite::Mode,
};

/// How much of a body is read, and how long that may take.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// The longest body, in bytes.
    pub size: usize,
    /// The longest time for one whose request names no timeout, or a longer one.
    pub time: Duration,
}

impl Default for BodyLimits {
    /// 8 MiB (product.md §7: an UPDATE holds two objects of at most 3 MiB each), and the longest timeout of a webhook.
    fn default() -> Self {
        Self { size: 8 << 20, time: Duration::from_secs(30) }
    }
}

/// The webhook's routes. `answer` gets the body, the mode that the path asks for, and what is left of the timeout that
/// the request names; it is awaited where the request is read, without a task of its own.
pub fn webhook<A, F>(answer: A, limits: BodyLimits) -> Router
where
    A: Fn(Bytes, Mode, Option<Duration>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let route = |mode| {
        let answer = answer.clone();
        post(move |request: Request| {
            review(request, limits, move |body, timeout| answer(body, mode, timeout))
        })
    };
    Router::new()
        .route("/mutate", route(Mode::Enforce))
        .route("/mutate/audit", route(Mode::Audit))
        .fallback(unknown_path)
}

/// The route of the webhook that checks edits, for [`Router::merge`] with [`webhook`]'s. `answer` gets the body and what is
/// left of the timeout that the request names.
pub fn validating<A, F>(answer: A, limits: BodyLimits) -> Router
where
    A: Fn(Bytes, Option<Duration>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    Router::new().route("/validate", post(move |request: Request| review(request, limits, answer)))
}

/// The routes of the ops port.
pub fn ops(health: Arc<Health>, metrics: Arc<Metrics>) -> Router {
    let readyz = move |request: Request| {
        let (ready, report) = health.report();
        let verbose = parameters(request.uri()).any(|(key, _)| key == "verbose");
        async move {
            match (ready, verbose) {
                (false, _) => (StatusCode::SERVICE_UNAVAILABLE, report).into_response(),
                (true, true) => report.into_response(),
                (true, false) => "ready\n".into_response(),
            }
        }
    };
    let metrics = move || {
        let text = metrics.encode();
        async move { ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text) }
    };
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/metrics", get(metrics))
        .route("/readyz", get(readyz))
        .fallback(unknown_path)
}

pub(super) async fn unknown_path() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "there is nothing at this path\n")
}

async fn review<F: Future<Output = Reply>>(
    request: Request,
    limits: BodyLimits,
    answer: impl FnOnce(Bytes, Option<Duration>) -> F,
) -> Response {
    let begin = Instant::now();
    let timeout = parameters(request.uri())
        .find(|(key, _)| *key == "timeout")
        .and_then(|(_, value)| parse_duration(value));
    let time = timeout.map_or(limits.time, |timeout| timeout.min(limits.time));
    let body = match tokio::time::timeout(time, read(request.into_body(), limits.size)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return error.into_response(),
        Err(_) => return ReadBodyError::Late.into_response(),
    };
    let reply = answer(body, timeout.map(|timeout| timeout.saturating_sub(begin.elapsed()))).await;
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if response.status() == StatusCode::OK { JSON } else { TEXT };
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
enum ReadBodyError {
    /// It did not come in time.
    #[error("the body did not come in time")]
    Late,
    /// It is longer than the limit.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The connection ended before it.
    #[error("the body ended early")]
    Truncated,
}

impl IntoResponse for ReadBodyError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Truncated => StatusCode::BAD_REQUEST,
        };
        // What is left of the body may still come: nothing more can be read from this connection.
        (status, [(header::CONNECTION, "close")], format!("{self}\n")).into_response()
    }
}

/// Reads a body of at most `limit` bytes. One that came in one piece is not copied.
async fn read(mut body: Body, limit: usize) -> Result<Bytes, ReadBodyError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        discard(body, limit).await;
        return Err(ReadBodyError::TooLarge { limit });
    }
    let mut first = Bytes::new();
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| ReadBodyError::Truncated)?.into_data() else {
            continue;
        };
        if data.len() > limit - first.len().max(all.len()) {
            discard(body, limit).await;
            return Err(ReadBodyError::TooLarge { limit });
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.reserve(announced.max(first.len() + data.len()));
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.into() })
}

/// Reads on for a while, keeping nothing: a client that is still writing when the connection closes would not see the
/// answer.
async fn discard(mut body: Body, limit: usize) {
    let mut read = 0;
    while read <= limit {
        match body.frame().await {
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => return,
        }
    }
}

/// The keys and values of a query, as written.
fn parameters(uri: &http::Uri) -> impl Iterator<Item = (&str, &str)> {
    let query = uri.query().unwrap_or_default();
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Reads a duration as Go prints it: `10s`, `2.5s`, `1m30s`.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let unit = after.find(|character: char| character.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit)?;
        let unit = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * unit;
        rest = after;
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(seconds).ok() }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

#[cfg(test)]
mod tests;
