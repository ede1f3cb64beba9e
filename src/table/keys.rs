//! The keys that a table has, declared once.
//!
//! The walk over a document, "did you mean" and the messages about types read this declaration; so do the reference
//! page and the JSON Schema, which describe the document to people and editors.

use super::policy::{Fallback, LockMode, Pin, Policies};

/// A map of the document and the keys that it may have.
#[derive(Debug)]
pub struct Section {
    /// What it is, with its article.
    pub title: &'static str,
    /// What it says, in one sentence.
    pub about: &'static str,
    /// The keys, in the order in which people write them.
    pub keys: &'static [Key],
    /// Two keys of which it has exactly one.
    pub either: Option<Either>,
}

/// Two keys of a section of which it has exactly one: the switch is `true`, or the list is there.
#[derive(Clone, Copy, Debug)]
pub struct Either {
    /// The key of the switch. `false` is as good as none.
    pub switch: &'static str,
    /// The key of the list.
    pub list: &'static str,
}

/// A key of a section.
#[derive(Debug)]
pub struct Key {
    pub(super) id: Id,
    /// The key itself.
    pub name: &'static str,
    /// What its value is.
    pub value: Value,
    /// What it means that the key is not there.
    pub absent: Absent,
    /// What the key says. Markdown, without a full stop at its end.
    pub about: &'static str,
}

