//! The keys that a table has, declared once.
//!
//! The walk over a document, "did you mean" and the messages about types read this declaration; so can whatever
//! describes the document to people and editors.

use super::policy::{Fallback, LockMode, Pin};

/// A map of the document and the keys that it may have.
#[derive(Debug)]
pub(super) struct Section {
    /// What it is, with its article.
    pub(super) title: &'static str,
    pub(super) keys: &'static [Key],
}

/// A key of a section.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) id: Id,
    pub(super) name: &'static str,
    pub(super) value: Value,
    /// What to write if the key is missing; `None`: it may be.
    pub(super) required: Option<&'static str>,
}

/// What a key's value is.
#[derive(Debug)]
pub(super) enum Value {
    Section(&'static Section),
    Sections(&'static Section),
    Switch,
    Text,
    Texts,
    Word(&'static [&'static str]),
}

/// Which key it is; the same key may be in several sections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Id {
    ApiVersion,
    Ca,
    ClientCertificate,
    Credentials,
    Defaults,
    Host,
    Keep,
    Kind,
    Lock,
    Mirrors,
    Namespaces,
    OnMissing,
    OnUnavailable,
    Pin,
    PlainHttp,
    PullSecret,
    Registries,
    Rules,
    Source,
}

/// The document.
pub(super) static TABLE: Section = Section {
    title: "the table",
    keys: &[
        required(
            Id::ApiVersion,
            "apiVersion",
            Value::Word(&["portolan.dev/v1"]),
            "apiVersion: portolan.dev/v1",
        ),
        required(Id::Kind, "kind", Value::Word(&["MappingTable"]), "kind: MappingTable"),
        optional(Id::Defaults, "defaults", Value::Section(&DEFAULTS)),
        required(Id::Rules, "rules", Value::Sections(&RULE), "rules: []"),
        optional(Id::Registries, "registries", Value::Sections(&REGISTRY)),
    ],
};

/// What holds for rules that do not say otherwise.
pub(super) static DEFAULTS: Section =
    Section { title: "the section `defaults`", keys: &[PIN, ON_MISSING, ON_UNAVAILABLE, LOCK] };

/// Which mirrors stand for a source.
pub(super) static RULE: Section = Section {
    title: "a rule",
    keys: &[
        required(Id::Source, "source", Value::Text, "source: REGISTRY/PATH"),
        optional(Id::Mirrors, "mirrors", Value::Texts),
        optional(Id::Keep, "keep", Value::Switch),
        optional(Id::Namespaces, "namespaces", Value::Texts),
        PIN,
        ON_MISSING,
        ON_UNAVAILABLE,
        LOCK,
    ],
};

/// How to reach a registry.
pub(super) static REGISTRY: Section = Section {
    title: "a registry",
    keys: &[
        required(Id::Host, "host", Value::Text, "host: REGISTRY"),
        optional(Id::PlainHttp, "plainHttp", Value::Switch),
        optional(Id::Ca, "ca", Value::Text),
        optional(Id::Credentials, "credentials", Value::Text),
        optional(Id::ClientCertificate, "clientCertificate", Value::Text),
        optional(Id::PullSecret, "pullSecret", Value::Text),
    ],
};

const PIN: Key = optional(Id::Pin, "pin", Value::Word(Pin::WORDS));
const ON_MISSING: Key = optional(Id::OnMissing, "onMissing", Value::Word(Fallback::WORDS));
const ON_UNAVAILABLE: Key = optional(Id::OnUnavailable, "onUnavailable", Value::Word(Fallback::WORDS));
const LOCK: Key = optional(Id::Lock, "lock", Value::Word(LockMode::WORDS));

const fn required(id: Id, name: &'static str, value: Value, example: &'static str) -> Key {
    Key { id, name, value, required: Some(example) }
}

const fn optional(id: Id, name: &'static str, value: Value) -> Key {
    Key { id, name, value, required: None }
}

/// No section has more keys.
pub(super) const MOST_KEYS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_has_each_key_once_and_no_more_than_the_walk_keeps_count_of() {
        let mut sections = vec![&TABLE];
        let mut checked = 0;
        while let Some(section) = sections.pop() {
            checked += 1;
            assert!(section.keys.len() <= MOST_KEYS, "{}", section.title);
            for (number, key) in section.keys.iter().enumerate() {
                let before = &section.keys[..number];
                assert!(
                    before.iter().all(|other| other.name != key.name && other.id != key.id),
                    "{}",
                    key.name
                );
                if let Value::Section(inner) | Value::Sections(inner) = key.value {
                    sections.push(inner);
                }
            }
        }
        assert_eq!(checked, 4);
    }
}
