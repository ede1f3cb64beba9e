//! What the table says about an image's text: read, looked up and placed once, then remembered.
//!
//! Most Pods name what Pods before them have named. A table never changes, so what it said once it would say again; an
//! edited table is another one and remembers nothing yet.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use foldhash::fast::RandomState;

use super::{Lookup, Pin, Rule, Table};
use crate::image::{Digest, Reference};

/// An image's text, read, and what the table says about it.
#[derive(Debug)]
pub struct Found {
    /// The text, read.
    pub reference: Reference,
    /// How the table speaks of it.
    pub how: How,
    /// The rule that does, if one does.
    pub rule: Option<Arc<Rule>>,
    /// Where it may be, in the order in which the mirrors are asked; of an image inside a mirror itself.
    pub places: Box<[Place]>,
}

/// How a table speaks of an image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    /// The rule says `keep: true`.
    Exception,
    /// The image is inside a mirror of the rule.
    Inside,
    /// No rule speaks of it that is for the namespace.
    NoRule,
    /// The rule has mirrors for it; in none of them would it be a valid reference if there are no places.
    Rule,
}

/// An image's place in one mirror of a rule.
#[derive(Debug)]
pub struct Place {
    /// The mirror's number in the rule.
    pub mirror: usize,
    /// What the image is called there.
    pub reference: Reference,
    /// What it was pinned to last.
    pinned: RwLock<Option<Pinned>>,
}

/// An image's place with a digest.
#[derive(Debug)]
struct Pinned {
    pin: Pin,
    digest: Digest,
    text: Arc<str>,
}

impl Place {
    fn new(mirror: usize, reference: Reference) -> Self {
        Self { mirror, reference, pinned: RwLock::default() }
    }

    /// The place with that digest instead of whatever digest it names, its tag left out by [`Pin::Digest`].
    ///
    /// The digest of last time costs a look and allocates nothing.
    pub fn pinned_to(&self, digest: &Digest, pin: Pin) -> Arc<str> {
        let is_same = |last: &&Pinned| last.digest == *digest && last.pin == pin;
        let last = self.pinned.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref().filter(is_same) {
            return Arc::clone(&last.text);
        }
        drop(last);
        let location = match pin {
            Pin::Digest => self.reference.name(),
            Pin::Off | Pin::TagAndDigest => self.reference.without_digest(),
        };
        let text: Arc<str> = [location, "@", digest.as_str()].concat().into();
        let pinned = Pinned { pin, digest: digest.clone(), text: Arc::clone(&text) };
        *self.pinned.write().unwrap_or_else(PoisonError::into_inner) = Some(pinned);
        text
    }
}

impl Table {
    /// Reads an image's text and finds what the table says about it in a namespace, as [`Table::lookup`] and
    /// [`Rule::place`] do; `None` if it is no reference.
    ///
    /// What was found before costs one look into a map and allocates nothing.
    pub fn find(&self, written: &str, namespace: Option<&str>) -> Option<Arc<Found>> {
        // Without scoped rules no namespace makes a difference; with them, one that is not known is not remembered.
        let key = if self.is_scoped { namespace } else { Some("") };
        let key = key.filter(|namespace| namespace.len().max(written.len()) <= LONGEST);
        let Some(key) = key else { return self.find_anew(written, namespace).map(Arc::new) };
        if let Some(found) = self.finds.recall(key, written) {
            return Some(found);
        }
        let found = Arc::new(self.find_anew(written, namespace)?);
        self.finds.keep(key, written, Arc::clone(&found));
        Some(found)
    }

    fn find_anew(&self, written: &str, namespace: Option<&str>) -> Option<Found> {
        let reference = Reference::parse(written).ok()?;
        let (how, rule, places) = match self.lookup(&reference, namespace) {
            Lookup::Exception(rule) => (How::Exception, Some(rule), Box::default()),
            Lookup::Inside { rule, mirror } => {
                (How::Inside, Some(rule), Box::from([Place::new(mirror, reference.clone())]))
            }
            Lookup::InsideNoRule | Lookup::NoRule => (How::NoRule, None, Box::default()),
            Lookup::Rule(rule) => {
                let places = (0..rule.mirrors().len())
                    .filter_map(|mirror| Some(Place::new(mirror, rule.place(mirror, &reference)?)));
                (How::Rule, Some(rule), places.collect())
            }
        };
        let rule = rule.map(Arc::clone);
        Some(Found { reference, how, rule, places })
    }
}

/// What was found before, by namespace and text. Whoever makes Pods chooses the texts: they are hashed by a number
/// that nobody knows, and there is a most.
#[derive(Default)]
pub(super) struct Finds {
    kept: RwLock<Kept>,
}

#[derive(Default)]
struct Kept {
    by_namespace: ByText<ByText<Arc<Found>>>,
    count: usize,
}

type ByText<V> = HashMap<Box<str>, V, RandomState>;

impl Finds {
    fn recall(&self, namespace: &str, written: &str) -> Option<Arc<Found>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.by_namespace.get(namespace)?.get(written).cloned()
    }

    fn keep(&self, namespace: &str, written: &str, found: Arc<Found>) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.count == MOST {
            // Whatever is still named comes back by itself.
            *kept = Kept::default();
        }
        let earlier = kept.by_namespace.entry(namespace.into()).or_default().insert(written.into(), found);
        if earlier.is_none() {
            kept.count += 1;
        }
    }
}

impl fmt::Debug for Finds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Finds").field("count", &kept.count).finish()
    }
}

/// How many texts are remembered, all namespaces together: about 6 MiB at the usual lengths.
const MOST: usize = 8192;

/// The longest text that is remembered, in bytes: longer than any registry, repository, tag and digest in use.
const LONGEST: usize = 512;

#[cfg(test)]
mod tests;
