//! A forwarder that lets so many bytes through and then nothing more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
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
    /// A change ends all connections.
    opened: watch::Sender<u64>,
}

impl Gate {
    /// In front of `target`, a host and port. Nothing passes until it is opened.
    pub fn start(target: String, side: Side) -> Self {
        let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State { target, side, left: AtomicU64::new(0), opened: watch::Sender::new(0) });
        let shared = Arc::clone(&state);
        let accepting = runtime().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let mut opened = state.opened.subscribe();
                tokio::spawn(async move {
                    tokio::select! {
                        // A connection that breaks is its client's business.
                        _ = state.forward(client) => {}
                        _ = opened.changed() => {}
                    }
                });
            }
        });
        Self { address, accepting, state }
    }

    /// Where it listens: host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends all connections, and lets so many bytes of new ones through.
    pub fn open(&self, bytes: u64) {
        self.state.left.store(bytes, Ordering::SeqCst);
        self.state.opened.send_modify(|count| *count += 1);
    }

    /// Waits until the last of its bytes has passed; what else `ended` says comes first.
    pub fn wait_until_shut(&self, limit: Duration, mut ended: impl FnMut() -> bool) {
        eventually(limit, || {
            assert!(!ended(), "it ended before all bytes had passed: {} are left", self.left());
            if self.left() == 0 { Ok(()) } else { Err(self.left()) }
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
        self.state.opened.send_modify(|count| *count += 1);
    }
}

impl State {
    async fn forward(&self, client: TcpStream) -> std::io::Result<()> {
        let server = TcpStream::connect(&self.target).await?;
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let requests = async {
            if self.side == Side::Client {
                self.counted(&mut from_client, &mut to_server).await?;
            } else {
                copy(&mut from_client, &mut to_server).await?;
            }
            to_server.shutdown().await
        };
        let answers = async {
            if self.side == Side::Server {
                self.counted(&mut from_server, &mut to_client).await?;
            } else {
                copy(&mut from_server, &mut to_client).await?;
            }
            to_client.shutdown().await
        };
        tokio::try_join!(requests, answers)?;
        Ok(())
    }

    async fn counted(
        &self,
        from: &mut (impl tokio::io::AsyncRead + Unpin),
        to: &mut (impl tokio::io::AsyncWrite + Unpin),
    ) -> std::io::Result<()> {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let count = from.read(&mut bytes).await?;
            if count == 0 {
                return Ok(());
            }
            let take = |left: u64| Some(left.saturating_sub(count as u64));
            let left =
                self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).unwrap_or_else(|left| left);
            let passed = usize::try_from(left).unwrap_or(usize::MAX).min(count);
            to.write_all(&bytes[..passed]).await?;
            if passed < count {
                // Whoever waits for more waits until the gate is opened anew.
                std::future::pending::<()>().await;
            }
        }
    }
}
