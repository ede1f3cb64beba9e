//! The one tokio runtime behind everything here that is asynchronous; tests themselves are plain threads.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

/// Its workers also serve the proxies and webhooks of tests.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    &RUNTIME
}

/// Rustls asks for a provider before its first use.
pub fn install_crypto() {
    // Only refused when one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
