//! What is wrong with a document: the file, the document, the line and the fault.

use std::{fmt, sync::Arc};

/// A document that cannot be read. The other documents of its file are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// What the text is called.
    pub file: Arc<str>,
    /// Which document of the text, from 1.
    pub document: usize,
    /// The line in the text, from 1.
    pub line: usize,
    /// What is wrong: one clause without a full stop.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, document {}, line {}: {}", self.file, self.document, self.line, self.message)
    }
}

impl std::error::Error for Problem {}

/// What is wrong, before it is known in which text.
#[derive(Debug)]
pub(super) struct Fault {
    /// The line in the part that was read, from 1.
    pub(super) line: usize,
    pub(super) message: String,
}

/// At most so many characters of a text, on one line.
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(SHOWN));
    for (number, character) in text.chars().enumerate() {
        if number == SHOWN {
            clean.push('…');
            break;
        }
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}') {
            clean.extend(character.escape_default());
        } else {
            clean.push(character);
        }
    }
    clean
}

const SHOWN: usize = 200;
