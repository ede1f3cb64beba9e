//! Stand-in images: real manifests and configurations over any bytes.

use bytes::Bytes;
use portolan::image::Digest;
use serde_json::{Value, json};

/// An image and all that belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct StandIn {
    /// What the tag names: an index, or the one manifest.
    pub(crate) top: String,
    /// One for each platform; none without an index.
    pub(crate) manifests: Vec<String>,
    /// Configurations and layers.
    pub(crate) blobs: Vec<Bytes>,
}

impl StandIn {
    /// An image for one platform, without an index.
    pub(crate) fn single(platform: &str, layers: &[Bytes]) -> Self {
        let (top, config) = manifest(platform, layers, LAYER);
        Self { top, manifests: Vec::new(), blobs: [&[config], layers].concat() }
    }

    /// An image for several platforms, each with a layer of its own above the shared ones.
    pub(crate) fn index(name: &str, platforms: &[&str], shared: &[Bytes]) -> Self {
        let (mut manifests, mut blobs, mut children) = (Vec::new(), Vec::new(), Vec::new());
        for platform in platforms {
            let own = Bytes::from(format!("{name} for {platform}"));
            let layers = [shared, &[own]].concat();
            let (manifest, config) = manifest(platform, &layers, LAYER);
            let mut child = descriptor(MANIFEST, manifest.as_bytes());
            child["platform"] = platform_of(platform);
            children.push(child);
            manifests.push(manifest);
            blobs.push(config);
            blobs.extend(layers);
        }
        // Not as a serialiser would write it: bytes are to be kept as they are.
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children});
        let top = format!("{}\n\n", serde_json::to_string_pretty(&index).unwrap());
        Self { top, manifests, blobs }
    }

    /// An image for one platform whose layer may not be given to others.
    pub(crate) fn foreign(layer: &Bytes) -> Self {
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        let (top, config) = manifest("windows/amd64", std::slice::from_ref(layer), foreign);
        Self { top, manifests: Vec::new(), blobs: vec![config, layer.clone()] }
    }

    /// The same, with the addresses where the layer is to be had; it does not belong to the image then.
    pub(crate) fn foreign_at(layer: &Bytes, urls: &[String]) -> Self {
        let mut image = Self::foreign(layer);
        let mut manifest: Value = serde_json::from_str(&image.top).unwrap();
        manifest["layers"][0]["urls"] = json!(urls);
        image.top = manifest.to_string();
        image.blobs.pop();
        image
    }
}

fn manifest(platform: &str, layers: &[Bytes], media_type: &str) -> (String, Bytes) {
    let mut config = platform_of(platform);
    let digests: Vec<_> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    config["rootfs"] = json!({"type": "layers", "diff_ids": digests});
    let config = Bytes::from(config.to_string());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": layers.iter().map(|layer| descriptor(media_type, layer)).collect::<Vec<_>>(),
    });
    (manifest.to_string(), config)
}

fn platform_of(platform: &str) -> Value {
    let (os, architecture) = platform.split_once('/').unwrap();
    json!({"os": os, "architecture": architecture})
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
