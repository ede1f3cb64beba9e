//! Certificates that Portolan makes itself: for one process outside a cluster, for replicas that share one, and for
//! development.

use std::{
    fmt::{self, Write as _},
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

/// A certificate authority. Its key is written nowhere but into the Secret that replicas share.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// How long certificates are valid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lives {
    /// An authority's.
    pub authority: Duration,
    /// A server's.
    pub certificate: Duration,
}

/// A certificate with its key and its authority's certificate, as PEM.
///
/// `Debug` does not show the key.
#[derive(Clone)]
pub struct Issued {
    authority: String,
    certificate: String,
    key: String,
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A name is no DNS name and no address.
    #[error("`{name}` is no DNS name and no address")]
    BadName {
        /// The name.
        name: String,
    },
    /// Making the key or the signature failed.
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
    /// A certificate without names fits no server.
    #[error("a certificate needs at least one name")]
    NoName,
}

/// Why certificates could not be written into a directory.
#[derive(Debug, thiserror::Error)]
pub enum WriteFilesError {
    /// A key is there already; it is never overwritten.
    #[error("there is a key already: `{}`", path.display())]
    KeyExists {
        /// The key's file.
        path: PathBuf,
    },
    /// A file could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why what was kept is no authority.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReadAuthorityError {
    /// The certificate cannot be read.
    #[error("the authority's certificate cannot be read")]
    Certificate,
    /// The key cannot be read.
    #[error("the authority's private key cannot be read")]
    Key,
    /// The key is another's.
    #[error("the authority's private key does not belong to its certificate")]
    Mismatch,
    /// The certificate is not one that may sign others.
    #[error("the authority's certificate is not one of an authority")]
    NoAuthority,
}

impl Default for Lives {
    /// Two years and 90 days.
    fn default() -> Self {
        Self { authority: AUTHORITY_LIFE, certificate: LEAF_LIFE }
    }
}

impl Authority {
    /// A new authority, valid for two years from `now`.
    pub fn new(now: SystemTime) -> Result<Self, IssueError> {
        Self::with_life(AUTHORITY_LIFE, now)
    }

    /// A new authority, valid for so long from `now`.
    pub fn with_life(life: Duration, now: SystemTime) -> Result<Self, IssueError> {
        let mut params = params(Vec::new(), "Portolan CA", now, life)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(IssueError::Make)?;
        let certificate = params.self_signed(&key).map_err(IssueError::Make)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// Reads an authority back: its certificate and its key, PEM.
    pub fn parse(certificate: &[u8], key: &[u8]) -> Result<Self, ReadAuthorityError> {
        let certificate = std::str::from_utf8(certificate).map_err(|_| ReadAuthorityError::Certificate)?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| ReadAuthorityError::Certificate)?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&der).map_err(|_| ReadAuthorityError::Certificate)?;
        if !parsed.is_ca() {
            return Err(ReadAuthorityError::NoAuthority);
        }
        let key = std::str::from_utf8(key).map_err(|_| ReadAuthorityError::Key)?;
        let key = KeyPair::from_pem(key).map_err(|_| ReadAuthorityError::Key)?;
        if key.subject_public_key_info() != parsed.public_key().raw {
            return Err(ReadAuthorityError::Mismatch);
        }
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|_| ReadAuthorityError::Certificate)?;
        Ok(Self { certificate: certificate.to_owned(), issuer })
    }

    /// A certificate for a server of these DNS names and addresses, valid for 90 days from `now`.
    pub fn issue(&self, names: &[String], now: SystemTime) -> Result<Issued, IssueError> {
        self.issue_for(LEAF_LIFE, names, now)
    }

    /// A certificate for a server of these DNS names and addresses, valid for so long from `now`.
    pub fn issue_for(&self, life: Duration, names: &[String], now: SystemTime) -> Result<Issued, IssueError> {
        if names.is_empty() {
            return Err(IssueError::NoName);
        }
        let mut params = params(names.to_vec(), "Portolan", now, life)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(IssueError::Make)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(IssueError::Make)?;
        Ok(Issued {
            authority: self.certificate.clone(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// The authority's certificate as PEM, which clients are to trust.
    pub fn certificate(&self) -> String {
        self.certificate.clone()
    }

    /// Its private key, PKCS#8 PEM.
    pub(super) fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The names under which a process on this machine is reached, and `more`.
    pub fn local_names(more: &[String]) -> Vec<String> {
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        for name in more {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("key", &"<redacted>").finish_non_exhaustive()
    }
}

impl Issued {
    /// The authority's certificate, PEM: what a `caBundle` holds.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The server's certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its private key, PKCS#8 PEM.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Writes `ca.crt`, `tls.crt` and `tls.key` (readable by the owner alone) into `directory`, which is made if it is
    /// not there. A key that is there is not touched, and then nothing is.
    pub fn write_files(&self, directory: &Path) -> Result<(), WriteFilesError> {
        fs::create_dir_all(directory).map_err(WriteFilesError::at(directory))?;
        let path = directory.join("tls.key");
        // The key comes first: whoever makes this file has the directory to itself.
        let mut key = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(key) => key,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(WriteFilesError::KeyExists { path });
            }
            Err(error) => return Err(WriteFilesError::at(&path)(error)),
        };
        let written = key.write_all(self.key.as_bytes()).map_err(WriteFilesError::at(&path)).and_then(|()| {
            [("ca.crt", &self.authority), ("tls.crt", &self.certificate)].into_iter().try_for_each(
                |(name, text)| {
                    let path = directory.join(name);
                    fs::write(&path, text).map_err(WriteFilesError::at(&path))
                },
            )
        });
        if written.is_err() {
            // A key without its certificate would only stand in the way of the next attempt.
            let _removed = fs::remove_file(&path);
        }
        written
    }

    /// The manifest of a Secret of the type `kubernetes.io/tls` with `ca.crt`, `tls.crt` and `tls.key`.
    pub fn secret(&self, namespace: &str, name: &str) -> String {
        let mut text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: {namespace}\ntype: \
             kubernetes.io/tls\ndata:\n"
        );
        for (key, value) in
            [("ca.crt", &self.authority), ("tls.crt", &self.certificate), ("tls.key", &self.key)]
        {
            writeln!(text, "  {key}: {}", STANDARD.encode(value)).expect("writing to a string cannot fail");
        }
        text
    }
}

impl WriteFilesError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        |source| Self::Write { path, source }
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("certificate", &self.certificate)
            .field("key", &"<redacted>")
            .finish_non_exhaustive()
    }
}

/// What every certificate has: a subject (OpenSSL refuses an empty one), names, and a life that began an hour ago (the
/// tenth of a very short one), for clients whose clocks are slow.
fn params(
    names: Vec<String>,
    subject: &str,
    now: SystemTime,
    life: Duration,
) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    for name in names {
        let mut one = CertificateParams::new([name.clone()]).map_err(|_| IssueError::BadName { name })?;
        params.subject_alt_names.append(&mut one.subject_alt_names);
    }
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params.not_before = (now - CLOCK_SKEW.min(life / 10)).into();
    params.not_after = (now + life).into();
    Ok(params)
}

/// How long an authority lives.
const AUTHORITY_LIFE: Duration = Duration::from_hours(2 * 365 * 24);

/// How long a server's certificate lives.
const LEAF_LIFE: Duration = Duration::from_hours(90 * 24);

/// By how much a client's clock may be behind ours.
const CLOCK_SKEW: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests;
