//! JSON into values: one or several documents, one behind the other.
//!
//! Not by the YAML parser, which takes most JSON but not all of it: an escaped character beyond `\uffff`, a tab.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

use super::value::{Kind, Value};

/// The documents of a text, each with the line on which it begins; `None`: this is no JSON.
pub(super) fn read(text: &str) -> Option<Vec<Value>> {
    let mut documents = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Unplaced>();
    let (mut line, mut counted) = (1, 0);
    loop {
        let from = stream.byte_offset();
        let rest = text.get(from..)?;
        let begins = from + (rest.len() - rest.trim_start().len());
        let Some(next) = stream.next() else { return Some(documents) };
        let Unplaced(kind) = next.ok()?;
        line += text.get(counted..begins)?.bytes().filter(|byte| *byte == b'\n').count();
        counted = begins;
        documents.push(placed(kind, line));
    }
}

/// All of a document is on the line that it begins on.
fn placed(mut value: Value, line: usize) -> Value {
    fn walk(value: &mut Value, line: usize) {
        value.line = line;
        match &mut value.kind {
            Kind::List(items) => items.iter_mut().for_each(|item| walk(item, line)),
            Kind::Map(entries) => entries.values_mut().for_each(|entry| walk(entry, line)),
            Kind::Bool(_) | Kind::Null | Kind::Number(_) | Kind::Text(_) => {}
        }
    }
    if line != 1 {
        walk(&mut value, line);
    }
    value
}

/// A value whose line is not known yet.
struct Unplaced(Value);

impl<'de> Deserialize<'de> for Unplaced {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Read.deserialize(deserializer).map(Self)
    }
}

#[derive(Clone, Copy)]
struct Read;

fn value(kind: Kind) -> Value {
    Value { line: 1, kind }
}

impl<'de> DeserializeSeed<'de> for Read {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Read {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, found: bool) -> Result<Value, E> {
        Ok(value(Kind::Bool(found)))
    }

    fn visit_i64<E: Error>(self, found: i64) -> Result<Value, E> {
        Ok(value(Kind::Number(found.to_string().into())))
    }

    fn visit_u64<E: Error>(self, found: u64) -> Result<Value, E> {
        Ok(value(Kind::Number(found.to_string().into())))
    }

    fn visit_f64<E: Error>(self, found: f64) -> Result<Value, E> {
        Ok(value(Kind::Number(format!("{found:?}").into())))
    }

    fn visit_str<E: Error>(self, found: &str) -> Result<Value, E> {
        Ok(value(Kind::Text(found.into())))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(value(Kind::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(value(Kind::List(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            entries.insert(key.into(), map.next_value_seed(Self)?);
        }
        Ok(value(Kind::Map(entries)))
    }
}
