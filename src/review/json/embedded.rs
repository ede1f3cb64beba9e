//! A JSON text that is the value of a string in another one.
//!
//! Portolan's annotations are JSON in JSON: every quote of theirs is escaped where they stand. Looking for the quotes
//! again in a text that was just put together costs more than putting it together twice.

use super::push_text;

/// A JSON text while it is put together, as it is and as it stands between the quotes of a string.
#[derive(Debug, Default)]
pub struct Embedded {
    plain: Vec<u8>,
    escaped: Vec<u8>,
}

/// How far an [`Embedded`] was.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    plain: usize,
    escaped: usize,
}

impl Embedded {
    /// The text itself.
    pub fn plain(&self) -> &[u8] {
        &self.plain
    }

    /// What stands for it between the quotes of a JSON string.
    pub fn escaped(&self) -> &[u8] {
        &self.escaped
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }

    /// Begins anew and keeps at most `limit` bytes of memory for each of both.
    pub fn reset(&mut self, limit: usize) {
        for text in [&mut self.plain, &mut self.escaped] {
            text.clear();
            text.shrink_to(limit);
        }
    }

    /// Makes room for `more` bytes of the text.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.plain.reserve(more);
        self.escaped.reserve(more + more / 4);
    }

    /// Appends JSON that [`fixed!`] has prepared.
    #[inline]
    pub(crate) fn push<const N: usize, const M: usize>(&mut self, (plain, escaped): (&[u8; N], &[u8; M])) {
        self.plain.extend_from_slice(plain);
        self.escaped.extend_from_slice(escaped);
    }

    /// Appends what stands between the quotes of a JSON string.
    pub(crate) fn push_text(&mut self, text: &str) {
        let before = self.plain.len();
        push_text(&mut self.plain, text.as_bytes());
        push_text(&mut self.escaped, self.plain.get(before..).unwrap_or_default());
    }

    /// How far it is now.
    pub fn mark(&self) -> Mark {
        Mark { plain: self.plain.len(), escaped: self.escaped.len() }
    }

    /// Takes back what was appended since.
    pub fn cut(&mut self, mark: Mark) {
        self.plain.truncate(mark.plain);
        self.escaped.truncate(mark.escaped);
    }
}

#[cfg(test)]
impl Embedded {
    /// Appends `text` as a JSON string.
    pub(crate) fn push_string(&mut self, text: &str) {
        self.push(fixed!(b"\""));
        self.push_text(text);
        self.push(fixed!(b"\""));
    }
}

/// JSON that is known beforehand, and beside it what stands for it between the quotes of a string.
macro_rules! fixed {
    ($json:literal) => {{
        const ESCAPED: [u8; $crate::review::escaped_length($json)] = $crate::review::escaped($json);
        ($json, &ESCAPED)
    }};
}
pub(crate) use fixed;

/// How long [`escaped`] is.
pub(crate) const fn escaped_length(mut json: &[u8]) -> usize {
    let mut length = 0;
    while let Some((byte, behind)) = json.split_first() {
        length += if *byte == b'"' { 2 } else { 1 };
        json = behind;
    }
    length
}

/// What stands between the quotes of a string for `json`, in which nothing but quotes needs a backslash.
pub(crate) const fn escaped<const N: usize>(mut json: &[u8]) -> [u8; N] {
    let mut out = [b'\\'; N];
    let mut free: &mut [u8] = &mut out;
    while let Some((byte, behind)) = json.split_first() {
        assert!(*byte >= b' ' && *byte != b'\\', "it needs more than a backslash before its quotes");
        if *byte == b'"' {
            let Some((_, rest)) = free.split_first_mut() else { panic!("it is longer") };
            free = rest;
        }
        let Some((next, rest)) = free.split_first_mut() else { panic!("it is longer") };
        *next = *byte;
        free = rest;
        json = behind;
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fixed_text_is_escaped_as_any_other() {
        let mut text = Embedded::default();
        text.push(fixed!(br#"{"a":"b","#));
        text.push(fixed!(b"\""));
        text.push(fixed!(b""));
        assert_eq!(text.plain(), br#"{"a":"b",""#);
        assert_eq!(text.escaped(), br#"{\"a\":\"b\",\""#);
    }

    #[test]
    fn what_is_cut_is_gone_from_both() {
        let mut text = Embedded::default();
        text.push_string("kept");
        let mark = text.mark();
        text.push_string("go\"ne");
        text.cut(mark);
        assert_eq!((text.plain(), text.escaped()), (&br#""kept""#[..], &br#"\"kept\""#[..]));
        text.reset(8);
        assert!(text.is_empty() && text.escaped().is_empty());
        assert!(text.plain.capacity() <= 8 && text.escaped.capacity() <= 8);
    }

    proptest! {
        #[test]
        fn between_quotes_it_is_read_as_it_is(texts in prop::collection::vec(".{0,40}", 0..4)) {
            let mut json = Embedded::default();
            json.push(fixed!(b"["));
            for (number, text) in texts.iter().enumerate() {
                if number > 0 {
                    json.push(fixed!(b","));
                }
                json.push_string(text);
            }
            json.push(fixed!(b"]"));
            prop_assert_eq!(serde_json::from_slice::<Vec<String>>(json.plain()).unwrap(), texts);
            let whole = [b"\"", json.escaped(), b"\""].concat();
            prop_assert_eq!(serde_json::from_slice::<String>(&whole).unwrap().into_bytes(), json.plain());
        }
    }
}
