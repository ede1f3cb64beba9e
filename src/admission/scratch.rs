//! Buffers that a thread keeps from one admission to the next.
//!
//! What goes into an answer is put together in texts of a few kilobytes. Of that size musl's allocator takes
//! pages from the system and gives them back each time, which costs more than writing the texts.

use std::cell::Cell;

use crate::review::Embedded;

/// The texts that an answer is made of. Empty at first.
#[derive(Default)]
pub(super) struct Scratch {
    /// The patch.
    pub(super) patch: Vec<u8>,
    /// The annotation that is a part of the patch.
    pub(super) sources: Embedded,
    /// The annotation of the API server's audit log.
    pub(super) audited: Embedded,
    /// Its key.
    pub(super) audit_key: String,
}

/// Does `work` with this thread's buffers. One that calls this again gets others, which are then kept.
pub(super) fn with<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    let mut scratch = KEPT.take();
    let done = work(&mut scratch);
    scratch.patch.clear();
    scratch.patch.shrink_to(MAX_KEPT);
    scratch.sources.reset(MAX_KEPT);
    scratch.audited.reset(MAX_KEPT);
    scratch.audit_key.clear();
    KEPT.set(scratch);
    done
}

thread_local! {
    static KEPT: Cell<Scratch> = Cell::default();
}

/// No more of a buffer is kept: what all but a few Pods need.
const MAX_KEPT: usize = 64 * 1024;
