//! A rule: a source, the mirrors that stand for it, and what else holds for it.

use crate::image::Reference;

use super::{
    mirror::Mirror,
    policy::{Fallback, LockMode, Pin, Policies},
    source::{Shape, Source},
};

/// One row of the mapping table.
///
/// It has mirrors, or it is an exception ([`Rule::keep`]) and has none.
#[derive(Debug)]
pub struct Rule {
    pub(super) id: usize,
    pub(super) line: usize,
    pub(super) source: Source,
    pub(super) namespaces: Option<Box<[Box<str>]>>,
    pub(super) mirrors: Box<[Mirror]>,
    pub(super) keep: bool,
    pub(super) policies: Policies,
}

impl Rule {
    /// Its place among the table's rules, from 0.
    pub fn id(&self) -> usize {
        self.id
    }

    /// The line of the document that it begins on, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The source as written.
    pub fn source(&self) -> &str {
        self.source.as_str()
    }

    /// The source as references are compared with it: normalised, `*` and `*.` as they are.
    pub fn normalised_source(&self) -> String {
        match self.source.shape() {
            Shape::Wildcard => format!("*.{}", self.source.key()),
            Shape::Everything | Shape::Exact { .. } | Shape::Prefix => self.source.key().to_owned(),
        }
    }

    /// Whether the source is a whole reference, with a tag or a digest.
    pub fn is_exact(&self) -> bool {
        matches!(self.source.shape(), Shape::Exact { .. })
    }

    /// The patterns of the namespaces that it is for, as written; `None`: for all.
    pub fn namespaces(&self) -> Option<&[Box<str>]> {
        self.namespaces.as_deref()
    }

    /// The mirrors, in the order in which they are asked.
    pub fn mirrors(&self) -> &[Mirror] {
        &self.mirrors
    }

    /// Whether it is an exception: what it holds is left as written.
    pub fn keep(&self) -> bool {
        self.keep
    }

    /// How the digest stands in the result.
    pub fn pin(&self) -> Pin {
        self.policies.pin
    }

    /// What becomes of an image that every mirror says it does not have.
    pub fn on_missing(&self) -> Fallback {
        self.policies.on_missing
    }

    /// What becomes of an image that no mirror has while at least one could not say.
    pub fn on_unavailable(&self) -> Fallback {
        self.policies.on_unavailable
    }

    /// What the lock has to say.
    pub fn lock(&self) -> LockMode {
        self.policies.lock
    }

    /// Where `reference` lives in the mirror with the number `mirror`.
    ///
    /// Tag and digest are carried over; of a source that is a whole reference nothing is, the mirror names its own.
    /// `None`: the source does not hold the reference, there is no such mirror, or the result would be no reference
    /// (255 characters of registry and repository; an upper-case or bracketed host as a path).
    pub fn place(&self, mirror: usize, reference: &Reference) -> Option<Reference> {
        let mirror = self.mirrors.get(mirror)?;
        let rest = self.source.rest(reference)?;
        // More than enough for the text below.
        let mut name = String::with_capacity(mirror.as_str().len() + reference.as_str().len());
        mirror.write(reference.registry(), rest, &mut name);
        if mirror.is_exact() {
            return Reference::from_normalised(&name);
        }
        reference.renamed(&name, mirror.registry().len())
    }
}
