//! Whether a repository has a blob already.
//!
//! HEAD says so, and where it does not, an upload is another request. To be asked to mount a blob from the repository
//! itself says both at once (distribution-spec §mounting-a-blob): 201 if it is there, 202 and where to send it if not. But
//! a registry that mounts nothing answers 202 in any case, and what is there would be sent again. So where there are many
//! images a registry is tried with a blob that it has, and asked in this way from then on if it says so.

use super::{
    super::{
        failure::{Part, TransferError},
        manifest::Descriptor,
    },
    Way,
};
use crate::registry::{ContentError, Mounted, Upload};

/// What came of looking for a blob.
pub(super) enum Found {
    /// The repository has it.
    Here,
    /// It does not; where it is to be sent, if that was said.
    Absent(Option<Upload>),
}

impl Way<'_> {
    /// Looks whether the repository has a blob. With `may_begin` the answer may be the beginning of an upload.
    pub(super) async fn look_for(&self, blob: &Descriptor, may_begin: bool) -> Result<Found, TransferError> {
        let part = || Part::Blob(blob.digest.clone());
        let registry = self.place.registry();
        let is_telling = self.run.telling.borrow().get(registry).copied().unwrap_or_default();
        if may_begin && is_telling {
            match self.mount_from_itself(blob).await {
                Ok(Mounted::Done) => return Ok(Found::Here),
                Ok(Mounted::Upload(upload)) => return Ok(Found::Absent(Some(upload))),
                // It may be this question that it has no answer to.
                Err(_) => _ = self.run.telling.borrow_mut().insert(registry.into(), false),
            }
        }
        let is_here = self.ask(part, async || self.repository.has_blob(&blob.digest).await).await?;
        Ok(if is_here { Found::Here } else { Found::Absent(None) })
    }

    /// Tries, once for each registry, whether it says that a blob is there that is.
    pub(super) async fn learn_from(&self, blob: &Descriptor) {
        let registry = self.place.registry();
        if self.run.images < MANY || self.run.telling.borrow().contains_key(registry) {
            return;
        }
        self.run.telling.borrow_mut().insert(registry.into(), false);
        let is_telling = matches!(self.mount_from_itself(blob).await, Ok(Mounted::Done));
        self.run.telling.borrow_mut().insert(registry.into(), is_telling);
    }

    async fn mount_from_itself(&self, blob: &Descriptor) -> Result<Mounted, ContentError> {
        let _permit = self.run.questions.acquire().await;
        self.repository.mount(&blob.digest, self.place.repository()).await
    }
}

/// From how many images on that is worth a request.
const MANY: usize = 8;
