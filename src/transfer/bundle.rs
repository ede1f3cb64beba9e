//! A layout that is read: a folder or a tar file, of whoever's making.
//!
//! Nothing is unpacked. Of a tar file only the places of its blobs are remembered, and what is no plain file under a name
//! that a layout has is refused, so that a name such as `../x` can lead nowhere. What `docker save` wrote before it knew
//! layouts is read as well (`docker`).
//!
//! Invariant: of a blob that is not what its digest says, the last piece is never given.

mod docker;
mod entries;

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde_json::Value;

use crate::{
    image::{Digest, Hasher, Reference},
    registry::ByteStream,
};

use super::{earlier::Relied, origin::Trouble};

/// Images in a layout.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    place: Place,
    images: Vec<Packed>,
    /// Manifests that were not there and had to be written.
    made: HashMap<Digest, Bytes>,
    /// What it leaves to layouts that were brought before it, if it was made so.
    left: Option<Left>,
}

/// What a layout leaves to earlier ones.
#[derive(Debug, Default)]
struct Left {
    /// Some images that each blob is of.
    blobs: HashMap<Digest, Vec<Reference>>,
    /// Where these images went.
    places: HashMap<Reference, Vec<Reference>>,
}

/// What the index of a layout names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Packed {
    /// Its whole name; without one what it is called: a tag, or nothing.
    pub name: Result<Reference, String>,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// What that is called.
    pub(super) media_type: String,
    /// How long it is said to be.
    pub(super) size: Option<u64>,
}

/// Why a layout cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Bytes are not those of their digest.
    #[error("what is under the name `{digest}` has another digest")]
    Corrupt {
        /// The digest.
        digest: Digest,
    },
    /// A tar file holds what no layout has.
    #[error("`{path}` has an entry `{name}` that {why}: nothing of it is read")]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry's name, cut to a bound.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is something else.
    #[error("`{path}` is no OCI image layout: {why}")]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// The system says no.
    #[error("cannot read `{path}`")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is shorter than it says of itself.
    #[error("`{path}` is cut off")]
    Truncated {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Debug)]
enum Place {
    /// Where each blob begins and how long it is.
    Archive(HashMap<Digest, Span>),
    Folder,
}

/// A part of a tar file: where it begins and how long it is.
type Span = (u64, u64);

impl BundleError {
    /// What to do about it, if we know.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Corrupt { .. } | Self::Truncated { .. } => {
                Some("it was damaged on its way: carry it over anew, or save it anew")
            }
            Self::Foreign { why: NAMELESS, .. } => Some(
                "`skopeo copy --all --preserve-digests dir:FOLDER oci:LAYOUT:NAME` gives it its whole name and keeps its digest",
            ),
            Self::Foreign { .. } => Some("name what `portolan save`, `skopeo copy` or `docker save` wrote"),
            Self::Entry { .. } | Self::Io { .. } => None,
        }
    }
}

