//! How images are moved, whatever from and whatever to.

use super::retry::RetryPolicy;
use crate::image::Platform;

/// How images are moved.
#[derive(Clone, Debug)]
pub struct TransferOptions {
    /// Out of registries, for which platforms; none: for all that there are. A layout has those that it has.
    pub platforms: Vec<Platform>,
    /// Whether, out of registries, layers come along that may not be given to others.
    pub with_nondistributable: bool,
    /// How many blobs are on their way at once.
    pub at_once: usize,
    /// When something is tried again.
    pub retry: RetryPolicy,
}

impl Default for TransferOptions {
    fn default() -> Self {
        Self {
            platforms: Vec::new(),
            with_nondistributable: false,
            at_once: 6,
            retry: RetryPolicy::default(),
        }
    }
}
