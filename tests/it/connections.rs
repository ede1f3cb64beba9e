//! What one connection may take, on real sockets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use portolan::admission::Reply;
use portolan::server::routes::{BodyLimits, webhook};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{
    eventually,
    http::post,
    service::{Builder, echo, service},
};

/// A service that counts its calls.
fn counting() -> (Builder, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let answer = move |_, _, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Reply { status: 200, body: b"{}".to_vec() } }
    };
    (service(webhook(answer, BodyLimits::default())), calls)
}

#[tokio::test]
async fn a_connection_is_kept_and_an_answer_says_its_length() {
    let service = echo().start();
    let mut connection = service.connect().await.unwrap();
    for body in [&b"{}"[..], b"", &vec![b'x'; 300_000]] {
        let answer = connection.post("/mutate/audit?timeout=10s", body).await.unwrap();
        assert_eq!((answer.status, answer.body.len(), answer.closes()), (200, body.len(), false));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("transfer-encoding"), None);
    }
    assert_eq!(service.metrics.connections.get(), 1);
    drop(connection);
    eventually("it is counted as gone", async || service.metrics.connections.get() == 0).await;
}

#[tokio::test]
async fn a_body_over_8_mib_is_413_and_one_of_8_mib_is_read() {
    let (builder, calls) = counting();
    let service = builder.start();
    let mut connection = service.connect().await.unwrap();
    assert_eq!(connection.post("/mutate", &vec![b'x'; 8 << 20]).await.unwrap().status, 200);
    let answer = connection.post("/mutate", &vec![b'x'; (8 << 20) + 1]).await.unwrap();
    assert_eq!((answer.status, answer.closes()), (413, true));
    assert_eq!(String::from_utf8(answer.body).unwrap(), "the body is longer than 8388608 bytes\n");
    connection.closed().await;

    // Without the length announced.
    let mut connection = service.connect().await.unwrap();
    let head = b"POST /mutate HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = [&b"100000\r\n"[..], &vec![b'x'; 1 << 20], b"\r\n"].concat();
    let body = [&head[..], &chunk.repeat(8), b"1\r\nx\r\n0\r\n\r\n"].concat();
    connection.write(&body).await.unwrap();
    assert_eq!(connection.answer().await.unwrap().status, 413);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_body_that_ends_early_reaches_nobody_and_closes() {
    let (builder, calls) = counting();
    let service = builder.start();
    let mut connection = service.connect().await.unwrap();
    let whole = post("/mutate", &[b'x'; 1000]);
    connection.write(&whole[..whole.len() - 1]).await.unwrap();
    connection.stream.get_mut().shutdown().await.unwrap();
    if let Ok(answer) = connection.answer().await {
        assert_eq!(answer.status, 400);
    }
    connection.closed().await;
    eventually("the connection is gone", async || service.metrics.connections.get() == 0).await;
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let (builder, calls) = counting();
    let service = builder.start();
    let mut connection = service.connect().await.unwrap();
    connection
        .write(b"POST /mutate?timeout=50ms HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nx")
        .await
        .unwrap();
    let answer = connection.answer().await.unwrap();
    assert_eq!((answer.status, answer.closes()), (408, true));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn other_methods_and_paths_are_refused_and_the_connection_is_kept() {
    let service = echo().start();
    let mut connection = service.connect().await.unwrap();
    connection.write(b"GET /mutate HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let answer = connection.answer().await.unwrap();
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    assert_eq!(connection.post("/else", b"").await.unwrap().status, 404);
    assert_eq!(connection.post("/mutate", b"").await.unwrap().status, 200);
}

#[tokio::test]
async fn connections_over_the_cap_wait_for_a_place() {
    let service = echo().limits(|limits| limits.connections = 2).start();
    let mut first = service.connect().await.unwrap();
    let mut second = service.connect().await.unwrap();
    first.post("/mutate", b"1").await.unwrap();
    second.post("/mutate", b"2").await.unwrap();
    let mut third = Box::pin(service.connect());
    let waited = tokio::time::timeout(Duration::from_millis(100), &mut third).await;
    assert!(waited.is_err(), "the third was served");
    assert_eq!(service.metrics.connections.get(), 2);
    drop(first);
    third.await.unwrap().post("/mutate", b"3").await.unwrap();
}

#[tokio::test]
async fn an_old_connection_is_closed_after_an_answer() {
    let service = echo().limits(|limits| limits.age = Duration::ZERO).start();
    let mut connection = service.connect().await.unwrap();
    let answer = connection.post("/mutate", b"{}").await.unwrap();
    assert_eq!((answer.status, answer.closes()), (200, true));
    connection.closed().await;
}

#[tokio::test]
async fn an_idle_connection_and_a_slow_head_are_closed() {
    let service = echo().limits(|limits| limits.idle = Duration::from_millis(100)).start();
    let mut idle = service.connect().await.unwrap();
    idle.post("/mutate", b"{}").await.unwrap();
    idle.closed().await;
    let mut slow = service.connect().await.unwrap();
    slow.write(b"POST /mutate HTTP/1.1\r\nhost:").await.unwrap();
    if let Ok(answer) = slow.answer().await {
        assert_eq!(answer.status, 408);
    }
    eventually("both are gone", async || service.metrics.connections.get() == 0).await;
}

#[tokio::test]
async fn a_handler_that_panics_takes_its_connection_with_it_and_nothing_else() {
    let answer = |body: bytes::Bytes, _, _| async move {
        assert!(!body.is_empty(), "the handler breaks");
        Reply { status: 200, body: b"{}".to_vec() }
    };
    let service = service(webhook(answer, BodyLimits::default())).start();
    let mut fine = service.connect().await.unwrap();
    fine.post("/mutate", b"1").await.unwrap();
    let mut broken = service.connect().await.unwrap();
    assert!(broken.post("/mutate", b"").await.is_err());
    eventually("it is counted", async || service.metrics.internal_errors.get() == 1).await;
    assert_eq!(fine.post("/mutate", b"2").await.unwrap().status, 200);
    assert_eq!(service.metrics.connections.get(), 1);
}

#[tokio::test]
async fn without_tls_the_same_loop_serves_the_ops_port() {
    use portolan::{
        metrics::Metrics,
        server::{DrainPolicy, Health, Limits, Listener, Shutdown, routes::ops, serve},
    };
    use tokio::io::AsyncReadExt;

    let (metrics, shutdown) = (Arc::new(Metrics::new()), Shutdown::new());
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), Limits::default()).unwrap();
    let address = listener.local_addr().unwrap();
    let router = ops(Arc::new(Health::new(shutdown.clone())), Arc::clone(&metrics));
    tokio::spawn(serve(listener, None, router, DrainPolicy::default(), shutdown, metrics));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nready\n"), "{text}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    use portolan::server::{Limits, Listener};

    let first = Listener::bind("127.0.0.1:0".parse().unwrap(), Limits::default()).unwrap();
    let address = first.local_addr().unwrap();
    let error = Listener::bind(address, Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on `{address}`"));
    // All addresses: IPv6 and IPv4 by one socket, or IPv4 alone where there is no IPv6.
    let all = Listener::bind("[::]:0".parse().unwrap(), Limits::default()).unwrap();
    let port = all.local_addr().unwrap().port();
    TcpStream::connect(("127.0.0.1", port)).await.unwrap();
}
