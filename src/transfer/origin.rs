//! Where the content of an image comes from: a layout or a registry.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};

use crate::{
    image::{Digest, Hasher},
    registry::{Blob, ByteStream, ContentError, Repository},
};

use super::{
    bundle::Bundle,
    download::blocking,
    failure::{Part, TransferError},
    manifest::Descriptor,
    retry::RetryPolicy,
};

/// What the content of an image is read from.
#[derive(Clone)]
pub(super) enum Origin {
    Bundle(Arc<Bundle>),
    Registry(Repository, RetryPolicy),
}

/// Why a stream ended before its end. Who sends it sees only that it did.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<TransferError>>>);

impl Trouble {
    /// Keeps what went wrong; an error for the stream.
    pub(super) fn tell(&self, error: TransferError) -> std::io::Error {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        std::io::Error::other("the content could not be read")
    }

    /// What went wrong, if something did.
    pub(super) fn take(&self) -> Option<TransferError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Origin {
    /// A manifest's bytes, checked; `None`: a layout does not have it.
    pub(super) async fn manifest(&self, digest: &Digest) -> Result<Option<Bytes>, TransferError> {
        match self {
            Self::Bundle(bundle) => {
                let (bundle, digest) = (Arc::clone(bundle), digest.clone());
                blocking(move || Ok(bundle.manifest(&digest))).await?.map_err(TransferError::from)
            }
            Self::Registry(repository, retry) => {
                let mut failures = 0;
                loop {
                    let source = match repository.manifest(digest.as_str()).await {
                        Ok(manifest) => return Ok(Some(manifest.bytes)),
                        Err(error) => error,
                    };
                    let what = Part::Manifest(Some(digest.clone()));
                    let about = |source| TransferError::Content { what, source };
                    retry.wait_after(&mut failures, source, about, |_, _| {}).await?;
                }
            }
        }
    }

    /// Whether a manifest can be had here. A registry has what its indexes name.
    pub(super) async fn has_manifest(&self, digest: &Digest) -> Result<bool, TransferError> {
        Ok(self.size(digest).await?.is_some())
    }

    /// Whether a blob can be had here, of the length that is said.
    pub(super) async fn has_blob(&self, blob: &Descriptor) -> Result<bool, TransferError> {
        match self.size(&blob.digest).await? {
            Some(size) if size.is_some_and(|size| size != blob.size) => {
                let what = Part::Blob(blob.digest.clone());
                Err(TransferError::WrongSize { what, expected: blob.size })
            }
            size => Ok(size.is_some()),
        }
    }

    /// How long something is, as far as is known; `None`: it is not here.
    async fn size(&self, digest: &Digest) -> Result<Option<Option<u64>>, TransferError> {
        match self {
            Self::Bundle(bundle) => {
                let (bundle, digest) = (Arc::clone(bundle), digest.clone());
                let size = blocking(move || Ok(bundle.size(&digest))).await?;
                Ok(size?.map(Some))
            }
            Self::Registry(..) => Ok(Some(None)),
        }
    }

    /// A configuration; `None`: it is too long for one.
    pub(super) async fn small(&self, blob: &Descriptor) -> Result<Option<Bytes>, TransferError> {
        if blob.size > MAX_CONFIG {
            return Ok(None);
        }
        let trouble = Trouble::default();
        let mut stream = self.stream(blob, &[], &Arc::default(), &trouble);
        let mut bytes = Vec::new();
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => bytes.extend_from_slice(&piece),
                Err(_) => return trouble.take().map_or(Ok(None), Err),
            }
        }
        Ok(Some(bytes.into()))
    }

    /// A blob from its beginning, counted as it is given. What goes wrong is told to `trouble`. What a registry's repository
    /// does not have is looked for `elsewhere`.
    pub(super) fn stream(
        &self,
        blob: &Descriptor,
        elsewhere: &[Repository],
        sent: &Arc<AtomicU64>,
        trouble: &Trouble,
    ) -> ByteStream {
        let stream = match self {
            Self::Bundle(bundle) => bundle.stream(&blob.digest, trouble),
            Self::Registry(repository, retry) => {
                let passing = Passing {
                    repository: repository.clone(),
                    elsewhere: elsewhere.iter().cloned().collect(),
                    retry: *retry,
                    blob: blob.clone(),
                    body: None,
                    skipped: 0,
                    passed: 0,
                    hasher: Hasher::new(blob.digest.algorithm()),
                    failures: 0,
                };
                let trouble = trouble.clone();
                stream::try_unfold(passing, move |passing| {
                    let trouble = trouble.clone();
                    async move { passing.next().await.map_err(|error| trouble.tell(error)) }
                })
                .boxed()
            }
        };
        let sent = Arc::clone(sent);
        let count = move |piece: &std::io::Result<Bytes>| {
            let length = piece.as_ref().map_or(0, Bytes::len);
            sent.fetch_add(length as u64, Ordering::Relaxed);
        };
        stream.inspect(count).boxed()
    }
}

