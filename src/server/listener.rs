//! The accept loop: connections, their limits, and the drain.
//!
//! A loop of our own, because the failures of handshakes are to be counted, connections capped, and the drain is to
//! lose no request: Go does not send a POST again whose connection died.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use axum::Router;
use futures::poll;
use http::{HeaderValue, Request, header};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::{self, JoinSet},
    time::sleep,
};

use super::{
    heap::keep_groups,
    shutdown::{Phase, Shutdown},
    turns::Turns,
};
use crate::{
    metrics::{Count, Metrics},
    tls::Acceptor,
};

/// A bound socket and what its connections may take.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    limits: Limits,
}

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a connection is kept; then it is closed after an answer, so that clients spread over new replicas.
    /// Each lives up to a fifth longer, so that they do not all leave together.
    pub age: Duration,
    /// The most connections at once; more wait in the socket's queue.
    pub connections: usize,
    /// The longest handshake.
    pub handshake: Duration,
    /// The longest time from an answer to the end of the next request's head. Longer than Go's clients keep an idle
    /// connection (90 s), so that it is not ours to close one that is just about to be used.
    pub idle: Duration,
}

/// How a drain goes.
#[derive(Clone, Copy, Debug)]
pub struct DrainPolicy {
    /// As long as this, connections and requests are still taken, and every answer closes its connection.
    pub delay: Duration,
    /// As long as this, no more connections are taken, but requests that were on their way are.
    pub linger: Duration,
    /// As long as this, requests that are being answered may take after it.
    pub limit: Duration,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Drained {
    /// Connections that were cut off.
    pub cut_off: usize,
}

/// A socket could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}`")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            age: Duration::from_mins(5),
            connections: 1024,
            handshake: Duration::from_secs(5),
            idle: Duration::from_mins(2),
        }
    }
}

impl Default for DrainPolicy {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(5),
            linger: Duration::from_millis(250),
            limit: Duration::from_secs(10),
        }
    }
}

impl Listener {
    /// Binds a socket. `[::]` takes IPv4 too, and stands for `0.0.0.0` where there is no IPv6. Needs a runtime.
    pub fn bind(address: SocketAddr, limits: Limits) -> Result<Self, BindError> {
        let socket = match bind(address) {
            Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
                bind((Ipv4Addr::UNSPECIFIED, address.port()).into())
            }
            socket => socket,
        };
        match socket {
            Ok(socket) => Ok(Self { socket, limits }),
            Err(source) => Err(BindError { address, source }),
        }
    }

    /// The address that was bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Serves `router` until `shutdown` has drained it; with TLS if an acceptor is given.
///
/// The drain: for [`DrainPolicy::delay`] everything goes on, but each answer closes its connection, so that clients
/// leave between two requests and never in one. Then no connection is taken any more, idle ones are closed, and the
/// rest is finished. [`Shutdown::stop`] ends all that at once. Cancelling this future does too.
pub async fn serve(
    listener: Listener,
    tls: Option<Acceptor>,
    router: Router,
    policy: DrainPolicy,
    shutdown: Shutdown,
    metrics: Arc<Metrics>,
) -> Drained {
    let Listener { socket, limits } = listener;
    keep_groups();
    let shared = Shared { limits, tls, router, metrics, leaving: AtomicBool::new(false) };
    let mut connections = Connections {
        shared: Arc::new(shared),
        permits: Arc::new(Semaphore::new(limits.connections)),
        tasks: JoinSet::new(),
        closers: HashMap::new(),
    };
    connections.accept_until(&socket, shutdown.reached(Phase::Draining)).await;
    connections.shared.leaving.store(true, Ordering::Relaxed);
    connections.accept_until(&socket, stopped_or(&shutdown, policy.delay)).await;
    connections.accept_queued(&socket).await;
    drop(socket);
    connections.wait_until(stopped_or(&shutdown, policy.linger)).await;
    connections.close_idle();
    connections.wait_until(stopped_or(&shutdown, policy.limit)).await;
    let cut_off = connections.tasks.len();
    if cut_off > 0 {
        tracing::warn!(connections = cut_off, "connections are cut off");
    }
    connections.tasks.shutdown().await;
    Drained { cut_off }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(QUEUE)?;
    TcpListener::from_std(socket.into())
}

/// Ends when `time` is over, or everything is to end at once.
async fn stopped_or(shutdown: &Shutdown, time: Duration) {
    tokio::select! {
        () = sleep(time) => {}
        () = shutdown.reached(Phase::Stopping) => {}
    }
}

/// What all connections have in common.
struct Shared {
    limits: Limits,
    tls: Option<Acceptor>,
    router: Router,
    metrics: Arc<Metrics>,
    /// Whether every answer closes its connection.
    leaving: AtomicBool,
}

/// The open connections.
struct Connections {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
    tasks: JoinSet<()>,
    /// Asks a connection to close as soon as it is idle.
    closers: HashMap<task::Id, oneshot::Sender<()>>,
}

