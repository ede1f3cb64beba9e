//! What is wrong with a lock: the document, the place, the fault and the remedy.
//!
//! Printed like a table's problems, one line each. What a message quotes is cut to a bound and has no control
//! characters.

use std::{fmt, sync::Arc};

use crate::image::excerpt;

/// One thing that is wrong with a lock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The document, where there are several.
    pub document: Option<Arc<str>>,
    /// The ConfigMap that the document is in, if it is in one.
    pub config_map: Option<Arc<str>>,
    /// The line in the document, from 1.
    pub line: usize,
    /// The column in the line, from 1, in characters.
    pub column: usize,
    /// What is wrong: one clause without a full stop.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// Why texts are no lock: every problem that they have, by document and place; never empty.
///
/// Printed, it is one line per problem, at most a hundred, and then how many more there are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problems(pub(super) Vec<Problem>);

impl Problems {
    /// Every problem, by document and place.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(document) = &self.document {
            write!(f, "{document}: ")?;
        }
        write!(f, "line {}, column {}: {}; {}", self.line, self.column, self.message, self.remedy)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().take(SHOWN).enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for Problems {}

/// A text of the lock in backticks: at most [`QUOTED`] characters of it, control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", excerpt(text, QUOTED))
}

/// How many problems are printed.
const SHOWN: usize = 100;

/// How many characters a message quotes: more than a digest has, and than most references.
const QUOTED: usize = 160;
