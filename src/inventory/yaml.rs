//! YAML into values.
//!
//! By the parser that the mapping table is read with, and not by serde-saphyr on top of it: kubectl takes the last of
//! two equal keys, merges, and takes `1234e567` for a text, and of serde-saphyr's options no set does all three in
//! untyped values. Besides, lines are needed, and numbers as they were written.
//!
//! Aliases are written out, so what they stand for is bounded, for all documents of a text together, and so is their
//! depth: ten lines can stand for a billion values.

use std::collections::{BTreeMap, HashMap};

use granit_parser::{Event, Parser, ScalarStyle, options};

use super::{
    problem::Fault,
    scalar,
    value::{Kind, Value},
};
use crate::image::excerpt;

/// The documents of a text without the marker `---`; there is more than one only behind the marker `...`. What
/// anchors and aliases copy is taken from `copies`, in weights as [`extent`] has them.
pub(super) fn read(text: &str, copies: &mut usize) -> (Vec<Value>, Option<Fault>) {
    let mut reader = Reader { documents: Vec::new(), open: Vec::new(), anchors: HashMap::new(), copies };
    let options = options! { emit_comments: false };
    let mut parser = Parser::new_from_str_with_options(text, options);
    while let Some(next) = parser.next_event() {
        let taken = match next {
            Ok((event, span)) => reader.take(event, span.start.line()),
            Err(error) => Err(Fault {
                line: error.marker().line().max(1),
                message: format!("this is no YAML: {}: {}", excerpt(&error.info(), SHOWN), remedy(text)),
            }),
        };
        if let Err(fault) = taken {
            return (reader.documents, Some(fault));
        }
    }
    (reader.documents, None)
}

/// Documents that are being read.
struct Reader<'c> {
    documents: Vec<Value>,
    open: Vec<Open>,
    /// What anchors are of; `None`: too much to be kept, which matters only if an alias stands for it.
    anchors: HashMap<usize, Option<Value>>,
    /// How much may still be copied.
    copies: &'c mut usize,
}

/// A collection whose end was not seen yet.
struct Open {
    line: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Value>),
    Map {
        entries: BTreeMap<Box<str>, Value>,
        /// What merge keys bring; what the map itself has goes before it.
        merged: Vec<Value>,
        key: Option<Key>,
    },
}

