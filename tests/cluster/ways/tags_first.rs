//! A stand-in before a real registry: it knows a digest only after the tag was asked for, as some pull-through caches do.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::support::runtime;

/// Forwards all requests but those for a digest, before one for the tag `1.26` has passed.
///
/// Requests on one connection come one after the other and are sent in one piece, as HTTP/1.1 without a body is.
pub(super) struct TagsFirst {
    address: String,
    accepting: JoinHandle<()>,
}

impl TagsFirst {
    pub(super) fn start(registry: String) -> Self {
        let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let knows = Arc::new(AtomicBool::new(false));
        let accepting = runtime().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (registry, knows) = (registry.clone(), Arc::clone(&knows));
                // A connection that breaks is its client's business.
                tokio::spawn(async move { forward(client, &registry, &knows).await.ok() });
            }
        });
        Self { address, accepting }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

async fn forward(client: TcpStream, registry: &str, knows: &AtomicBool) -> std::io::Result<()> {
    let (mut from_registry, mut to_registry) = TcpStream::connect(registry).await?.into_split();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut question, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        // Neither a manifest's question nor its answer's head is longer than one piece here.
        let count = from_client.read(&mut question).await?;
        if count == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&question[..count]);
        let path = text.split(' ').nth(1).unwrap_or_default();
        if path.contains("/manifests/sha256:") && !knows.load(Ordering::SeqCst) {
            to_client.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await?;
            continue;
        }
        if path.ends_with("/manifests/1.26") {
            knows.store(true, Ordering::SeqCst);
        }
        to_registry.write_all(&question[..count]).await?;
        let count = from_registry.read(&mut answer).await?;
        to_client.write_all(&answer[..count]).await?;
    }
}

impl Drop for TagsFirst {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
