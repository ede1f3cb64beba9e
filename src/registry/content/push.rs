//! The push half of the distribution API: is it there, mount, upload in one piece, put a manifest.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use reqwest::{
    Method, StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION},
};

use super::{ContentError, Repository, accept};
use crate::{
    image::Digest,
    registry::{
        client::ACCEPTED,
        manifest::digest_header,
        token::Scope,
        transport::{ByteStream, Message, Payload, Purpose},
    },
};

/// Where a registry wants a blob.
#[derive(Debug)]
pub struct Upload {
    url: Url,
}

/// A blob's bytes, as they are sent.
#[derive(Clone, Copy)]
pub struct Body<'b> {
    /// How many there are.
    pub size: u64,
    /// Gives them from the beginning, each time that it is called.
    pub open: &'b (dyn Fn() -> ByteStream + Send + Sync),
    /// How many were given so far, by who gives them.
    pub sent: &'b AtomicU64,
}

/// What came of asking for a blob of another repository.
#[derive(Debug)]
pub enum Mounted {
    /// The repository has it now.
    Done,
    /// The registry would rather have the bytes (distribution-spec §mounting-a-blob: 202).
    Upload(Upload),
}

impl Repository {
    /// The digest behind a tag or a digest, if there is one.
    ///
    /// # Errors
    /// The registry does not say.
    pub async fn digest_of(&self, target: &str) -> Result<Option<Digest>, ContentError> {
        let accept_types = HeaderValue::from_static(ACCEPTED);
        let message = Message::plain(Method::HEAD, self.url(&format!("manifests/{target}"))?, accept_types);
        let response = match accept(self.ask(&message).await?, &[StatusCode::OK]).await {
            Ok(response) => response,
            Err(ContentError::Missing) => return Ok(None),
            Err(error) => return Err(error),
        };
        match digest_header(response.headers()) {
            Some(digest) => Ok(Some(digest)),
            None => self.manifest(target).await.map(|manifest| Some(manifest.digest)),
        }
    }

    /// Whether the repository has a blob.
    ///
    /// # Errors
    /// The registry does not say.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, ContentError> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let message = Message::plain(Method::HEAD, url, HeaderValue::from_static("*/*"));
        match accept(self.ask(&message).await?, &[StatusCode::OK]).await {
            Ok(_) => Ok(true),
            Err(ContentError::Missing) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes a blob over from another repository of the same registry, or says that it is here if that is this one.
    ///
    /// # Errors
    /// The registry does neither that nor take an upload.
    pub async fn mount(&self, digest: &Digest, from: &str) -> Result<Mounted, ContentError> {
        let mut url = self.url("blobs/uploads/")?;
        url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", from);
        let from = (*from != *self.name).then(|| from.into());
        let scope = Scope { from, ..self.scope() };
        let reply = self.ask_for(&post(url), &scope).await?;
        let response = accept(reply, &[StatusCode::CREATED, StatusCode::ACCEPTED]).await?;
        match response.status() {
            StatusCode::CREATED => Ok(Mounted::Done),
            _ => Upload::at(response.url(), response.headers()).map(Mounted::Upload),
        }
    }

    /// Asks where a blob may be put.
    ///
    /// # Errors
    /// The registry takes none, or does not say where.
    pub async fn begin_upload(&self) -> Result<Upload, ContentError> {
        let url = self.url("blobs/uploads/")?;
        let response = accept(self.ask(&post(url)).await?, &[StatusCode::ACCEPTED]).await?;
        Upload::at(response.url(), response.headers())
    }

    /// Puts a blob there, in one piece.
    ///
    /// # Errors
    /// The registry does not take it, or the connection broke.
    pub async fn put_blob(
        &self,
        upload: Upload,
        digest: &Digest,
        body: Body<'_>,
    ) -> Result<(), ContentError> {
        let mut url = upload.url;
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let payload = match body.size {
            0 => Payload::Bytes(Bytes::new()),
            size => Payload::Stream(size, body.open),
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let message = Message { method: Method::PUT, url, headers, payload };
        let (scope, login) = (self.scope(), self.login().await);
        let put = self.host.client().send(&message, &scope, login, Purpose::Transfer);
        tokio::pin!(put);
        let mut before = 0;
        let reply = loop {
            // However long it takes: it is lost only when nothing goes on any more.
            match tokio::time::timeout(SETTLE, &mut put).await {
                Ok(reply) => break reply.map_err(ContentError::of_fetch)?,
                Err(_) => match body.sent.load(Ordering::Relaxed) {
                    now if now == before => return Err(ContentError::Stalled { limit: SETTLE }),
                    now => before = now,
                },
            }
        };
        accept(reply, &[StatusCode::CREATED, StatusCode::NO_CONTENT]).await.map(|_| ())
    }

    /// Puts a manifest or an index under a tag or its digest.
    ///
    /// # Errors
    /// The registry does not take it, or takes it for something else.
    pub async fn put_manifest(
        &self,
        target: &str,
        digest: &Digest,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<(), ContentError> {
        let mut headers = HeaderMap::new();
        let media_type = HeaderValue::try_from(media_type);
        headers.insert(CONTENT_TYPE, media_type.map_err(|_| ContentError::NotManifest)?);
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        let url = self.url(&format!("manifests/{target}"))?;
        let message = Message { method: Method::PUT, url, headers, payload: Payload::Bytes(bytes) };
        // The specification has 201; Quay and others have answered 202.
        let taken = [StatusCode::CREATED, StatusCode::OK, StatusCode::ACCEPTED];
        let response = accept(self.ask(&message).await?, &taken).await?;
        match digest_header(response.headers()) {
            Some(named) if named != *digest && named.algorithm() == digest.algorithm() => {
                Err(ContentError::Protocol { what: "names another digest than that of the manifest it took" })
            }
            _ => Ok(()),
        }
    }
}

fn post(url: Url) -> Message<'static> {
    let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("*/*"))]);
    Message { method: Method::POST, url, headers, payload: Payload::Bytes(Bytes::new()) }
}

impl Upload {
    /// Reads where an answer leads to.
    fn at(asked: &Url, headers: &HeaderMap) -> Result<Self, ContentError> {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or(ContentError::Protocol { what: "to an upload has no `Location`" })?;
        let url = asked.join(location).ok().filter(Url::has_host);
        let url =
            url.ok_or(ContentError::Protocol { what: "to an upload has a `Location` that is no URL" })?;
        if asked.scheme() == "https" && url.scheme() != "https" {
            return Err(ContentError::Protocol { what: "wants an upload over plain HTTP instead of HTTPS" });
        }
        Ok(Self { url })
    }
}

/// How long an upload may be without progress: a registry that has all bytes moves and hashes them before it answers.
const SETTLE: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_goes_where_the_registry_says_and_never_from_tls_to_plain_http() {
        let asked = Url::parse("https://r.corp:5000/v2/a/blobs/uploads/").unwrap();
        for (location, expected) in [
            (
                Some("/v2/a/blobs/uploads/1?_state=x%3D"),
                Some("https://r.corp:5000/v2/a/blobs/uploads/1?_state=x%3D"),
            ),
            (Some("https://store.corp/x"), Some("https://store.corp/x")),
            (Some("http://r.corp:5000/v2/a/blobs/uploads/1"), None),
            (Some("data:x"), None),
            (None, None),
        ] {
            let headers = location.map(|location| (LOCATION, location.parse().unwrap()));
            let upload = Upload::at(&asked, &HeaderMap::from_iter(headers));
            assert_eq!(upload.ok().map(|upload| upload.url.to_string()).as_deref(), expected, "{location:?}");
        }
    }
}
