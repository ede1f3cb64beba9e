//! Many images into one layout.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::sync::{OnceCell, Semaphore};

use crate::{
    image::{Digest, Reference},
    registry::{Content, ContentError, Repository},
};

use super::{
    download::{Downloads, blocking},
    earlier::Since,
    elsewhere,
    event::Event,
    failure::{Part, StoreError, TransferError},
    layout::{Index, Layout},
    manifest::{Contents, Descriptor, MAX_DEPTH, MAX_MANIFESTS, ManifestError, Named, platform_of, wanted},
    options::TransferOptions,
};

/// An image that is in the layout.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Saved {
    /// Its digest: an index's, where there is one.
    pub digest: Digest,
    /// How many manifests of single platforms came along.
    pub manifests: usize,
    /// How many bytes its blobs have, also those that it shares with others.
    pub size: u64,
    /// How many bytes came from a registry for it.
    pub received: u64,
    /// How many layers were left out because they may not be given to others.
    pub left_out: usize,
    /// How many bytes of it were left to earlier layouts.
    pub earlier: u64,
    /// Whether it is in the layout; it is not, if it is on the other side already.
    pub is_carried: bool,
}

impl Saved {
    fn of(digest: Digest) -> Self {
        Self { digest, manifests: 0, size: 0, received: 0, left_out: 0, earlier: 0, is_carried: true }
    }
}

/// Saves images into a layout, many side by side. What happened to each is told as it happens and said at the end, in
/// the order of the images.
///
/// What is there by [`Since`] is not carried again: not the images that are there, and of others not the blobs.
///
/// Dropped, it stops; what is in the layout by then stays and is not fetched again.
///
/// # Errors
/// The layout cannot be written. What is there stays.
pub async fn save(
    content: &Content,
    layout: Arc<Layout>,
    images: &[Reference],
    since: Option<&Since<'_>>,
    options: &TransferOptions,
    tell: &dyn Fn(Event<'_>),
) -> Result<Vec<Result<Saved, TransferError>>, StoreError> {
    let run = Run {
        content,
        options,
        since,
        downloads: Downloads { layout: &layout, retry: options.retry, tell },
        permits: Semaphore::new(options.at_once.max(1)),
        blobs: RefCell::default(),
        index: RefCell::new(layout.index()?),
        written: Cell::new(Instant::now()),
    };
    if since.is_some() {
        run.index.borrow_mut().rely(None);
    }
    let saved = stream::iter(images).map(|image| run.image(image)).buffered(IMAGES_AT_ONCE);
    tokio::pin!(saved);
    let mut results = Vec::with_capacity(images.len());
    let mut broken = None;
    while let Some(result) = saved.next().await {
        if let Err(TransferError::Store(error)) = result {
            broken = Some(error);
            break;
        }
        results.push(result);
    }
    let written = layout.write_index(&run.index.borrow());
    match broken {
        Some(error) => Err(error),
        None => written.map(|()| results),
    }
}

/// One run of [`save`].
struct Run<'a> {
    content: &'a Content,
    options: &'a TransferOptions,
    since: Option<&'a Since<'a>>,
    downloads: Downloads<'a>,
    /// For blobs on their way.
    permits: Semaphore,
    /// The blobs that this run has come across; who comes first fetches, the others wait.
    blobs: RefCell<HashMap<Digest, Rc<OnceCell<()>>>>,
    index: RefCell<Index>,
    /// When the index was written last.
    written: Cell<Instant>,
}

/// One image on its way.
struct Image<'a> {
    reference: &'a Reference,
    repository: Repository,
    /// Manifests and indexes so far.
    seen: Cell<usize>,
    saved: RefCell<Saved>,
}

