//! Many images to where they are to be, out of a layout or out of the registries that have them.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::sync::{Mutex, OnceCell, Semaphore};

use crate::{
    image::{Digest, Reference},
    registry::{Content, ContentError},
};

use super::{
    bundle::{Bundle, Packed},
    event::Event,
    failure::{Part, TransferError},
    options::TransferOptions,
    origin::Origin,
    push::Way,
};

/// An image and where it goes.
#[derive(Clone, Debug)]
pub struct Shipment {
    /// Its name.
    pub image: Reference,
    /// What it is taken from.
    pub source: Source,
    /// Where it goes.
    pub targets: Vec<Target>,
}

/// What an image is taken from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A layout.
    Bundle(Arc<Bundle>, Packed),
    /// The registry that its name says.
    Registry,
}

/// A place that an image goes to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// The place, with tag, digest or both.
    pub place: Reference,
    /// Whether the tag may be taken from another image.
    pub may_replace: bool,
}

/// An image that is where it was to go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Loaded {
    /// Its digest: an index's, where there is one.
    pub digest: Digest,
    /// Whether its tag or digest was there before.
    pub was_there: bool,
    /// How many bytes its blobs have, also those that it shares with others.
    pub size: u64,
    /// How many bytes were sent for it.
    pub sent: u64,
    /// How many bytes the registry took over from another repository of its own, or had in this one: it does not say.
    pub mounted: u64,
    /// How many manifests of its index did not come along.
    pub left_out: usize,
}

impl Loaded {
    /// Whether nothing had to be done for it.
    pub fn was_whole(&self) -> bool {
        self.was_there && self.sent + self.mounted == 0
    }
}

/// What became of an image in each of its places; as one error, if it could not be read.
pub type Shipped = Result<Vec<Result<Loaded, TransferError>>, TransferError>;

/// Brings images to their places, many side by side. What happened to each is told as it happens and said at the end, in
/// the order of the images.
///
/// Dropped, it stops; what is there by then is not sent again.
pub async fn load(
    content: &Content,
    shipments: &[Shipment],
    options: &TransferOptions,
    tell: &dyn Fn(Event<'_>),
) -> Vec<Shipped> {
    let plain = shipments.iter().flat_map(|shipment| &shipment.targets).map(|target| &target.place);
    let plain = plain.filter(|place| place.digest().is_none()).map(|place| place.as_str().to_owned());
    let run = Run {
        content,
        options,
        tell,
        permits: Semaphore::new(options.at_once.max(1)),
        questions: Semaphore::new(QUESTIONS_AT_ONCE),
        plain: plain.collect(),
        claims: RefCell::default(),
        blobs: RefCell::default(),
        manifests: RefCell::default(),
        homes: RefCell::default(),
        unmounting: RefCell::default(),
        telling: RefCell::default(),
        images: shipments.len(),
    };
    // First what is there already: its blobs can then be mounted for the others.
    let seen: Vec<_> =
        stream::iter(shipments).map(|shipment| run.see(shipment)).buffered(IMAGES_AT_ONCE).collect().await;
    let shipped = stream::iter(shipments.iter().zip(seen)).map(|(shipment, seen)| run.ship(shipment, seen));
    shipped.buffered(IMAGES_AT_ONCE).collect().await
}

/// One run of [`load`].
pub(super) struct Run<'a> {
    pub(super) content: &'a Content,
    pub(super) options: &'a TransferOptions,
    pub(super) tell: &'a dyn Fn(Event<'_>),
    /// For blobs on their way.
    pub(super) permits: Semaphore,
    /// For requests that send next to nothing.
    pub(super) questions: Semaphore,
    /// The places without a digest that images go to.
    plain: HashSet<String>,
    /// Which image goes to a place. Who comes first has it.
    claims: RefCell<HashMap<String, (Reference, Digest)>>,
    /// The blobs of each repository; who comes first sends, the others wait.
    pub(super) blobs: Once,
    /// The same of manifests below an index.
    pub(super) manifests: Once,
    /// A repository of the registry that has a blob. Held while one is made: then the others mount.
    pub(super) homes: RefCell<HashMap<(Box<str>, Digest), Home>>,
    /// Registries that did not take a blob over when they were asked to: they are asked first whether it is there.
    pub(super) unmounting: RefCell<HashSet<Box<str>>>,
    /// Registries that were asked to mount a blob from the very repository that has it, and whether that said that it is
    /// there.
    pub(super) telling: RefCell<HashMap<Box<str>, bool>>,
    /// How many there are.
    pub(super) images: usize,
}

