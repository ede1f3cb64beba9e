//! Image references and digests, as the container runtimes read them.
//!
//! This room knows texts only: which registry, repository, tag and digest an image string names, and which platform. What stands for
//! it elsewhere is [`crate::table`]'s matter, whether it exists is [`crate::registry`]'s.
//!
//! Invariant: a value of [`Reference`] or [`Digest`] is valid, and printing it gives a text that parses to an equal
//! value.

mod digest;
mod excerpt;
mod hash;
mod platform;
mod reference;

pub use digest::{Algorithm, Digest, Hasher, ParseDigestError};
pub(crate) use excerpt::excerpt;
pub(crate) use hash::{TextMap, TextSet};
pub use platform::{ParsePlatformError, Platform};
pub use reference::{DEFAULT_REGISTRY, ParseReferenceError, Reference, is_registry, is_tag};
