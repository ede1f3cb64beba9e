//! A certificate with its private key, read and checked.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};

/// A certificate chain and the private key that belongs to it.
///
/// `Debug` shows serial and end, never the key.
#[derive(Clone)]
pub struct Pair {
    key: Arc<CertifiedKey>,
    serial: String,
    begins: SystemTime,
    ends: SystemTime,
}

/// Where a pair's two PEM files are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PairFiles {
    certificate: PathBuf,
    key: PathBuf,
}

/// Why two PEM texts are no pair.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The certificate's text is damaged.
    #[error("the certificate is no PEM")]
    CertificatePem(#[source] pem::Error),
    /// The key's text is damaged.
    #[error("the private key is no PEM")]
    KeyPem(#[source] pem::Error),
    /// The private key is not the certificate's.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    /// There is no certificate in the text.
    #[error("there is no certificate (`BEGIN CERTIFICATE`)")]
    NoCertificate,
    /// There is no private key in the text.
    #[error("there is no private key without a password (PKCS#8, PKCS#1 or SEC1)")]
    NoKey,
    /// The certificate is damaged inside.
    #[error("the certificate is no X.509")]
    NotX509,
    /// The key is damaged inside, or of a kind that TLS has no use for.
    #[error("the private key cannot be used")]
    UnusableKey(#[source] rustls::Error),
}

/// Why a pair could not be had from its files.
#[derive(Debug, thiserror::Error)]
pub enum ReadPairError {
    /// A file could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The files are no pair.
    #[error("cannot use `{}` and `{}`", files.certificate.display(), files.key.display())]
    Use {
        /// Which files.
        files: PairFiles,
        /// Why not.
        source: PairError,
    },
}

/// What the two files hold.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pair {
    /// Reads a certificate chain (the server's own first) and its key, and checks that they belong together. The key
    /// may be PKCS#8, PKCS#1 or SEC1.
    pub fn parse(certificate: &[u8], key: &[u8]) -> Result<Self, PairError> {
        let chain = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(PairError::CertificatePem)?;
        let key = match PrivateKeyDer::from_pem_slice(key) {
            Ok(key) => key,
            Err(pem::Error::NoItemsFound) => return Err(PairError::NoKey),
            Err(error) => return Err(PairError::KeyPem(error)),
        };
        let leaf = chain.first().ok_or(PairError::NoCertificate)?;
        let (serial, begins, ends) = {
            let (_, leaf) = x509_parser::parse_x509_certificate(leaf).map_err(|_| PairError::NotX509)?;
            let validity = leaf.validity();
            let begins = moment(validity.not_before.timestamp());
            (leaf.raw_serial_as_string(), begins, moment(validity.not_after.timestamp()))
        };
        let key =
            CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(
                |error| match error {
                    rustls::Error::InconsistentKeys(_) => PairError::Mismatch,
                    rustls::Error::InvalidCertificate(_) => PairError::NotX509,
                    error => PairError::UnusableKey(error),
                },
            )?;
        Ok(Self { key: Arc::new(key), serial, begins, ends })
    }

    /// The certificate's serial number, in hex with colons.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// When the certificate begins to be valid.
    pub fn begins(&self) -> SystemTime {
        self.begins
    }

    /// When it ends.
    pub fn ends(&self) -> SystemTime {
        self.ends
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("serial", &self.serial)
            .field("ends", &self.ends)
            .field("key", &"<redacted>")
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl PairFiles {
    /// A certificate's file and its key's.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { certificate: certificate.into(), key: key.into() }
    }

    /// `tls.crt` and `tls.key` in a directory, as a mounted Secret of the type `kubernetes.io/tls` has them.
    pub fn in_directory(directory: &Path) -> Self {
        Self::new(directory.join("tls.crt"), directory.join("tls.key"))
    }

    /// Reads and checks the pair.
    pub fn read(&self) -> Result<Pair, ReadPairError> {
        self.parse(&self.contents()?)
    }

    pub(super) fn parse(&self, contents: &Contents) -> Result<Pair, ReadPairError> {
        Pair::parse(&contents.certificate, &contents.key)
            .map_err(|source| ReadPairError::Use { files: self.clone(), source })
    }

    pub(super) fn contents(&self) -> Result<Contents, ReadPairError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|source| ReadPairError::Read { path: path.to_owned(), source })
        };
        Ok(Contents { certificate: read(&self.certificate)?, key: read(&self.key)? })
    }
}

/// The time that a certificate means by so many seconds.
pub(super) fn moment(timestamp: i64) -> SystemTime {
    let seconds = Duration::from_secs(timestamp.unsigned_abs());
    let moment = if timestamp < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    moment.unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
