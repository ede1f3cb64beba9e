//! Keeps the allocator from giving pages back to the system between two requests and taking them again.
//!
//! musl's allocator (mallocng) takes blocks of one size class from groups. A group that has no block in use is given
//! back, and in a class of which little is used a group has one block or two: so the buffers of a request, which a
//! server needs again for the next one, were mapped, cleared by the kernel and unmapped each time, at up to 20 µs a
//! request; the audit log's records likewise, for each batch. Whether it happened depended on what else lay in that
//! class, so that the same server was slow with one mapping table and fast with another.

use std::sync::OnceLock;

/// Takes blocks, once in a process, of every class that a request's buffers and records have. It costs some 4 MiB with
/// musl, and nothing elsewhere.
pub(super) fn keep_groups() {
    KEPT.get_or_init(|| {
        let classes: &[usize] = if cfg!(target_env = "musl") { &CLASSES } else { &[] };
        let take = |class: &usize| {
            let capacity = class * UNIT - OVERHEAD;
            let blocks: Vec<_> = (0..blocks_of(*class)).map(|_| Vec::with_capacity(capacity)).collect();
            // Every second one is free for requests again, and has a neighbour that keeps their group.
            blocks.into_iter().step_by(2)
        };
        classes.iter().flat_map(take).collect()
    });
}

/// The blocks, which are never written to. Their groups stay as long as they do.
static KEPT: OnceLock<Vec<Vec<u8>>> = OnceLock::new();

/// How many blocks are taken of a class.
fn blocks_of(class: usize) -> usize {
    match class {
        // Parts of the records that wait for the audit log.
        ..72 => 256,
        // The longer ones, and buffers of 4, 8 and 16 KiB, of which each connection keeps some.
        72..256 | 292 | 584 | 1169 => 96,
        // What a request is read into and answered from; a worker has few in hand at once.
        _ => 16,
    }
}

/// The size classes of mallocng from 128 bytes to its largest, 128 KiB, in units (`__malloc_size_classes`).
const CLASSES: [usize; 40] = [
    9, 10, 12, 15, 18, 20, 25, 31, 36, 42, 50, 63, 72, 84, 102, 127, 146, 170, 204, 255, 292, 340, 409, 511,
    584, 682, 818, 1023, 1169, 1364, 1637, 2047, 2340, 2730, 3276, 4095, 4680, 5460, 6552, 8191,
];

/// Bytes in a unit.
const UNIT: usize = 16;

/// What a block's own data take of it, rounded up.
const OVERHEAD: usize = 8;
