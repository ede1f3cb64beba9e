//! The Secret with the certificate that all replicas share, as bytes.
//!
//! It is made empty, by a server-side apply whose `create` knows the name, so that the right to it can be narrowed; that
//! may be done twice. Everything else is a replacement of what was read: of two replicas that write at once one is told
//! so by the API server, and reads again.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::BodyExt as _;
use k8s_openapi::{api::core::v1, jiff};
use kube::{
    api::{Api, GetParams, Patch, PatchParams, PostParams},
    core::{Request, Resource},
};
use serde::Deserialize;
use serde_json::json;

use super::client::{CallError, Client, MANAGER, Written};

/// The Secret's name.
pub const CERTIFICATE_SECRET: &str = "portolan-tls-self";

/// Where the shared certificate is kept.
#[derive(Clone, Debug)]
pub struct CertificateSecret {
    client: Client,
    namespace: Box<str>,
}

/// What the Secret held when it was read. `Debug` shows nothing of it.
#[derive(Clone, Default)]
pub struct SecretContent {
    /// By key; empty also when there is no Secret.
    pub data: BTreeMap<String, Vec<u8>>,
    /// The state that it was read in; `None`: there is none.
    resource_version: Option<String>,
    /// What the API server's clock said then, in whole seconds.
    pub server_time: Option<SystemTime>,
}

impl CertificateSecret {
    /// In `namespace`.
    pub fn new(client: &Client, namespace: &str) -> Self {
        Self { client: client.clone(), namespace: namespace.into() }
    }

    /// Reads it. Needs `get` on [`CERTIFICATE_SECRET`].
    pub async fn read(&self) -> Result<SecretContent, CallError> {
        let request = Request::new(v1::Secret::url_path(&(), Some(&self.namespace)))
            .get(CERTIFICATE_SECRET, &GetParams::default())
            .map_err(|error| CallError::from(kube::Error::BuildRequest(error)))?;
        let call = async {
            // The head of the answer, too: it has the API server's time.
            let response = self.client.kube.send(request.map(kube::client::Body::from)).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, kube::Error>((head, body))
        };
        let (head, body) = self.client.within_limit(call).await?;
        let server_time = head
            .headers
            .get(http::header::DATE)
            .and_then(|date| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok())
            .and_then(|time| u64::try_from(time.as_second()).ok())
            .map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        if head.status.is_success() {
            return SecretContent::from_json(&body, server_time);
        }
        let status: WireStatus = serde_json::from_slice(&body).unwrap_or_default();
        match head.status.as_u16() {
            404 if status.reason == "NotFound" => {
                Ok(SecretContent { server_time, ..SecretContent::default() })
            }
            code => Err(CallError::refused(code, status.message)),
        }
    }

    /// Puts `data` in the place of what was read. Needs `create`, `patch` and `update` on [`CERTIFICATE_SECRET`].
    pub async fn replace(
        &self,
        read: &SecretContent,
        data: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Written, CallError> {
        let api: Api<v1::Secret> = Api::namespaced(self.client.kube.clone(), &self.namespace);
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": CERTIFICATE_SECRET, "labels": {"app.kubernetes.io/managed-by": MANAGER}},
            "type": "Opaque",
        });
        let resource_version = if let Some(version) = &read.resource_version {
            version.clone()
        } else {
            let parameters = PatchParams::apply(MANAGER).force();
            let made = self
                .client
                .within_limit(api.patch(CERTIFICATE_SECRET, &parameters, &Patch::Apply(&object)))
                .await?;
            if made.data.is_some_and(|data| !data.is_empty()) {
                return Ok(Written::Outrun);
            }
            made.metadata.resource_version.unwrap_or_default()
        };
        let data: BTreeMap<_, _> = data.iter().map(|(key, value)| (key, STANDARD.encode(value))).collect();
        if let Some(fields) = object.as_object_mut() {
            fields.insert("data".to_owned(), json!(data));
        }
        if let Some(metadata) = object.pointer_mut("/metadata").and_then(|metadata| metadata.as_object_mut())
        {
            metadata.insert("resourceVersion".to_owned(), json!(resource_version));
        }
        let object: v1::Secret = serde_json::from_value(object).map_err(|_| CallError::Unreadable)?;
        let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        Written::of(self.client.within_limit(api.replace(CERTIFICATE_SECRET, &parameters, &object)).await)
    }
}

impl SecretContent {
    fn from_json(body: &[u8], server_time: Option<SystemTime>) -> Result<Self, CallError> {
        // What is wrong stays unsaid: serde's words may quote the Secret.
        let wire: WireSecret = serde_json::from_slice(body).map_err(|_| CallError::Unreadable)?;
        let data = wire.data.unwrap_or_default().into_iter();
        let data = data
            .map(|(key, value)| Ok((key, STANDARD.decode(value).map_err(|_| CallError::Unreadable)?)))
            .collect::<Result<_, CallError>>()?;
        Ok(Self { data, resource_version: Some(wire.metadata.resource_version), server_time })
    }
}

impl fmt::Debug for SecretContent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretContent(<redacted>)")
    }
}

#[derive(Deserialize)]
struct WireSecret {
    data: Option<BTreeMap<String, String>>,
    metadata: WireMetadata,
}

#[derive(Deserialize)]
struct WireMetadata {
    #[serde(rename = "resourceVersion")]
    resource_version: String,
}

/// What the API server says when it refuses.
#[derive(Default, Deserialize)]
#[serde(default)]
struct WireStatus {
    message: String,
    reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_as_bytes_and_never_shown() {
        let json = br#"{"metadata":{"resourceVersion":"7"},"data":{"ca.key":"Y2FuYXJ5"}}"#;
        let content = SecretContent::from_json(json, None).unwrap();
        assert_eq!(content.data["ca.key"], b"canary");
        assert_eq!(content.resource_version.as_deref(), Some("7"));
        assert!(!format!("{content:?}").contains("anary"));
        for text in ["canary", r#"{"metadata":{"resourceVersion":"7"},"data":{"a":"canary!"}}"#] {
            let error = SecretContent::from_json(text.as_bytes(), None).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        }
    }
}
