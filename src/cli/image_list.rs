//! Which images are to be moved: a plain list, or whatever else `images` reads.

use std::{collections::HashSet, fs, io::Read as _};

use anyhow::Context as _;

use super::Printer;
use crate::{
    image::Reference,
    inventory::{self, Inventory},
    rewrite::is_placeholder,
};

/// What a list says.
#[derive(Debug, Default)]
pub(super) struct ImageList {
    /// The images, each once, in the order of the list.
    pub(super) images: Vec<Reference>,
    /// How many of its texts are no reference. Each was named on stderr.
    pub(super) invalid: usize,
    /// How many of its documents could not be read. Each was named on stderr.
    pub(super) unread: usize,
}

impl ImageList {
    /// Reads a file, or stdin for `-`.
    pub(super) fn read(path: &str, printer: &mut Printer) -> anyhow::Result<Self> {
        let text = if path == "-" {
            let mut text = String::new();
            std::io::stdin().lock().read_to_string(&mut text).context("cannot read stdin")?;
            text
        } else {
            fs::read_to_string(path).with_context(|| format!("cannot read the images in `{path}`"))?
        };
        let Inventory { documents, problems } = inventory::read(path, &text);
        let mut list = Self { unread: problems.len(), ..Self::default() };
        for problem in problems {
            printer.error(&anyhow::Error::new(problem).context("cannot read a document"));
        }
        let mut seen = HashSet::new();
        for found in documents.iter().flat_map(inventory::images) {
            if is_placeholder(&found.image) {
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
        Ok(list)
    }
}
