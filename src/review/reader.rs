//! A reader of JSON (RFC 8259) for bodies of which little is kept: borrowed texts, everything else only walked over.
//!
//! Most of what an admission costs is going through its review, of which nine tenths are skipped. `serde_json` checks
//! that every key is UTF-8 and copies some of them first; this compares them as they stand and checks what is kept.
//! What the two take is the same (tests feed both), but for two things: a struct is not read from an array, and half of a
//! surrogate pair reads as U+FFFD, as it does in Go. What is read and is not JSON is refused; of a list or an object that
//! is skipped only strings and brackets are looked at, so that what is cut off is always seen.

mod brackets;
mod skip;
mod string;

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

/// Reads one value, and nothing but white space behind it.
///
/// # Errors
/// If `text` is not JSON, or its values are of other types than `T` has.
pub(super) fn read<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, ReadError> {
    let mut reader = Reader { text, at: 0, depth: 0, unescaped: Vec::new() };
    let read = T::deserialize(&mut reader).and_then(|value| {
        reader.skip_white_space();
        if reader.at == text.len() { Ok(value) } else { Err(Mistake::Syntax) }
    });
    read.map_err(|mistake| ReadError::new(mistake, text, reader.at))
}

/// Why a text was not read, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct ReadError {
    pub(super) mistake: Mistake,
    /// From 1.
    pub(super) line: usize,
    /// From 1, in bytes: the first byte that does not fit, or that behind the value.
    pub(super) column: usize,
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mistake {
    /// A value is of another type than is read there, or a key is there twice.
    Data,
    /// There are more values within values than [`MAX_DEPTH`].
    Depth,
    /// It ends where it must go on.
    End,
    /// It is not JSON.
    Syntax,
}

impl ReadError {
    fn new(mistake: Mistake, text: &[u8], at: usize) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line = before.split(|byte| *byte == b'\n');
        let column = line.clone().next_back().map_or(0, <[u8]>::len);
        Self { mistake, line: line.count(), column: column + 1 }
    }
}

impl Mistake {
    /// For people.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Data => "a field has the wrong type",
            Self::Depth => "it is nested too deeply",
            Self::End => "it ends early",
            Self::Syntax => "it is no JSON",
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    /// What serde has to say quotes the body, which may hold what nobody else should see.
    fn custom<T: fmt::Display>(_words: T) -> Self {
        Self::Data
    }
}

/// The place in a text up to which it was read.
struct Reader<'de> {
    text: &'de [u8],
    at: usize,
    depth: usize,
    /// The last string that had escapes, without them.
    unescaped: Vec<u8>,
}

impl Reader<'_> {
    /// The next byte that is no white space.
    #[inline]
    fn peek(&mut self) -> Result<u8, Mistake> {
        match self.text.get(self.at) {
            Some(byte) if *byte > b' ' => Ok(*byte),
            _ => {
                self.skip_white_space();
                self.text.get(self.at).copied().ok_or(Mistake::End)
            }
        }
    }

    fn skip_white_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    /// Passes `wanted`, with white space before it.
    #[inline]
    fn pass(&mut self, wanted: u8) -> Result<(), Mistake> {
        if self.peek()? != wanted {
            return Err(Mistake::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    /// Goes to the next of the values in a list or an object that ends with `end`; `None` if there are no more.
    #[inline]
    fn next(&mut self, is_first: bool, end: u8) -> Result<Option<u8>, Mistake> {
        let byte = self.peek()?;
        if byte == end {
            self.at += 1;
            return Ok(None);
        }
        if is_first {
            return Ok(Some(byte));
        }
        if byte != b',' {
            return Err(Mistake::Syntax);
        }
        self.at += 1;
        let byte = self.peek()?;
        if byte == end { Err(Mistake::Syntax) } else { Ok(Some(byte)) }
    }

    /// Goes into a list or an object.
    #[inline]
    fn enter(&mut self) -> Result<(), Mistake> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(Mistake::Depth) } else { Ok(()) }
    }

    /// Leaves it; its end was passed.
    #[inline]
    fn leave(&mut self) {
        self.depth -= 1;
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.peek()? {
            b'"' => match self.string()? {
                Some(borrowed) => visitor.visit_borrowed_str(text(borrowed)?),
                None => visitor.visit_str(text(&self.unescaped)?),
            },
            b'{' => {
                self.enter()?;
                let value = visitor.visit_map(Values::of(self))?;
                self.leave();
                Ok(value)
            }
            b'[' => {
                self.enter()?;
                let mut values = Values::of(self);
                let value = visitor.visit_seq(&mut values)?;
                // Who expects fewer values than there are stops before the end.
                if !values.has_ended {
                    return Err(Mistake::Data);
                }
                self.leave();
                Ok(value)
            }
            b'n' => {
                self.word(b"null")?;
                visitor.visit_unit()
            }
            b't' => {
                self.word(b"true")?;
                visitor.visit_bool(true)
            }
            b'f' => {
                self.word(b"false")?;
                visitor.visit_bool(false)
            }
            _ => {
                let number = self.number()?;
                visitor.visit_f64(text(number)?.parse().map_err(|_| Mistake::Syntax)?)
            }
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        if self.peek()? != b'"' {
            return self.deserialize_any(visitor);
        }
        match self.string()? {
            Some(borrowed) => visitor.visit_borrowed_bytes(borrowed),
            None => visitor.visit_bytes(&self.unescaped),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.skip()?;
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        if self.peek()? == b'n' {
            self.word(b"null")?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        if self.peek()? == b'[' { Err(Mistake::Data) } else { self.deserialize_any(visitor) }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string byte_buf unit unit_struct newtype_struct seq
        tuple tuple_struct map enum
    }
}

/// The values of a list or an object, of which the start was passed.
struct Values<'r, 'de> {
    reader: &'r mut Reader<'de>,
    is_first: bool,
    has_ended: bool,
}

impl<'r, 'de> Values<'r, 'de> {
    fn of(reader: &'r mut Reader<'de>) -> Self {
        Self { reader, is_first: true, has_ended: false }
    }

    #[inline]
    fn next(&mut self, end: u8) -> Result<Option<u8>, Mistake> {
        let next = self.reader.next(self.is_first, end)?;
        self.is_first = false;
        self.has_ended = next.is_none();
        Ok(next)
    }
}

impl<'de> MapAccess<'de> for Values<'_, 'de> {
    type Error = Mistake;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        match self.next(b'}')? {
            Some(b'"') => seed.deserialize(&mut *self.reader).map(Some),
            Some(_) => Err(Mistake::Syntax),
            None => Ok(None),
        }
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        self.reader.pass(b':')?;
        seed.deserialize(&mut *self.reader)
    }
}

impl<'de> SeqAccess<'de> for &mut Values<'_, 'de> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        match self.next(b']')? {
            Some(_) => seed.deserialize(&mut *self.reader).map(Some),
            None => Ok(None),
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, Mistake> {
    std::str::from_utf8(bytes).map_err(|_| Mistake::Syntax)
}

/// How many values may stand within each other; an API server's are below 30.
const MAX_DEPTH: usize = 128;

#[cfg(test)]
mod tests;
