//! Moving images: out of registries into an OCI image layout and from there into others, digests kept to the byte.
//!
//! [`save`] fetches many images side by side into a [`Layout`], each shared blob once, and goes on where an earlier run
//! was ended, also in the middle of a blob; [`Layout::write_archive`] makes one tar file of it. How registries are spoken to is [`crate::registry`]'s matter; who prints what
//! happens ([`Event`]) is not this room's either.
//!
//! [`load`] pushes images where it is told to, out of a [`Bundle`] or out of the registries that have them: what is there
//! is not sent again, what another repository of the registry has is mounted.
//!
//! What [`Earlier`] layouts brought is not carried again: such a layout says what it leaves to them, and is loaded where
//! they were.
//!
//! Invariants: nothing gets its final name in a layout before its bytes were seen to be those of its digest. No blob is
//! ever held in memory whole. Manifests and indexes are never written anew, only copied.

mod archive;
mod bundle;
mod download;
mod earlier;
mod elsewhere;
mod event;
mod failure;
mod layout;
mod load;
mod manifest;
mod options;
mod origin;
mod push;
mod retry;
mod save;

pub use bundle::{Bundle, BundleError, Packed};
pub use earlier::{Earlier, Since};
pub use event::Event;
pub use failure::{Part, StoreError, TransferError};
pub use layout::Layout;
pub use load::{Loaded, Shipment, Shipped, Source, Target, load};
pub use manifest::ManifestError;
pub use options::TransferOptions;
pub use retry::RetryPolicy;
pub use save::{Saved, save};
