//! The audit log: one JSON line for every image decided.
//!
//! An admission hands over one owned [`Record`] and goes on; encoding, batching and writing belong to a thread of
//! its own. What the lines say is decided elsewhere ([`crate::rewrite`]); where they go is said at the start.
//!
//! Invariant: a slow or full disk never slows an admission. What does not fit into the queue is counted, and what
//! was taken is written before [`Log::close`] returns.

mod line;
mod record;
mod spares;
mod writer;

pub use record::{Head, Record};
pub use writer::{CloseLogError, Destination, Log, OpenLogError};
