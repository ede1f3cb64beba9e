//! The lock: which digest a mirror's reference is locked to.
//!
//! A [`Lock`] is read from lines, each a mirror's reference, blanks and a digest. It is replaced whole by an edit; one
//! with problems makes none, and the last good one stays. This room does no I/O: texts come in as values, and what a
//! mirror says about a locked digest comes in as a [`Finding`].
//!
//! Invariant: of one reference there is one digest.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::image::{Digest, Reference, TextMap};

mod problem;
mod read;
mod write;

pub use problem::{Problem, Problems};
pub use read::Document;
pub use write::{Update, sheets};

/// Locked digests, by the mirror's reference.
///
/// ```
/// use portolan::{image::Reference, lock::Lock};
///
/// let digest = format!("sha256:{}", "a".repeat(64));
/// let lock = Lock::parse(&format!("registry.example.com/hub/library/nginx:1.25 {digest} # loaded in May"))?;
/// let nginx = Reference::parse("registry.example.com/hub/library/nginx:1.25")?;
/// assert_eq!(lock.find(&nginx).map(|locked| locked.digest.as_str()), Some(&*digest));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Lock {
    lines: Vec<Line>,
    contents: Vec<Content>,
    /// By registry, repository and tag: a position in `contents`.
    tags: TextMap<u32>,
    /// By registry and repository: the repository's `contents`, by digest.
    repositories: TextMap<Vec<u32>>,
}

/// The ConfigMaps that a lock is read from: by name, each with the texts under its keys.
pub type ConfigMaps = BTreeMap<String, Arc<BTreeMap<String, String>>>;

/// One line of a lock.
#[derive(Debug)]
pub struct Line {
    reference: Reference,
    content: u32,
    config_map: Option<Arc<str>>,
    has_moved: AtomicBool,
}

/// What a repository has under a digest.
#[derive(Debug)]
struct Content {
    digest: Digest,
    is_missing: AtomicBool,
}

/// What the lock says about a mirror's reference.
#[derive(Clone, Copy, Debug)]
pub struct Locked<'l> {
    /// The digest.
    pub digest: &'l Digest,
    /// Whether the mirror was seen not to have it.
    pub is_missing: bool,
}

/// What came of asking a line's mirror.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Finding {
    /// It does not have the digest.
    Missing,
    /// It has the digest, but the line's tag leads elsewhere or is gone.
    Moved,
    /// It is all as the line says.
    Present,
}

impl Lock {
    /// Reads one text.
    ///
    /// # Errors
    /// Everything that is wrong, by place.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        Self::read([Document { name: None, config_map: None, text }])
    }

    /// Reads several texts as one lock, such as all keys of several ConfigMaps.
    ///
    /// # Errors
    /// Everything that is wrong, by document and place.
    pub fn read<'a>(documents: impl IntoIterator<Item = Document<'a>>) -> Result<Self, Problems> {
        read::read(documents)
    }

    /// Reads keys of ConfigMaps as one lock: each the ConfigMap's name, the key and the text under it.
    ///
    /// # Errors
    /// Everything that is wrong, by ConfigMap, key and place.
    pub fn read_keys<'a>(
        keys: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
    ) -> Result<Self, Problems> {
        let named: Vec<_> = keys
            .into_iter()
            .map(|(map, key, text)| (format!("ConfigMap `{map}`, key `{key}`"), map, text))
            .collect();
        Self::read(named.iter().map(|(name, map, text)| Document {
            name: Some(name),
            config_map: Some(map),
            text,
        }))
    }

    /// What the lock says about a place in a mirror: of a reference with a digest, whether a line of its repository
    /// has that digest, else the digest of the line for its tag.
    ///
    /// Allocates nothing and waits for nothing.
    pub fn find(&self, place: &Reference) -> Option<Locked<'_>> {
        if self.lines.is_empty() {
            return None;
        }
        let content = match place.digest() {
            Some(digest) => self.content_of(place.name(), digest)?,
            None => *self.tags.get(place.as_str())?,
        };
        let Content { digest, is_missing } = self.content(content)?;
        Some(Locked { digest, is_missing: is_missing.load(Ordering::Relaxed) })
    }

    /// The lines, in the order in which they were read; a reference that was written twice is one.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The digest of a line of this lock.
    pub fn digest(&self, line: &Line) -> Option<&Digest> {
        self.content(line.content).map(|content| &content.digest)
    }

    /// Keeps what asking a line's mirror brought to light; gives what was known before if that was something else.
    pub fn note(&self, line: &Line, finding: Finding) -> Option<Finding> {
        let before = self.finding(line);
        if let Some(content) = self.content(line.content) {
            content.is_missing.store(finding == Finding::Missing, Ordering::Relaxed);
        }
        line.has_moved.store(finding == Finding::Moved, Ordering::Relaxed);
        (before != finding).then_some(before)
    }

    /// What is known of a line's mirror; without news, that all is as the line says.
    pub fn finding(&self, line: &Line) -> Finding {
        if self.content(line.content).is_some_and(|content| content.is_missing.load(Ordering::Relaxed)) {
            Finding::Missing
        } else if line.has_moved.load(Ordering::Relaxed) {
            Finding::Moved
        } else {
            Finding::Present
        }
    }

    /// Takes over what `earlier` knows about the lines that both have.
    pub fn inherit(&self, earlier: &Self) {
        for line in &self.lines {
            let Some(content) = self.content(line.content) else { continue };
            let known = earlier.content_of(line.reference.name(), content.digest.as_str());
            if let Some(known) = known.and_then(|known| earlier.content(known)) {
                content.is_missing.store(known.is_missing.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }

    fn content(&self, position: u32) -> Option<&Content> {
        self.contents.get(position as usize)
    }

    /// The position of what `repository` has under `digest`.
    fn content_of(&self, repository: &str, digest: &str) -> Option<u32> {
        let of_repository = self.repositories.get(repository)?;
        let position = self.search(of_repository, digest).ok()?;
        of_repository.get(position).copied()
    }

    /// Where `digest` is among the contents of a repository, or where it would be.
    fn search(&self, of_repository: &[u32], digest: &str) -> Result<usize, usize> {
        of_repository.binary_search_by(|position| {
            self.content(*position).map_or("", |content| content.digest.as_str()).cmp(digest)
        })
    }
}

impl Line {
    /// The mirror's reference: a tag, a digest or both.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The ConfigMap that it stands in, if it does; of a line that was written twice the first.
    pub fn config_map(&self) -> Option<&str> {
        self.config_map.as_deref()
    }
}

/// Label of a ConfigMap in Portolan's own namespace: `true` makes all its keys lines of the lock.
pub const LABEL: &str = "portolan.dev/lock";

/// The selector of such ConfigMaps.
pub const SELECTOR: &str = "portolan.dev/lock=true";

#[cfg(test)]
mod tests;
