//! Stand-in images: real manifests, configurations and layers, with next to nothing in them.

use std::{fmt::Write as _, fs, path::Path, sync::LazyLock};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    Missing,
    process::{installed, is_static},
};

/// Bytes and what they are called by.
#[derive(Clone, Debug, Eq, PartialEq)]
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

/// Whose words manifests are written in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Docker's schema 2 and its manifest list.
    Docker,
    /// The Open Container Initiative's.
    Oci,
}

impl Image {
    /// An image of one small file that says `content`, so that two images of different content differ in digest.
    pub fn of(content: &str) -> Self {
        Self::of_format(content, Format::Oci)
    }

    /// The same in these words.
    pub fn of_format(content: &str, format: Format) -> Self {
        Self::assemble(format, &json!({}), |architecture| {
            let text = format!("{content} for {architecture}\n");
            Archive::default().file("stand-in", 0o644, text.as_bytes()).finish()
        })
    }

    /// An image that runs: a static busybox under the names that the tests call.
    pub fn busybox(content: &str) -> Result<Self, Missing> {
        let busybox = static_busybox()?;
        Ok(Self::assemble(Format::Oci, &json!({"Cmd": ["/bin/sleep", "100000"]}), |architecture| {
            let text = format!("{content} for {architecture}\n");
            Archive::default()
                .file("stand-in", 0o644, text.as_bytes())
                .file("bin/sleep", 0o755, &busybox)
                .finish()
        }))
    }

    /// One of many on top of the same layer.
    pub fn on_a_base(content: &str) -> Self {
        // Made once: to hash it takes longer than to send it.
        static BASE: LazyLock<Blob> = LazyLock::new(|| {
            Blob::layer(Archive::default().file("base", 0o644, &vec![b'b'; 256 << 10]).finish())
        });
        Self::assemble_layers(Format::Oci, &json!({}), |architecture| {
            let text = format!("{content} for {architecture}\n");
            let own = Archive::default().file("stand-in", 0o644, text.as_bytes());
            vec![BASE.clone(), Blob::layer(own.finish())]
        })
    }

    /// An image that runs for ever, whatever it is given: on top of a layer that all of them share, it has every one
    /// of `programs` that manifests call by name. Whoever is not root may run it.
    pub fn standing(content: &str, programs: &[&str]) -> Result<Self, Missing> {
        static BASE: LazyLock<Result<Blob, Missing>> = LazyLock::new(|| {
            let base = Archive::default()
                .file("bin/busybox", 0o755, &static_busybox()?)
                .link("bin/sh", "busybox")
                .link("bin/sleep", "busybox")
                .file("bin/stand", 0o755, STAND.as_bytes());
            Ok(Blob::layer(base.finish()))
        });
        let base = BASE.clone()?;
        let config = json!({"Entrypoint": ["/bin/stand"], "User": "65534"});
        Ok(Self::assemble_layers(Format::Oci, &config, |architecture| {
            let text = format!("{content} for {architecture}\n");
            let own = Archive::default().file("stand-in", 0o644, text.as_bytes());
            let own = programs.iter().fold(own, |own, name| own.link(&format!("bin/{name}"), "stand"));
            vec![base.clone(), Blob::layer(own.finish())]
        }))
    }

    /// An image of a small file of its own above a layer with that file alone, which all such images share.
    pub fn above(content: &str, base: &Path) -> Self {
        let base = fs::read(base).unwrap();
        let base = Blob::layer(Archive::default().file("base", 0o644, &base).finish());
        Self::assemble_layers(Format::Oci, &json!({}), |architecture| {
            let text = format!("{content} for {architecture}\n");
            let own = Archive::default().file("stand-in", 0o644, text.as_bytes());
            vec![base.clone(), Blob::layer(own.finish())]
        })
    }

    /// An image of one static program, as the Dockerfile makes it.
    pub fn program(name: &str, program: &Path) -> Self {
        let bytes = fs::read(program).unwrap();
        Self::assemble(Format::Oci, &json!({"Entrypoint": [format!("/{name}")]}), |_| {
            Archive::default().file(name, 0o755, &bytes).finish()
        })
    }

