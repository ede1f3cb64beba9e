//! Stand-in images: real manifests, configurations and layers, with next to nothing in them.

use std::{fmt::Write as _, fs, path::Path};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    Missing,
    process::{installed, is_static},
};

/// Bytes and what they are called by.
#[derive(Clone, Debug)]
pub struct Blob {
    /// `sha256:…`.
    pub digest: String,
    /// The content.
    pub bytes: Vec<u8>,
    /// Its media type.
    pub media: &'static str,
}

/// An image for two platforms: an index, a manifest for each, and their blobs.
#[derive(Clone, Debug)]
pub struct Image {
    /// What the tag names.
    pub index: Blob,
    /// One for each platform.
    pub manifests: Vec<Blob>,
    /// Configurations and layers.
    pub blobs: Vec<Blob>,
}

impl Image {
    /// An image of one small file that says `content`, so that two images of different content differ in digest.
    pub fn of(content: &str) -> Self {
        Self::assemble(&json!({}), |architecture| {
            let text = format!("{content} for {architecture}\n");
            Archive::default().file("stand-in", 0o644, text.as_bytes()).finish()
        })
    }

    /// An image that runs: a static busybox under the names that the tests call.
    pub fn busybox(content: &str) -> Result<Self, Missing> {
        let program = installed("busybox", "busybox-static")?;
        if !is_static(&program) {
            return Err(Missing("busybox is not static (Debian: busybox-static)".to_owned()));
        }
        let busybox = fs::read(&program).unwrap();
        Ok(Self::assemble(&json!({"Cmd": ["/bin/sleep", "100000"]}), |architecture| {
            let text = format!("{content} for {architecture}\n");
            Archive::default()
                .file("stand-in", 0o644, text.as_bytes())
                .file("bin/sleep", 0o755, &busybox)
                .finish()
        }))
    }

    /// An image of one static program, as the Dockerfile makes it.
    pub fn program(name: &str, program: &Path) -> Self {
        let bytes = fs::read(program).unwrap();
        Self::assemble(&json!({"Entrypoint": [format!("/{name}")]}), |_| {
            Archive::default().file(name, 0o755, &bytes).finish()
        })
    }

    fn assemble(config: &Value, layer: impl Fn(&str) -> Vec<u8>) -> Self {
        let mut blobs = Vec::new();
        let mut manifests = Vec::new();
        let mut descriptors = Vec::new();
        for architecture in ["amd64", "arm64"] {
            let layer = Blob::new(LAYER, layer(architecture));
            let configuration = Blob::json(
                CONFIGURATION,
                &json!({
                    "architecture": architecture, "os": "linux",
                    "config": config,
                    // Without it nothing of schema 1 can be made of it.
                    "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "tests"}],
                    "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
                }),
            );
            let manifest = Blob::json(
                MANIFEST,
                &json!({
                    "schemaVersion": 2, "mediaType": MANIFEST,
                    "config": configuration.descriptor(), "layers": [layer.descriptor()],
                }),
            );
            let mut descriptor = manifest.descriptor();
            descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
            descriptors.push(descriptor);
            blobs.extend([layer, configuration]);
            manifests.push(manifest);
        }
        let index =
            Blob::json(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors}));
        Self { index, manifests, blobs }
    }
}

impl Blob {
    fn new(media: &'static str, bytes: Vec<u8>) -> Self {
        let mut digest = "sha256:".to_owned();
        for byte in Sha256::digest(&bytes) {
            write!(digest, "{byte:02x}").unwrap();
        }
        Self { digest, bytes, media }
    }

    fn json(media: &'static str, value: &Value) -> Self {
        Self::new(media, serde_json::to_vec(value).unwrap())
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media, "digest": self.digest, "size": self.bytes.len()})
    }
}

/// A tar file under construction.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn file(mut self, name: &str, mode: u32, content: &[u8]) -> Self {
        if let Some((folder, _)) = name.rsplit_once('/') {
            self.header(&format!("{folder}/"), 0o755, 0, b'5');
        }
        self.header(name, mode, content.len(), b'0');
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    /// POSIX.1-1988 (ustar): fields at fixed places, numbers in octal, a checksum over the whole block.
    fn header(&mut self, name: &str, mode: u32, size: usize, kind: u8) {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}\0").as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{size:011o}\0").as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[kind]);
        put(257, b"ustar\x0000");
        let sum: u32 = block.iter().copied().map(u32::from).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(block);
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}

const BLOCK: usize = 512;
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
