//! Buffers that a thread keeps from one admission to the next.
//!
//! What goes into an answer is put together in three texts of a few kilobytes. Of that size musl's allocator takes
//! pages from the system and gives them back each time, which costs more than writing the texts.

use std::cell::Cell;

/// The texts that an answer is made of. Empty at first.
#[derive(Default)]
pub(super) struct Scratch {
    /// The patch.
    pub(super) patch: Vec<u8>,
    /// The annotation that is a part of the patch.
    pub(super) sources: Vec<u8>,
    /// The annotation of the API server's audit log.
    pub(super) audited: Vec<u8>,
}

/// Does `work` with this thread's buffers. One that calls this again gets others, which are then kept.
pub(super) fn with<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    let mut scratch = KEPT.take();
    let done = work(&mut scratch);
    for buffer in [&mut scratch.patch, &mut scratch.sources, &mut scratch.audited] {
        buffer.clear();
        buffer.shrink_to(MAX_KEPT);
    }
    KEPT.set(scratch);
    done
}

thread_local! {
    static KEPT: Cell<Scratch> = Cell::default();
}

/// No more of a buffer is kept: what all but a few Pods need.
const MAX_KEPT: usize = 64 * 1024;
