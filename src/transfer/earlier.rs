//! What earlier layouts brought over, so that it is not carried again.
//!
//! Whoever saves leaves out the blobs that an earlier layout has, and says in the index of the new one whose they are
//! ([`Relied`]): whoever loads it looks for them where those images went. Manifests come along all the same: they are
//! small, and a registry takes none over from another repository.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::image::{Digest, Platform, Reference};

use super::{
    bundle::{Bundle, BundleError},
    manifest::{Contents, Descriptor, MAX_DEPTH, MAX_MANIFESTS, Named, wanted},
};

/// What earlier layouts have.
#[derive(Debug, Default)]
pub struct Earlier {
    bundles: Vec<Bundle>,
    /// What their indexes name: names and digests.
    images: HashSet<(Box<str>, Digest)>,
    blobs: HashMap<Digest, Held>,
}

/// What is on the other side already, as whoever saves knows it.
pub struct Since<'a> {
    /// Layouts that were brought there.
    pub earlier: Arc<Earlier>,
    /// Whether an image is there whole: its name, and the digest that it has now.
    pub is_there: &'a dyn Fn(&Reference, &Digest) -> bool,
}

/// A blob of an earlier layout.
#[derive(Debug)]
struct Held {
    /// How long it is; not known of one that the layout itself relied on.
    size: Option<u64>,
    /// Some images that it is of.
    images: Vec<Reference>,
}

/// The blobs that a layout leaves to earlier ones, each with some images that it is of there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Relied(BTreeMap<String, BTreeSet<String>>);

impl Earlier {
    /// Looks through a layout. What is damaged in it is not counted as there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn add(&mut self, bundle: Bundle) -> Result<(), BundleError> {
        for packed in bundle.images() {
            // Where one without a name went is not to be known.
            let Ok(name) = &packed.name else { continue };
            self.images.insert((name.as_str().into(), packed.digest.clone()));
            let mut walk = Walk::from(&packed.digest);
            while let Some(digest) = walk.next() {
                let manifest = match bundle.manifest(&digest) {
                    Ok(manifest) => manifest,
                    Err(BundleError::Corrupt { .. }) => None,
                    Err(error) => return Err(error),
                };
                let Some(manifest) = manifest else { continue };
                for blob in walk.read(&manifest, &[]).into_iter().flatten() {
                    if bundle.size(&blob.digest)? == Some(blob.size) {
                        self.blobs.entry(blob.digest).or_insert_with(|| Held::of(Some(blob.size))).name(name);
                    }
                }
            }
        }
        for (digest, images) in bundle.relied() {
            let held = self.blobs.entry(digest.clone()).or_insert_with(|| Held::of(None));
            for image in images {
                held.name(image);
            }
        }
        self.bundles.push(bundle);
        Ok(())
    }

    /// The images that a blob is of; `None`: no layout has it.
    pub(super) fn blob(&self, blob: &Descriptor) -> Option<&[Reference]> {
        let held = self.blobs.get(&blob.digest)?;
        (held.size.is_none_or(|size| size == blob.size)).then_some(&held.images)
    }

    /// A manifest, checked.
    pub(super) fn manifest(&self, digest: &Digest) -> Option<Bytes> {
        self.bundles.iter().find_map(|bundle| bundle.manifest(digest).ok().flatten())
    }

    /// Whether an image is there under that name, with all that is asked for.
    pub(super) fn has(
        &self,
        (image, digest): (&Reference, &Digest),
        platforms: &[Platform],
        with_nondistributable: bool,
    ) -> bool {
        if !self.images.contains(&(image.as_str().into(), digest.clone())) {
            return false;
        }
        let mut walk = Walk::from(digest);
        while let Some(digest) = walk.next() {
            let blobs = self.manifest(&digest).and_then(|manifest| walk.read(&manifest, platforms));
            let is_there = |blob: &Descriptor| {
                self.blob(blob).is_some() || blob.is_nondistributable() && !with_nondistributable
            };
            if !blobs.is_some_and(|blobs| blobs.iter().all(is_there)) {
                return false;
            }
        }
        true
    }
}

impl Held {
    fn of(size: Option<u64>) -> Self {
        Self { size, images: Vec::new() }
    }

    /// Takes note of an image. A few of different repositories are enough: each is a place to look.
    fn name(&mut self, image: &Reference) {
        let is_new = self.images.iter().all(|other| other.name() != image.name());
        if is_new && self.images.len() < MAX_IMAGES {
            self.images.push(image.clone());
        }
    }
}

impl Relied {
    /// Reads what the annotations of a layout's index say of it; `None`: nothing.
    pub(super) fn read(annotations: Option<&Value>) -> Option<Self> {
        let text = annotations?.get(ANNOTATION)?.as_str()?;
        serde_json::from_str(text).ok().map(Self)
    }

    /// Puts it into the index of a layout.
    pub(super) fn write(&self, annotations: &mut Value) {
        if !annotations.is_object() {
            *annotations = json!({});
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(ANNOTATION.to_owned(), json!(self.0).to_string().into());
        }
    }

    pub(super) fn add(&mut self, blob: &Digest, images: &[Reference]) {
        let named = self.0.entry(blob.to_string()).or_default();
        named.extend(images.iter().map(|image| image.as_str().to_owned()));
    }

    /// What of it is digests and names.
    pub(super) fn into_blobs(self) -> HashMap<Digest, Vec<Reference>> {
        let read = |(digest, images): (String, BTreeSet<String>)| {
            let images = images.iter().filter_map(|image| Reference::parse(image).ok()).take(MAX_IMAGES);
            Some((digest.parse().ok()?, images.collect()))
        };
        self.0.into_iter().filter_map(read).collect()
    }
}

/// Manifests from one on.
struct Walk {
    ahead: Vec<(Digest, usize)>,
    depth: usize,
    seen: usize,
}

impl Walk {
    fn from(digest: &Digest) -> Self {
        Self { ahead: vec![(digest.clone(), 0)], depth: 0, seen: 0 }
    }

    /// The next manifest to be read. More than an image has are not gone through.
    fn next(&mut self) -> Option<Digest> {
        let (digest, depth) = self.ahead.pop()?;
        self.depth = depth;
        self.seen += 1;
        (self.seen <= MAX_MANIFESTS).then_some(digest)
    }

    /// The blobs of a manifest; those that an index names are gone through later. `None`: it is none.
    fn read(&mut self, manifest: &[u8], platforms: &[Platform]) -> Option<Vec<Descriptor>> {
        match Contents::read(manifest, "").ok()?.named {
            Named::Index(children) if self.depth < MAX_DEPTH => {
                let children = wanted(&children, platforms).into_iter();
                self.ahead.extend(children.map(|child| (child.digest.clone(), self.depth + 1)));
                Some(Vec::new())
            }
            Named::Index(_) => None,
            Named::Image { config, layers } => Some(config.into_iter().chain(layers).collect()),
        }
    }
}

/// Where the index of a layout says what it leaves to earlier ones (image-spec, annotations.md §rules).
const ANNOTATION: &str = "dev.portolan.earlier";

/// How many images are named of one blob.
const MAX_IMAGES: usize = 4;
