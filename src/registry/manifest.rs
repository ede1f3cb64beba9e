//! Which digest a registry has for a reference (distribution-spec §pulling-manifests).

use std::{sync::Arc, time::Duration};

use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
};
use serde::Deserialize;

use super::{
    client::Client,
    credentials::ScopedLogin,
    token::TokenError,
    transport::{self, Purpose, TransportError},
};
use crate::image::{Digest, Reference};

/// Why a registry named no digest.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the reference makes no URL")]
    BadUrl,
    #[error("the digest that the registry names is not that of its bytes")]
    DigestMismatch,
    #[error("too many requests for the registry are under way")]
    Crowded,
    #[error("the registry is left alone, as it did not answer a while ago")]
    LeftAlone,
    #[error("the registry says that it does not exist")]
    Missing,
    #[error("the registry's answer is no manifest")]
    NotManifest,
    #[error("the registry says that the tag has moved, and does not show where to")]
    NotShown(#[source] Box<Self>),
    #[error("the manifest is of Docker's schema 1, which container runtimes no longer pull")]
    Schema1,
    #[error("the registry answered with status {status}")]
    Status { status: u16, retry_after: Option<Duration> },
    #[error("the registry did not answer in time")]
    Timeout,
    #[error("cannot get a token")]
    Token(#[from] Arc<TokenError>),
    #[error("cannot reach the registry")]
    Transport(#[from] TransportError),
    #[error("the registry refused us with status {status}")]
    Unauthorized { status: u16 },
}

impl FetchError {
    /// Whether the registry itself answered, and with a status that it answers when it is well.
    pub(super) fn is_answer(&self) -> bool {
        match self {
            Self::DigestMismatch
            | Self::Missing
            | Self::NotManifest
            | Self::NotShown(_)
            | Self::Schema1
            | Self::Unauthorized { .. } => true,
            Self::BadUrl | Self::Crowded | Self::LeftAlone | Self::Status { .. } | Self::Timeout => false,
            Self::Token(error) => matches!(**error, TokenError::BadRealm | TokenError::Refused),
            Self::Transport(error) => matches!(error, TransportError::TooLong { .. }),
        }
    }

    /// How long the registry, or its token service, wants to be left alone, if it says so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Token(error) => match &**error {
                TokenError::Status { retry_after, .. } => *retry_after,
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether logging in was refused, by the registry or by its token service.
    pub(super) fn is_unauthorized(&self) -> bool {
        match self {
            Self::Unauthorized { .. } => true,
            Self::Token(error) => matches!(**error, TokenError::Refused),
            _ => false,
        }
    }
}

/// Questions about one reference.
pub(super) struct Ask<'a> {
    pub(super) client: &'a Client,
    pub(super) reference: &'a Reference,
    pub(super) login: Option<&'a ScopedLogin>,
    pub(super) purpose: Purpose,
}

impl Ask<'_> {
    /// The digest behind the reference: an index's, where there is one.
    ///
    /// Of a reference with a digest it is that digest, if it exists. A registry that does not know it is asked for the tag
    /// beside it, if there is one: a pull-through cache learns of a digest only so, and the same digest counts.
    pub(super) async fn digest(&self) -> Result<Digest, FetchError> {
        let digest = self.reference.digest().and_then(|digest| digest.parse::<Digest>().ok());
        match (digest, self.reference.tag()) {
            (Some(digest), tag) => match (self.of_digest(&digest).await, tag) {
                (Err(FetchError::Missing), Some(tag)) => {
                    let found = self.of_tag(tag).await?;
                    if found == digest { Ok(found) } else { Err(FetchError::Missing) }
                }
                (found, _) => found,
            },
            (None, Some(tag)) => self.of_tag(tag).await,
            (None, None) => Err(FetchError::BadUrl),
        }
    }

    /// Reads what the tag leads to and computes its digest: who says that it has moved has to show the bytes.
    pub(super) async fn shown(&self) -> Result<Digest, FetchError> {
        self.digest_of_bytes(self.reference.tag().ok_or(FetchError::BadUrl)?, None).await
    }

    /// Asks for a digest: by HEAD, and by GET where that does not name it.
    async fn of_digest(&self, expected: &Digest) -> Result<Digest, FetchError> {
        match self.named(expected.as_str()).await? {
            Some(named) if named == *expected => Ok(named),
            _ => self.digest_of_bytes(expected.as_str(), Some(expected)).await,
        }
    }

    /// Asks for a tag: by HEAD, and by GET where that names no digest.
    async fn of_tag(&self, tag: &str) -> Result<Digest, FetchError> {
        match self.named(tag).await? {
            Some(named) => Ok(named),
            None => self.digest_of_bytes(tag, None).await,
        }
    }

    /// The digest that the answer to HEAD names, if it does.
    async fn named(&self, target: &str) -> Result<Option<Digest>, FetchError> {
        Ok(digest_header(self.send(Method::HEAD, target).await?.headers()))
    }

    /// Reads the manifest and computes its digest. A header that is no digest is as good as none: the bytes decide.
    async fn digest_of_bytes(&self, target: &str, expected: Option<&Digest>) -> Result<Digest, FetchError> {
        let response = self.send(Method::GET, target).await?;
        let named = digest_header(response.headers());
        let bytes = transport::read(response, MAX_MANIFEST).await?;
        if !is_manifest(&bytes) {
            return Err(FetchError::NotManifest);
        }
        let named_right = named.as_ref().is_none_or(|named| named.matches(&bytes));
        if !named_right || !expected.is_none_or(|expected| expected.matches(&bytes)) {
            return Err(FetchError::DigestMismatch);
        }
        Ok(expected.cloned().or(named).unwrap_or_else(|| Digest::of(&bytes)))
    }

    /// Sends a request and looks at its status before anything else.
    async fn send(&self, method: Method, target: &str) -> Result<Response, FetchError> {
        let repository = self.reference.repository();
        let reply = self.client.manifest(method, repository, target, self.login, self.purpose).await?;
        match reply.response.status() {
            StatusCode::OK if is_page(reply.response.headers()) => Err(FetchError::NotManifest),
            StatusCode::OK if is_schema_1(reply.response.headers()) => Err(FetchError::Schema1),
            StatusCode::OK => Ok(reply.response),
            StatusCode::NOT_FOUND => Err(FetchError::Missing),
            status @ (StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) => {
                Err(FetchError::Unauthorized { status: status.as_u16() })
            }
            status => {
                let retry_after = transport::retry_after(&reply.response);
                Err(FetchError::Status { status: status.as_u16(), retry_after })
            }
        }
    }
}