impl Connections {
    /// Takes connections until `end`.
    async fn accept_until(&mut self, socket: &TcpListener, end: impl Future<Output = ()>) {
        let mut end = pin!(end);
        let mut failing = false;
        loop {
            tokio::select! {
                biased;
                () = &mut end => return,
                Some(ended) = self.tasks.join_next_with_id() => self.reap(ended),
                (permit, accepted) = accept(&self.permits, socket) => match accepted {
                    Ok(stream) => {
                        failing = false;
                        self.start(stream, permit);
                    }
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(error) => {
                        // Mostly too many open files: only time helps, and a connection that ends.
                        if !failing {
                            tracing::error!(%error, "connections cannot be accepted");
                        }
                        failing = true;
                        tokio::select! {
                            () = &mut end => return,
                            () = sleep(ACCEPT_PAUSE) => {}
                        }
                    }
                },
            }
        }
    }

    /// Takes the connections that wait in the socket's queue, which would be reset with it.
    async fn accept_queued(&mut self, socket: &TcpListener) {
        // The queue may grow meanwhile; it cannot be longer than this.
        for _ in 0..QUEUE {
            let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
                return;
            };
            tokio::select! {
                biased;
                accepted = socket.accept() => match accepted {
                    Ok((stream, _)) => self.start(stream, permit),
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(_) => return,
                },
                () = std::future::ready(()) => return,
            }
        }
    }

    /// Waits until no connection is left, or `end`.
    async fn wait_until(&mut self, end: impl Future<Output = ()>) {
        let mut end = pin!(end);
        while !self.tasks.is_empty() {
            tokio::select! {
                biased;
                () = &mut end => return,
                Some(ended) = self.tasks.join_next_with_id() => self.reap(ended),
            }
        }
    }

    fn close_idle(&mut self) {
        for (_, closer) in self.closers.drain() {
            let _ended_meanwhile = closer.send(());
        }
    }

    fn start(&mut self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        let (closer, close) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let handle = self.tasks.spawn(async move {
            let _permit = permit;
            let _open = Open::count(&shared.metrics.connections);
            handshake(&shared, stream, close).await;
        });
        self.closers.insert(handle.id(), closer);
    }

    fn reap(&mut self, ended: Result<(task::Id, ()), task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                if error.is_panic() {
                    self.shared.metrics.internal_errors.inc();
                    tracing::error!("a connection's task failed");
                }
                error.id()
            }
        };
        self.closers.remove(&id);
    }
}

async fn accept(
    permits: &Arc<Semaphore>,
    socket: &TcpListener,
) -> (OwnedSemaphorePermit, io::Result<TcpStream>) {
    let permit = Arc::clone(permits).acquire_owned().await.expect("the semaphore is never closed");
    (permit, socket.accept().await.map(|(stream, _)| stream))
}

/// Whether an error of `accept` is that of the connection, which came and went, and not of the socket.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

async fn handshake(shared: &Arc<Shared>, stream: TcpStream, close: oneshot::Receiver<()>) {
    // An answer is one small write; waiting for more would only delay it.
    let _kept = stream.set_nodelay(true);
    let Some(tls) = &shared.tls else {
        return http(shared, stream, close).await;
    };
    match tls.accept(stream, shared.limits.handshake).await {
        Ok(stream) => http(shared, stream, close).await,
        Err((cause, error)) => {
            shared.metrics.handshake_error(cause);
            tracing::debug!(%error, cause = cause.word(), "a TLS handshake failed");
        }
    }
}

async fn http<I>(shared: &Arc<Shared>, stream: I, close: oneshot::Receiver<()>)
where
    I: AsyncRead + AsyncWrite + Send + Unpin,
{
    let until = Instant::now() + with_jitter(shared.limits.age);
    let router = TowerToHyperService::new(shared.router.clone());
    let service = service_fn(|request: Request<Incoming>| {
        let answer = router.call(request);
        async move {
            let mut response = answer.await?;
            if shared.leaving.load(Ordering::Relaxed) || Instant::now() >= until {
                response.headers_mut().insert(header::CONNECTION, CLOSE);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // hyper's clock runs from the last answer, so that this bounds an idle connection as well as a slow head.
        .header_read_timeout(shared.limits.idle)
        .serve_connection(TokioIo::new(Turns::new(stream)), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        // The connection first: what has come is read before an idle connection is closed.
        biased;
        ended = connection.as_mut() => ended,
        // It may have let others come first: what has come is read now.
        _ = close => match poll!(connection.as_mut()) {
            Poll::Ready(ended) => ended,
            Poll::Pending => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection failed");
    }
}

/// Up to a fifth more.
fn with_jitter(time: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1024;
    time + time / 5 * u32::try_from(random).unwrap_or_default() / 1024
}

/// A connection that is counted while it is open.
struct Open<'a>(&'a Count);

impl<'a> Open<'a> {
    fn count(connections: &'a Count) -> Self {
        connections.inc();
        Self(connections)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// How many connections the kernel keeps until they are accepted.
const QUEUE: i32 = 1024;

/// Between two attempts to accept when files or memory are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
