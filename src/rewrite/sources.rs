//! The annotation `portolan.dev/sources`: what each image was written as before Portolan changed it.
//!
//! It speaks only for its own Pod, and only for putting an image back that a re-applied manifest would undo. Nothing
//! read from it decides about another Pod.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Decision, Field, Judged, Outcome, Place, Reason, fields::List};
use crate::{
    image::Reference,
    review::Pod,
    table::{Lookup, Table},
};

/// The annotation's value, read. What cannot be read counts as nothing.
#[derive(Debug, Default)]
pub struct Sources {
    entries: BTreeMap<String, Entry>,
}

/// One image that Portolan changed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Entry {
    written: String,
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
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
        outcome: Outcome::Rewritten { to: entry.image.clone() },
        ..Decision::kept(Reason::Restored)
    })
}

/// The annotation's new value; `None` if it has no entry.
///
/// `present` is the annotation of the Pod as it comes, `old` that of the Pod as it was.
pub(super) fn updated(
    images: &[Judged<'_>],
    present: &Sources,
    old: &Sources,
    table: &Table,
    namespace: &str,
) -> Option<String> {
    let mut text = String::new();
    for Judged { field, decision } in images {
        let key_is = |text: &mut String| {
            text.push_str(if text.is_empty() { "{" } else { "," });
            push_json(text, &key(field.place.list, field.name));
            text.push(':');
        };
        if matches!(decision.reason, Reason::Restored | Reason::Unchanged) {
            if let Some(entry) = old.entry(field.place, field.name) {
                key_is(&mut text);
                push_json(&mut text, entry);
            }
            continue;
        }
        let earlier = present.entry(field.place, field.name).filter(|entry| {
            entry.image == field.image && leads_to(table, namespace, &entry.written, field.image)
        });
        match (&decision.outcome, earlier) {
            (Outcome::Rewritten { to }, earlier) => {
                key_is(&mut text);
                text.push_str(r#"{"written":"#);
                push_json(&mut text, earlier.map_or(field.image, |entry| &entry.written));
                text.push_str(r#","image":"#);
                push_json(&mut text, to);
                if decision.is_unpinned() && decision.digest.is_none() {
                    text.push_str(r#","reason":"#);
                    push_json(&mut text, decision.reason.word());
                }
                text.push('}');
            }
            (Outcome::Denied | Outcome::Kept, Some(entry)) => {
                key_is(&mut text);
                push_json(&mut text, entry);
            }
            (Outcome::Denied | Outcome::Kept, None) => {}
        }
    }
    if text.is_empty() {
        return None;
    }
    text.push('}');
    Some(text)
}

/// Whether the table takes the image `written` to the repository of `image`: in any mirror of its rule, or because
/// it is inside a mirror already.
fn leads_to(table: &Table, namespace: &str, written: &str, image: &str) -> bool {
    let (Ok(written), Ok(image)) = (Reference::parse(written), Reference::parse(image)) else { return false };
    match table.lookup(&written, Some(namespace)) {
        Lookup::Inside { .. } | Lookup::InsideNoRule => written.name() == image.name(),
        Lookup::Rule(rule) => {
            let mut scratch = String::new();
            (0..rule.mirrors().len()).any(|mirror| {
                rule.place(mirror, &written, &mut scratch).is_some_and(|place| place.name() == image.name())
            })
        }
        Lookup::Exception(_) | Lookup::NoRule => false,
    }
}

/// An image's key in the annotation.
pub(super) fn key(list: List, name: &str) -> String {
    let mut key = String::with_capacity(list.word().len() + 1 + name.len());
    key.push_str(list.word());
    key.push('/');
    key.push_str(name);
    key
}

fn push_json<T: Serialize + ?Sized>(text: &mut String, value: &T) {
    // Through a `String` and not a writer: serde_json has no writer of text, and its output is UTF-8 by contract.
    text.push_str(&serde_json::to_string(value).expect("texts are serialised into memory"));
}
