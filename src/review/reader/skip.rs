//! Walking over values that nobody asked for.

use super::{Mistake, Reader, brackets};

impl<'de> Reader<'de> {
    /// Passes one value, of which nothing is kept.
    pub(super) fn skip(&mut self) -> Result<(), Mistake> {
        match self.peek()? {
            b'"' => self.skip_string(),
            b'[' | b'{' => self.skip_nested(),
            b'n' => self.word(b"null"),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            _ => self.number().map(drop),
        }
    }

    /// Passes a list or an object; of what is in it only strings and brackets are looked at.
    fn skip_nested(&mut self) -> Result<(), Mistake> {
        let length = brackets::end(self.text.get(self.at..).unwrap_or_default());
        self.at = length.map_or(self.text.len(), |length| self.at + length);
        length.map(drop).ok_or(Mistake::End)
    }

    /// Passes one of the words that JSON has.
    pub(super) fn word(&mut self, word: &[u8]) -> Result<(), Mistake> {
        for wanted in word {
            match self.text.get(self.at) {
                Some(byte) if byte == wanted => self.at += 1,
                Some(_) => return Err(Mistake::Syntax),
                None => return Err(Mistake::End),
            }
        }
        Ok(())
    }

    /// Passes a number and gives its text.
    pub(super) fn number(&mut self) -> Result<&'de [u8], Mistake> {
        let start = self.at;
        self.pass_if(|byte| byte == b'-');
        if !self.pass_if(|byte| byte == b'0') {
            self.digits()?;
        }
        if self.pass_if(|byte| byte == b'.') {
            self.digits()?;
        }
        if self.pass_if(|byte| byte | 0x20 == b'e') {
            self.pass_if(|byte| byte == b'+' || byte == b'-');
            self.digits()?;
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    /// Passes one digit or more.
    fn digits(&mut self) -> Result<(), Mistake> {
        let start = self.at;
        while self.pass_if(|byte| byte.is_ascii_digit()) {}
        match self.text.get(self.at) {
            _ if self.at > start => Ok(()),
            Some(_) => Err(Mistake::Syntax),
            None => Err(Mistake::End),
        }
    }

    fn pass_if(&mut self, is_wanted: impl FnOnce(u8) -> bool) -> bool {
        let is_there = self.text.get(self.at).is_some_and(|byte| is_wanted(*byte));
        self.at += usize::from(is_there);
        is_there
    }
}
