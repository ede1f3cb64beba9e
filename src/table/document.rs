//! The second of three steps: from a tree to the values of the keys that a table has.
//!
//! The walk knows the keys from [`super::keys`] alone. It finds unknown, repeated and missing keys and values of the
//! wrong type, and goes on: it collects problems and returns what is sound. What the values mean is the third step's
//! matter ([`super::meaning`]).

use super::{
    keys::{DEFAULTS, Id, Key, MOST_KEYS, REGISTRY, RULE, Section, TABLE, Value},
    policy::{Fallback, LockMode, Pin},
    problem::{Collector, Place, did_you_mean, listed, quoted},
    tree::{Kind, Node},
};

/// A value and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// A text of the document.
pub(super) type Text<'t> = Placed<&'t str>;

/// The document's parts. A part that is missing or no list or map was reported and is `None`.
#[derive(Debug, Default)]
pub(super) struct Document<'t> {
    pub(super) defaults: Option<Node<'t>>,
    pub(super) rules: Option<Node<'t>>,
    pub(super) registries: Option<Node<'t>>,
}

/// The policies that a section names itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnPolicies {
    pub(super) pin: Option<Placed<Pin>>,
    pub(super) on_missing: Option<Placed<Fallback>>,
    pub(super) on_unavailable: Option<Placed<Fallback>>,
    pub(super) lock: Option<Placed<LockMode>>,
}

/// A rule's values.
#[derive(Debug)]
pub(super) struct RuleText<'t> {
    pub(super) place: Place,
    pub(super) source: Option<Text<'t>>,
    pub(super) mirrors: Option<Node<'t>>,
    pub(super) keep: Option<Placed<bool>>,
    pub(super) namespaces: Option<Node<'t>>,
    pub(super) policies: OwnPolicies,
    /// Whether anything was wrong, so that what is missing may only have been written wrongly.
    pub(super) broken: bool,
}

/// A registry's values.
#[derive(Debug)]
pub(super) struct RegistryText<'t> {
    pub(super) place: Place,
    pub(super) host: Option<Text<'t>>,
    pub(super) plain_http: Option<Placed<bool>>,
    pub(super) ca: Option<Text<'t>>,
    pub(super) credentials: Option<Text<'t>>,
    pub(super) client_certificate: Option<Text<'t>>,
    pub(super) pull_secret: Option<Text<'t>>,
}

/// Whether a node is what YAML takes for nothing.
pub(super) fn is_nothing(node: Node<'_>) -> bool {
    matches!(node.kind(), Kind::Plain(text) if is_null(text))
}

/// Reads the outermost map.
pub(super) fn document<'t>(root: Node<'t>, problems: &mut Collector) -> Document<'t> {
    let mut document = Document::default();
    walk(root, &TABLE, problems, |id, value| match id {
        Id::Defaults => document.defaults = Some(value),
        Id::Rules => document.rules = Some(value),
        Id::Registries => document.registries = Some(value),
        _ => {}
    });
    document
}

/// Reads the defaults.
pub(super) fn defaults(node: Node<'_>, problems: &mut Collector) -> OwnPolicies {
    let mut policies = OwnPolicies::default();
    walk(node, &DEFAULTS, problems, |id, value| policies.take(id, value));
    policies
}

/// Reads one rule.
pub(super) fn rule<'t>(node: Node<'t>, problems: &mut Collector) -> RuleText<'t> {
    let before = problems.len();
    let mut rule = RuleText {
        place: node.place(),
        source: None,
        mirrors: None,
        keep: None,
        namespaces: None,
        policies: OwnPolicies::default(),
        broken: false,
    };
    walk(node, &RULE, problems, |id, value| match id {
        Id::Source => rule.source = text(value),
        Id::Mirrors => rule.mirrors = Some(value),
        Id::Keep => rule.keep = switch(value),
        Id::Namespaces => rule.namespaces = Some(value),
        _ => rule.policies.take(id, value),
    });
    rule.broken = problems.len() > before;
    rule
}