    /// The same, for Windows too: on top of a layer that lives at `url` and may not be given to others, the first
    /// one of `base`.
    pub fn and_windows(mut self, base: &Self, url: &str) -> Self {
        let [index_media, manifest_media, configuration_media, layer_media] = Format::Docker.media();
        let mut foreign = base.blobs[0].descriptor();
        foreign["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar");
        foreign["urls"] = json!([url]);
        let text = format!("{} for Windows\n", self.index.digest);
        let own = Archive::default().file("Files/stand-in", 0o644, text.as_bytes()).finish();
        let own = Blob::new(layer_media, own);
        let platform = json!({"architecture": "amd64", "os": "windows", "os.version": "10.0.20348.2227"});
        let mut configuration = platform.clone();
        configuration["rootfs"] = json!({"type": "layers", "diff_ids": [base.blobs[0].digest, own.digest]});
        let configuration = Blob::json(configuration_media, &configuration);
        let manifest = Blob::json(
            manifest_media,
            &json!({
                "schemaVersion": 2, "mediaType": manifest_media,
                "config": configuration.descriptor(), "layers": [foreign, own.descriptor()],
            }),
        );
        let mut descriptor = manifest.descriptor();
        descriptor["platform"] = platform;
        let mut index: Value = serde_json::from_slice(&self.index.bytes).unwrap();
        index["mediaType"] = json!(index_media);
        index["manifests"].as_array_mut().unwrap().push(descriptor);
        self.index = Blob::json(index_media, &index);
        self.manifests.push(manifest);
        self.blobs.extend([own, configuration]);
        self
    }

    /// The digests of all that it is made of.
    pub fn digests(&self) -> impl Iterator<Item = &str> {
        let all = self.blobs.iter().chain(&self.manifests).chain([&self.index]);
        all.map(|blob| &*blob.digest)
    }

    /// Its first platform alone, without an index.
    pub fn without_index(mut self) -> Self {
        self.index = self.manifests.swap_remove(0);
        self.manifests.clear();
        self
    }

    fn assemble(format: Format, config: &Value, layer: impl Fn(&str) -> Vec<u8>) -> Self {
        let [.., media] = format.media();
        Self::assemble_layers(format, config, |architecture| vec![Blob::new(media, layer(architecture))])
    }

    fn assemble_layers(format: Format, config: &Value, layers: impl Fn(&str) -> Vec<Blob>) -> Self {
        let [index_media, manifest_media, configuration_media, _] = format.media();
        let mut blobs = Vec::new();
        let mut manifests = Vec::new();
        let mut descriptors = Vec::new();
        for architecture in ["amd64", "arm64"] {
            let layers = layers(architecture);
            let of_layer = json!({"created": "2026-01-01T00:00:00Z", "created_by": "tests"});
            let configuration = Blob::json(
                configuration_media,
                &json!({
                    "architecture": architecture, "os": "linux",
                    "config": config,
                    // Without it nothing of schema 1 can be made of it.
                    "history": vec![of_layer; layers.len()],
                    "rootfs": {
                        "type": "layers",
                        "diff_ids": layers.iter().map(|layer| &*layer.digest).collect::<Vec<_>>(),
                    },
                }),
            );
            let manifest = Blob::json(
                manifest_media,
                &json!({
                    "schemaVersion": 2, "mediaType": manifest_media,
                    "config": configuration.descriptor(),
                    "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
                }),
            );
            let mut descriptor = manifest.descriptor();
            descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
            descriptors.push(descriptor);
            // What platforms share is there once.
            for blob in layers.into_iter().chain([configuration]) {
                if !blobs.contains(&blob) {
                    blobs.push(blob);
                }
            }
            manifests.push(manifest);
        }
        let index = Blob::json(
            index_media,
            &json!({"schemaVersion": 2, "mediaType": index_media, "manifests": descriptors}),
        );
        Self { index, manifests, blobs }
    }
}

impl Format {
    /// The media types of index, manifest, configuration and layer.
    fn media(self) -> [&'static str; 4] {
        match self {
            Self::Docker => [
                "application/vnd.docker.distribution.manifest.list.v2+json",
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar",
            ],
            Self::Oci => [
                "application/vnd.oci.image.index.v1+json",
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar",
            ],
        }
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

    fn layer(bytes: Vec<u8>) -> Self {
        let [.., media] = Format::Oci.media();
        Self::new(media, bytes)
    }

    fn json(media: &'static str, value: &Value) -> Self {
        Self::new(media, serde_json::to_vec(value).unwrap())
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media, "digest": self.digest, "size": self.bytes.len()})
    }
}

/// The program of that name, which runs in an image without anything else.
fn static_busybox() -> Result<Vec<u8>, Missing> {
    let program = installed("busybox", "busybox-static")?;
    if !is_static(&program) {
        return Err(Missing("busybox is not static (Debian: busybox-static)".to_owned()));
    }
    Ok(fs::read(&program).unwrap())
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

    /// A symbolic link.
    fn link(mut self, name: &str, to: &str) -> Self {
        let begin = self.0.len();
        self.header(name, 0o777, 0, b'2');
        // Its target is one of the fields that the checksum is over.
        let block = &mut self.0[begin..];
        block[157..157 + to.len()].copy_from_slice(to.as_bytes());
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block.iter().copied().map(u32::from).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
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

/// Ends as soon as it is asked to, which the first process of a container does not by itself.
const STAND: &str = "#!/bin/sh\ntrap 'exit 0' TERM\nsleep 100000 &\nwait\n";

const BLOCK: usize = 512;
