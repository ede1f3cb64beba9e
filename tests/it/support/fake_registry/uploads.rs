//! The push half of the fake registry: uploads in one piece, mounts, manifests whose parts must be there.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{Response, body::Incoming, header};
use portolan::image::Digest;
use serde_json::Value;

use super::{Body, FakeRegistry, Fault, HangUp, Recorded, State, challenged, decode, reply};

impl FakeRegistry {
    /// The bytes of a manifest under a tag or a digest.
    pub(crate) fn stored_manifest(&self, repository: &str, target: &str) -> Option<Bytes> {
        let key = (repository.to_owned(), target.to_owned());
        self.state.contents.lock().unwrap().manifests.get(&key).cloned()
    }

    /// How often a repository was asked to mount a blob from itself.
    pub(crate) fn asked_of_itself(&self) -> usize {
        let requests = self.requests();
        let is_such = |request: &&Recorded| {
            let asked =
                request.path.strip_prefix("/v2/").and_then(|path| path.split_once("/blobs/uploads/?"));
            asked.is_some_and(|(repository, query)| {
                let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
                pairs.any(|(key, from)| key == "from" && decode(from) == repository)
            })
        };
        requests.iter().filter(is_such).count()
    }

    /// The bytes of a blob.
    pub(crate) fn stored_blob(&self, repository: &str, digest: &Digest) -> Option<Bytes> {
        let key = (repository.to_owned(), digest.to_string());
        self.state.contents.lock().unwrap().blobs.get(&key).cloned()
    }
}

/// The digest of bytes, as it stands in a query.
pub(crate) fn in_query(bytes: &[u8]) -> String {
    Digest::of(bytes).as_str().replace(':', "%3A")
}

impl State {
    /// Reads a request's body, as far as the fault lets it.
    pub(super) async fn take(&self, mut body: Incoming, fault: &Fault) -> Result<Bytes, HangUp> {
        let most = match fault {
            Fault::CutOnce(most) | Fault::Hold(most) => *most,
            Fault::Early(_) => return Ok(Bytes::new()),
            _ => usize::MAX,
        };
        let mut taken = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| HangUp)?;
            taken.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
            if taken.len() >= most {
                if let Fault::Hold(_) = fault {
                    let mut faults = self.faults.subscribe();
                    let _ = faults.wait_for(Vec::is_empty).await;
                } else {
                    self.heal(fault);
                }
                return Err(HangUp);
            }
        }
        Ok(taken.freeze())
    }

    /// A POST or a PUT of a repository.
    pub(super) fn pushed(&self, request: &Recorded, body: &Bytes, fault: &Fault) -> Response<Body> {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let parameter = |name: &str| {
            let found =
                query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
            found.map(|(_, value)| decode(value))
        };
        let Some(path) = path.strip_prefix("/v2/") else { return reply(404, "text/plain", Bytes::new()) };
        let (repository, target) = match (path.split_once("/blobs/uploads/"), path.split_once("/manifests/"))
        {
            (Some((repository, _)), _) => (repository, None),
            (None, Some((repository, target))) => (repository, Some(target)),
            (None, None) => return reply(404, "text/plain", Bytes::new()),
        };
        if let Some(challenge) = self.challenge(request, repository) {
            return challenged(&challenge);
        }
        match (&*request.method, target) {
            ("POST", None) => {
                let mount = parameter("mount").zip(parameter("from")).filter(|_| *fault != Fault::NoMount);
                if let Some((digest, from)) = mount {
                    let mut contents = self.contents.lock().unwrap();
                    if let Some(bytes) = contents.blobs.get(&(from, digest.clone())).cloned() {
                        contents.blobs.insert((repository.to_owned(), digest), bytes);
                        return reply(201, "text/plain", Bytes::new());
                    }
                }
                let mut response = reply(202, "text/plain", Bytes::new());
                let location = match fault {
                    Fault::NoLocation => return response,
                    Fault::Location(url) => format!("{url}/v2/{repository}/blobs/uploads/1?_state=a%2Fb%3D"),
                    _ => format!("/v2/{repository}/blobs/uploads/1?_state=a%2Fb%3D"),
                };
                response.headers_mut().insert(header::LOCATION, location.parse().unwrap());
                response
            }
            ("PUT", None) => {
                assert_eq!(parameter("_state").as_deref(), Some("a/b="), "the `Location` as it was");
                let digest: Digest = parameter("digest").unwrap().parse().unwrap();
                if !digest.matches(body) {
                    return problem(400, "DIGEST_INVALID");
                }
                let key = (repository.to_owned(), digest.to_string());
                self.contents.lock().unwrap().blobs.insert(key, body.clone());
                reply(201, "text/plain", Bytes::new())
            }
            ("PUT", Some(target)) => self.put_pushed(repository, target, body, fault),
            _ => reply(405, "text/plain", Bytes::new()),
        }
    }

    fn put_pushed(&self, repository: &str, target: &str, body: &Bytes, fault: &Fault) -> Response<Body> {
        let digest = Digest::of(body);
        if target.contains(':') && target != digest.as_str() {
            return problem(400, "DIGEST_INVALID");
        }
        let document: Value = serde_json::from_slice(body).unwrap();
        let mut contents = self.contents.lock().unwrap();
        let is_missing = |named: &Value, is_blob: bool| {
            let key = (repository.to_owned(), named["digest"].as_str().unwrap().to_owned());
            let is_there = if is_blob {
                contents.blobs.contains_key(&key)
            } else {
                contents.manifests.contains_key(&key)
            };
            let is_elsewhere = named["mediaType"].as_str().is_some_and(|name| name.contains(".foreign."));
            !is_there && !is_elsewhere
        };
        let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
        let mut blobs = list("layers");
        blobs.extend(document.get("config").cloned());
        if blobs.iter().any(|blob| is_missing(blob, true))
            || list("manifests").iter().any(|child| is_missing(child, false))
        {
            return problem(400, "MANIFEST_BLOB_UNKNOWN");
        }
        for target in [target, digest.as_str()] {
            contents.manifests.insert((repository.to_owned(), target.to_owned()), body.clone());
        }
        let mut response = reply(201, "text/plain", Bytes::new());
        let named = match fault {
            Fault::DigestHeader(named) => named.clone(),
            _ => digest.to_string(),
        };
        response.headers_mut().insert("docker-content-digest", named.parse().unwrap());
        response
    }
}

fn problem(status: u16, code: &str) -> Response<Body> {
    let text = format!(r#"{{"errors":[{{"code":"{code}","message":"as it is"}}]}}"#);
    reply(status, "application/json", text.into())
}
