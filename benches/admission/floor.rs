//! The two servers that Portolan is compared with.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use bytes::Bytes;
use clap::Args;
use portolan::{
    admission::Reply,
    metrics::Metrics,
    server::{
        DrainPolicy, Limits, Listener, Shutdown, log_to_stderr,
        routes::{BodyLimits, webhook},
        serve,
    },
    tls::{Acceptor, LivePair, PairFiles},
};
use serde::de::IgnoredAny;

/// Where it listens and what it answers.
#[derive(Args, Debug)]
pub(crate) struct Floor {
    /// Where the server listens
    #[arg(long)]
    listen: SocketAddr,
    /// Folder with the certificate
    #[arg(long)]
    tls_dir: PathBuf,
    /// How many bytes the answer has
    #[arg(long)]
    answer: usize,
}

impl Floor {
    /// Serves until it is killed, on a runtime like Portolan's.
    pub(crate) fn serve(self, scans: bool) {
        log_to_stderr();
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
        runtime.block_on(async {
            let live = Arc::new(LivePair::default());
            live.replace(PairFiles::in_directory(&self.tls_dir).read().unwrap());
            let constant = Bytes::from(constant(self.answer));
            let router = webhook(
                move |body, _mode, _timeout| {
                    let constant = constant.clone();
                    async move {
                        if scans && serde_json::from_slice::<IgnoredAny>(&body).is_err() {
                            return Reply { status: 400, body: Vec::new() };
                        }
                        Reply { status: 200, body: constant.to_vec() }
                    }
                },
                BodyLimits::default(),
            );
            serve(
                Listener::bind(self.listen, Limits::default()).unwrap(),
                Some(Acceptor::new(live)),
                router,
                DrainPolicy::default(),
                Shutdown::new(),
                Arc::new(Metrics::new()),
            )
            .await
        });
    }
}

/// A JSON text of that many bytes.
pub(crate) fn constant(length: usize) -> Vec<u8> {
    let padding = length.saturating_sub(r#"{"response":""}"#.len());
    format!(r#"{{"response":"{}"}}"#, "x".repeat(padding)).into_bytes()
}
