//! What fills the source and looks into targets: plain requests, nothing of Portolan's.

use std::{collections::HashMap, sync::Mutex};

use portolan::image::Digest;
use reqwest::{
    StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, LOCATION},
};

use crate::{images::Blob, registry::Registry};

/// Speaks to one registry.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    /// What the registry has in some repository, and in which.
    homes: Mutex<HashMap<Digest, String>>,
}

impl Client {
    pub(crate) fn new(registry: &Registry) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let base = Url::parse(&format!("http://{}/v2/", registry.address())).unwrap();
        Self { http, base, homes: Mutex::default() }
    }

    /// Puts a blob into a repository; what another one has is mounted.
    pub(crate) async fn put_blob(&self, repository: &str, blob: &Blob) {
        let home = self.homes.lock().unwrap().get(&blob.digest).cloned();
        let mut begin = self.base.join(&format!("{repository}/blobs/uploads/")).unwrap();
        if let Some(home) = home {
            begin.query_pairs_mut().append_pair("mount", blob.digest.as_str()).append_pair("from", &home);
        }
        let answer = self.http.post(begin).send().await.unwrap();
        if answer.status() == StatusCode::CREATED {
            return;
        }
        assert_eq!(answer.status(), StatusCode::ACCEPTED, "{answer:?}");
        let mut place = self.base.join(answer.headers()[LOCATION].to_str().unwrap()).unwrap();
        place.query_pairs_mut().append_pair("digest", blob.digest.as_str());
        let answer = self.http.put(place).body(blob.bytes.clone()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED, "{answer:?}");
        self.homes.lock().unwrap().insert(blob.digest.clone(), repository.to_owned());
    }

    pub(crate) async fn put_manifest(&self, repository: &str, under: &str, manifest: &Blob) {
        let place = self.base.join(&format!("{repository}/manifests/{under}")).unwrap();
        let request = self.http.put(place).header(CONTENT_TYPE, manifest.media_type);
        let answer = request.body(manifest.bytes.clone()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED, "{answer:?}");
    }

    /// The digest that a tag names.
    pub(crate) async fn digest(&self, repository: &str, tag: &str) -> Option<String> {
        let place = self.base.join(&format!("{repository}/manifests/{tag}")).unwrap();
        let any = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                   application/vnd.docker.distribution.manifest.list.v2+json, \
                   application/vnd.docker.distribution.manifest.v2+json";
        let answer = self.http.head(place).header(ACCEPT, any).send().await.unwrap();
        let digest = answer.headers().get("docker-content-digest")?;
        answer.status().is_success().then(|| digest.to_str().unwrap().to_owned())
    }
}