/// A repository, if one is known.
type Home = Rc<Mutex<Option<Box<str>>>>;

/// By registry, repository and digest: what is done once.
pub(super) type Once = RefCell<HashMap<(Box<str>, Digest), Rc<OnceCell<()>>>>;

/// An image's manifest or index.
pub(super) struct Top {
    pub(super) origin: Origin,
    pub(super) bytes: Bytes,
    pub(super) digest: Digest,
    /// What it is called by who gave it.
    pub(super) called: String,
}

/// What was found at a place before anything was sent.
enum Seen {
    Done(Result<Loaded, TransferError>),
    /// What is under its tag or digest.
    Other(Option<Digest>),
}

impl Run<'_> {
    /// Looks whether an image is in its places. Those where it is are done then.
    async fn see(&self, shipment: &Shipment) -> Option<Result<Vec<Seen>, TransferError>> {
        // Out of a registry, that would be another request for the manifest.
        let Source::Bundle(..) = shipment.source else { return None };
        let top = match self.top(shipment).await {
            Ok(top) => top,
            Err(error) => return Some(Err(error)),
        };
        let seen = shipment.targets.iter().map(|target| self.see_place(shipment, &top, target));
        Some(Ok(stream::iter(seen).buffered(PLACES_AT_ONCE).collect().await))
    }

    async fn see_place(&self, shipment: &Shipment, top: &Top, target: &Target) -> Seen {
        let result = match self.what_is_there(shipment, top, target).await {
            Ok(there) if there.as_ref() == Some(&top.digest) => self.put(shipment, top, target, there).await,
            Ok(there) => return Seen::Other(there),
            Err(error) => Err(error),
        };
        self.placed(shipment, target, &result);
        Seen::Done(result)
    }

    async fn ship(&self, shipment: &Shipment, seen: Option<Result<Vec<Seen>, TransferError>>) -> Shipped {
        let seen = match seen.transpose() {
            Ok(seen) => seen,
            Err(error) => return self.unread(shipment, error),
        };
        let is_done = |seen: &Vec<Seen>| seen.iter().all(|seen| matches!(seen, Seen::Done(_)));
        let top = if seen.as_ref().is_some_and(is_done) {
            None
        } else {
            match self.top(shipment).await {
                Ok(top) => Some(top),
                Err(error) => return self.unread(shipment, error),
            }
        };
        let mut seen = seen.map(Vec::into_iter);
        let places = shipment.targets.iter().map(|target| {
            let seen = seen.as_mut().and_then(Iterator::next);
            self.ship_to(shipment, top.as_ref(), target, seen)
        });
        Ok(stream::iter(places.collect::<Vec<_>>()).buffered(PLACES_AT_ONCE).collect().await)
    }

    async fn ship_to(
        &self,
        shipment: &Shipment,
        top: Option<&Top>,
        target: &Target,
        seen: Option<Seen>,
    ) -> Result<Loaded, TransferError> {
        let there = match seen {
            Some(Seen::Done(result)) => return result,
            Some(Seen::Other(there)) => Some(there),
            None => None,
        };
        (self.tell)(Event::Begun(&shipment.image));
        let there = match (there, top) {
            (Some(there), _) => Ok(there),
            (None, Some(top)) => self.what_is_there(shipment, top, target).await,
            (None, None) => Ok(None),
        };
        let result = match (there, top) {
            (Ok(there), Some(top)) => self.put(shipment, top, target, there).await,
            (Ok(_), None) => Err(TransferError::Lacking { what: Part::Manifest(None) }),
            (Err(error), _) => Err(error),
        };
        self.placed(shipment, target, &result);
        result
    }

    /// Tells of every place of an image that could not be read.
    fn unread(&self, shipment: &Shipment, error: TransferError) -> Shipped {
        let result = Err(error);
        for target in &shipment.targets {
            self.placed(shipment, target, &result);
        }
        result.map(|_| Vec::new())
    }

    fn placed(&self, shipment: &Shipment, target: &Target, result: &Result<Loaded, TransferError>) {
        (self.tell)(Event::Placed { image: &shipment.image, place: &target.place, result });
    }

    /// The image's manifest or index.
    async fn top(&self, shipment: &Shipment) -> Result<Top, TransferError> {
        let image = &shipment.image;
        let top = match &shipment.source {
            Source::Bundle(bundle, packed) => {
                let origin = Origin::Bundle(Arc::clone(bundle));
                let bytes = origin.manifest(&packed.digest).await?;
                let what = Part::Manifest(Some(packed.digest.clone()));
                let Some(bytes) = bytes else { return Err(TransferError::Lacking { what }) };
                if let Some(expected) = packed.size.filter(|size| *size != bytes.len() as u64) {
                    return Err(TransferError::WrongSize { what, expected });
                }
                Top { origin, bytes, digest: packed.digest.clone(), called: packed.media_type.clone() }
            }
            Source::Registry => {
                let about = |source| TransferError::Content { what: Part::Manifest(None), source };
                let repository = self.content.source(image).map_err(about)?;
                let target = image.digest().or_else(|| image.tag()).unwrap_or_default();
                let mut failures = 0;
                let manifest = loop {
                    match repository.manifest(target).await {
                        Ok(manifest) => break manifest,
                        Err(error) => self.wait_after(image, &mut failures, error, about).await?,
                    }
                };
                let origin = Origin::Registry(repository, self.options.retry);
                Top { origin, bytes: manifest.bytes, digest: manifest.digest, called: manifest.media_type }
            }
        };
        match image.digest() {
            Some(own) if own != top.digest.as_str() => {
                Err(TransferError::OtherDigest { named: image.clone(), digest: top.digest })
            }
            _ => Ok(top),
        }
    }

    /// What is at a place, if the image may go there.
    async fn what_is_there(
        &self,
        shipment: &Shipment,
        top: &Top,
        target: &Target,
    ) -> Result<Option<Digest>, TransferError> {
        let place = &target.place;
        self.claim(&shipment.image, place, &top.digest)?;
        if place.digest().is_some_and(|own| own != top.digest.as_str()) {
            return Err(TransferError::OtherDigest { named: place.clone(), digest: top.digest.clone() });
        }
        let under = place.digest().or_else(|| place.tag()).unwrap_or_default();
        let way = Way::new(self, &shipment.image, place, top)?;
        let there = way.ask(|| Part::Manifest(None), async || way.repository.digest_of(under).await).await?;
        match there {
            Some(other) if other != top.digest && !target.may_replace => {
                Err(TransferError::Taken { digest: other })
            }
            there => Ok(there),
        }
    }

    /// Takes a place for an image, unless another one has it.
    fn claim(&self, image: &Reference, place: &Reference, digest: &Digest) -> Result<(), TransferError> {
        let mut claims = self.claims.borrow_mut();
        match claims.get(place.as_str()) {
            Some((other, claimed)) if claimed != digest => {
                Err(TransferError::Clash { other: other.clone(), digest: claimed.clone() })
            }
            Some(_) => Ok(()),
            None => {
                claims.insert(place.as_str().to_owned(), (image.clone(), digest.clone()));
                Ok(())
            }
        }
    }

    /// Puts an image into a place.
    async fn put(
        &self,
        shipment: &Shipment,
        top: &Top,
        target: &Target,
        there: Option<Digest>,
    ) -> Result<Loaded, TransferError> {
        let place = &target.place;
        let way = Way::new(self, &shipment.image, place, top)?;
        let is_there = there.as_ref() == Some(&top.digest);
        let under = match (place.tag(), place.digest()) {
            // Untagged, a registry may take it for waste. But the tag may be another image's by now.
            (Some(tag), Some(_)) if !self.plain.contains(place.without_digest()) => {
                let ask = async || way.repository.digest_of(tag).await;
                match way.ask(|| Part::Manifest(None), ask).await? {
                    None => Some(tag),
                    Some(_) => place.digest().filter(|_| !is_there),
                }
            }
            (_, Some(digest)) => Some(digest).filter(|_| !is_there),
            (tag, None) => tag.filter(|_| !is_there),
        };
        way.tree(&top.bytes, &top.digest, &top.called, 0, is_there, under).await?;
        let mut loaded = way.loaded.into_inner();
        loaded.was_there = is_there;
        Ok(loaded)
    }

    /// Counts a failure, tells of it and waits until it is time to try again.
    ///
    /// # Errors
    /// The failure, if it is not to be tried again.
    pub(super) async fn wait_after(
        &self,
        image: &Reference,
        failures: &mut u32,
        error: ContentError,
        about: impl FnOnce(ContentError) -> TransferError,
    ) -> Result<(), TransferError> {
        let tell = |error: &TransferError, pause| (self.tell)(Event::Retried { image, error, pause });
        self.options.retry.wait_after(failures, error, about, tell).await
    }
}

/// How many images are looked at side by side, and how many places of one. Of their blobs [`TransferOptions::at_once`] are on
/// their way.
const IMAGES_AT_ONCE: usize = 16;
const PLACES_AT_ONCE: usize = 4;

/// How many requests that send next to nothing are on their way.
const QUESTIONS_AT_ONCE: usize = 32;
