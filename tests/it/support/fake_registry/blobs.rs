//! The blobs of the fake registry: whole, in parts, cut off.

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt, StreamBody};
use hyper::{Response, body::Frame, header};
use portolan::image::Digest;

use super::{Body, FakeRegistry, Fault, HangUp, Recorded, State, challenged, reply};
use crate::support::stand_in::StandIn;

impl FakeRegistry {
    /// Stores a blob under its digest.
    pub(crate) fn put_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.put_blob_at(repository, &digest, bytes);
        digest
    }

    /// Stores a blob under this digest, whatever its own is.
    pub(crate) fn put_blob_at(&self, repository: &str, digest: &Digest, bytes: impl Into<Bytes>) {
        let key = (repository.to_owned(), digest.to_string());
        self.state.contents.lock().unwrap().blobs.insert(key, bytes.into());
    }

    /// Forgets a blob.
    pub(crate) fn remove_blob(&self, repository: &str, digest: &Digest) {
        let key = (repository.to_owned(), digest.to_string());
        self.state.contents.lock().unwrap().blobs.remove(&key);
    }

    /// Stores an image with all that belongs to it; the digest behind the tag.
    pub(crate) fn put_image(&self, repository: &str, tag: &str, image: &StandIn) -> Digest {
        for bytes in &image.blobs {
            self.put_blob(repository, bytes.clone());
        }
        for manifest in &image.manifests {
            self.put_at(repository, Digest::of(manifest.as_bytes()).as_str(), manifest);
        }
        self.put(repository, tag, &image.top)
    }
}

impl State {
    pub(super) fn blob(&self, request: &Recorded, fault: &Fault) -> Response<Body> {
        let path = request.path.strip_prefix("/v2/").and_then(|rest| rest.split_once("/blobs/"));
        let Some((repository, digest)) = path else { return reply(404, "text/plain", Bytes::new()) };
        if let Some(challenge) = self.challenge(request, repository) {
            return challenged(&challenge);
        }
        let key = (repository.to_owned(), digest.to_owned());
        let Some(bytes) = self.contents.lock().unwrap().blobs.get(&key).cloned() else {
            return reply(404, "application/json", r#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#.into());
        };
        let range = request.header("range").strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
        let range = range.map(|start| start.parse::<usize>().unwrap()).filter(|_| *fault != Fault::NoRange);
        if range.is_some_and(|start| start >= bytes.len()) {
            return reply(416, "text/plain", Bytes::new());
        }
        let part = bytes.slice(range.unwrap_or(0)..);
        let status = if range.is_some() { 206 } else { 200 };
        let length = part.len();
        let mut response = reply(status, "application/octet-stream", part.clone());
        if let Some(start) = range {
            let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
            response.headers_mut().insert(header::CONTENT_RANGE, range.parse().unwrap());
        }
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        match *fault {
            Fault::CutOnce(end) => {
                let pieces = [Ok(Frame::data(part.slice(..end.min(length)))), Err(HangUp)];
                *response.body_mut() = BodyExt::boxed(StreamBody::new(futures::stream::iter(pieces)));
            }
            Fault::Hold(end) => {
                let mut faults = self.faults.subscribe();
                let (first, rest) = (part.slice(..end.min(length)), part.slice(end.min(length)..));
                let rest = futures::stream::once(async move {
                    let _ = faults.wait_for(Vec::is_empty).await;
                    Ok(Frame::data(rest))
                });
                let first = futures::stream::iter([Ok(Frame::data(first))]);
                *response.body_mut() = BodyExt::boxed(StreamBody::new(first.chain(rest)));
            }
            _ => {}
        }
        response
    }
}
