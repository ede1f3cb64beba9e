//! What `serve` runs with: flags read and checked, before anything is started.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{KeepAnswers, TableSource};
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
    /// How long new requests are answered after SIGTERM.
    pub drain_delay: Duration,
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
}
