//! TLS for the webhook's port: the certificate pair, where it comes from, and what rustls is told.
//!
//! A [`Pair`] is a certificate chain with its private key, checked to belong together. The [`LivePair`] is the one in
//! use, which [`FollowFiles`] or [`Renew`] replaces while connections are open. [`Authority`] makes certificates for
//! one process alone, for development, and for replicas that share one: [`Shared`] says what is to be done about that
//! one, and when. HTTP belongs to [`crate::server`].
//!
//! Invariant: a pair that does not match, or cannot be read, never takes the place of one that does.

use std::{io, sync::Arc, time::Duration};

use rustls::{AlertDescription, ServerConfig, crypto::aws_lc_rs, server::NoServerSessionStorage};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::metrics::HandshakeError;

mod bundle;
mod issue;
mod live;
mod pair;
mod shared;

pub use bundle::{Bundle, Sightings, is_server_name};
pub use issue::{Authority, IssueError, Issued, Lives, ReadAuthorityError, WriteFilesError};
pub use live::{Expiry, FollowFiles, LivePair, Renew, wall_clock};
pub use pair::{Pair, PairError, PairFiles, ReadPairError};
pub use shared::{Facts, SecretData, Shared, SharedProblem, Step};

/// Does the server's side of TLS handshakes.
#[derive(Clone)]
pub struct Acceptor {
    inner: TlsAcceptor,
}

impl Acceptor {
    /// Serves whatever pair is live when a client comes. HTTP/1.1 is the only protocol offered, as API servers use no
    /// other for a webhook behind a Service.
    pub fn new(live: Arc<LivePair>) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(live);
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        // Nobody resumes: API servers keep their connections, and a resumed session would outlive a changed
        // certificate.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Self { inner: TlsAcceptor::from(Arc::new(config)) }
    }

    /// Does one handshake, which may take `limit`.
    pub async fn accept(
        &self,
        stream: TcpStream,
        limit: Duration,
    ) -> Result<TlsStream<TcpStream>, (HandshakeError, io::Error)> {
        match tokio::time::timeout(limit, self.inner.accept(stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err((cause(&error), error)),
            Err(_) => Err((HandshakeError::Timeout, io::ErrorKind::TimedOut.into())),
        }
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

/// What a failed handshake is counted as.
fn cause(error: &io::Error) -> HandshakeError {
    use rustls::Error;
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(
            AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            // What a client says that trusts another authority of the same name.
            | AlertDescription::DecryptError
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate,
        )) => HandshakeError::CertificateRefused,
        Some(Error::InvalidMessage(_)) => HandshakeError::NotTls,
        Some(_) => HandshakeError::Protocol,
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                HandshakeError::Closed
            }
            _ => HandshakeError::Network,
        },
    }
}

const HTTP_1_1: &[u8] = b"http/1.1";
