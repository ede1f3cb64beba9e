//! YAML into values.
//!
//! By the parser that the mapping table is read with, and not by serde-saphyr on top of it: kubectl takes the last of
//! two equal keys, merges, and takes `1234e567` for a text, and of serde-saphyr's options no set does all three in
//! untyped values. Besides, lines are needed, and numbers as they were written.
//!
//! Aliases are written out, so their number and depth are bounded: ten lines can stand for a billion values.

use std::collections::{BTreeMap, HashMap};

use granit_parser::{Event, Parser, ScalarStyle, options};

use super::{
    problem::Fault,
    scalar,
    value::{Kind, Value},
};
use crate::image::excerpt;

/// The documents of a text without the marker `---`; there is more than one only behind the marker `...`.
pub(super) fn read(text: &str) -> (Vec<Value>, Option<Fault>) {
    let mut reader = Reader::default();
    let options = options! { emit_comments: false };
    let mut parser = Parser::new_from_str_with_options(text, options);
    while let Some(next) = parser.next_event() {
        let taken = match next {
            Ok((event, span)) => reader.take(event, span.start.line()),
            Err(error) => Err(Fault {
                line: error.marker().line().max(1),
                message: format!("this is no YAML: {}", excerpt(&error.info(), SHOWN)),
            }),
        };
        if let Err(fault) = taken {
            return (reader.documents, Some(fault));
        }
    }
    (reader.documents, None)
}

/// Documents that are being read.
#[derive(Default)]
struct Reader {
    documents: Vec<Value>,
    open: Vec<Open>,
    anchors: HashMap<usize, Value>,
    /// How many values aliases have stood for.
    written_out: usize,
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

impl Reader {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                if let Some(Open { content: Content::Map { key: key @ None, .. }, .. }) = self.open.last_mut()
                {
                    *key =
                        Some(if is_plain && text == "<<" { Key::Merge } else { Key::Text((*text).into()) });
                    if anchor != 0 {
                        self.anchors.insert(anchor, Value { line, kind: Kind::Text((*text).into()) });
                    }
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
        let Some(value) = self.anchors.get(&anchor) else {
            return Err(Fault { line, message: "an alias stands inside its own anchor".to_owned() });
        };
        if let Some(Open { content: Content::Map { key: key @ None, .. }, .. }) = self.open.last_mut() {
            let Kind::Text(text) = &value.kind else {
                return Err(Fault { line, message: KEY_IS_NO_WORD.to_owned() });
            };
            *key = Some(Key::Text(text.clone()));
            return Ok(());
        }
        let (count, depth) = extent(value);
        self.written_out += count;
        if self.written_out > MOST_WRITTEN_OUT || self.open.len() + depth > DEEPEST {
            return Err(Fault { line, message: "its aliases stand for too much".to_owned() });
        }
        let value = value.clone();
        self.put(value, 0);
        Ok(())
    }

    fn put(&mut self, value: Value, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
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

/// How many values a value has, itself included, and how deep they are nested.
fn extent(value: &Value) -> (usize, usize) {
    let add =
        |(count, depth): (usize, usize), inner: (usize, usize)| (count + inner.0, depth.max(inner.1 + 1));
    match &value.kind {
        Kind::List(items) => items.iter().map(extent).fold((1, 1), add),
        Kind::Map(entries) => entries.values().map(extent).fold((1, 1), add),
        Kind::Bool(_) | Kind::Null | Kind::Number(_) | Kind::Text(_) => (1, 1),
    }
}

/// As YAML, `{{ .Values.image }}` is a map whose key is a map.
const KEY_IS_NO_WORD: &str = "a key is a list or a map; a template must be rendered before it is read";

/// How much is shown of what the parser says, which may quote the text.
const SHOWN: usize = 200;

/// For how many values the aliases of one text may stand.
const MOST_WRITTEN_OUT: usize = 1_000_000;

/// How deep values may be nested by aliases; without them the parser has a bound of its own.
const DEEPEST: usize = 300;
