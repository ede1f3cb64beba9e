//! Mirrors: the places that stand for a source.
//!
//! A mirror begins with a registry, may have `{registry}` as one whole segment of its path, and names a tag or a
//! digest exactly if its source does.

use crate::image::{DEFAULT_REGISTRY, Reference};

use super::{
    problem::{Fault, quoted},
    source::no_reference_at_all,
};

/// A place that stands for a source.
#[derive(Debug)]
pub struct Mirror {
    written: Box<str>,
    registry_end: usize,
    /// Where registry and path end, before a tag or a digest.
    name_end: usize,
    /// Where [`PLACEHOLDER`] begins.
    placeholder: Option<usize>,
}

impl Mirror {
    /// Reads a mirror as written.
    pub(super) fn read(written: &str, scratch: &mut String) -> Result<Self, Fault> {
        let refused =
            |why: &str, remedy: String| Err(Fault::new(format!("mirror {} {why}", quoted(written)), remedy));
        if let Some(remedy) = no_reference_at_all(written) {
            return refused("is no registry or path", remedy);
        }
        let (registry, path) = match written.split_once('/') {
            Some((registry, path)) => (registry, Some(path)),
            None => (written, None),
        };
        if registry.contains(['{', '}']) {
            let remedy: String =
                "begin with the registry's host, as in `registry.example.com/{registry}`".into();
            return refused("has no host", remedy);
        }
        let placeholder = match check_placeholder(path.unwrap_or("")) {
            Ok(position) => position.map(|position| registry.len() + 1 + position),
            Err((why, remedy)) => return refused(why, remedy.into()),
        };
        let exact = path.is_some_and(|path| path.contains([':', '@']));
        scratch.clear();
        fill(written, placeholder, "x", scratch);
        match path {
            None => scratch.push_str("/x/x:x"),
            Some(_) if !exact => scratch.push_str("/x:x"),
            Some(_) => {}
        }
        let reference = match Reference::parse(scratch) {
            Ok(reference) => reference,
            Err(error) => return refused(&format!("is no place for images: {error}"), EXAMPLE.into()),
        };
        if reference.registry() != registry {
            if registry == "index.docker.io" {
                let remedy = format!("write {}", quoted(&written.replacen(registry, DEFAULT_REGISTRY, 1)));
                return refused("is another name of `docker.io`", remedy);
            }
            return refused("has no host", EXAMPLE.into());
        }
        if exact && reference.as_str() != scratch.as_str() {
            return refused("is not written in full", format!("write {}", quoted(reference.as_str())));
        }
        let name_end = if exact {
            // What follows the name is not changed by filling in the placeholder.
            written.len() - (scratch.len() - reference.name().len())
        } else {
            written.len()
        };
        Ok(Self { written: written.into(), registry_end: registry.len(), name_end, placeholder })
    }

    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The registry that it is in.
    pub fn registry(&self) -> &str {
        self.part(0, self.registry_end)
    }

    /// What every image in this mirror begins with, on a segment boundary: the text before `{`, without its `/`; of
    /// a mirror with a tag or a digest, its repository.
    pub fn prefix(&self) -> &str {
        self.part(0, self.placeholder.map_or(self.name_end, |start| start - 1))
    }

    /// Whether images of this name are inside it.
    pub(super) fn holds(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.prefix());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether it names a tag or a digest.
    pub(super) fn is_exact(&self) -> bool {
        self.name_end < self.written.len()
    }

    /// Writes the place of what `registry` has under `rest` (empty, or `/` and a path); of a mirror with a tag or a
    /// digest, that reference.
    pub(super) fn write(&self, registry: &str, rest: &str, text: &mut String) {
        fill(&self.written, self.placeholder, registry, text);
        if !self.is_exact() {
            text.push_str(rest);
        }
    }

    fn part(&self, from: usize, to: usize) -> &str {
        self.written.get(from..to).expect("the positions were taken from this text")
    }
}

/// Writes a mirror's text with `registry` in the place of the placeholder, each `:` as `_`.
fn fill(written: &str, placeholder: Option<usize>, registry: &str, text: &mut String) {
    let Some((before, behind)) = placeholder.and_then(|start| written.split_at_checked(start)) else {
        return text.push_str(written);
    };
    text.push_str(before);
    for (number, part) in registry.split(':').enumerate() {
        if number > 0 {
            text.push('_');
        }
        text.push_str(part);
    }
    text.push_str(behind.strip_prefix(PLACEHOLDER).unwrap_or(behind));
}

/// Where the placeholder begins in a path, or why it cannot stand there and the remedy.
fn check_placeholder(path: &str) -> Result<Option<usize>, (&'static str, &'static str)> {
    let mut found = None;
    let mut start = 0;
    for segment in path.split('/') {
        if segment.contains(['{', '}']) {
            let whole = segment.strip_prefix(PLACEHOLDER).filter(|rest| {
                (rest.is_empty() || rest.starts_with([':', '@'])) && !rest.contains(['{', '}'])
            });
            if whole.is_none() {
                return Err(if segment.contains(PLACEHOLDER) {
                    ("has `{registry}` as a part of a segment", "make it a whole segment between two `/`")
                } else {
                    ("has a placeholder that is not known", "`{registry}` is the only one")
                });
            }
            if found.replace(start).is_some() {
                return Err(("has `{registry}` more than once", "write it once"));
            }
        }
        start += segment.len() + 1;
    }
    Ok(found)
}

/// Stands for the registry of the reference that is looked up.
const PLACEHOLDER: &str = "{registry}";

const EXAMPLE: &str = "write a registry's host and perhaps a path, as in `registry.example.com/hub`";
