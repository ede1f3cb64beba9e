//! Which images are to be moved: a plain list, or whatever else `images` reads.

use std::collections::HashSet;

use super::{Printer, sources};
use crate::{
    image::Reference,
    inventory::{self, Certainty},
    rewrite::is_placeholder,
};

/// What a list says.
#[derive(Debug, Default)]
pub(super) struct ImageList {
    /// The images, each once, in the order of the list.
    pub(super) images: Vec<Reference>,
    /// How many of its texts are no reference. Each was named on stderr.
    pub(super) invalid: usize,
    /// How many texts or parts of them could not be read. Each was named on stderr.
    pub(super) unread: usize,
}

impl ImageList {
    /// Reads a file, or stdin for `-`. Of manifests it takes what is certain: whoever wants guesses as well lists them
    /// first (`images --guesses`), and looks.
    pub(super) fn read(path: &str, printer: &mut Printer) -> Self {
        let mut documents = Vec::new();
        let unread = sources::read_path(path, printer, &mut |more| documents.extend(more));
        let mut list = Self { unread, ..Self::default() };
        let mut seen = HashSet::new();
        for found in documents.iter().flat_map(inventory::images) {
            if found.certainty == Certainty::Guess || is_placeholder(&found.image) {
                continue;
            }
            match Reference::parse(&found.image) {
                Ok(image) if seen.insert(image.as_str().to_owned()) => list.images.push(image),
                Ok(_) => {}
                Err(error) => {
                    list.invalid += 1;
                    let place =
                        format!("`{}`, line {}: `{}` is no image", found.file, found.line, found.image);
                    printer.error(&anyhow::Error::new(error).context(place));
                }
            }
        }
        list
    }
}
