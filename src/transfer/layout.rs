//! An OCI image layout in a folder (image-spec, image-layout.md), as it grows.
//!
//! Beside what the specification wants there is one folder, `.portolan`, while something is written: what has come of
//! blobs so far, and the lock by which two runs keep off each other. It goes when all is done.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::{Map, Value, json};

use crate::image::{Digest, Hasher, Reference};

use self::entries::Entries;
use super::{earlier::Relied, failure::StoreError};

mod entries;

/// A layout that is being written.
#[derive(Debug)]
pub struct Layout {
    folder: PathBuf,
    /// Held as long as we write.
    _lock: File,
    /// How many files were written beside their final names: no two of them meet there.
    written: AtomicU64,
}

/// The entries of `index.json`, in their order, whatever they say.
#[derive(Debug, Default)]
pub(super) struct Index {
    document: Map<String, Value>,
    entries: Entries<String>,
    /// What is left to earlier layouts; `None`: the layout is to be whole.
    relied: Option<Relied>,
}

impl Layout {
    /// Opens a layout, or makes one where there is nothing or an empty folder.
    ///
    /// # Errors
    /// There is something else, somebody else is writing, or the system says no.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let marker = folder.join("oci-layout");
        let is_new = match fs::read_dir(folder) {
            Ok(mut entries) => {
                !marker.exists() && !folder.join(OURS).exists() && {
                    let is_empty = entries.next().is_none();
                    if !is_empty {
                        return Err(foreign(folder, "it has no file `oci-layout`"));
                    }
                    true
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(foreign(folder, "it is no folder"));
            }
            Err(error) => return Err(failed("read", folder)(error)),
        };
        let ours = folder.join(OURS);
        fs::create_dir_all(&ours).map_err(failed("make the folder", &ours))?;
        let lock_path = ours.join("lock");
        let lock = File::create(&lock_path).map_err(failed("write", &lock_path))?;
        // On a file system without locks two runs at once are the user's own affair.
        if let Err(fs::TryLockError::WouldBlock) = lock.try_lock() {
            return Err(StoreError::Busy { path: folder.into() });
        }
        let layout = Self { folder: folder.into(), _lock: lock, written: AtomicU64::new(0) };
        if is_new || !marker.exists() {
            layout.replace(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        } else {
            let text = fs::read(&marker).map_err(failed("read", &marker))?;
            let document: Value = serde_json::from_slice(&text).unwrap_or_default();
            if document.get("imageLayoutVersion").and_then(Value::as_str) != Some("1.0.0") {
                return Err(foreign(folder, "its `oci-layout` names no version that we know (1.0.0)"));
            }
        }
        let index = layout.folder.join(INDEX);
        if !index.exists() {
            layout.write_index(&Index::default())?;
        }
        Ok(layout)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes what only an unfinished run needs.
    ///
    /// # Errors
    /// The system says no.
    pub fn finish(self) -> Result<(), StoreError> {
        let ours = self.folder.join(OURS);
        fs::remove_dir_all(&ours).map_err(failed("remove", &ours))
    }

    /// Removes all of it: what was to be had is elsewhere now.
    ///
    /// # Errors
    /// The system says no.
    pub fn remove(self) -> Result<(), StoreError> {
        fs::remove_dir_all(&self.folder).map_err(failed("remove", &self.folder))
    }

    /// Where a blob is, or will be.
    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// Where what has come of a blob so far is.
    pub(super) fn partial(&self, digest: &Digest) -> PathBuf {
        self.folder.join(OURS).join(format!("{}-{}", digest.algorithm().name(), digest.hex()))
    }

    /// Gives a blob its final name. Its bytes have been checked.
    pub(super) fn adopt(&self, digest: &Digest) -> Result<(), StoreError> {
        let blob = self.blob(digest);
        self.make_parent(&blob)?;
        fs::rename(self.partial(digest), &blob).map_err(failed("write", &blob))
    }

    /// Whether a blob is there whole; one that is not itself goes. Reads it all.
    pub(super) fn has(&self, digest: &Digest, size: u64) -> Result<bool, StoreError> {
        let path = self.blob(digest);
        let unreadable = failed("read", &path);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(unreadable(error)),
        };
        let is_whole = file.metadata().map_err(&unreadable)?.len() == size && {
            let mut hasher = Hasher::new(digest.algorithm());
            let mut buffer = vec![0; 256 * 1024];
            loop {
                match file.read(&mut buffer).map_err(&unreadable)? {
                    0 => break,
                    read => hasher.update(buffer.get(..read).unwrap_or_default()),
                }
            }
            hasher.finish() == *digest
        };
        if !is_whole {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
        Ok(is_whole)
    }

    /// A manifest's bytes, if they are there and right.
    pub(super) fn manifest(&self, digest: &Digest) -> Option<Vec<u8>> {
        let file = File::open(self.blob(digest)).ok()?;
        let mut bytes = Vec::new();
        file.take(MAX_MANIFEST).read_to_end(&mut bytes).ok()?;
        digest.matches(&bytes).then_some(bytes)
    }

    /// Keeps a manifest whose bytes have been checked.
    pub(super) fn put_manifest(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.blob(digest);
        self.make_parent(&path)?;
        self.replace(&path, bytes)
    }

    pub(super) fn index(&self) -> Result<Index, StoreError> {
        let path = self.folder.join(INDEX);
        let text = fs::read(&path).map_err(failed("read", &path))?;
        Index::read(&text).ok_or_else(|| foreign(&self.folder, "its `index.json` is no index"))
    }

    pub(super) fn write_index(&self, index: &Index) -> Result<(), StoreError> {
        self.replace(&self.folder.join(INDEX), &index.to_bytes())
    }

    fn make_parent(&self, path: &Path) -> Result<(), StoreError> {
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(failed("make the folder", folder))
    }

    /// Replaces a file in one step: who ends us finds the old one or the new one.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let new = format!("new-{}", self.written.fetch_add(1, Ordering::Relaxed));
        let new = self.folder.join(OURS).join(new);
        let written = File::create(&new).and_then(|mut file| file.write_all(bytes));
        written.and_then(|()| fs::rename(&new, path)).map_err(failed("write", path))
    }
}

impl Index {
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let Value::Object(mut document) = serde_json::from_slice(text).ok()? else { return None };
        let Some(Value::Array(there)) = document.remove("manifests") else { return None };
        let mut entries = Entries::default();
        for entry in there {
            entries.add(name(&entry).to_owned(), entry);
        }
        let relied = Relied::read(document.get("annotations"));
        Some(Self { document, entries, relied })
    }

