//! Image layouts as others write them, and damaged ones.

use std::{collections::BTreeMap, fs, path::Path};

use portolan::image::Digest;
use serde_json::{Value, json};

use super::stand_in::StandIn;

/// A layout: its index and its blobs, by the hex of their names.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    index: Vec<Value>,
    blobs: BTreeMap<String, Vec<u8>>,
}

impl Layout {
    /// The layout of these images, by name.
    pub(crate) fn of(images: &[(&str, &StandIn)]) -> Self {
        let mut layout = Self { index: Vec::new(), blobs: BTreeMap::new() };
        for (name, image) in images {
            let document: Value = serde_json::from_str(&image.top).unwrap();
            let mut entry = named(document["mediaType"].as_str().unwrap(), image.top.as_bytes());
            entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
            layout.index.push(entry);
            let manifests = image.manifests.iter().chain([&image.top]).map(|text| text.as_bytes().to_vec());
            for bytes in manifests.chain(image.blobs.iter().map(|blob| blob.to_vec())) {
                layout.blobs.insert(Digest::of(&bytes).hex().to_owned(), bytes);
            }
        }
        layout
    }

    /// Takes out what has these bytes.
    pub(crate) fn remove(&mut self, bytes: &[u8]) {
        self.blobs.remove(Digest::of(bytes).hex()).unwrap();
    }

    /// Puts other bytes under the name of these.
    pub(crate) fn replace(&mut self, bytes: &[u8], others: impl Into<Vec<u8>>) {
        self.blobs.insert(Digest::of(bytes).hex().to_owned(), others.into()).unwrap();
    }

    /// Writes it as a folder.
    pub(crate) fn write(&self, to: &Path) {
        for (name, bytes) in self.files() {
            let path = to.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    /// Writes it as a tar file.
    pub(crate) fn write_archive(&self, to: &Path) {
        fs::write(to, self.archive(&[])).unwrap();
    }

    /// It as a tar file, with more entries in front: name, kind and what a link leads to.
    pub(crate) fn archive(&self, more: &[(&str, u8, &str)]) -> Vec<u8> {
        let mut tar = Tar::default();
        for (name, kind, link) in more {
            tar.add(name, *kind, link, b"");
        }
        tar.add("blobs/", b'5', "", b"");
        for (name, bytes) in self.files() {
            tar.add(&name, b'0', "", &bytes);
        }
        tar.finish()
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let index = json!({"schemaVersion": 2, "manifests": self.index});
        let mut files = vec![
            ("oci-layout".to_owned(), br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec()),
            ("index.json".to_owned(), index.to_string().into_bytes()),
        ];
        files.extend(self.blobs.iter().map(|(hex, bytes)| (format!("blobs/sha256/{hex}"), bytes.clone())));
        files
    }
}

/// How an index names bytes.
pub(crate) fn named(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes).as_str(), "size": bytes.len()})
}

/// A tar file under construction, also one that nobody should write.
#[derive(Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    /// POSIX.1-1988 (ustar): fields at fixed places, numbers in octal, a checksum over the whole block.
    pub(crate) fn add(&mut self, name: &str, kind: u8, link: &str, content: &[u8]) {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, b"0000644\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", content.len()).as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = block.iter().copied().map(u32::from).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(block);
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}

const BLOCK: usize = 512;
