//! Where and how one registry is reached, as the mapping table says it.

use std::fmt;

use reqwest::Url;

use super::{credentials::Credentials, trust::TrustError};
use crate::image::DEFAULT_REGISTRY;

/// How to reach one registry. What is not said is as for a registry that is not listed: HTTPS with the system's roots.
///
/// ```
/// use portolan::registry::EndpointConfig;
///
/// let mut endpoint = EndpointConfig::new("registry.example.com:32000");
/// endpoint.plain_http = true;
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EndpointConfig {
    /// The registry as references name it: `host` or `host:port`.
    pub host: String,
    /// HTTP without TLS.
    pub plain_http: bool,
    /// Certificates in PEM that are trusted for this registry, beside the system's roots.
    pub ca_pem: Option<String>,
    /// Logins; of these, the ones whose key names this registry are used. `None`: the fallback's.
    pub credentials: Option<Credentials>,
    /// What we show to a registry that asks for a certificate.
    pub client_certificate: Option<ClientCertificate>,
}

/// A certificate with its key, shown to registries that want one.
#[derive(Clone, Eq, PartialEq)]
pub struct ClientCertificate {
    /// The chain in PEM, our own certificate first.
    pub chain_pem: String,
    /// The private key in PEM.
    pub key_pem: String,
}

/// Why a set of endpoints cannot be used. None of it is in force then.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// The host makes no URL.
    #[error("registry `{host}` is no host with an optional port")]
    BadHost {
        /// The host as configured.
        host: String,
    },
    /// The HTTP client refuses its settings.
    #[error("cannot make a client for registry `{host}`")]
    Client {
        /// The host as configured.
        host: String,
        /// What it says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Two endpoints are for the same registry.
    #[error("registry `{host}` is listed twice")]
    Repeated {
        /// The host as configured.
        host: String,
    },
    /// A certificate or key cannot be used.
    #[error("cannot set up TLS for registry `{host}`")]
    Trust {
        /// The host as configured.
        host: String,
        /// What is wrong.
        source: TrustError,
    },
}

impl ConfigureError {
    /// The registry that it is about, as configured.
    pub fn host(&self) -> &str {
        match self {
            Self::BadHost { host }
            | Self::Client { host, .. }
            | Self::Repeated { host }
            | Self::Trust { host, .. } => host,
        }
    }
}

impl EndpointConfig {
    /// A registry reached by HTTPS, without a login of its own.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            plain_http: false,
            ca_pem: None,
            credentials: None,
            client_certificate: None,
        }
    }

    /// The registry as normalised references name it.
    pub(super) fn registry(&self) -> &str {
        if self.host == "index.docker.io" { DEFAULT_REGISTRY } else { &self.host }
    }

    /// The root of the API, with a trailing slash.
    pub(super) fn url(&self) -> Result<Url, ConfigureError> {
        // The name of Docker Hub in references is not where its API is.
        let host = if self.registry() == DEFAULT_REGISTRY { HUB_API } else { &self.host };
        let scheme = if self.plain_http { "http" } else { "https" };
        let url = Url::parse(&format!("{scheme}://{host}/")).ok();
        url.filter(|url| url.path() == "/" && url.username().is_empty() && url.query().is_none())
            .ok_or_else(|| ConfigureError::BadHost { host: self.host.clone() })
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// Where the API of Docker Hub is.
const HUB_API: &str = "registry-1.docker.io";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_that_of_the_host_and_docker_hub_has_another_host() {
        for (host, plain_http, expected) in [
            ("registry.example.com:32000", false, "https://registry.example.com:32000/"),
            ("registry.example.com", true, "http://registry.example.com/"),
            ("[2001:db8::1]:5000", true, "http://[2001:db8::1]:5000/"),
            ("docker.io", false, "https://registry-1.docker.io/"),
            ("index.docker.io", false, "https://registry-1.docker.io/"),
        ] {
            let endpoint = EndpointConfig { plain_http, ..EndpointConfig::new(host) };
            assert_eq!(endpoint.url().unwrap().as_str(), expected);
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in ["", "a b", "host:99999", "host/path", "user@host", "host?x"] {
            let found = EndpointConfig::new(host).url();
            assert!(matches!(found, Err(ConfigureError::BadHost { .. })), "`{host}`: {found:?}");
        }
    }

    #[test]
    fn debug_output_of_secrets_is_redacted() {
        let endpoint = EndpointConfig {
            credentials: Credentials::parse(br#"{"auths": {"h": {"username": "u", "password": "canary"}}}"#)
                .ok(),
            client_certificate: Some(ClientCertificate {
                chain_pem: "canary".into(),
                key_pem: "canary".into(),
            }),
            ..EndpointConfig::new("h")
        };
        let shown = format!("{endpoint:?}");
        assert!(shown.contains("<redacted>") && !shown.contains("canary"), "{shown}");
    }
}
