//! A forwarder that lets so many bytes through and then nothing more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use super::{runtime::runtime, waiting::eventually};

/// Forwards connections to a registry and counts the bytes of one direction.
#[derive(Debug)]
pub struct Gate {
    address: String,
    accepting: JoinHandle<()>,
    state: Arc<State>,
}

/// Whose bytes a [`Gate`] counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// Those of requests.
    Client,
    /// Those of answers.
    Server,
}

#[derive(Debug)]
struct State {
    target: String,
    side: Side,
    /// How many bytes may still pass.
    left: AtomicU64,
    /// How many connections there are.
    connections: AtomicUsize,
    /// A change ends all connections.
    ended: watch::Sender<bool>,
}

impl Gate {
    /// In front of `target`, a host and port. Nothing passes until it is opened.
    pub fn start(target: String, side: Side) -> Self {
        let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            target,
            side,
            left: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            ended: watch::Sender::new(false),
        });
        let shared = Arc::clone(&state);
        let accepting = runtime().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let mut ended = state.ended.subscribe();
                state.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    tokio::select! {
                        // A connection that breaks is its client's business.
                        _ = state.forward(client) => {}
                        _ = ended.changed() => {}
                    }
                    state.connections.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, accepting, state }
    }

    /// Where it listens: host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Lets so many bytes through from now on.
    pub fn open(&self, bytes: u64) {
        self.state.left.store(bytes, Ordering::SeqCst);
    }

    /// Waits until the last of its bytes has passed; what else `ended` says comes first.
    pub fn wait_until_shut(&self, limit: Duration, mut ended: impl FnMut() -> bool) {
        eventually(limit, || {
            assert!(!ended(), "it ended before all bytes had passed: {} are left", self.left());
            if self.left() == 0 { Ok(()) } else { Err(self.left()) }
        });
    }

    /// Waits until clients have ended all connections, and the registry has done and logged what came over them.
    pub fn wait_until_idle(&self, limit: Duration) {
        eventually(limit, || match self.state.connections.load(Ordering::SeqCst) {
            0 => Ok(()),
            connections => Err(connections),
        });
    }

    /// How many bytes may still pass.
    pub fn left(&self) -> u64 {
        self.state.left.load(Ordering::SeqCst)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.accepting.abort();
        self.state.ended.send_replace(true);
    }
}

impl State {
    async fn forward(&self, client: TcpStream) -> std::io::Result<()> {
        let server = TcpStream::connect(&self.target).await?;
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let requests = async {
            self.pass(&mut from_client, &mut to_server, self.side == Side::Client).await;
            // What the registry has to say to what came is still read.
            to_server.shutdown().await
        };
        let answers = async {
            let is_whole = self.pass(&mut from_server, &mut to_client, self.side == Side::Server).await;
            // Whoever waits for more waits as long as it wants to.
            if is_whole { to_client.shutdown().await } else { Ok(()) }
        };
        let (requests, answers) = tokio::join!(requests, answers);
        requests.and(answers)
    }

    /// Reads to the end, and says whether all of it was passed on. What a shut gate holds back, and what comes for a
    /// reader that has gone, is read nonetheless: so whoever writes comes to its end.
    async fn pass(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        is_counted: bool,
    ) -> bool {
        let mut bytes = vec![0; 16 * 1024];
        let mut is_whole = true;
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            let passed = if is_counted { self.take(count) } else { count };
            is_whole &= passed == count && to.write_all(&bytes[..passed]).await.is_ok();
        }
        is_whole
    }

    /// How many of so many bytes may pass; they are taken from what is left.
    fn take(&self, count: usize) -> usize {
        let rest = |left: u64| Some(left.saturating_sub(count as u64));
        let left =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, rest).unwrap_or_else(|left| left);
        usize::try_from(left).unwrap_or(usize::MAX).min(count)
    }
}
