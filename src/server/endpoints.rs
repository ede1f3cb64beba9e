//! How the table says that registries are reached, as the registries' room wants it.

use std::sync::Arc;

use crate::{
    cluster::{Secret, SecretNames},
    registry::{ClientCertificate, Credentials, EndpointConfig, Resolver},
    table::Table,
};

/// One endpoint for each entry of the table's `registries`; `secret` gives the Secrets that it names.
///
/// A Secret that is not there or no dockerconfigjson leaves its registry anonymous, which is said in the log.
pub fn endpoints(table: &Table, secret: impl Fn(&str) -> Option<Arc<Secret>>) -> Vec<EndpointConfig> {
    let login = |name: &str, host: &str| -> Option<Credentials> {
        let secret = secret(name)?;
        let Some(bytes) = secret.docker_config() else {
            tracing::warn!(secret = name, registry = host, "Secret has no key `.dockerconfigjson`");
            return None;
        };
        match Credentials::parse(bytes) {
            Ok(credentials) => {
                if !credentials.covers(host) {
                    tracing::warn!(secret = name, registry = host, "Secret has no key for the registry");
                }
                Some(credentials.with_origin(secret.state()))
            }
            Err(error) => {
                tracing::warn!(secret = name, registry = host, %error, "Secret is no dockerconfigjson");
                None
            }
        }
    };
    let identity = |name: &str, host: &str| -> Option<ClientCertificate> {
        let secret = secret(name)?;
        let text = |bytes: Option<&[u8]>| bytes.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
        if let (Some(chain_pem), Some(key_pem)) = (text(secret.tls_certificate()), text(secret.tls_key())) {
            return Some(ClientCertificate { chain_pem, key_pem });
        }
        tracing::warn!(secret = name, registry = host, "Secret has no keys `tls.crt` and `tls.key` in PEM");
        None
    };
    table
        .registries()
        .iter()
        .map(|entry| EndpointConfig {
            host: entry.host.to_string(),
            plain_http: entry.plain_http,
            ca_pem: entry.ca.as_deref().map(str::to_owned),
            credentials: entry.credentials.as_deref().and_then(|name| login(name, &entry.host)),
            client_certificate: entry
                .client_certificate
                .as_deref()
                .and_then(|name| identity(name, &entry.host)),
        })
        .collect()
}

/// Has the resolver reach registries as `endpoints` say.
///
/// One that cannot be used costs the others nothing: it is tried without its client certificate (a Secret's, which
/// nobody has checked before) and else left out, which is said in the log.
pub fn reach(resolver: &Resolver, mut endpoints: Vec<EndpointConfig>, logins: Option<&Credentials>) {
    while let Err(error) = resolver.configure(endpoints.clone(), logins.cloned()) {
        let registry = error.host();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(registry, %error, source, "registry cannot be reached as the table says");
        let Some(position) = endpoints.iter().position(|endpoint| endpoint.host == registry) else { return };
        let certificate = endpoints.get_mut(position).and_then(|endpoint| endpoint.client_certificate.take());
        if certificate.is_none() {
            endpoints.remove(position);
        }
    }
}

/// The Secrets in Portolan's namespace that the table names.
pub(super) fn secret_names(table: &Table) -> SecretNames {
    table
        .registries()
        .iter()
        .flat_map(|entry| [entry.credentials.clone(), entry.client_certificate.clone()])
        .flatten()
        .collect()
}
