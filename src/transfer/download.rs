//! One blob into a layout: from the byte on that is missing, checked on the way, never whole in memory.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::{
    image::{Digest, Hasher, Reference},
    registry::{ContentError, Repository},
};

use super::{
    event::Event,
    failure::{Part, StoreError, TransferError},
    layout::{Layout, failed},
    manifest::Descriptor,
    retry::RetryPolicy,
};

/// What a download needs to know beside what it fetches.
pub(super) struct Downloads<'a> {
    pub(super) layout: &'a Arc<Layout>,
    pub(super) retry: RetryPolicy,
    pub(super) tell: &'a dyn Fn(Event<'_>),
}

impl Downloads<'_> {
    /// Sees to it that a blob is in the layout; how many bytes came for it. What the image's repository does not have
    /// is looked for `elsewhere`.
    pub(super) async fn blob(
        &self,
        (image, repository): (&Reference, &Repository),
        elsewhere: &[Repository],
        blob: &Descriptor,
    ) -> Result<u64, TransferError> {
        let Descriptor { digest, size, .. } = blob;
        (self.tell)(Event::Needed(image, *size));
        if self.is_there(digest, *size).await? {
            (self.tell)(Event::Kept(image, *size));
            return Ok(0);
        }
        let mut received = 0;
        // What an earlier run left may be anything: if the whole is wrong then, it is fetched once more from the beginning.
        for is_last in [false, true] {
            let mut partial = Partial::open(self.layout.partial(digest), digest, *size).await?;
            let was_there = partial.length;
            (self.tell)(Event::Kept(image, was_there));
            received += self.rest((image, repository), elsewhere, blob, &mut partial).await?;
            let found = partial.finish().await?;
            if found == *digest {
                self.layout.adopt(digest)?;
                return Ok(received);
            }
            let path = self.layout.partial(digest);
            fs::remove_file(&path).map_err(failed("remove", &path))?;
            if is_last || was_there == 0 {
                let source = ContentError::Corrupt { digest: digest.clone() };
                return Err(TransferError::Content { what: Part::Blob(digest.clone()), source });
            }
            (self.tell)(Event::Needed(image, *size));
        }
        unreachable!("the second time ends it");
    }

    /// Fetches what is missing, however often the connection breaks.
    async fn rest(
        &self,
        (image, mut repository): (&Reference, &Repository),
        elsewhere: &[Repository],
        blob: &Descriptor,
        partial: &mut Partial,
    ) -> Result<u64, TransferError> {
        let mut received = 0;
        let mut failures = 0;
        let mut others = elsewhere.iter();
        // Of nothing there is nothing to fetch.
        while partial.length < blob.size {
            let before = partial.length;
            let error = match self.go_on((image, repository), blob, partial, &mut received).await {
                Ok(()) if partial.length == blob.size => return Ok(received),
                // It said that this was all, and it was not.
                Ok(()) => ContentError::Unreachable("the bytes ended too early".into()),
                Err(Ended::Content(error)) => match (error, others.as_slice()) {
                    (ContentError::Missing, [other, ..]) => {
                        others.next();
                        repository = other;
                        continue;
                    }
                    (error, _) => error,
                },
                Err(Ended::Store(error)) => return Err(error.into()),
                Err(Ended::TooLong) => {
                    partial.keep().await?;
                    let path = self.layout.partial(&blob.digest);
                    fs::remove_file(&path).map_err(failed("remove", &path))?;
                    return Err(TransferError::WrongSize {
                        what: Part::Blob(blob.digest.clone()),
                        expected: blob.size,
                    });
                }
            };
            // What has come is kept, whatever happens now.
            partial.keep().await?;
            if partial.length > before {
                failures = 0;
            }
            self.wait_after(image, || Part::Blob(blob.digest.clone()), &mut failures, error).await?;
        }
        Ok(received)
    }

    /// Counts a failure, tells of it and waits until it is time to try again.
    ///
    /// # Errors
    /// The failure, if it is not to be tried again.
    pub(super) async fn wait_after(
        &self,
        image: &Reference,
        what: impl FnOnce() -> Part,
        failures: &mut u32,
        source: ContentError,
    ) -> Result<(), TransferError> {
        let about = |source| TransferError::Content { what: what(), source };
        let tell = |error: &TransferError, pause| (self.tell)(Event::Retried { image, error, pause });
        self.retry.wait_after(failures, source, about, tell).await
    }

    /// Fetches until the end or until something breaks.
    async fn go_on(
        &self,
        (image, repository): (&Reference, &Repository),
        blob: &Descriptor,
        partial: &mut Partial,
        received: &mut u64,
    ) -> Result<(), Ended> {
        let mut body = repository.blob(&blob.digest, partial.length).await?;
        if body.start() != partial.length {
            (self.tell)(Event::Needed(image, partial.length));
            partial.restart().await?;
        }
        while let Some(piece) = body.piece().await? {
            let length = piece.len() as u64;
            if partial.length + length > blob.size {
                return Err(Ended::TooLong);
            }
            *received += length;
            partial.write(&piece).await?;
            (self.tell)(Event::Received(image, length));
        }
        Ok(())
    }

    async fn is_there(&self, digest: &Digest, size: u64) -> Result<bool, StoreError> {
        let (layout, digest) = (Arc::clone(self.layout), digest.clone());
        blocking(move || layout.has(&digest, size)).await
    }
}