/// The digest that an answer names, if it is one.
pub(super) fn digest_header(headers: &HeaderMap) -> Option<Digest> {
    headers.get("docker-content-digest")?.to_str().ok()?.parse().ok()
}

/// Whether an answer is a page for people: of a portal or a proxy that stands in the way.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    has_type(headers, "text/html")
}

/// Whether an answer is a manifest of Docker's schema 1, whatever digest it names.
fn is_schema_1(headers: &HeaderMap) -> bool {
    has_type(headers, "application/vnd.docker.distribution.manifest.v1+")
}

/// Whether an answer's media type begins so.
fn has_type(headers: &HeaderMap, start: &str) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let found = content_type.trim_start().get(..start.len());
    found.is_some_and(|found| found.eq_ignore_ascii_case(start))
}

/// Whether bytes are a manifest or an index: an object of schema version 2 (OCI image-spec, Docker schema 2).
pub(super) fn is_manifest(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Manifest {
        schema_version: u32,
    }
    serde_json::from_slice::<Manifest>(bytes).is_ok_and(|manifest| manifest.schema_version == 2)
}

/// The longest manifest that is read (distribution-spec: registries should take at least 4 MiB).
pub(super) const MAX_MANIFEST: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_an_object_of_schema_version_2() {
        for (text, expected) in [
            (r#"{"schemaVersion": 2, "manifests": []}"#, true),
            (r#"{"schemaVersion": 1}"#, false),
            ("{}", false),
            ("[]", false),
            ("<html>", false),
            ("", false),
            (r#"{"schemaVersion": 2"#, false),
        ] {
            assert_eq!(is_manifest(text.as_bytes()), expected, "{text}");
        }
    }
}
