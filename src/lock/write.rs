//! Writing a lock: new lines into an old text, and the text into ConfigMaps.
//!
//! Invariant: what is written can be read, and no two lines of it disagree.

use std::collections::{BTreeMap, BTreeSet};

use super::{Lock, Problems};
use crate::image::{Digest, Reference};

/// What mirrors hold now, for a text to be brought up to date with.
#[derive(Debug, Default)]
pub struct Update {
    /// By what is locked: a reference with a tag and no digest, or one with a digest alone.
    lines: BTreeMap<Box<str>, Digest>,
    /// What was asked about in vain, whose old lines stay.
    unknown: BTreeSet<Box<str>>,
}

impl Update {
    /// A mirror has `place`, and this is its digest. What is said about one place first counts.
    ///
    /// A place with a digest of its own is locked by that alone: its tag may lead elsewhere, and another image may go by
    /// the tag.
    pub fn add(&mut self, place: &Reference, digest: Digest) {
        self.lines.entry(own_key(place).into()).or_insert(digest);
    }

    /// Nobody could say whether a mirror has `place`.
    pub fn leave(&mut self, place: &Reference) {
        self.unknown.insert(own_key(place).into());
    }

    /// How many lines it brings.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether it brings no line.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Brings the text of a lock up to date. Comments, the order and what it does not speak of stay as they are; with
    /// `prune` lines that it does not speak of go.
    ///
    /// ```
    /// use portolan::{image::Reference, lock::Update};
    ///
    /// let [old, new] = ["a", "b"].map(|digit| format!("sha256:{}", digit.repeat(64)));
    /// let mut update = Update::default();
    /// update.add(&Reference::parse("r.example.com/app:1")?, new.parse()?);
    /// let text = format!("# apps\nr.example.com/app:1 {old} # by hand\n");
    /// assert_eq!(update.apply(&text, false)?, format!("# apps\nr.example.com/app:1 {new} # by hand\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The text is no lock.
    pub fn apply(&self, text: &str, prune: bool) -> Result<String, Problems> {
        Lock::parse(text)?;
        let mut left: BTreeMap<&str, &Digest> =
            self.lines.iter().map(|(key, digest)| (&**key, digest)).collect();
        let mut written = BTreeSet::new();
        let mut blocks: Vec<Block> = vec![Block::default()];
        for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
            let Some(block) = blocks.last_mut() else { continue };
            let Some((reference, digest, rest)) = parts(line) else {
                block.before.push(line.to_owned());
                continue;
            };
            let key: Box<str> = key(&reference).into();
            left.remove(&*key);
            block.line = match self.lines.get(&key) {
                // Written twice, the second would only have to be kept in step.
                Some(_) if !written.insert(key.clone()) => None,
                Some(new) if new.as_str() == digest => Some(line.to_owned()),
                Some(new) => Some(format!("{key} {}{rest}", new.as_str())),
                None if prune && !self.unknown.contains(&key) => None,
                None => Some(line.to_owned()),
            };
            block.key = key;
            blocks.push(Block::default());
        }
        for (key, digest) in left {
            // Before the first that is greater, so that a sorted text stays sorted; the last block has no line.
            let behind = blocks.iter().position(|block| !block.key.is_empty() && *block.key > *key);
            let at = behind.unwrap_or_else(|| blocks.len().saturating_sub(1));
            // Without its key: what is still left is greater, so that this is never what it goes before.
            let block = Block { line: Some(format!("{key} {digest}")), ..Block::default() };
            blocks.insert(at, block);
            // What stands before the first line is said of the whole text.
            if at == 0
                && let [first, second, ..] = &mut *blocks
            {
                std::mem::swap(&mut first.before, &mut second.before);
            }
        }
        let mut text = String::new();
        for line in blocks.into_iter().flat_map(|block| block.before.into_iter().chain(block.line)) {
            text.push_str(&line);
            text.push('\n');
        }
        Lock::parse(&text)?;
        Ok(text)
    }
}

/// A line of a lock and the comments and blank lines above it.
#[derive(Debug, Default)]
struct Block {
    before: Vec<String>,
    /// `None`: it was taken out, or this is what follows the last line.
    line: Option<String>,
    key: Box<str>,
}

/// The lines of a lock in ConfigMaps of at most `most` bytes of text each, sorted. Comments stay behind.
///
/// # Errors
/// The text is no lock.
pub fn sheets(text: &str, most: usize) -> Result<Vec<String>, Problems> {
    let lock = Lock::parse(text)?;
    let mut lines: Vec<_> = lock
        .lines()
        .iter()
        .filter_map(|line| Some(format!("{} {}\n", key(line.reference()), lock.digest(line)?.as_str())))
        .collect();
    lines.sort();
    let mut sheets = Vec::new();
    let mut sheet = String::new();
    for line in lines {
        if !sheet.is_empty() && sheet.len() + line.len() > most {
            sheets.push(std::mem::take(&mut sheet));
        }
        sheet.push_str(&line);
    }
    if !sheet.is_empty() {
        sheets.push(sheet);
    }
    Ok(sheets)
}

/// What a reference is locked by: its tag, else its digest.
fn key(reference: &Reference) -> String {
    match (reference.tag(), reference.digest()) {
        (Some(_), None) | (None, _) => reference.as_str().to_owned(),
        (Some(_), Some(_)) => reference.without_digest().to_owned(),
    }
}

/// What a place is locked by: its digest, else its tag.
fn own_key(place: &Reference) -> String {
    match place.digest() {
        Some(digest) => [place.name(), "@", digest].concat(),
        None => place.as_str().to_owned(),
    }
}

/// Reference, digest and the rest of a line; `None` of one without.
fn parts(line: &str) -> Option<(Reference, &str, &str)> {
    let line = line.trim_start();
    let (reference, rest) = line.split_once(char::is_whitespace)?;
    if reference.starts_with('#') {
        return None;
    }
    let rest = rest.trim_start();
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (digest, rest) = rest.split_at_checked(end)?;
    Some((Reference::parse(reference).ok()?, digest, rest))
}

#[cfg(test)]
mod tests;
