//! The annotation `portolan.dev/sources`: what each image was written as before Portolan changed it.
//!
//! It speaks only for its own Pod, and only for putting an image back that a re-applied manifest would undo. Nothing
//! read from it decides about another Pod.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Decision, Field, Judged, Outcome, Place, Reason, fields::List};
use crate::{
    image::Reference,
    review::{Embedded, Pod, fixed},
    table::{Lookup, Table},
};

/// The annotation's value, read. What cannot be read counts as nothing.
#[derive(Debug, Default)]
pub struct Sources {
    entries: BTreeMap<String, Entry>,
}

/// One image that Portolan changed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
struct Entry {
    written: String,
    image: String,
    reason: Option<String>,
}

impl Sources {
    /// The annotation of a Pod.
    pub fn of(pod: &Pod<'_>) -> Self {
        let text = pod
            .metadata
            .as_ref()
            .and_then(|metadata| metadata.annotations.as_ref())
            .and_then(|annotations| annotations.sources.as_deref());
        let entries = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        Self { entries }
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether Portolan made the image that stands there.
    pub fn made(&self, field: &Field<'_>) -> bool {
        self.entry(field.place, field.name).is_some_and(|entry| entry.image == field.image)
    }

    fn entry(&self, place: Place, name: &str) -> Option<&Entry> {
        if self.entries.is_empty() {
            return None;
        }
        self.entries.get(&key(place.list, name))
    }
}

/// What an UPDATE means for one image, by its container's (volume's) text in the Pod as it was: `unchanged`,
/// `restored`, or `None` for one that is new.
pub fn standing(field: &Field<'_>, old_image: Option<&str>, old_sources: &Sources) -> Option<Decision> {
    let old_image = old_image?;
    if old_image == field.image {
        return Some(Decision::kept(Reason::Unchanged));
    }
    // Where there is no text there may be no field, and a patch that replaces it would refuse the Pod.
    if field.image.is_empty() {
        return None;
    }
    let entry = old_sources.entry(field.place, field.name)?;
    (entry.image == old_image && entry.written == field.image).then(|| Decision {
        outcome: Outcome::Rewritten { to: entry.image.as_str().into() },
        digest: entry.image.split_once('@').and_then(|(_, digest)| digest.parse().ok()),
        ..Decision::kept(Reason::Restored)
    })
}

/// Puts the annotation's new value together in `text`, which is empty and stays so if it has no entry.
///
/// `present` is the annotation of the Pod as it comes, `old` that of the Pod as it was.
pub(super) fn update(
    images: &[Judged<'_>],
    present: &Sources,
    old: &Sources,
    table: &Table,
    namespace: &str,
    text: &mut Embedded,
) {
    for Judged { field, decision } in images {
        if matches!(decision.reason, Reason::Restored | Reason::Unchanged) {
            if let Some(entry) = old.entry(field.place, field.name) {
                entry.push(text, field);
            }
            continue;
        }
        let earlier = present.entry(field.place, field.name).filter(|entry| {
            entry.image == field.image && leads_to(table, namespace, &entry.written, field.image)
        });
        match (&decision.outcome, earlier) {
            (Outcome::Rewritten { to }, earlier) => {
                let written = earlier.map_or(field.image, |entry| &entry.written);
                let is_incomplete = decision.is_unpinned() && decision.digest.is_none();
                let reason = is_incomplete.then(|| decision.reason.word());
                if text.is_empty() {
                    text.reserve(images.len() * (2 * to.len() + ENTRY));
                }
                push_entry(text, field, written, to, reason);
            }
            (Outcome::Denied | Outcome::Kept, Some(entry)) => entry.push(text, field),
            (Outcome::Denied | Outcome::Kept, None) => {}
        }
    }
    if !text.is_empty() {
        text.push(fixed!(b"}"));
    }
}

/// Whether the table takes the image `written` to the repository of `image`: in any mirror of its rule, or because
/// it is inside a mirror already.
fn leads_to(table: &Table, namespace: &str, written: &str, image: &str) -> bool {
    let (Ok(written), Ok(image)) = (Reference::parse(written), Reference::parse(image)) else { return false };
    match table.lookup(&written, Some(namespace)) {
        Lookup::Inside { .. } | Lookup::InsideNoRule => written.name() == image.name(),
        Lookup::Rule(rule) => (0..rule.mirrors().len())
            .any(|mirror| rule.place(mirror, &written).is_some_and(|place| place.name() == image.name())),
        Lookup::Exception(_) | Lookup::NoRule => false,
    }
}

/// An image's key in the annotation.
fn key(list: List, name: &str) -> String {
    [list.word(), "/", name].concat()
}

impl Entry {
    fn push(&self, text: &mut Embedded, field: &Field<'_>) {
        push_entry(text, field, &self.written, &self.image, self.reason.as_deref());
    }
}

/// Appends one image's key and entry.
fn push_entry(text: &mut Embedded, field: &Field<'_>, written: &str, image: &str, reason: Option<&str>) {
    if text.is_empty() {
        text.push(fixed!(br#"{""#));
    } else {
        text.push(fixed!(br#",""#));
    }
    text.push_text(field.place.list.word());
    text.push(fixed!(b"/"));
    text.push_text(field.name);
    text.push(fixed!(br#"":{"written":""#));
    text.push_text(written);
    text.push(fixed!(br#"","image":""#));
    text.push_text(image);
    if let Some(reason) = reason {
        text.push(fixed!(br#"","reason":""#));
        text.push_text(reason);
    }
    text.push(fixed!(br#""}"#));
}

/// What an entry takes beside twice the length of its image, mostly: names of fields, the key, the text as written.
const ENTRY: usize = 64;