impl Run<'_> {
    async fn image(&self, reference: &Reference) -> Result<Saved, TransferError> {
        (self.downloads.tell)(Event::Begun(reference));
        let result = self.try_image(reference).await;
        // What is wrong with the layout is not this image's matter.
        if !matches!(result, Err(TransferError::Store(_))) {
            (self.downloads.tell)(Event::Ended { image: reference, result: &result });
        }
        result
    }

    async fn try_image(&self, reference: &Reference) -> Result<Saved, TransferError> {
        let about = |source| TransferError::Content { what: Part::Manifest(None), source };
        let repository = self.content.source(reference).map_err(about)?;
        let target = reference.digest().or_else(|| reference.tag()).unwrap_or_default();
        let known = match self.since {
            Some(since) => Some(self.known(since, reference, &repository, target).await?),
            None => None,
        };
        if let Some((digest, true)) = known {
            return Ok(Saved { is_carried: false, ..Saved::of(digest) });
        }
        let target = known.as_ref().map_or(target, |(digest, _)| digest.as_str());
        let (bytes, digest, called) =
            self.manifest((reference, &repository), target, Part::Manifest(None)).await?;
        let saved = RefCell::new(Saved::of(digest.clone()));
        let image = Image { reference, repository, seen: Cell::new(0), saved };
        let media_type = self.tree(&image, &bytes, &digest, &called, 0).await?;
        self.index.borrow_mut().put(reference, &media_type, &digest, bytes.len());
        if self.written.get().elapsed() >= WRITE_EVERY {
            self.written.set(Instant::now());
            self.downloads.layout.write_index(&self.index.borrow())?;
        }
        Ok(image.saved.into_inner())
    }

    /// The digest that an image has now, and whether it need not be carried. Where registries count who pulls, who asks
    /// for no more than this is not counted.
    async fn known(
        &self,
        since: &Since<'_>,
        image: &Reference,
        repository: &Repository,
        target: &str,
    ) -> Result<(Digest, bool), TransferError> {
        let mut failures = 0;
        let digest = loop {
            let error = match target.parse() {
                Ok(digest) => break digest,
                Err(_) => match repository.digest_of(target).await {
                    Ok(Some(digest)) => break digest,
                    Ok(None) => ContentError::Missing,
                    Err(error) => error,
                },
            };
            self.downloads.wait_after(image, || Part::Manifest(None), &mut failures, error).await?;
        };
        if (since.is_there)(image, &digest) {
            return Ok((digest, true));
        }
        let (earlier, name, wanted) = (Arc::clone(&since.earlier), image.clone(), digest.clone());
        let (platforms, with_all) = (self.options.platforms.clone(), self.options.with_nondistributable);
        let is_there = blocking(move || Ok(earlier.has((&name, &wanted), &platforms, with_all))).await?;
        Ok((digest, is_there))
    }

    /// A manifest and everything below it, itself last: what is there is whole. Its media type.
    fn tree<'f>(
        &'f self,
        image: &'f Image<'f>,
        bytes: &'f Bytes,
        digest: &'f Digest,
        called: &'f str,
        depth: usize,
    ) -> Pin<Box<dyn Future<Output = Result<String, TransferError>> + 'f>> {
        Box::pin(async move {
            let unusable = |source| TransferError::Manifest {
                what: Part::Manifest((depth > 0).then(|| digest.clone())),
                source,
            };
            image.seen.set(image.seen.get() + 1);
            if depth > MAX_DEPTH || image.seen.get() > MAX_MANIFESTS {
                return Err(unusable(ManifestError::TooMany));
            }
            let contents = Contents::read(bytes, called).map_err(unusable)?;
            match &contents.named {
                Named::Index(children) => {
                    let wanted = self.wanted(children)?;
                    let children = wanted.into_iter().map(|child| self.child(image, child, depth + 1));
                    let mut children = stream::iter(children).buffer_unordered(CHILDREN_AT_ONCE);
                    while let Some(child) = children.next().await {
                        child?;
                    }
                }
                Named::Image { config, layers } => {
                    if let Some(config) = config {
                        // What is looked into has to be here.
                        let is_read = depth == 0 && !self.options.platforms.is_empty();
                        self.blob(image, config, is_read).await?;
                        if depth == 0 {
                            self.check_platform(config).await?;
                        }
                    }
                    let is_carried = |layer: &&Descriptor| {
                        self.options.with_nondistributable || !layer.is_nondistributable()
                    };
                    let carried: Vec<_> = layers.iter().filter(is_carried).collect();
                    image.saved.borrow_mut().left_out += layers.len() - carried.len();
                    let mut blobs = stream::iter(carried)
                        .map(|layer| self.blob(image, layer, false))
                        .buffer_unordered(LAYERS_AT_ONCE);
                    while let Some(blob) = blobs.next().await {
                        blob?;
                    }
                    image.saved.borrow_mut().manifests += 1;
                }
            }
            let (layout, digest, bytes) = (Arc::clone(self.downloads.layout), digest.clone(), bytes.clone());
            blocking(move || layout.put_manifest(&digest, &bytes)).await?;
            Ok(contents.media_type)
        })
    }

    async fn child(&self, image: &Image<'_>, child: &Descriptor, depth: usize) -> Result<(), TransferError> {
        let from = (image.reference, &image.repository);
        let what = Part::Manifest(Some(child.digest.clone()));
        let (bytes, digest, _) = self.manifest(from, child.digest.as_str(), what.clone()).await?;
        if bytes.len() as u64 != child.size {
            return Err(TransferError::WrongSize { what, expected: child.size });
        }
        self.tree(image, &bytes, &digest, &child.media_type, depth).await.map(|_| ())
    }

    /// The children of an index that were asked for. Other indexes among them are, whatever they are for.
    fn wanted<'d>(&self, children: &'d [Descriptor]) -> Result<Vec<&'d Descriptor>, TransferError> {
        let wanted = wanted(children, &self.options.platforms);
        if wanted.is_empty() && !self.options.platforms.is_empty() {
            let there = children.iter().filter_map(|child| child.platform.clone()).collect();
            return Err(TransferError::NoPlatform { there });
        }
        Ok(wanted)
    }

    /// Of an image without an index the configuration says what it is for.
    async fn check_platform(&self, config: &Descriptor) -> Result<(), TransferError> {
        let platforms = &self.options.platforms;
        if platforms.is_empty() || !config.is_configuration() {
            return Ok(());
        }
        let (layout, digest) = (Arc::clone(self.downloads.layout), config.digest.clone());
        let bytes = blocking(move || Ok(layout.manifest(&digest))).await?;
        match bytes.as_deref().and_then(platform_of) {
            Some(there) if !platforms.iter().any(|platform| platform.admits(&there)) => {
                Err(TransferError::NoPlatform { there: vec![there] })
            }
            _ => Ok(()),
        }
    }

    async fn blob(&self, image: &Image<'_>, blob: &Descriptor, is_read: bool) -> Result<(), TransferError> {
        image.saved.borrow_mut().size += blob.size;
        let earlier = self.since.filter(|_| !is_read).and_then(|since| since.earlier.blob(blob));
        if let Some(images) = earlier {
            image.saved.borrow_mut().earlier += blob.size;
            self.index.borrow_mut().rely(Some((&blob.digest, images)));
            return Ok(());
        }
        let cell = Rc::clone(self.blobs.borrow_mut().entry(blob.digest.clone()).or_default());
        let fetched = cell.get_or_try_init(async || {
            let _permit = self.permits.acquire().await;
            let elsewhere = elsewhere::homes(blob);
            let elsewhere: Vec<_> = elsewhere.filter_map(|home| self.content.source(&home).ok()).collect();
            let received =
                self.downloads.blob((image.reference, &image.repository), &elsewhere, blob).await?;
            image.saved.borrow_mut().received += received;
            Ok(())
        });
        fetched.await.copied()
    }

    /// A manifest's bytes, its digest and what it is called: out of the layout, if its digest is known and it is there.
    async fn manifest(
        &self,
        (image, repository): (&Reference, &Repository),
        target: &str,
        what: Part,
    ) -> Result<(Bytes, Digest, String), TransferError> {
        if let Ok(digest) = target.parse::<Digest>() {
            let (layout, wanted) = (Arc::clone(self.downloads.layout), digest.clone());
            let earlier = self.since.map(|since| Arc::clone(&since.earlier));
            let there = blocking(move || {
                let own = layout.manifest(&wanted).map(Bytes::from);
                Ok(own.or_else(|| earlier.and_then(|earlier| earlier.manifest(&wanted))))
            });
            if let Some(bytes) = there.await? {
                return Ok((bytes, digest, String::new()));
            }
        }
        let mut failures = 0;
        loop {
            match repository.manifest(target).await {
                Ok(manifest) => return Ok((manifest.bytes, manifest.digest, manifest.media_type)),
                Err(error) => self.downloads.wait_after(image, || what.clone(), &mut failures, error).await?,
            }
        }
    }
}

/// How many images, children of an index and layers of a manifest are looked at side by side. Of their blobs
/// [`TransferOptions::at_once`] are on their way.
const IMAGES_AT_ONCE: usize = 16;
const CHILDREN_AT_ONCE: usize = 4;
const LAYERS_AT_ONCE: usize = 16;

/// How often the index is written while images come in. Who ends us loses the names of this time, not the content.
const WRITE_EVERY: Duration = Duration::from_secs(1);