    /// Leaves a blob to earlier layouts, where it is of these images; without one, says that there are such layouts.
    pub(super) fn rely(&mut self, blob: Option<(&Digest, &[Reference])>) {
        let relied = self.relied.get_or_insert_default();
        if let Some((digest, images)) = blob {
            relied.add(digest, images);
        }
    }

    /// Names an image, in the place of one that had this name.
    pub(super) fn put(&mut self, image: &Reference, media_type: &str, digest: &Digest, size: usize) {
        let entry = json!({
            "mediaType": media_type,
            "digest": digest.as_str(),
            "size": size,
            "annotations": {REF_NAME: image.as_str(), IMAGE_NAME: image.as_str()},
        });
        self.entries.put(image.as_str().to_owned(), entry);
    }

    /// What it leads to.
    pub(super) fn digests(&self) -> impl Iterator<Item = Digest> {
        self.entries.iter().filter_map(|entry| entry.get("digest")?.as_str()?.parse().ok())
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut document = self.document.clone();
        document.insert("schemaVersion".into(), 2.into());
        document.insert("mediaType".into(), "application/vnd.oci.image.index.v1+json".into());
        document.insert("manifests".into(), self.entries.iter().cloned().collect());
        if let Some(relied) = &self.relied {
            relied.write(document.entry("annotations").or_insert(Value::Null));
        }
        serde_json::to_vec_pretty(&document).expect("values have texts for keys")
    }
}

/// The name of an image in the index; empty if it has none.
fn name(entry: &Value) -> &str {
    entry.pointer(REF_NAME_POINTER).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn failed(act: &'static str, path: &Path) -> impl Fn(io::Error) -> StoreError + use<> {
    let path = path.to_path_buf();
    move |source| StoreError::Io { act, path: path.clone(), source }
}

fn foreign(path: &Path, why: &'static str) -> StoreError {
    StoreError::Foreign { path: path.into(), why }
}

/// Our own folder in a layout that is being written.
const OURS: &str = ".portolan";

const INDEX: &str = "index.json";

/// The image's name, for skopeo and others (image-spec, annotations.md).
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const REF_NAME_POINTER: &str = "/annotations/org.opencontainers.image.ref.name";

/// The image's name, for containerd.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// The longest manifest that is read.
const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
