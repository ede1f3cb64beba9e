//! Whom we trust: the TLS configuration of one registry's client.
//!
//! Built by ourselves, with the provider named, so that it depends neither on a process-wide default nor on the
//! machine having certificates: without any, a registry with a CA of its own still works and others fail one by one.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::endpoint::{ClientCertificate, EndpointConfig};

/// Why a certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The CA's text is PEM of something that is no certificate.
    #[error("the CA holds a certificate that cannot be read")]
    BadCertificate,
    /// The client certificate and its key do not fit.
    #[error("the client certificate cannot be used")]
    BadClientCertificate(#[source] rustls::Error),
    /// The client certificate's key is no PEM of a private key.
    #[error("the client certificate's key is no private key in PEM")]
    BadKey,
    /// There is no certificate in the text.
    #[error("there is no PEM certificate in the {text}")]
    NoCertificate {
        /// Which text.
        text: &'static str,
    },
}

/// The system's roots, read once, and the cryptography that we use.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    provider: Arc<CryptoProvider>,
    roots: RootCertStore,
}

impl Trust {
    /// Reads the system's roots (or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name). None is no error.
    pub(super) fn load() -> Self {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, ignored) = roots.add_parsable_certificates(found.certs);
        tracing::debug!(added, ignored, errors = found.errors.len(), "system roots read");
        Self::with_roots(roots)
    }

    fn with_roots(roots: RootCertStore) -> Self {
        Self { provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()), roots }
    }

    /// The TLS configuration for one registry.
    pub(super) fn configure(&self, endpoint: &EndpointConfig) -> Result<ClientConfig, TrustError> {
        let mut roots = self.roots.clone();
        if let Some(pem) = &endpoint.ca_pem {
            for certificate in certificates(pem, "CA")? {
                roots.add(certificate).map_err(|_| TrustError::BadCertificate)?;
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has the default protocol versions")
            .with_root_certificates(roots);
        match &endpoint.client_certificate {
            None => Ok(builder.with_no_client_auth()),
            Some(ClientCertificate { chain_pem, key_pem }) => {
                let chain = certificates(chain_pem, "client certificate")?;
                let key =
                    PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| TrustError::BadKey)?;
                builder.with_client_auth_cert(chain, key).map_err(TrustError::BadClientCertificate)
            }
        }
    }
}

/// The certificates in `pem`, at least one: text that holds none must not pass for an empty list.
fn certificates(pem: &str, text: &'static str) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(certificates) if certificates.is_empty() => Err(TrustError::NoCertificate { text }),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(TrustError::BadCertificate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// <https://github.com/seanmonstar/reqwest/issues/2965>
    #[test]
    fn a_machine_without_any_certificates_makes_a_client_all_the_same() {
        let trust = Trust::with_roots(RootCertStore::empty());
        let config = trust.configure(&EndpointConfig::new("registry.example.com")).unwrap();
        reqwest::Client::builder().tls_backend_preconfigured(config).build().unwrap();
    }

    /// oci-client takes garbage for an empty list of certificates (crates.md §4.2, I).
    #[test]
    fn defect_i_garbage_is_refused_as_a_ca() {
        let trust = Trust::with_roots(RootCertStore::empty());
        let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        for (pem, expected) in [
            ("", "there is no PEM certificate in the CA"),
            ("garbage", "there is no PEM certificate in the CA"),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "there is no PEM certificate in the CA",
            ),
            (empty, "the CA holds a certificate that cannot be read"),
            (cut, "the CA holds a certificate that cannot be read"),
        ] {
            let endpoint = EndpointConfig { ca_pem: Some(pem.into()), ..EndpointConfig::new("r.corp") };
            assert_eq!(trust.configure(&endpoint).unwrap_err().to_string(), expected, "{pem}");
        }
    }

    #[test]
    fn a_client_certificate_comes_with_its_key_or_not_at_all() {
        let pair = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate =
                rcgen::CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
            (certificate.pem(), key.serialize_pem())
        };
        let ((chain_pem, key_pem), (_, other_key)) = (pair("a"), pair("b"));
        let trust = Trust::with_roots(RootCertStore::empty());
        let configure = |chain_pem: &str, key_pem: &str| {
            let certificate = ClientCertificate { chain_pem: chain_pem.into(), key_pem: key_pem.into() };
            trust.configure(&EndpointConfig {
                client_certificate: Some(certificate),
                ..EndpointConfig::new("r")
            })
        };
        assert!(configure(&chain_pem, &key_pem).is_ok());
        assert!(matches!(configure(&chain_pem, &other_key), Err(TrustError::BadClientCertificate(_))));
        assert!(matches!(configure(&chain_pem, "garbage"), Err(TrustError::BadKey)));
        assert!(matches!(configure("garbage", &key_pem), Err(TrustError::NoCertificate { .. })));
    }
}
