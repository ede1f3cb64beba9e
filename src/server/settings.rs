//! What `serve` runs with: flags read and checked, before anything is started.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{KeepAnswers, SharedPolicy, TableSource};
use crate::{admission, audit, registry::CachePolicy};

/// Everything that `serve` needs to know.
#[derive(Debug)]
pub struct Settings {
    /// Where the mapping table comes from.
    pub table: TableSource,
    /// Where the certificate comes from.
    pub certificate: CertificateSource,
    /// The file with the lock; without one it is in labelled ConfigMaps, where there is a cluster.
    pub lock: Option<PathBuf>,
    /// How often every locked digest is looked for in its mirror.
    pub lock_check_every: Duration,
    /// The webhook's address.
    pub listen: SocketAddr,
    /// The address of `/livez`, `/readyz` and `/metrics`.
    pub ops_listen: SocketAddr,
    /// The address of `/status`.
    pub status_listen: Loopback,
    /// Where audit lines go.
    pub audit: audit::Destination,
    /// How many admissions may wait to be written to the audit log.
    pub audit_queue: usize,
    /// What every admission goes by.
    pub admission: admission::Options,
    /// How long answers are remembered, and how many.
    pub cache: CachePolicy,
    /// How answers are kept in the cluster, where there is one.
    pub keep_answers: KeepAnswers,
    /// How often Pods are looked for that were admitted without Portolan; zero: never.
    pub find_unrewritten: Duration,
    /// How long new requests are answered after SIGTERM.
    pub drain_delay: Duration,
}

/// An address that only this machine reaches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Loopback(SocketAddr);

/// An address that others reach, too.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not a loopback address, which is all that the status port listens on; write it as in `127.0.0.1:9442`, \
     and reach it from elsewhere by `kubectl port-forward`"
)]
pub struct NotLoopbackError(SocketAddr);

impl TryFrom<SocketAddr> for Loopback {
    type Error = NotLoopbackError;

    fn try_from(address: SocketAddr) -> Result<Self, Self::Error> {
        if address.ip().to_canonical().is_loopback() {
            Ok(Self(address))
        } else {
            Err(NotLoopbackError(address))
        }
    }
}

impl From<Loopback> for SocketAddr {
    fn from(address: Loopback) -> Self {
        address.0
    }
}

/// Where the webhook's certificate comes from.
#[derive(Debug)]
pub enum CertificateSource {
    /// `tls.crt` and `tls.key` in this folder.
    Directory(PathBuf),
    /// These two files.
    Files {
        /// The chain.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// Made by this process for itself.
    SelfSigned {
        /// Where the authority's certificate is written, for clients to trust.
        ca_file: Option<PathBuf>,
    },
    /// Shared with the other replicas, in a Secret. Only in a cluster.
    Shared(SharedPolicy),
}