/// Why a body was not read to its end.
enum Ended {
    Content(ContentError),
    Store(StoreError),
    TooLong,
}

impl From<ContentError> for Ended {
    fn from(error: ContentError) -> Self {
        Self::Content(error)
    }
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What has come of a blob. Hashing and writing go on beside the network, a block at a time.
struct Partial {
    path: PathBuf,
    /// How many bytes there are, those on their way to the file included.
    length: u64,
    block: Vec<u8>,
    digest: Digest,
    writing: Option<JoinHandle<Result<Written, StoreError>>>,
}

struct Written {
    file: File,
    hasher: Hasher,
    /// To be filled again.
    block: Vec<u8>,
}

impl Partial {
    /// Opens what an earlier run left, or begins. More than `size` bytes cannot be what is wanted.
    async fn open(path: PathBuf, digest: &Digest, size: u64) -> Result<Self, StoreError> {
        let (at, algorithm) = (path.clone(), digest.algorithm());
        let (written, length) = blocking(move || {
            let cannot = failed("write", &at);
            let mut options = File::options();
            let options = options.create(true).truncate(false).read(true).write(true);
            let mut file = options.open(&at).map_err(&cannot)?;
            let mut hasher = Hasher::new(algorithm);
            if file.metadata().map_err(&cannot)?.len() > size {
                file.set_len(0).map_err(&cannot)?;
            }
            let mut length = 0;
            let mut block = vec![0; BLOCK];
            loop {
                match file.read(&mut block).map_err(&cannot)? {
                    0 => break,
                    read => {
                        hasher.update(block.get(..read).unwrap_or_default());
                        length += read as u64;
                    }
                }
            }
            block.clear();
            Ok((Written { file, hasher, block }, length))
        })
        .await?;
        let writing = Some(tokio::spawn(std::future::ready(Ok(written))));
        Ok(Self { path, length, block: Vec::with_capacity(BLOCK), digest: digest.clone(), writing })
    }

    async fn write(&mut self, piece: &Bytes) -> Result<(), StoreError> {
        self.block.extend_from_slice(piece);
        self.length += piece.len() as u64;
        if self.block.len() >= BLOCK { self.pass_on().await } else { Ok(()) }
    }

    /// Begins again from the first byte.
    async fn restart(&mut self) -> Result<(), StoreError> {
        self.block.clear();
        let Written { mut file, block, .. } = self.written().await?;
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed("write", &self.path))?;
        self.length = 0;
        let written = Written { file, hasher: Hasher::new(self.digest.algorithm()), block };
        self.writing = Some(tokio::spawn(std::future::ready(Ok(written))));
        Ok(())
    }

    /// Puts everything that has come into the file.
    async fn keep(&mut self) -> Result<(), StoreError> {
        self.pass_on().await?;
        let written = self.written().await?;
        self.writing = Some(tokio::spawn(std::future::ready(Ok(written))));
        Ok(())
    }

    /// Puts everything into the file; the digest of it all.
    async fn finish(mut self) -> Result<Digest, StoreError> {
        self.pass_on().await?;
        Ok(self.written().await?.hasher.finish())
    }

    /// Hands the block over, when the one before is written.
    async fn pass_on(&mut self) -> Result<(), StoreError> {
        let Written { mut file, mut hasher, block: mut empty } = self.written().await?;
        std::mem::swap(&mut self.block, &mut empty);
        let (mut block, path) = (empty, self.path.clone());
        self.writing = Some(tokio::task::spawn_blocking(move || {
            file.write_all(&block).map_err(failed("write", &path))?;
            hasher.update(&block);
            block.clear();
            Ok(Written { file, hasher, block })
        }));
        Ok(())
    }

    /// Waits for the block that is being written.
    async fn written(&mut self) -> Result<Written, StoreError> {
        let lost = || io::Error::other("writing was ended");
        let Some(writing) = self.writing.take() else { return Err(failed("write", &self.path)(lost())) };
        writing.await.unwrap_or_else(|_| Err(failed("write", &self.path)(lost())))
    }
}

/// Runs what waits for the disk where that holds nobody up.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// How much is collected before it is hashed and written. Two of these are held for each blob on its way.
const BLOCK: usize = 256 * 1024;
