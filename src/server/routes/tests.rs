use std::{convert::Infallible, sync::Mutex};

use http::{Method, Request as HttpRequest};
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use tower::ServiceExt;

use super::*;
use crate::server::Shutdown;

/// What a handler was called with.
type Calls = Arc<Mutex<Vec<(Bytes, Mode, Option<Duration>)>>>;

const LIMITS: BodyLimits = BodyLimits { size: 100, time: Duration::from_mins(1) };

/// A webhook that notes its calls and answers with a status and a body.
fn noting(status: u16) -> (Router, Calls) {
    let calls = Calls::default();
    let noted = Arc::clone(&calls);
    let answer = move |body, mode, timeout| {
        noted.lock().unwrap().push((body, mode, timeout));
        async move { Reply { status, body: b"{}".to_vec() } }
    };
    (webhook(answer, LIMITS), calls)
}

fn request(method: Method, path: &str) -> HttpRequest<Body> {
    HttpRequest::builder().method(method).uri(path).body(Body::from("review")).unwrap()
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn the_path_says_the_mode_and_the_query_the_timeout() {
    for (path, mode, timeout) in [
        ("/mutate", Mode::Enforce, None),
        ("/mutate?timeout=10s", Mode::Enforce, Some(10.0)),
        ("/mutate/audit?timeout=2.5s", Mode::Audit, Some(2.5)),
        ("/mutate/audit?x=y&timeout=1m&z", Mode::Audit, Some(60.0)),
        ("/mutate?timeout=soon", Mode::Enforce, None),
    ] {
        let (router, calls) = noting(200);
        let response = router.oneshot(request(Method::POST, path)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json", "{path}");
        assert_eq!(text(response).await, "{}");
        let calls = calls.lock().unwrap();
        let [(body, called, left)] = &calls[..] else { panic!("{path}: {calls:?}") };
        assert_eq!((&body[..], *called), (&b"review"[..], mode), "{path}");
        assert_eq!(left.is_some(), timeout.is_some(), "{path}");
        // What is left of it: reading the body took some of it.
        assert!(left.unwrap_or_default().as_secs_f64() <= timeout.unwrap_or_default(), "{path}");
        assert!(left.unwrap_or_default().as_secs_f64() >= timeout.unwrap_or_default() / 2.0, "{path}");
    }
}

#[tokio::test]
async fn a_check_has_a_route_of_its_own_beside_the_webhooks() {
    let (router, calls) = noting(200);
    let answer = |body: Bytes, timeout: Option<Duration>| async move {
        assert!(timeout.unwrap() <= Duration::from_secs(5));
        Reply { status: 200, body: [&b"checked "[..], &body].concat() }
    };
    let router = router.merge(validating(answer, LIMITS));
    let ask = async |method, path| {
        let response = router.clone().oneshot(request(method, path)).await.unwrap();
        (response.status().as_u16(), text(response).await)
    };
    assert_eq!(ask(Method::POST, "/validate?timeout=5s").await, (200, "checked review".to_owned()));
    assert_eq!(ask(Method::GET, "/validate").await.0, 405);
    assert!(calls.lock().unwrap().is_empty());
    assert_eq!(ask(Method::POST, "/mutate").await.0, 200);
    assert_eq!(ask(Method::POST, "/validate/x").await.0, 404);
}

#[tokio::test]
async fn other_methods_and_paths_are_refused_without_a_call() {
    for (method, path, status) in [
        (Method::GET, "/mutate", 405),
        (Method::PUT, "/mutate/audit", 405),
        (Method::POST, "/", 404),
        (Method::POST, "/mutate/", 404),
        (Method::POST, "/mutate/audit/x", 404),
        (Method::GET, "/metrics", 404),
    ] {
        let (router, calls) = noting(200);
        let response = router.oneshot(request(method.clone(), path)).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        assert!(calls.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_reply_that_is_no_review_is_plain_text() {
    let (router, _calls) = noting(400);
    let response = router.oneshot(request(Method::POST, "/mutate")).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
}

#[tokio::test]
async fn a_body_of_the_limit_is_read_and_one_byte_more_is_413() {
    for pieces in [vec![100], vec![1, 99], vec![0, 50, 49, 1], vec![101], vec![50, 51], vec![300]] {
        let length: usize = pieces.iter().sum();
        // With the length announced, and without.
        let whole = Body::new(Full::new(Bytes::from(vec![b'x'; length])));
        let frames = pieces.iter().map(|length| Ok::<_, Infallible>(Frame::data(vec![b'x'; *length].into())));
        let parts = Body::new(StreamBody::new(futures::stream::iter(frames.collect::<Vec<_>>())));
        for body in [whole, parts] {
            let (router, calls) = noting(200);
            let request = HttpRequest::post("/mutate").body(body).unwrap();
            let response = router.oneshot(request).await.unwrap();
            let calls = calls.lock().unwrap().clone();
            if length <= 100 {
                assert_eq!(response.status(), StatusCode::OK, "{pieces:?}");
                assert_eq!(calls[0].0, vec![b'x'; length], "{pieces:?}");
            } else {
                assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE, "{pieces:?}");
                assert_eq!(response.headers()[header::CONNECTION], "close");
                assert_eq!(text(response).await, "the body is longer than 100 bytes\n");
                assert!(calls.is_empty());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_408_when_the_timeout_is_over() {
    let (router, calls) = noting(200);
    let body = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let begin = tokio::time::Instant::now();
    let request = HttpRequest::post("/mutate?timeout=3s").body(Body::new(body)).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(begin.elapsed().as_secs(), 3);
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert!(calls.lock().unwrap().is_empty());
}

#[test]
fn durations_are_read_as_go_writes_them() {
    for (text, expected) in [
        ("10s", Some(10_000)),
        ("2.5s", Some(2500)),
        ("1m", Some(60_000)),
        ("1m30s", Some(90_000)),
        ("1h0m0.5s", Some(3_600_500)),
        ("300ms", Some(300)),
        ("1000µs", Some(1)),
        ("", None),
        ("10", None),
        ("s", None),
        ("-3s", None),
        ("1.2.3s", None),
        ("3 s", None),
        ("3d", None),
        ("99999999999999999999h", None),
    ] {
        assert_eq!(parse_duration(text), expected.map(Duration::from_millis), "{text}");
    }
}

#[tokio::test]
async fn the_ops_port_tells_life_readiness_and_metrics() {
    let health = Arc::new(Health::new(Shutdown::new()));
    let table = health.condition("table");
    let router = ops(Arc::clone(&health), Arc::new(Metrics::new()));
    let ask = async |path: &str| {
        let response = router.clone().oneshot(request(Method::GET, path)).await.unwrap();
        let kind = response.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
        (response.status().as_u16(), kind.unwrap_or_default(), text(response).await)
    };
    assert_eq!(ask("/livez").await.0, 200);
    let (status, _, report) = ask("/readyz").await;
    assert_eq!((status, &*report), (503, "[-] table missing\nnot ready\n"));
    table.meet();
    let (status, _, report) = ask("/readyz").await;
    assert_eq!((status, &*report), (200, "ready\n"));
    let (_, _, report) = ask("/readyz?verbose").await;
    assert_eq!(report, "[+] table ok\nready\n");
    let (status, kind, text) = ask("/metrics").await;
    assert_eq!((status, &*kind), (200, metrics::CONTENT_TYPE));
    assert!(text.ends_with("# EOF\n"));
    assert_eq!(ask("/mutate").await.0, 404);
}
