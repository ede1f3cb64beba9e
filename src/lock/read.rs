//! From texts to a lock: lines, their places, and every problem.

use std::sync::{Arc, atomic::AtomicBool};

use super::{Content, Line, Lock, Problem, Problems, problem::quoted};
use crate::image::{Digest, Reference, TextMap};

/// One text of a lock.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// What problems call it, such as "ConfigMap `lock`, key `apps`"; `None`: there is only this one.
    pub name: Option<&'a str>,
    /// The ConfigMap that it is of, if it is of one.
    pub config_map: Option<&'a str>,
    /// The lines.
    pub text: &'a str,
}

/// Reads documents as one lock.
pub(super) fn read<'a>(documents: impl IntoIterator<Item = Document<'a>>) -> Result<Lock, Problems> {
    let mut reader = Reader::default();
    for Document { name, config_map, text } in documents {
        reader.document = name.map(Into::into);
        // Keys of one ConfigMap come one after the other, and their lines share its name.
        if reader.config_map.as_deref() != config_map {
            reader.config_map = config_map.map(Into::into);
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in text.lines().enumerate() {
            reader.line = number + 1;
            reader.read(line);
        }
    }
    if reader.problems.is_empty() { Ok(reader.lock) } else { Err(Problems(reader.problems)) }
}

/// A lock that is being read.
#[derive(Default)]
struct Reader {
    lock: Lock,
    problems: Vec<Problem>,
    /// Where each line of the lock stands.
    places: Vec<(Option<Arc<str>>, usize)>,
    /// The line that has a digest alone or a tag, by reference: a position in the lock's lines.
    seen: TextMap<u32>,
    document: Option<Arc<str>>,
    config_map: Option<Arc<str>>,
    line: usize,
}

/// A word of a line and the column that it begins at.
#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    column: usize,
}

impl Reader {
    fn read(&mut self, line: &str) {
        let mut words = words(line);
        let Some(first) = words.next() else { return };
        let reference = self.reference(first);
        let Some(second) = words.next() else {
            return self.problem(end_of(first), "the line has no digest", EXAMPLE);
        };
        let digest = self.digest(second);
        if let Some(third) = words.next() {
            let message = format!("{} is more than a reference and a digest", quoted(third.text));
            self.problem(third.column, message, "begin a comment with `#`");
        }
        if let (Some(reference), Some(digest)) = (reference, digest) {
            self.add(reference, digest, first.column);
        }
    }

    /// A mirror's reference, written in full.
    fn reference(&mut self, Word { text, column }: Word<'_>) -> Option<Reference> {
        let reference = match Reference::parse(text) {
            Ok(reference) => reference,
            Err(error) => {
                self.problem(column, format!("{} is no reference: {error}", quoted(text)), EXAMPLE);
                return None;
            }
        };
        if reference.as_str() != text {
            let remedy = format!("write {}", quoted(reference.as_str()));
            self.problem(column, format!("{} is not written in full", quoted(text)), remedy);
            return None;
        }
        if Reference::from_normalised(text).is_none() {
            let message =
                format!("registry and repository of {} have more than 255 characters", quoted(text));
            self.problem(column, message, "remove the line: no image is ever placed there");
            return None;
        }
        Some(reference)
    }

    fn digest(&mut self, Word { text, column }: Word<'_>) -> Option<Digest> {
        let digest = text.parse();
        digest
            .map_err(|error| self.problem(column, format!("{} is no digest: {error}", quoted(text)), EXAMPLE))
            .ok()
    }

    fn add(&mut self, reference: Reference, digest: Digest, column: usize) {
        if let Some(own) = reference.digest()
            && own != digest.as_str()
        {
            let message = format!("the reference has the digest `{own}` and the line `{}`", digest.as_str());
            return self.problem(column, message, "write the same in both places");
        }
        // A reference with a tag is locked by its tag, whether or not it names the digest too.
        let key = reference.without_digest();
        let key = if reference.tag().is_some() { key } else { reference.as_str() };
        if let Some(earlier) = self.seen.get(key).copied() {
            return self.compare(earlier, &reference, &digest, column);
        }
        let position = number(self.lock.lines.len());
        self.seen.insert(key.into(), position);
        let content = self.content(reference.name(), digest);
        if reference.tag().is_some() {
            self.lock.tags.insert(reference.without_digest().into(), content);
        }
        self.places.push((self.document.clone(), self.line));
        let config_map = self.config_map.clone();
        self.lock.lines.push(Line { reference, content, config_map, has_moved: AtomicBool::new(false) });
    }

    /// A reference that has a line already: the same again is fine.
    fn compare(&mut self, earlier: u32, reference: &Reference, digest: &Digest, column: usize) {
        let lock = &self.lock;
        let line = lock.lines.get(earlier as usize);
        let Some(locked) = line.and_then(|line| lock.digest(line)).filter(|locked| *locked != digest) else {
            return;
        };
        let (document, line) = self.places.get(earlier as usize).cloned().unwrap_or_default();
        let of_document = match document.filter(|document| Some(document) != self.document.as_ref()) {
            Some(document) => format!(" of {document}"),
            None => String::new(),
        };
        let message = format!(
            "{} is locked to `{}` here and to `{}` on line {line}{of_document}",
            quoted(reference.without_digest()),
            digest.as_str(),
            locked.as_str(),
        );
        self.problem(column, message, "remove one of the two lines");
    }

    /// The position of what a repository has under a digest, added if it is new.
    fn content(&mut self, repository: &str, digest: Digest) -> u32 {
        let position = number(self.lock.contents.len());
        let Some(of_repository) = self.lock.repositories.get(repository) else {
            self.lock.repositories.insert(repository.into(), vec![position]);
            self.lock.contents.push(Content { digest, is_missing: AtomicBool::new(false) });
            return position;
        };
        let behind = match self.lock.search(of_repository, digest.as_str()) {
            Ok(found) => return of_repository.get(found).copied().unwrap_or(position),
            Err(behind) => behind,
        };
        self.lock.contents.push(Content { digest, is_missing: AtomicBool::new(false) });
        if let Some(of_repository) = self.lock.repositories.get_mut(repository) {
            of_repository.insert(behind, position);
        }
        position
    }

    fn problem(&mut self, column: usize, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem {
            document: self.document.clone(),
            config_map: self.config_map.clone(),
            line: self.line,
            column,
            message: message.into(),
            remedy: remedy.into(),
        });
    }
}

/// The words of a line, without its comment: what begins with `#`.
fn words(line: &str) -> impl Iterator<Item = Word<'_>> {
    let mut column = 1;
    let mut rest = line;
    std::iter::from_fn(move || {
        let word = rest.trim_start();
        column += rest.chars().count() - word.chars().count();
        let end = word.find(char::is_whitespace).unwrap_or(word.len());
        let (text, behind) = word.split_at_checked(end)?;
        if text.is_empty() || text.starts_with('#') {
            rest = "";
            return None;
        }
        let word = Word { text, column };
        column = end_of(word);
        rest = behind;
        Some(word)
    })
}

/// The column behind a word.
fn end_of(word: Word<'_>) -> usize {
    word.column + word.text.chars().count()
}

fn number(length: usize) -> u32 {
    u32::try_from(length).expect("a lock has fewer than 2^32 lines: each takes a hundred bytes")
}

const EXAMPLE: &str = "a line is a mirror's reference, a blank and a digest, as in `registry.example.com/hub/library/nginx:1.25 sha256:…`";
