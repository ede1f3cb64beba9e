//! One image on its way into one repository: blobs, then manifests, then what names them. Where a layout lacks a blob that
//! was brought before it, `take_over` looks for it; where a registry lacks a layer that may not be given to others,
//! [`elsewhere`] knows more places. Whether a repository has a blob already is `look_for`'s to ask.

mod look_for;
mod take_over;

use std::{
    cell::RefCell,
    collections::hash_map::Entry,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};

use crate::{
    image::{Digest, Reference},
    registry::{Body, ContentError, Mounted, Repository, Upload},
};

use self::look_for::Found;
use super::{
    elsewhere,
    event::Event,
    failure::{Part, TransferError},
    load::{Loaded, Run, Top},
    manifest::{Contents, Descriptor, MAX_DEPTH, MAX_MANIFESTS, ManifestError, Named, platform_of, wanted},
    origin::{Origin, Trouble},
};

/// One image on its way into one repository.
pub(super) struct Way<'r> {
    run: &'r Run<'r>,
    image: &'r Reference,
    place: &'r Reference,
    origin: &'r Origin,
    pub(super) repository: Repository,
    /// Manifests and indexes so far.
    seen: std::cell::Cell<usize>,
    pub(super) loaded: RefCell<Loaded>,
}

impl<'r> Way<'r> {
    pub(super) fn new(
        run: &'r Run<'r>,
        image: &'r Reference,
        place: &'r Reference,
        top: &'r Top,
    ) -> Result<Self, TransferError> {
        let unusable = |source| TransferError::Push { what: Part::Manifest(None), source };
        let repository = run.content.target(place).map_err(unusable)?;
        let loaded = Loaded {
            digest: top.digest.clone(),
            was_there: false,
            size: 0,
            sent: 0,
            mounted: 0,
            left_out: 0,
        };
        let loaded = RefCell::new(loaded);
        Ok(Self { run, image, place, origin: &top.origin, repository, seen: <_>::default(), loaded })
    }

    /// Asks the registry until it answers or it is enough.
    pub(super) async fn ask<T>(
        &self,
        what: impl Fn() -> Part,
        question: impl AsyncFn() -> Result<T, ContentError>,
    ) -> Result<T, TransferError> {
        let mut failures = 0;
        loop {
            let about = |source| TransferError::Push { what: what(), source };
            let answer = {
                let _permit = self.run.questions.acquire().await;
                question().await
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => self.run.wait_after(self.image, &mut failures, error, about).await?,
            }
        }
    }