/// What a key's value is.
#[derive(Debug)]
pub enum Value {
    /// A map.
    Section(&'static Section),
    /// A list of maps.
    Sections(&'static Section),
    /// `true` or `false`.
    Switch,
    /// A text. A number is one, as it is written.
    Text,
    /// A list of texts, at least one.
    Texts,
    /// One of these words.
    Word(&'static [Word]),
}

/// A word that a key's value may be.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// The word.
    pub text: &'static str,
    /// What it means; empty where there is no choice.
    pub about: &'static str,
}

/// What it means that a key is not there.
#[derive(Clone, Copy, Debug)]
pub enum Absent {
    /// What the section `defaults` says.
    Inherited,
    /// In words.
    Means(&'static str),
    /// It may not be missing; this is what to write.
    Refused(&'static str),
    /// The same as this word.
    Word(&'static str),
}

impl Key {
    /// What to write if the key is missing; `None`: it may be.
    pub const fn required(&self) -> Option<&'static str> {
        match self.absent {
            Absent::Refused(example) => Some(example),
            Absent::Inherited | Absent::Means(_) | Absent::Word(_) => None,
        }
    }
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
pub static TABLE: Section = Section {
    title: "the table",
    about: "Which mirrors stand for which sources, and how to reach them.",
    keys: &[
        Key {
            id: Id::ApiVersion,
            name: "apiVersion",
            value: Value::Word(&[Word { text: "portolan.dev/v1", about: "" }]),
            absent: Absent::Refused("apiVersion: portolan.dev/v1"),
            about: "the version of this format",
        },
        Key {
            id: Id::Kind,
            name: "kind",
            value: Value::Word(&[Word { text: "MappingTable", about: "" }]),
            absent: Absent::Refused("kind: MappingTable"),
            about: "what the document is",
        },
        Key {
            id: Id::Defaults,
            name: "defaults",
            value: Value::Section(&DEFAULTS),
            absent: Absent::Means("each default as below"),
            about: "what holds for rules that do not say otherwise",
        },
        Key {
            id: Id::Rules,
            name: "rules",
            value: Value::Sections(&RULE),
            absent: Absent::Refused("rules: []"),
            about: "which mirrors stand for which sources; of the rules whose source holds an image the most specific \
                    wins: an exact reference, the longest path, an exact host, the longest wildcard host, `*`",
        },
        Key {
            id: Id::Registries,
            name: "registries",
            value: Value::Sections(&REGISTRY),
            absent: Absent::Means("every mirror is HTTPS, without a login"),
            about: "how to reach the registries that mirrors are in",
        },
    ],
    either: None,
};

/// What holds for rules that do not say otherwise.
pub(super) static DEFAULTS: Section = Section {
    title: "the section `defaults`",
    about: "What holds for rules that do not say otherwise.",
    keys: &[PIN, ON_MISSING, ON_UNAVAILABLE, LOCK],
    either: None,
};

/// Which mirrors stand for a source.
pub(super) static RULE: Section = Section {
    title: "a rule",
    about: "Which mirrors stand for a source, or that what it holds is left as written.",
    keys: &[
        Key {
            id: Id::Source,
            name: "source",
            value: Value::Text,
            absent: Absent::Refused("source: REGISTRY/PATH"),
            about: "which images: a registry (`quay.io`) or a registry and a path (`docker.io/library`), on segment \
                    boundaries; with a tag or a digest exactly that reference; `*.gcr.io` every host below, `*` every \
                    registry",
        },
        Key {
            id: Id::Mirrors,
            name: "mirrors",
            value: Value::Texts,
            absent: Absent::Means("`keep: true` stands there"),
            about: "where they are instead, asked in order: what remains after the source is appended; `{registry}`, a \
                    whole segment, stands for the image's registry; for a source with a tag or digest each names one \
                    too",
        },
        Key {
            id: Id::Keep,
            name: "keep",
            value: Value::Switch,
            absent: Absent::Word("false"),
            about: "an exception: what the source holds is left as written",
        },
        Key {
            id: Id::Namespaces,
            name: "namespaces",
            value: Value::Texts,
            absent: Absent::Means("all namespaces"),
            about: "only Pods in these; `*` stands for any characters; a rule with namespaces goes before one of the \
                    same source without",
        },
        inherited(PIN),
        inherited(ON_MISSING),
        inherited(ON_UNAVAILABLE),
        inherited(LOCK),
    ],
    either: Some(Either { switch: "keep", list: "mirrors" }),
};

/// How to reach a registry.
pub(super) static REGISTRY: Section = Section {
    title: "a registry",
    about: "How to reach a registry that mirrors are in.",
    keys: &[
        Key {
            id: Id::Host,
            name: "host",
            value: Value::Text,
            absent: Absent::Refused("host: REGISTRY"),
            about: "the registry, with its port if mirrors name one",
        },
        Key {
            id: Id::PlainHttp,
            name: "plainHttp",
            value: Value::Switch,
            absent: Absent::Word("false"),
            about: "whether it is spoken to without TLS",
        },
        Key {
            id: Id::Ca,
            name: "ca",
            value: Value::Text,
            absent: Absent::Means("the system's roots alone"),
            about: "certificates in PEM that are trusted for this registry, beside the system's roots",
        },
        Key {
            id: Id::Credentials,
            name: "credentials",
            value: Value::Text,
            absent: Absent::Means("anonymous"),
            about: "the Secret (`kubernetes.io/dockerconfigjson`) in Portolan's namespace with the login; in a cluster \
                    only",
        },
        Key {
            id: Id::ClientCertificate,
            name: "clientCertificate",
            value: Value::Text,
            absent: Absent::Means("none is shown"),
            about: "the Secret (`kubernetes.io/tls`) in Portolan's namespace with the certificate to show; in a \
                    cluster only",
        },
        Key {
            id: Id::PullSecret,
            name: "pullSecret",
            value: Value::Text,
            absent: Absent::Means("none is added"),
            about: "the Secret's name that is appended to `imagePullSecrets` of new Pods with an image in this registry",
        },
    ],
    either: None,
};

const PIN: Key = Key {
    id: Id::Pin,
    name: "pin",
    value: Value::Word(Pin::WORDS),
    absent: Absent::Word(Policies::CONTRACT.pin.as_str()),
    about: "how the digest stands in the result",
};

const ON_MISSING: Key = Key {
    id: Id::OnMissing,
    name: "onMissing",
    value: Value::Word(Fallback::WORDS),
    absent: Absent::Word(Policies::CONTRACT.on_missing.as_str()),
    about: "what becomes of an image that every mirror says it does not have",
};

const ON_UNAVAILABLE: Key = Key {
    id: Id::OnUnavailable,
    name: "onUnavailable",
    value: Value::Word(Fallback::WORDS),
    absent: Absent::Word(Policies::CONTRACT.on_unavailable.as_str()),
    about: "what becomes of an image that no mirror has while at least one could not say, and of which neither lock nor \
            memory knows",
};

const LOCK: Key = Key {
    id: Id::Lock,
    name: "lock",
    value: Value::Word(LockMode::WORDS),
    absent: Absent::Word(Policies::CONTRACT.lock.as_str()),
    about: "what the lock has to say",
};

/// A default as a rule has it for itself.
const fn inherited(key: Key) -> Key {
    Key { absent: Absent::Inherited, ..key }
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
                let about = key.about;
                assert!(!about.is_empty() && !about.ends_with('.') && !about.contains('|'), "{}", key.name);
                if let Value::Section(inner) | Value::Sections(inner) = key.value {
                    sections.push(inner);
                }
            }
        }
        assert_eq!(checked, 4);
    }

    #[test]
    fn a_rule_inherits_what_the_defaults_say() {
        for default in DEFAULTS.keys {
            let own = RULE.keys.iter().find(|key| key.id == default.id).unwrap();
            assert!(matches!(own.absent, Absent::Inherited), "{}", own.name);
            assert!(matches!(default.absent, Absent::Word(_)), "{}", default.name);
        }
    }
}
