//! A document as JSON has it, with the lines that its values stand on.

use std::collections::BTreeMap;

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap as _, SerializeSeq as _},
};

use super::scalar;

/// A value of a document. Serialised, it is the JSON that kubectl would send.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// The line that it begins on, from 1. JSON has no lines: all values stand on that of their document.
    pub line: usize,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`, and what kubectl takes for them.
    Bool(bool),
    /// A list.
    List(Vec<Value>),
    /// A map; of a key that was written twice the last value counts.
    Map(BTreeMap<Box<str>, Value>),
    /// Nothing.
    Null,
    /// A number, as it was written: `1.10` stays `1.10`.
    Number(Box<str>),
    /// A text.
    Text(Box<str>),
}

impl Value {
    /// The value under `key`, if this is a map and has one.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_map()?.get(key)
    }

    /// The value at the end of these keys.
    pub fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |value, key| value.get(key))
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&BTreeMap<Box<str>, Self>> {
        match &self.kind {
            Kind::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn as_list(&self) -> Option<&[Self]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            _ => None,
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.kind {
            Kind::Bool(value) => serializer.serialize_bool(*value),
            Kind::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Kind::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
            Kind::Null => serializer.serialize_unit(),
            Kind::Number(text) => match scalar::number(text) {
                Some(scalar::Number::Whole(value)) => serializer.serialize_i128(value),
                Some(scalar::Number::Real(value)) => serializer.serialize_f64(value),
                None => serializer.serialize_str(text),
            },
            Kind::Text(text) => serializer.serialize_str(text),
        }
    }
}
