//! Strings: where they end, and what their escapes stand for.

use super::{
    super::json::{PART, is_special, specials_of_part},
    Mistake, Reader,
};

impl<'de> Reader<'de> {
    /// Passes a string. Gives what stands between its quotes, or `None` if there are escapes in it: then
    /// `unescaped` has it without them.
    pub(super) fn string(&mut self) -> Result<Option<&'de [u8]>, Mistake> {
        let start = self.at + 1;
        self.at = find_special(self.text, start);
        if self.text.get(self.at) == Some(&b'"') {
            let between = self.text.get(start..self.at);
            self.at += 1;
            return Ok(between);
        }
        self.unescape(start)?;
        Ok(None)
    }

    /// Passes a string of which nothing is kept.
    #[inline]
    pub(super) fn skip_string(&mut self) -> Result<(), Mistake> {
        self.at += 1;
        loop {
            self.at = find_special(self.text, self.at);
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => drop(self.escape()?),
                Some(_) => return Err(Mistake::Syntax),
                None => return Err(Mistake::End),
            }
        }
    }

    /// Passes the rest of a string that began at `start` and has no escapes before this place.
    ///
    /// Most strings have none at all: what this needs is not made ready for them.
    #[cold]
    #[inline(never)]
    fn unescape(&mut self, start: usize) -> Result<(), Mistake> {
        let mut unescaped = std::mem::take(&mut self.unescaped);
        unescaped.clear();
        let mut from = start;
        loop {
            unescaped.extend_from_slice(self.text.get(from..self.at).unwrap_or_default());
            match self.text.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    let character = self.escape()?;
                    unescaped.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(_) => return Err(Mistake::Syntax),
                None => return Err(Mistake::End),
            }
            from = self.at;
            self.at = find_special(self.text, from);
        }
        self.at += 1;
        self.unescaped = unescaped;
        Ok(())
    }

    /// Passes one escape, or two that are a surrogate pair, and gives the character.
    fn escape(&mut self) -> Result<char, Mistake> {
        let letter = *self.text.get(self.at + 1).ok_or(Mistake::End)?;
        let character = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(Mistake::Syntax),
        };
        self.at += 2;
        Ok(character)
    }

    fn unicode_escape(&mut self) -> Result<char, Mistake> {
        let first = self.code_unit()?;
        if !(0xd800..0xdc00).contains(&first) || self.text.get(self.at..self.at + 2) != Some(br"\u") {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let between = self.at;
        let second = self.code_unit()?;
        if (0xdc00..0xe000).contains(&second) {
            let scalar = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Ok(char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        // The second is a character of its own.
        self.at = between;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    /// Passes `\u` and four hexadecimal digits, and gives what they say.
    fn code_unit(&mut self) -> Result<u32, Mistake> {
        self.at += 2;
        let mut unit = 0;
        for _ in 0..4 {
            let digit = *self.text.get(self.at).ok_or(Mistake::End)?;
            unit = unit << 4 | char::from(digit).to_digit(16).ok_or(Mistake::Syntax)?;
            self.at += 1;
        }
        Ok(unit)
    }
}

/// Where the next byte is that may not stand for itself in a string: a quote, a backslash or a control character. The
/// text's length if there is none.
#[inline]
fn find_special(text: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(part) = text.get(at..).and_then(<[u8]>::first_chunk) {
        let found = specials_of_part(part);
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += PART;
    }
    let rest = text.get(at..).unwrap_or_default();
    rest.iter().position(|byte| is_special(*byte)).map_or(text.len(), |position| at + position)
}
