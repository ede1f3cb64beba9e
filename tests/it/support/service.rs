//! The webhook's listener with a certificate of its own, on loopback.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use portolan::{
    admission::Reply,
    metrics::Metrics,
    server::{
        DrainPolicy, Drained, Limits, Listener, Shutdown,
        routes::{BodyLimits, webhook},
        serve,
    },
    tls::{Acceptor, Authority, Issued, LivePair, Pair, wall_clock},
};
use rustls::ClientConfig;
use tokio::task::JoinHandle;

use super::http::{Connection, trusting};

/// A running service.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) authority: Authority,
    pub(crate) live: Arc<LivePair>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shutdown: Shutdown,
    pub(crate) client: Arc<ClientConfig>,
    task: JoinHandle<Drained>,
}

/// What is to be served, and how.
pub(crate) struct Builder {
    router: Router,
    limits: Limits,
    drain: DrainPolicy,
}

/// A service that answers each body with itself.
pub(crate) fn echo() -> Builder {
    service(webhook(
        |body, _, _| async move { Reply { status: 200, body: body.to_vec() } },
        BodyLimits::default(),
    ))
}

pub(crate) fn service(router: Router) -> Builder {
    let drain = DrainPolicy { delay: Duration::ZERO, ..DrainPolicy::default() };
    Builder { router, limits: Limits::default(), drain }
}

impl Builder {
    pub(crate) fn limits(self, change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = self.limits;
        change(&mut limits);
        Self { limits, ..self }
    }

    pub(crate) fn drain(self, change: impl FnOnce(&mut DrainPolicy)) -> Self {
        let mut drain = self.drain;
        change(&mut drain);
        Self { drain, ..self }
    }

    pub(crate) fn start(self) -> Service {
        let authority = Authority::new(wall_clock()).unwrap();
        let live = Arc::new(LivePair::default());
        live.replace(pair(&issue(&authority)));
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), self.limits).unwrap();
        let address = listener.local_addr().unwrap();
        let (metrics, shutdown) = (Arc::new(Metrics::new()), Shutdown::new());
        let task = tokio::spawn(serve(
            listener,
            Some(Acceptor::new(Arc::clone(&live))),
            self.router,
            self.drain,
            shutdown.clone(),
            Arc::clone(&metrics),
        ));
        let client = Arc::new(trusting(&authority.certificate()));
        Service { address, authority, live, metrics, shutdown, client, task }
    }
}

impl Service {
    pub(crate) async fn connect(&self) -> io::Result<Connection> {
        Connection::open(self.address, Arc::clone(&self.client)).await
    }

    /// Waits until it has drained.
    pub(crate) async fn drained(self) -> Drained {
        tokio::time::timeout(super::LIMIT, self.task).await.expect("the drain ends").unwrap()
    }

    pub(crate) fn handshake_errors(&self, cause: &str) -> u64 {
        let name = format!("portolan_tls_handshake_errors_total{{cause=\"{cause}\"}} ");
        let text = self.metrics.encode();
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    }
}

/// A certificate for this machine.
pub(crate) fn issue(authority: &Authority) -> Issued {
    authority.issue(&Authority::local_names(&[]), wall_clock()).unwrap()
}

pub(crate) fn pair(issued: &Issued) -> Pair {
    Pair::parse(issued.certificate().as_bytes(), issued.key().as_bytes()).unwrap()
}
