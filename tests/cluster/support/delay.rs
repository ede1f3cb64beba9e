//! A forwarder that makes a registry slow.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::runtime::runtime;

/// Forwards connections and holds back what the client sends, so that every request takes at least `delay`.
///
/// Requests on one connection come one after the other and are sent in one piece, as HTTP/1.1 without a body is.
#[derive(Debug)]
pub struct DelayProxy {
    address: String,
    accepting: JoinHandle<()>,
}

impl DelayProxy {
    /// Forwards to `target`, a host and port.
    pub fn start(target: String, delay: Duration) -> Self {
        let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let accepting = runtime().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let target = target.clone();
                // A connection that breaks is its client's business.
                tokio::spawn(async move { forward(client, &target, delay).await.ok() });
            }
        });
        Self { address, accepting }
    }

    /// Where it listens: host and port.
    pub fn address(&self) -> &str {
        &self.address
    }
}

async fn forward(client: TcpStream, target: &str, delay: Duration) -> std::io::Result<()> {
    let server = TcpStream::connect(target).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = from_client.read(&mut bytes).await?;
            if count == 0 {
                return to_server.shutdown().await;
            }
            tokio::time::sleep(delay).await;
            to_server.write_all(&bytes[..count]).await?;
        }
    };
    let answers = async {
        copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(requests, answers).map(|_| ())
}

impl Drop for DelayProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