/// A blob on its way from one registry to another. Where the first hangs up, it is asked to go on from there.
struct Passing {
    repository: Repository,
    /// Where it is looked for next.
    elsewhere: VecDeque<Repository>,
    retry: RetryPolicy,
    blob: Descriptor,
    body: Option<Blob>,
    /// How many bytes of the body are passed over: they have come before.
    skipped: u64,
    /// How many bytes have been passed on.
    passed: u64,
    hasher: Hasher,
    failures: u32,
}

impl Passing {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, TransferError> {
        while self.passed < self.blob.size {
            let error = match self.piece().await {
                Ok(Some(piece)) if piece.is_empty() => continue,
                Ok(Some(piece)) => return self.pass(piece).map(Some),
                // It said that this was all, and it was not.
                Ok(None) => ContentError::Unreachable("the bytes ended too early".into()),
                Err(ContentError::Missing) if !self.elsewhere.is_empty() => {
                    self.repository = self.elsewhere.pop_front().unwrap_or(self.repository);
                    continue;
                }
                Err(error) => error,
            };
            self.body = None;
            let what = Part::Blob(self.blob.digest.clone());
            let about = |source| TransferError::Content { what, source };
            self.retry.wait_after(&mut self.failures, error, about, |_, _| {}).await?;
        }
        Ok(None)
    }

    /// The next piece that has not been passed on; an empty one where all of it has.
    async fn piece(&mut self) -> Result<Option<Bytes>, ContentError> {
        if self.body.is_none() {
            let body = self.repository.blob(&self.blob.digest, self.passed).await?;
            self.skipped = self.passed.saturating_sub(body.start());
            self.body = Some(body);
        }
        let Some(body) = &mut self.body else { return Ok(None) };
        let Some(mut piece) = body.piece().await? else { return Ok(None) };
        let skipped = usize::try_from(self.skipped).unwrap_or(usize::MAX).min(piece.len());
        self.skipped -= skipped as u64;
        Ok(Some(piece.split_off(skipped)))
    }

    fn pass(mut self, piece: Bytes) -> Result<(Bytes, Self), TransferError> {
        self.failures = 0;
        self.passed += piece.len() as u64;
        self.hasher.update(&piece);
        if self.passed > self.blob.size {
            let what = Part::Blob(self.blob.digest);
            return Err(TransferError::WrongSize { what, expected: self.blob.size });
        }
        if self.passed == self.blob.size && self.hasher.clone().finish() != self.blob.digest {
            let source = ContentError::Corrupt { digest: self.blob.digest.clone() };
            return Err(TransferError::Content { what: Part::Blob(self.blob.digest), source });
        }
        Ok((piece, self))
    }
}

/// The longest configuration that is looked into.
const MAX_CONFIG: u64 = 4 * 1024 * 1024;