impl Bundle {
    /// Opens a folder or a tar file and reads its index.
    ///
    /// # Errors
    /// It is no layout, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let unreadable = |source| BundleError::Io { path: path.into(), source };
        let bundle = Self {
            path: path.into(),
            place: Place::Folder,
            images: Vec::new(),
            made: HashMap::new(),
            left: None,
        };
        if !fs::metadata(path).map_err(unreadable)?.is_dir() {
            return bundle.with_archive();
        }
        let read = |name: &str| match fs::read(path.join(name)) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let is_nameless = ["version", "manifest.json"].iter().all(|name| path.join(name).is_file());
                Err(foreign(path, if is_nameless { NAMELESS } else { LACKS }))
            }
            Err(source) => Err(BundleError::Io { path: path.join(name), source }),
        };
        check_marker(path, &read(MARKER)?)?;
        let (images, left) = images(path, &read(INDEX)?)?;
        Ok(Self { images, left, ..bundle })
    }

    fn with_archive(self) -> Result<Self, BundleError> {
        let entries = entries::read(&self.path)?;
        let Some(index) = entries.span(INDEX)? else {
            return docker::open(self, &entries);
        };
        entries.check_names()?;
        let marker = entries.span(MARKER)?.ok_or_else(|| foreign(&self.path, LACKS))?;
        check_marker(&self.path, &self.text(marker)?)?;
        let (images, left) = images(&self.path, &self.text(index)?)?;
        Ok(Self { images, left, place: Place::Archive(entries.blobs), ..self })
    }

    /// What its index names, in that order.
    pub fn images(&self) -> &[Packed] {
        &self.images
    }

    /// Whether its manifests were written here, so that their digests are not those that the images had before.
    pub fn is_made(&self) -> bool {
        !self.made.is_empty()
    }

    /// Whether it was saved since other layouts, and leaves to them what they have.
    pub fn is_delta(&self) -> bool {
        self.left.is_some()
    }

    /// Says where the images of those other layouts went: what they brought is looked for there.
    pub fn place(&mut self, place: impl Fn(&Reference) -> Vec<Reference>) {
        let Some(left) = &mut self.left else { return };
        for image in left.blobs.values().flatten() {
            if !left.places.contains_key(image) {
                left.places.insert(image.clone(), place(image));
            }
        }
    }

    /// The blobs that it leaves to other layouts, each with some images that it is of there.
    pub(super) fn relied(&self) -> impl Iterator<Item = (&Digest, &[Reference])> {
        self.left.iter().flat_map(|left| &left.blobs).map(|(digest, images)| (digest, &**images))
    }

    /// The images of other layouts that a blob was left to, each with its places; `None`: it was left to none.
    pub(super) fn left(&self, digest: &Digest) -> Option<Vec<(&Reference, &[Reference])>> {
        let left = self.left.as_ref()?;
        let places = |image| left.places.get(image).map(Vec::as_slice).unwrap_or_default();
        Some(left.blobs.get(digest)?.iter().map(|image| (image, places(image))).collect())
    }

    /// A manifest, checked; `None`: it is not there.
    pub(super) fn manifest(&self, digest: &Digest) -> Result<Option<Bytes>, BundleError> {
        if let Some(bytes) = self.made.get(digest) {
            return Ok(Some(bytes.clone()));
        }
        let Some((file, size)) = self.find(digest)? else { return Ok(None) };
        let corrupt = || BundleError::Corrupt { digest: digest.clone() };
        if size > MAX_MANIFEST {
            return Err(corrupt());
        }
        let mut bytes = Vec::new();
        file.take(size).read_to_end(&mut bytes).map_err(|source| self.unreadable(source))?;
        if digest.matches(&bytes) { Ok(Some(bytes.into())) } else { Err(corrupt()) }
    }

    /// How long a blob is; `None`: it is not there.
    pub(super) fn size(&self, digest: &Digest) -> Result<Option<u64>, BundleError> {
        if let Some(bytes) = self.made.get(digest) {
            return Ok(Some(bytes.len() as u64));
        }
        Ok(self.find(digest)?.map(|(_, size)| size))
    }

    /// A blob from its beginning. What is wrong with it is told to `trouble`; its last piece does not come then.
    pub(super) fn stream(self: &Arc<Self>, digest: &Digest, trouble: &Trouble) -> ByteStream {
        let start = Reading::Closed(Arc::clone(self), digest.clone());
        let trouble = trouble.clone();
        stream::try_unfold(start, move |reading| {
            let trouble = trouble.clone();
            async move {
                let next = tokio::task::spawn_blocking(move || reading.next()).await;
                let next = next.unwrap_or_else(|_| Err(lost()));
                next.map_err(|error| trouble.tell(error.into()))
            }
        })
        .boxed()
    }

    /// The file with a blob, at its first byte, and how long that is.
    fn find(&self, digest: &Digest) -> Result<Option<(File, u64)>, BundleError> {
        match &self.place {
            Place::Archive(blobs) => blobs.get(digest).map(|span| self.part(*span)).transpose(),
            Place::Folder => {
                let path = self.path.join("blobs").join(digest.algorithm().name()).join(digest.hex());
                match File::open(&path).and_then(|file| file.metadata().map(|metadata| (file, metadata))) {
                    Ok((file, metadata)) if metadata.is_file() => Ok(Some((file, metadata.len()))),
                    Ok(_) => Ok(None),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(source) => Err(BundleError::Io { path, source }),
                }
            }
        }
    }

    /// The tar file at the first byte of a part of it, and how long that is.
    fn part(&self, (start, size): Span) -> Result<(File, u64), BundleError> {
        let opened = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(start))?;
            Ok(file)
        });
        opened.map(|file| (file, size)).map_err(|source| self.unreadable(source))
    }

    /// A part of the tar file as a text.
    fn text(&self, span: Span) -> Result<Vec<u8>, BundleError> {
        let (file, size) = self.part(span)?;
        let mut text = Vec::new();
        file.take(size.min(MAX_INDEX)).read_to_end(&mut text).map_err(|source| self.unreadable(source))?;
        Ok(text)
    }

    fn unreadable(&self, source: io::Error) -> BundleError {
        BundleError::Io { path: self.path.clone(), source }
    }
}

