//! Whether a mirror still has a locked digest: asked in the background, never for an admission.
//!
//! Such requests have a User-Agent of their own, so that a registry's access log tells them apart. What they bring is not
//! remembered for admissions; that a registry does not answer is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{breaker::Permit, host::Host, manifest::FetchError, resolver::Resolver, transport::Purpose};
use crate::image::{Digest, Reference};

/// What a mirror says about a locked digest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verified {
    /// It does not have it.
    Missing,
    /// It has it, but the tag leads elsewhere or is gone.
    Moved,
    /// It has it, and the tag, if there is one, leads to it.
    Present,
    /// It did not say.
    Unknown,
}

impl Resolver {
    /// Asks a mirror for a digest, and for the tag that `reference` has, if it has one: one request where all is well.
    ///
    /// A registry that is left alone is not asked, and when its pause is over this may be the probe.
    pub async fn verify(&self, reference: &Reference, digest: &Digest) -> Verified {
        let Some(host) = self.shared.registries.get(reference.registry()) else { return Verified::Unknown };
        let tag = reference.tag().and_then(|_| Reference::from_normalised(reference.without_digest()));
        let of_tag = match tag {
            Some(tag) => Some(self.look(&host, &tag, Some(digest)).await),
            None => None,
        };
        let found = match of_tag {
            Some(Ok(found)) if found == *digest => return Verified::Present,
            Some(Ok(_) | Err(FetchError::Missing)) => Verified::Moved,
            Some(Err(_)) => return Verified::Unknown,
            None => Verified::Present,
        };
        let alone = [reference.name(), "@", digest.as_str()].concat();
        let Some(alone) = Reference::from_normalised(&alone) else { return Verified::Unknown };
        match self.look(&host, &alone, None).await {
            Ok(_) => found,
            Err(FetchError::Missing) => Verified::Missing,
            Err(_) => Verified::Unknown,
        }
    }

    async fn look(
        &self,
        host: &Arc<Host>,
        reference: &Reference,
        known: Option<&Digest>,
    ) -> Result<Digest, FetchError> {
        let (begun, pause) = (Instant::now(), self.shared.policy.leave_alone_for);
        if host.permit(begun, pause) == Permit::LeftAlone {
            return Err(FetchError::Timeout);
        }
        let fetch = tokio::time::timeout(PATIENCE, host.fetch(reference, Purpose::LockCheck, known, begun));
        let fetched = fetch.await.unwrap_or(Err(FetchError::Timeout));
        match &fetched {
            Err(error) if !error.is_answer() => host.failed(begun, Instant::now(), pause, error),
            _ => host.answered(begun, Instant::now()),
        }
        fetched
    }
}

/// How long one request is waited for. Then its registry counts as silent.
const PATIENCE: Duration = Duration::from_secs(5);
