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