/// Reads one registry.
pub(super) fn registry<'t>(node: Node<'t>, problems: &mut Collector) -> RegistryText<'t> {
    let mut registry = RegistryText {
        place: node.place(),
        host: None,
        plain_http: None,
        ca: None,
        credentials: None,
        client_certificate: None,
        pull_secret: None,
    };
    walk(node, &REGISTRY, problems, |id, value| match id {
        Id::Host => registry.host = text(value),
        Id::PlainHttp => registry.plain_http = switch(value),
        Id::Ca => registry.ca = text(value),
        Id::Credentials => registry.credentials = text(value),
        Id::ClientCertificate => registry.client_certificate = text(value),
        Id::PullSecret => registry.pull_secret = text(value),
        _ => {}
    });
    registry
}

/// The sound texts of a list of texts.
pub(super) fn texts(list: Node<'_>) -> impl Iterator<Item = Text<'_>> {
    list.items().filter_map(text)
}

impl OwnPolicies {
    fn take(&mut self, id: Id, value: Node<'_>) {
        match id {
            Id::Pin => self.pin = word(value, Pin::from_word),
            Id::OnMissing => self.on_missing = word(value, Fallback::from_word),
            Id::OnUnavailable => self.on_unavailable = word(value, Fallback::from_word),
            Id::Lock => self.lock = word(value, LockMode::from_word),
            _ => {}
        }
    }
}

/// Goes through a map as `section` declares it and hands over every value of the declared type.
fn walk<'t>(
    node: Node<'t>,
    section: &'static Section,
    problems: &mut Collector,
    mut take: impl FnMut(Id, Node<'t>),
) {
    if !is_map(node, section, problems) {
        return;
    }
    let mut seen: [Option<Place>; MOST_KEYS] = [None; MOST_KEYS];
    let mut misspelt = [false; MOST_KEYS];
    for (name, value) in node.pairs() {
        let (Kind::Plain(text) | Kind::Text(text)) = name.kind() else {
            continue;
        };
        let Some((number, key)) = section.keys.iter().enumerate().find(|(_, key)| key.name == text) else {
            let meant = unknown_key(name.place(), text, section, problems);
            if let Some(misspelt) = meant.and_then(|number| misspelt.get_mut(number)) {
                *misspelt = true;
            }
            continue;
        };
        let Some(seen) = seen.get_mut(number) else {
            continue;
        };
        if let Some(first) = seen {
            let message = format!("the key `{text}` is written again, first on line {}", first.line);
            problems.add(name.place().writing(message, "write it once"));
            continue;
        }
        *seen = Some(name.place());
        if conforms(value, key, problems) {
            take(key.id, value);
        }
    }
    for ((key, seen), misspelt) in section.keys.iter().zip(seen).zip(misspelt) {
        // A key that is missing because it was misspelt is one mistake.
        if let (Some(example), None, false) = (key.required(), seen, misspelt) {
            let message = format!("the key `{}` is missing", key.name);
            problems.add(node.place().shape(message, format!("write `{example}`")));
        }
    }
}

/// Whether a node is a map, as `section` is; reports it if not.
fn is_map(node: Node<'_>, section: &Section, problems: &mut Collector) -> bool {
    match node.kind() {
        Kind::Map => true,
        Kind::Refused => false,
        kind => {
            let message = format!("{} is a map of keys and values, found {}", section.title, found(kind));
            let remedy = format!("its keys are {}", listed(section.keys.iter().map(|key| key.name), "and"));
            problems.add(node.place().shape(message, remedy));
            false
        }
    }
}

/// Reports a key that the section does not have; gives the number of the one that was probably meant.
fn unknown_key(place: Place, text: &str, section: &Section, problems: &mut Collector) -> Option<usize> {
    let names = section.keys.iter().map(|key| key.name);
    let meant = did_you_mean(text, names.clone());
    let remedy = match meant {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("the keys of {} are {}", section.title, listed(names.clone(), "and")),
    };
    problems.add(place.shape(format!("unknown key {}", quoted(text)), remedy));
    names.into_iter().position(|name| Some(name) == meant)
}

/// Whether a value has the type of its key; reports it if not.
fn conforms(value: Node<'_>, key: &Key, problems: &mut Collector) -> bool {
    let kind = value.kind();
    let wrong = |what: &str, remedy: String, problems: &mut Collector| {
        let message = format!("`{}` is {what}, found {}", key.name, found(kind));
        problems.add(value.place().shape(message, remedy));
        false
    };
    match (&key.value, kind) {
        (_, Kind::Refused) => false,
        (Value::Section(section), _) => is_map(value, section, problems),
        (Value::Sections(_), Kind::List) => true,
        (Value::Sections(section), _) => {
            let remedy =
                format!("write {} behind a `- ` each, or `{}: []` for none", section.title, key.name);
            wrong("a list", remedy, problems)
        }
        (Value::Switch, Kind::Plain(text)) if boolean(text).is_some() => true,
        (Value::Switch, _) => {
            wrong("`true` or `false`", "write one of them, without quotes".into(), problems)
        }
        (Value::Text, _) => {
            is_text(kind) || wrong("a text", "write one text, in quotes if need be".into(), problems)
        }
        (Value::Texts, Kind::List) => {
            for item in value.items() {
                let kind = item.kind();
                if !is_text(kind) && kind != Kind::Refused {
                    let message = format!("`{}` is a list of texts, found {} in it", key.name, found(kind));
                    problems.add(item.place().shape(message, "write a text, in quotes if need be"));
                }
            }
            true
        }
        (Value::Texts, Kind::Plain(text) | Kind::Text(text)) if is_text(kind) && !text.is_empty() => {
            let remedy = format!("write `{}: [{}]`", key.name, quoted(text).trim_matches('`'));
            wrong("a list of texts", remedy, problems)
        }
        (Value::Texts, _) => wrong("a list of texts", format!("write `{}: [TEXT, …]`", key.name), problems),
        (Value::Word(words), Kind::Plain(text) | Kind::Text(text)) if is_text(kind) => {
            let allowed = || words.iter().map(|word| word.text);
            if allowed().any(|word| word == text) {
                return true;
            }
            let remedy = match (did_you_mean(text, allowed()), words) {
                (_, [word]) => format!("write `{}: {}`", key.name, word.text),
                (Some(word), _) => format!("did you mean `{word}`?"),
                (None, _) => format!("write one of {}", listed(allowed(), "and")),
            };
            problems.add(value.place().shape(format!("`{}` cannot be {}", key.name, quoted(text)), remedy));
            false
        }
        (Value::Word(words), _) => {
            let remedy = format!("write {}", listed(words.iter().map(|word| word.text), "or"));
            wrong("a word", remedy, problems)
        }
    }
}

/// Whether a node can be taken for a text: any scalar but those that YAML takes for nothing, true or false. A number
/// is its text as written, so that `1.10` stays that.
fn is_text(kind: Kind<'_>) -> bool {
    match kind {
        Kind::Plain(text) => boolean(text).is_none() && !is_null(text),
        Kind::Text(_) => true,
        _ => false,
    }
}

/// What stands there instead, for a message.
fn found(kind: Kind<'_>) -> String {
    match kind {
        Kind::List => "a list".into(),
        Kind::Map => "a map".into(),
        Kind::Plain(text) if is_null(text) => "nothing".into(),
        Kind::Plain(text) if boolean(text).is_some() => quoted(text),
        Kind::Refused => "what is not read here".into(),
        Kind::Plain(text) | Kind::Text(text) => format!("the text {}", quoted(text)),
    }
}

fn text(node: Node<'_>) -> Option<Text<'_>> {
    match node.kind() {
        kind @ (Kind::Plain(value) | Kind::Text(value)) if is_text(kind) => {
            Some(Placed { value, place: node.place() })
        }
        _ => None,
    }
}

fn switch(node: Node<'_>) -> Option<Placed<bool>> {
    match node.kind() {
        Kind::Plain(text) => boolean(text).map(|value| Placed { value, place: node.place() }),
        _ => None,
    }
}

fn word<T>(node: Node<'_>, from_word: fn(&str) -> Option<T>) -> Option<Placed<T>> {
    let text = text(node)?;
    from_word(text.value).map(|value| Placed { value, place: text.place })
}

/// YAML 1.2, core schema: `yes` and `on` are texts.
fn boolean(plain: &str) -> Option<bool> {
    match plain {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

fn is_null(plain: &str) -> bool {
    matches!(plain, "" | "~" | "null" | "Null" | "NULL")
}
