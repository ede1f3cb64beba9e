//! What is where in a tar file. Its content is passed over.

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
};

use super::{BundleError, INDEX, MARKER, Span, foreign};
use crate::image::{Digest, excerpt};

/// The entries of a tar file.
pub(super) struct Entries {
    path: PathBuf,
    /// Those under a blob's name in a layout.
    pub(super) blobs: HashMap<Digest, Span>,
    /// All other plain files, by name, in their order.
    pub(super) others: Vec<(String, Span)>,
    /// Links, each with where it leads to.
    pub(super) links: Vec<(String, String)>,
}

/// Reads the headers of a tar file.
///
/// # Errors
/// It is none, it is cut off, or something in it has a name that leads out of it, or is no file, folder or link.
pub(super) fn read(path: &Path) -> Result<Entries, BundleError> {
    let unreadable = |source| BundleError::Io { path: path.into(), source };
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let mut tar = tar::Archive::new(file);
    let mut entries =
        Entries { path: path.into(), blobs: HashMap::new(), others: Vec::new(), links: Vec::new() };
    let mut end = 0;
    for entry in tar.entries_with_seek().map_err(unreadable)? {
        let entry = entry.map_err(|_| match end {
            0 => foreign(path, "it is neither a folder nor a tar file"),
            _ => BundleError::Truncated { path: path.into() },
        })?;
        let kind = entry.header().entry_type();
        let (start, size) = (entry.raw_file_position(), entry.size());
        end = start.saturating_add(size);
        if end > length {
            return Err(BundleError::Truncated { path: path.into() });
        }
        if kind.is_pax_global_extensions() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if name.starts_with('/') {
            return Err(entries.refused(&name, "has an absolute name"));
        }
        if name.split('/').any(|part| part == "..") {
            return Err(entries.refused(&name, "has a name that leads out of it"));
        }
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        if kind.is_dir() {
        } else if kind.is_symlink() || kind.is_hard_link() {
            let to = entry.link_name_bytes().unwrap_or_default();
            entries.links.push((name, String::from_utf8_lossy(&to).into_owned()));
        } else if !kind.is_file() && !kind.is_contiguous() {
            return Err(entries.refused(&name, "is no plain file"));
        } else if let Some(digest) = blob(&name) {
            entries.blobs.insert(digest, (start, size));
        } else {
            entries.others.push((name, (start, size)));
        }
    }
    if end == 0 {
        return Err(foreign(path, "it is empty"));
    }
    Ok(entries)
}

impl Entries {
    /// Where the plain file of that name is, if there is one.
    pub(super) fn span(&self, name: &str) -> Result<Option<Span>, BundleError> {
        let mut found = self.others.iter().filter(|(other, _)| other == name).map(|(_, span)| *span);
        let first = found.next();
        // Two readers could see two layouts.
        if found.next().is_some() { Err(self.refused(name, "is there twice")) } else { Ok(first) }
    }

    /// Sees to it that there is nothing but a layout, and what `docker save` writes beside it.
    pub(super) fn check_names(&self) -> Result<(), BundleError> {
        if let Some((name, _)) = self.links.first() {
            return Err(self.refused(name, "is a link"));
        }
        let is_known = |name: &str| [MARKER, INDEX, "manifest.json", "repositories"].contains(&name);
        match self.others.iter().find(|(name, _)| !is_known(name)) {
            Some((name, _)) => Err(self.refused(name, "has no place in a layout")),
            None => Ok(()),
        }
    }

    pub(super) fn refused(&self, name: &str, why: &'static str) -> BundleError {
        BundleError::Entry { path: self.path.clone(), name: excerpt(name, 200), why }
    }
}

/// The digest that a blob's name in a layout says.
pub(super) fn blob(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}