enum Key {
    Merge,
    Text(Box<str>),
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                if let Some(Open { content: Content::Map { key: key @ None, .. }, .. }) = self.open.last_mut()
                {
                    *key =
                        Some(if is_plain && text == "<<" { Key::Merge } else { Key::Text((*text).into()) });
                    self.keep(anchor, &Value { line, kind: Kind::Text((*text).into()) });
                    return Ok(());
                }
                let kind = if is_plain { scalar::resolve(&text) } else { Kind::Text((*text).into()) };
                self.put(Value { line, kind }, anchor);
            }
            Event::SequenceStart(_, anchor, _) => self.open(line, anchor, Content::List(Vec::new()))?,
            Event::MappingStart(_, anchor, _) => {
                let content = Content::Map { entries: BTreeMap::new(), merged: Vec::new(), key: None };
                self.open(line, anchor, content)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { line, anchor, content }) = self.open.pop() {
                    self.put(Value { line, kind: content.into_kind() }, anchor);
                }
            }
            Event::Alias(anchor) => self.alias(anchor, line)?,
            Event::DocumentStart(..) => self.anchors.clear(),
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, line: usize, anchor: usize, content: Content) -> Result<(), Fault> {
        if let Some(Open { content: Content::Map { key: None, .. }, .. }) = self.open.last() {
            return Err(Fault { line, message: KEY_IS_NO_WORD.to_owned() });
        }
        self.open.push(Open { line, anchor, content });
        Ok(())
    }

    fn alias(&mut self, anchor: usize, line: usize) -> Result<(), Fault> {
        let too_much = || Fault { line, message: TOO_MUCH.to_owned() };
        let Some(value) = self.anchors.get(&anchor) else {
            let message = "an alias stands inside its own anchor: name what it is to stand for outside of it";
            return Err(Fault { line, message: message.to_owned() });
        };
        let value = value.as_ref().ok_or_else(too_much)?;
        if let Some(Open { content: Content::Map { key: key @ None, .. }, .. }) = self.open.last_mut() {
            let Kind::Text(text) = &value.kind else {
                return Err(Fault { line, message: KEY_IS_NO_WORD.to_owned() });
            };
            *key = Some(Key::Text(text.clone()));
            return Ok(());
        }
        let (weight, depth) = extent(value, *self.copies).ok_or_else(too_much)?;
        if self.open.len() + depth > DEEPEST {
            return Err(too_much());
        }
        *self.copies -= weight;
        let value = value.clone();
        self.put(value, 0);
        Ok(())
    }

    /// Keeps what an anchor is of. Anchors can stand inside of anchors, so that copies of them weigh, too.
    fn keep(&mut self, anchor: usize, value: &Value) {
        if anchor == 0 {
            return;
        }
        let kept = extent(value, *self.copies).map(|(weight, _)| {
            *self.copies -= weight;
            value.clone()
        });
        self.anchors.insert(anchor, kept);
    }

    fn put(&mut self, value: Value, anchor: usize) {
        self.keep(anchor, &value);
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.documents.push(value),
            Some(Content::List(items)) => items.push(value),
            Some(Content::Map { entries, merged, key }) => match key.take() {
                Some(Key::Merge) => merged.push(value),
                Some(Key::Text(key)) => drop(entries.insert(key, value)),
                None => {}
            },
        }
    }
}

impl Content {
    fn into_kind(self) -> Kind {
        let (mut entries, merged) = match self {
            Self::List(items) => return Kind::List(items),
            Self::Map { entries, merged, .. } => (entries, merged),
        };
        let maps = merged.into_iter().flat_map(|value| match value.kind {
            Kind::List(items) => items,
            _ => vec![value],
        });
        for map in maps {
            if let Kind::Map(more) = map.kind {
                for (key, value) in more {
                    entries.entry(key).or_insert(value);
                }
            }
        }
        Kind::Map(entries)
    }
}

/// What a value weighs, itself included, and how deep it is nested; `None`: more than `limit`. One weighs as much as 32
/// bytes of text do.
fn extent(value: &Value, limit: usize) -> Option<(usize, usize)> {
    let text = |text: &str| text.len() / 32;
    let add = |(weight, depth): (usize, usize), (own, inner): (usize, &Value)| {
        let weight = weight + own;
        let (more, deeper) = extent(inner, limit.checked_sub(weight)?)?;
        Some((weight + more, depth.max(deeper + 1)))
    };
    limit.checked_sub(1)?;
    match &value.kind {
        Kind::List(items) => items.iter().map(|item| (0, item)).try_fold((1, 1), add),
        Kind::Map(entries) => entries.iter().map(|(key, entry)| (text(key), entry)).try_fold((1, 1), add),
        Kind::Number(own) | Kind::Text(own) => Some((1 + text(own), 1)).filter(|(own, _)| *own <= limit),
        Kind::Bool(_) | Kind::Null => Some((1, 1)),
    }
}

fn remedy(text: &str) -> &'static str {
    if text.contains("{{") {
        "a template must be rendered before it is read"
    } else {
        "put it right or leave it out"
    }
}

/// As YAML, `{{ .Values.image }}` is a map whose key is a map.
const KEY_IS_NO_WORD: &str = "a key is a list or a map: a template must be rendered before it is read";

/// How much is shown of what the parser says, which may quote the text.
const SHOWN: usize = 200;

const TOO_MUCH: &str = "its aliases stand for too much: write out what they stand for, or split the file";

/// How deep values may be nested by aliases; without them the parser has a bound of its own.
const DEEPEST: usize = 300;
