//! The images: each an index of two platforms, on one of three bases, with a layer of its own for each platform.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use portolan::image::Digest;
use serde_json::{Value, json};

use crate::{client::Client, layer::layer};

/// What the source has.
pub(crate) struct Images {
    /// `team/app-000:1.0` and the digest of its index.
    pub(crate) tags: Vec<(String, Digest)>,
    /// How long blobs, manifests and indexes are, by digest; those with a tag also by `repository:tag`.
    pub(crate) sizes: HashMap<String, u64>,
    /// How many blobs there are, and how long they are together.
    pub(crate) blobs: usize,
    pub(crate) bytes: u64,
    pub(crate) manifests: usize,
}

impl Images {
    /// Stops the run if one of the tags is another image in that registry.
    pub(crate) async fn assert_at(&self, client: &Client, tool: &str) {
        for (tag, digest) in &self.tags {
            let (repository, tag) = tag.split_once(':').unwrap();
            let there = client.digest(repository, tag).await;
            assert_eq!(there.as_deref(), Some(digest.as_str()), "{repository}:{tag} after {tool}");
        }
    }
}

/// Makes them and pushes them.
pub(crate) async fn push(client: &Client, count: usize, megabytes: usize) -> Images {
    let all = megabytes * 1_000_000;
    let base_length = all / 100 * BASE_PERCENT / (BASES * PLATFORMS.len());
    let own_length = all / 100 * (100 - BASE_PERCENT) / (count * PLATFORMS.len());
    // A base has a layer for each platform.
    let bases: Vec<_> = (0..BASES * PLATFORMS.len()).map(|base| Blob::layer(base, base_length)).collect();
    let mut images = Images {
        tags: Vec::new(),
        sizes: bases.iter().map(Blob::size).collect(),
        blobs: bases.len(),
        bytes: bases.iter().map(|base| base.bytes.len() as u64).sum(),
        manifests: 0,
    };
    let mut made = stream::iter(0..count)
        .map(|number| image(client, number, &bases, own_length))
        .buffer_unordered(IMAGES_AT_ONCE);
    while let Some(image) = made.next().await {
        images.blobs += image.blobs.len();
        images.bytes += image.blobs.iter().map(|(_, size)| size).sum::<u64>();
        images.manifests += image.manifests.len() - 1;
        images.sizes.extend(image.blobs.into_iter().chain(image.manifests));
        images.tags.push(image.tag);
    }
    images.tags.sort_by(|one, other| one.0.cmp(&other.0));
    images
}

/// What one image added.
struct Made {
    tag: (String, Digest),
    blobs: Vec<(String, u64)>,
    /// By digest, and the index by its tag as well.
    manifests: Vec<(String, u64)>,
}

async fn image(client: &Client, number: usize, bases: &[Blob], length: usize) -> Made {
    let repository = format!("team/app-{number:03}");
    let (mut blobs, mut manifests, mut children) = (Vec::new(), Vec::new(), Vec::new());
    for (platform, architecture) in PLATFORMS.iter().enumerate() {
        let base = &bases[number % BASES * PLATFORMS.len() + platform];
        let own = Blob::layer(bases.len() + number * PLATFORMS.len() + platform, length);
        let configuration = Blob::json(
            "application/vnd.oci.image.config.v1+json",
            &json!({
                "architecture": architecture, "os": "linux",
                "config": {"Cmd": [format!("/bin/app-{number}")]},
                "rootfs": {"type": "layers", "diff_ids": [base.digest.as_str(), own.digest.as_str()]},
            }),
        );
        let manifest = Blob::json(
            MANIFEST,
            &json!({
                "schemaVersion": 2, "mediaType": MANIFEST,
                "config": configuration.descriptor(), "layers": [base.descriptor(), own.descriptor()],
            }),
        );
        client.put_blob(&repository, base).await;
        for blob in [own, configuration] {
            client.put_blob(&repository, &blob).await;
            blobs.push(blob.size());
        }
        client.put_manifest(&repository, manifest.digest.as_str(), &manifest).await;
        let mut descriptor = manifest.descriptor();
        descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
        children.push(descriptor);
        manifests.push(manifest.size());
    }
    let index = Blob::json(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}));
    client.put_manifest(&repository, TAG, &index).await;
    let tag = format!("{repository}:{TAG}");
    manifests.extend([index.size(), (tag.clone(), index.bytes.len() as u64)]);
    Made { tag: (tag, index.digest), blobs, manifests }
}

/// Bytes and what they are called by.
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
    pub(crate) media_type: &'static str,
}

impl Blob {
    fn layer(number: usize, length: usize) -> Self {
        Self::new("application/vnd.oci.image.layer.v1.tar+gzip", layer(number as u64, length))
    }

    fn json(media_type: &'static str, value: &Value) -> Self {
        Self::new(media_type, serde_json::to_vec(value).unwrap())
    }

    fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self { digest: Digest::of(&bytes), bytes: bytes.into(), media_type }
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest.as_str(), "size": self.bytes.len()})
    }

    fn size(&self) -> (String, u64) {
        (self.digest.to_string(), self.bytes.len() as u64)
    }
}

const PLATFORMS: [&str; 2] = ["amd64", "arm64"];
const BASES: usize = 3;

/// How much of all bytes the bases have.
const BASE_PERCENT: usize = 15;

const TAG: &str = "1.0";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

const IMAGES_AT_ONCE: usize = 4;
