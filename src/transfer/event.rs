//! What happens while images are moved, for who shows it.

use std::time::Duration;

use crate::image::Reference;

use super::{failure::TransferError, load::Loaded, save::Saved};

/// One thing that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// An image is begun, or one place of it. As many of [`Event::Ended`] or [`Event::Placed`] follow.
    Begun(&'a Reference),
    /// It came to light that so many bytes more are needed for an image. What several need is the first one's.
    Needed(&'a Reference, u64),
    /// So many of them have come from a registry, or gone to one.
    Received(&'a Reference, u64),
    /// So many of them were there already.
    Kept(&'a Reference, u64),
    /// Something did not work and is tried again.
    Retried {
        /// For which image.
        image: &'a Reference,
        /// Why.
        error: &'a TransferError,
        /// When.
        pause: Duration,
    },
    /// One place of an image is done with.
    Placed {
        /// Which image.
        image: &'a Reference,
        /// Where it was to go.
        place: &'a Reference,
        /// How.
        result: &'a Result<Loaded, TransferError>,
    },
    /// An image is done with.
    Ended {
        /// Which.
        image: &'a Reference,
        /// How.
        result: &'a Result<Saved, TransferError>,
    },
}
