//! The drain on real sockets: which requests are answered, and which connections closed.

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan::admission::Reply;
use portolan::server::{
    Phase, Shutdown,
    routes::{BodyLimits, webhook},
};
use tokio::sync::Semaphore;

use crate::support::{
    LIMIT, eventually,
    http::{Connection, post},
    service::{Builder, Service, echo, service},
};

/// A service that answers only when it is allowed to, and says how many requests wait.
fn held() -> (Builder, Arc<Semaphore>, Arc<Semaphore>) {
    let (waiting, allowed) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (arrived, may) = (Arc::clone(&waiting), Arc::clone(&allowed));
    let answer = move |_, _, _| {
        let (arrived, may) = (Arc::clone(&arrived), Arc::clone(&may));
        async move {
            arrived.add_permits(1);
            may.acquire().await.unwrap().forget();
            Reply { status: 200, body: b"late".to_vec() }
        }
    };
    (service(webhook(answer, BodyLimits::default())), waiting, allowed)
}

async fn refused(service: &Service) {
    eventually("no connection is taken any more", async || service.connect().await.is_err()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_written_before_the_end_of_the_delay_is_answered() {
    let delay = Duration::from_millis(700);
    let service = Arc::new(echo().drain(|drain| drain.delay = delay).start());
    let answered = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (service, answered) = (Arc::clone(&service), Arc::clone(&answered));
        clients.spawn(async move {
            let (mut closed, mut connection) = (0, None::<Connection>);
            loop {
                let begun = Instant::now();
                let mut open = match connection.take() {
                    Some(open) => open,
                    None => match service.connect().await {
                        Ok(open) => open,
                        Err(_) => return (begun, closed),
                    },
                };
                let begun = Instant::now();
                match open.post("/mutate", b"{\"review\":true}").await {
                    Ok(answer) => {
                        assert_eq!((answer.status, &*answer.body), (200, &b"{\"review\":true}"[..]));
                        answered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if answer.closes() {
                            closed += 1;
                        } else {
                            connection = Some(open);
                        }
                    }
                    Err(_) => return (begun, closed),
                }
            }
        });
    }
    let count = || answered.load(std::sync::atomic::Ordering::Relaxed);
    eventually("all are posting", async || count() > 320).await;
    let begin = Instant::now();
    let before = count();
    service.shutdown.drain();
    let clients = clients.join_all().await;
    for (failed, closed) in clients {
        assert!(failed >= begin + delay, "a request was lost {:?} into the drain", failed - begin);
        assert!(closed > 0, "no answer closed its connection");
    }
    assert!(count() > before);
    let service = Arc::into_inner(service).unwrap();
    assert_eq!(service.drained().await.cut_off, 0);
}

#[tokio::test]
async fn at_the_end_of_the_delay_idle_connections_close_and_the_rest_is_finished() {
    let (builder, waiting, allowed) = held();
    let service = builder.start();
    let mut fresh = service.connect().await.unwrap();
    let mut idle = service.connect().await.unwrap();
    allowed.add_permits(1);
    assert!(!idle.post("/mutate", b"").await.unwrap().closes());
    waiting.acquire().await.unwrap().forget();

    let mut busy = service.connect().await.unwrap();
    busy.write(&post("/mutate", b"")).await.unwrap();
    waiting.acquire().await.unwrap().forget();
    service.shutdown.drain();
    idle.closed().await;
    fresh.closed().await;
    refused(&service).await;
    allowed.add_permits(1);
    let answer = busy.answer().await.unwrap();
    assert_eq!((&*answer.body, answer.closes()), (&b"late"[..], true));
    busy.closed().await;
    assert_eq!(service.drained().await.cut_off, 0);
}

#[tokio::test]
async fn during_the_delay_new_connections_are_answered_and_idle_ones_kept() {
    let service = echo().drain(|drain| drain.delay = Duration::from_hours(1)).start();
    let mut idle = service.connect().await.unwrap();
    assert!(!idle.post("/mutate", b"1").await.unwrap().closes());
    service.shutdown.drain();
    eventually("answers close their connections", async || {
        service.connect().await.unwrap().post("/mutate", b"2").await.unwrap().closes()
    })
    .await;
    // The connection that was idle has not been closed under its client.
    let answer = idle.post("/mutate", b"3").await.unwrap();
    assert_eq!((&*answer.body, answer.closes()), (&b"3"[..], true));
    idle.closed().await;
    service.shutdown.stop();
    service.drained().await;
}

#[tokio::test]
async fn after_the_delay_a_request_that_was_on_its_way_is_answered() {
    let service = echo().drain(|drain| drain.linger = Duration::from_hours(1)).start();
    let mut idle = service.connect().await.unwrap();
    assert!(!idle.post("/mutate", b"1").await.unwrap().closes());
    service.shutdown.drain();
    refused(&service).await;
    let answer = idle.post("/mutate", b"2").await.unwrap();
    assert_eq!((&*answer.body, answer.closes()), (&b"2"[..], true));
    // With nobody left, the drain does not wait for its times.
    assert_eq!(service.drained().await.cut_off, 0);
}

#[tokio::test]
async fn stopping_ends_the_drain_at_once() {
    let (builder, waiting, _allowed) = held();
    let hour = Duration::from_hours(1);
    let service = builder.drain(|drain| (drain.delay, drain.limit) = (hour, hour)).start();
    let mut busy = service.connect().await.unwrap();
    busy.write(&post("/mutate", b"")).await.unwrap();
    waiting.acquire().await.unwrap().forget();
    service.shutdown.drain();
    service.shutdown.stop();
    assert_eq!(service.drained().await.cut_off, 1);
    busy.closed().await;
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off() {
    let (builder, waiting, _allowed) = held();
    let service = builder.drain(|drain| drain.limit = Duration::from_millis(50)).start();
    let mut busy = service.connect().await.unwrap();
    busy.write(&post("/mutate", b"")).await.unwrap();
    waiting.acquire().await.unwrap().forget();
    service.shutdown.drain();
    assert_eq!(service.drained().await.cut_off, 1);
}

#[tokio::test]
async fn the_first_signal_drains_and_the_second_stops() {
    let shutdown = Shutdown::new();
    shutdown.on_signals().unwrap();
    // To this process: its handlers were just installed.
    let signal = |name: &str| {
        let process = std::process::id().to_string();
        assert!(Command::new("kill").args([name, &process]).status().unwrap().success());
    };
    let reached = async |phase| {
        tokio::time::timeout(LIMIT, shutdown.reached(phase)).await.expect("the signal has come");
    };
    signal("-TERM");
    reached(Phase::Draining).await;
    assert_eq!(shutdown.phase(), Phase::Draining);
    signal("-TERM");
    reached(Phase::Stopping).await;
}