    /// Puts a manifest and everything below it, itself last: what a registry has is whole. With `is_there` it has the
    /// manifest, and what is below an index is looked at all the same: a registry may have taken it without.
    pub(super) fn tree<'f>(
        &'f self,
        bytes: &'f Bytes,
        digest: &'f Digest,
        called: &'f str,
        depth: usize,
        is_there: bool,
        under: Option<&'f str>,
    ) -> Pin<Box<dyn Future<Output = Result<(), TransferError>> + 'f>> {
        Box::pin(async move {
            let part = || Part::Manifest((depth > 0).then(|| digest.clone()));
            let unusable = |source| TransferError::Manifest { what: part(), source };
            self.seen.set(self.seen.get() + 1);
            if depth > MAX_DEPTH || self.seen.get() > MAX_MANIFESTS {
                return Err(unusable(ManifestError::TooMany));
            }
            let contents = Contents::read(bytes, called).map_err(unusable)?;
            let left_out = match &contents.named {
                Named::Index(children) => self.children(children, depth).await?,
                Named::Image { config, layers } => {
                    self.blobs(config.as_ref(), layers, depth, is_there).await?;
                    0
                }
            };
            let Some(under) = under else { return Ok(()) };
            let (media_type, bytes) = (&*contents.media_type, bytes.clone());
            let put = async || self.repository.put_manifest(under, digest, media_type, bytes.clone()).await;
            self.ask(part, put).await.map_err(|error| match error {
                TransferError::Push { source: source @ ContentError::Refused { .. }, .. } if left_out > 0 => {
                    TransferError::Sparse(source)
                }
                other => other,
            })
        })
    }

    /// The manifests of an index, as far as they are to be had; how many are not.
    async fn children(&self, children: &[Descriptor], depth: usize) -> Result<usize, TransferError> {
        let mut there = Vec::with_capacity(children.len());
        for child in wanted(children, &self.run.options.platforms) {
            if self.origin.has_manifest(&child.digest).await? {
                there.push(child);
            }
        }
        let left_out = children.len() - there.len();
        if let (Some(first), true) = (children.first(), there.is_empty()) {
            return Err(match self.origin {
                Origin::Bundle(_) => {
                    TransferError::Lacking { what: Part::Manifest(Some(first.digest.clone())) }
                }
                Origin::Registry(..) => TransferError::NoPlatform {
                    there: children.iter().filter_map(|child| child.platform.clone()).collect(),
                },
            });
        }
        self.loaded.borrow_mut().left_out += left_out;
        let children = there.into_iter().map(|child| self.child(child, depth + 1));
        let mut children = stream::iter(children).buffer_unordered(CHILDREN_AT_ONCE);
        while let Some(child) = children.next().await {
            child?;
        }
        Ok(left_out)
    }

    async fn child(&self, child: &Descriptor, depth: usize) -> Result<(), TransferError> {
        let key = (self.place.name().into(), child.digest.clone());
        let cell = Rc::clone(self.run.manifests.borrow_mut().entry(key).or_default());
        let put = cell.get_or_try_init(async || {
            let (part, target) = (|| Part::Manifest(Some(child.digest.clone())), child.digest.as_str());
            let there = self.ask(part, async || self.repository.digest_of(target).await).await?;
            let is_there = there.is_some();
            if is_there && matches!(self.origin, Origin::Registry(..)) && !child.is_index() {
                return Ok(());
            }
            let bytes = self.origin.manifest(&child.digest).await?;
            let bytes = bytes.ok_or_else(|| TransferError::Lacking { what: part() })?;
            if bytes.len() as u64 != child.size {
                return Err(TransferError::WrongSize { what: part(), expected: child.size });
            }
            let under = (!is_there).then_some(target);
            self.tree(&bytes, &child.digest, &child.media_type, depth, is_there, under).await
        });
        put.await.copied()
    }

    /// Configuration and layers of one manifest.
    async fn blobs(
        &self,
        config: Option<&Descriptor>,
        layers: &[Descriptor],
        depth: usize,
        is_there: bool,
    ) -> Result<(), TransferError> {
        if is_there {
            // Whoever has a manifest has its blobs (distribution-spec §pushing-manifests).
            for blob in config.into_iter().chain(layers) {
                self.loaded.borrow_mut().size += blob.size;
                (self.run.tell)(Event::Needed(self.image, blob.size));
                (self.run.tell)(Event::Kept(self.image, blob.size));
                self.found(blob);
            }
            return Ok(());
        }
        if let (0, Some(config)) = (depth, config) {
            self.check_platform(config).await?;
        }
        let is_registry = matches!(self.origin, Origin::Registry(..));
        let mut carried = Vec::with_capacity(layers.len() + 1);
        let mut lacking = Vec::new();
        for blob in config.into_iter().chain(layers) {
            let is_left_out =
                blob.is_nondistributable() && is_registry && !self.run.options.with_nondistributable;
            if is_left_out {
                continue;
            }
            match self.origin.has_blob(blob).await? {
                true => carried.push(blob),
                // Saved without them, as it should be: whoever runs it has them from elsewhere.
                false if blob.is_nondistributable() => {}
                false => lacking.push(blob),
            }
        }
        // Nothing is sent for an image that cannot be whole.
        for (blobs, is_lacking) in [(lacking, true), (carried, false)] {
            let blobs = stream::iter(blobs).map(|blob| self.blob(blob, is_lacking));
            let mut blobs = blobs.buffer_unordered(LAYERS_AT_ONCE);
            while let Some(blob) = blobs.next().await {
                blob?;
            }
        }
        Ok(())
    }

    /// Of an image without an index the configuration says what it is for.
    async fn check_platform(&self, config: &Descriptor) -> Result<(), TransferError> {
        let platforms = &self.run.options.platforms;
        if platforms.is_empty() || !config.is_configuration() {
            return Ok(());
        }
        let there = self.origin.small(config).await?;
        match there.as_deref().and_then(platform_of) {
            Some(there) if !platforms.iter().any(|platform| platform.admits(&there)) => {
                Err(TransferError::NoPlatform { there: vec![there] })
            }
            _ => Ok(()),
        }
    }

    /// Sees to it that the repository has a blob. One that is lacking is only to be had from a mirror.
    async fn blob(&self, blob: &Descriptor, is_lacking: bool) -> Result<(), TransferError> {
        self.loaded.borrow_mut().size += blob.size;
        let key = (self.place.name().into(), blob.digest.clone());
        let cell = Rc::clone(self.run.blobs.borrow_mut().entry(key).or_default());
        let put = cell.get_or_try_init(async || {
            let key = (self.place.registry().into(), blob.digest.clone());
            let home = Rc::clone(self.run.homes.borrow_mut().entry(key).or_default());
            (self.run.tell)(Event::Needed(self.image, blob.size));
            // Who looks for it in another repository of the registry, or sends it there, is waited for.
            let home = home.lock().await;
            let known = home.clone();
            // Who only mounts holds up nobody.
            let mut home = known.is_none().then_some(home);
            let own = self.place.repository();
            let from = known.as_deref().or_else(|| self.source()).filter(|from| *from != own);
            // Where it is here already, mounting it changes nothing and says so: that saves a request.
            let is_mounted = from.is_some() && !self.run.unmounting.borrow().contains(self.place.registry());
            let mut begun = None;
            if !is_mounted {
                match self.look_for(blob, from.is_none() && !is_lacking).await? {
                    Found::Here => {
                        (self.run.tell)(Event::Kept(self.image, blob.size));
                        if let Some(home) = &mut home {
                            **home = Some(own.into());
                        }
                        return Ok(());
                    }
                    Found::Absent(upload) => begun = upload,
                }
            }
            if is_lacking {
                self.take_over(blob, known.as_deref(), !is_mounted).await?;
            } else {
                self.send(blob, self.origin, from, begun, !is_mounted).await?;
            }
            self.learn_from(blob).await;
            if let Some(home) = &mut home {
                **home = Some(own.into());
            }
            Ok(())
        });
        put.await.copied()
    }

    /// The repository of the place's registry that the image is read from.
    fn source(&self) -> Option<&str> {
        let is_same = self.image.registry() == self.place.registry();
        (is_same && matches!(self.origin, Origin::Registry(..))).then(|| self.image.repository())
    }

    /// Remembers that the repository has a blob.
    fn found(&self, blob: &Descriptor) {
        let key = (self.place.registry().into(), blob.digest.clone());
        let home = match self.run.homes.borrow_mut().entry(key) {
            Entry::Occupied(entry) => Rc::clone(entry.get()),
            Entry::Vacant(entry) => Rc::clone(entry.insert(Rc::default())),
        };
        // If it is being sent elsewhere, that will do as well.
        if let Ok(mut home) = home.try_lock() {
            *home = Some(self.place.repository().into());
        }
    }

    /// Mounts a blob or sends it, where it was `begun`, however often the connection breaks. Unless it is known to be absent
    /// here, that is looked at before anything is sent.
    async fn send(
        &self,
        blob: &Descriptor,
        origin: &Origin,
        from: Option<&str>,
        mut begun: Option<Upload>,
        mut is_absent: bool,
    ) -> Result<(), TransferError> {
        let about = |source| TransferError::Push { what: Part::Blob(blob.digest.clone()), source };
        let part = || Part::Blob(blob.digest.clone());
        let is_there = async || self.ask(part, async || self.repository.has_blob(&blob.digest).await).await;
        let (mut from, mut failures) = (from, 0);
        loop {
            let upload = match begun.take() {
                Some(upload) => Ok(Some(upload)),
                None => self.upload(blob, from.take()).await,
            };
            let error = match upload {
                Ok(None) => {
                    self.loaded.borrow_mut().mounted += blob.size;
                    (self.run.tell)(Event::Kept(self.image, blob.size));
                    return Ok(());
                }
                Ok(Some(upload)) => {
                    if !is_absent && is_there().await? {
                        (self.run.tell)(Event::Kept(self.image, blob.size));
                        return Ok(());
                    }
                    match self.put(blob, origin, upload).await? {
                        None => return Ok(()),
                        Some(error) => error,
                    }
                }
                Err(error) => error,
            };
            self.run.wait_after(self.image, &mut failures, error, about).await?;
            // The answer may be all that was lost.
            if is_there().await? {
                (self.run.tell)(Event::Kept(self.image, blob.size));
                return Ok(());
            }
            is_absent = true;
        }
    }

    /// Where the registry wants a blob; `None`: it has taken it over from another repository.
    async fn upload(&self, blob: &Descriptor, from: Option<&str>) -> Result<Option<Upload>, ContentError> {
        let _permit = self.run.questions.acquire().await;
        if let Some(from) = from {
            match self.repository.mount(&blob.digest, from).await {
                Ok(Mounted::Done) => return Ok(None),
                Ok(Mounted::Upload(upload)) => {
                    self.run.unmounting.borrow_mut().insert(self.place.registry().into());
                    return Ok(Some(upload));
                }
                Err(error) if error.is_passing() => return Err(error),
                // It may be that the login must not read there: it is sent, then.
                Err(_) => _ = self.run.unmounting.borrow_mut().insert(self.place.registry().into()),
            }
        }
        self.repository.begin_upload().await.map(Some)
    }

    /// Sends a blob; what went wrong, if that may pass.
    async fn put(
        &self,
        blob: &Descriptor,
        origin: &Origin,
        upload: Upload,
    ) -> Result<Option<ContentError>, TransferError> {
        // Waited for here: what is there or is mounted waits for nothing that is sent.
        let _permit = self.run.permits.acquire().await;
        let (sent, trouble) = (Arc::new(AtomicU64::new(0)), Trouble::default());
        let (stream, trouble_there) = (blob.clone(), trouble.clone());
        let elsewhere: Vec<_> = match origin {
            Origin::Bundle(_) => Vec::new(),
            Origin::Registry(..) => {
                elsewhere::homes(blob).filter_map(|home| self.run.content.source(&home).ok()).collect()
            }
        };
        let (origin, counter) = (origin.clone(), Arc::clone(&sent));
        let begun = Arc::clone(&sent);
        let open = move || {
            begun.store(0, Ordering::Relaxed);
            origin.stream(&stream, &elsewhere, &counter, &trouble_there)
        };
        let body = Body { size: blob.size, open: &open, sent: &sent };
        let put = self.repository.put_blob(upload, &blob.digest, body);
        tokio::pin!(put);
        let mut told = 0;
        let mut tell = || {
            let now = sent.load(Ordering::Relaxed);
            if let Some(more) = now.checked_sub(told) {
                (self.run.tell)(Event::Received(self.image, more));
                told = now;
            }
            told
        };
        let result = loop {
            match tokio::time::timeout(TELL_EVERY, &mut put).await {
                Ok(result) => break result,
                Err(_) => _ = tell(),
            }
        };
        let told = tell();
        self.loaded.borrow_mut().sent += told;
        if let Some(error) = trouble.take() {
            return Err(error);
        }
        Ok(result.err().inspect(|_| (self.run.tell)(Event::Needed(self.image, told))))
    }
}

/// How many children of an index and blobs of a manifest are looked at side by side.
const CHILDREN_AT_ONCE: usize = 4;
const LAYERS_AT_ONCE: usize = 16;

/// How often it is told how much of a blob is sent.
const TELL_EVERY: Duration = Duration::from_millis(200);