/// A blob that is being read.
enum Reading {
    Closed(Arc<Bundle>, Digest),
    Open(Box<Opened>),
}

struct Opened {
    path: PathBuf,
    file: File,
    left: u64,
    hasher: Hasher,
    digest: Digest,
}

impl Reading {
    fn next(self) -> Result<Option<(Bytes, Self)>, BundleError> {
        let mut opened = match self {
            Self::Closed(bundle, digest) => {
                let found = bundle.find(&digest)?;
                let (file, left) = found.ok_or_else(|| bundle.unreadable(io::ErrorKind::NotFound.into()))?;
                let (path, hasher) = (bundle.path.clone(), Hasher::new(digest.algorithm()));
                Box::new(Opened { path, file, left, hasher, digest })
            }
            Self::Open(opened) => opened,
        };
        if opened.left == 0 {
            return Ok(None);
        }
        let mut block = vec![0; usize::try_from(opened.left.min(BLOCK)).unwrap_or_default()];
        match opened.file.read_exact(&mut block) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(BundleError::Truncated { path: opened.path });
            }
            Err(source) => return Err(BundleError::Io { path: opened.path, source }),
            Ok(()) => {}
        }
        opened.hasher.update(&block);
        opened.left -= block.len() as u64;
        if opened.left == 0 && opened.hasher.clone().finish() != opened.digest {
            return Err(BundleError::Corrupt { digest: opened.digest });
        }
        Ok(Some((block.into(), Self::Open(opened))))
    }
}

fn lost() -> BundleError {
    BundleError::Io { path: PathBuf::new(), source: io::Error::other("reading was ended") }
}

fn check_marker(path: &Path, marker: &[u8]) -> Result<(), BundleError> {
    let document: Value = serde_json::from_slice(marker).unwrap_or_default();
    match document.get("imageLayoutVersion").and_then(Value::as_str) {
        Some("1.0.0") => Ok(()),
        _ => Err(foreign(path, "its `oci-layout` names no version that we know (1.0.0)")),
    }
}

/// What an index names, and what it leaves to earlier layouts.
fn images(path: &Path, index: &[u8]) -> Result<(Vec<Packed>, Option<Left>), BundleError> {
    let index: Value = serde_json::from_slice(index).unwrap_or_default();
    let entries = index.get("manifests").and_then(Value::as_array);
    let entries = entries.ok_or_else(|| foreign(path, "its `index.json` is no index"))?;
    let read = |entry: &Value| {
        let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str);
        let digest = text("/digest").and_then(|digest| digest.parse().ok());
        let names = NAMES.map(|pointer| text(pointer).unwrap_or_default());
        // A tag alone would be read as a name.
        let mut whole = names.iter().filter(|name| name.contains(['/', ':']));
        let name = whole.find_map(|name| Reference::parse(name).ok());
        let [_, called] = names;
        Ok(Packed {
            name: name.ok_or_else(|| called.to_owned()),
            digest: digest.ok_or_else(|| foreign(path, "its `index.json` names something by no digest"))?,
            media_type: text("/mediaType").unwrap_or_default().to_owned(),
            size: entry.get("size").and_then(Value::as_u64),
        })
    };
    let images = entries.iter().map(read).collect::<Result<_, _>>()?;
    let left = Relied::read(index.get("annotations"))
        .map(|relied| Left { blobs: relied.into_blobs(), ..Left::default() });
    Ok((images, left))
}

fn foreign(path: &Path, why: &'static str) -> BundleError {
    BundleError::Foreign { path: path.into(), why }
}

const MARKER: &str = "oci-layout";
const INDEX: &str = "index.json";
const LACKS: &str = "it lacks `oci-layout` or `index.json`";
const NAMELESS: &str = "it is what skopeo writes to `dir:`, which keeps no name";

/// Where an image's name is: containerd's and Docker's place, which has all of it, then the specification's.
const NAMES: [&str; 2] =
    ["/annotations/io.containerd.image.name", "/annotations/org.opencontainers.image.ref.name"];

/// How much is read at once.
const BLOCK: u64 = 256 * 1024;

/// The longest manifest that is read, and the longest index of a layout: some hundred bytes for each image.
const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
const MAX_INDEX: u64 = 64 * 1024 * 1024;
