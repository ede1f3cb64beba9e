//! What is wrong with a table: the place, the fault and the remedy.
//!
//! Messages quote texts from the document, so whatever they quote is cut to a bound and has no control characters:
//! a problem is always one line.

use std::fmt;

use crate::image::excerpt;

/// One thing that is wrong with a table, or (as a warning) doubtful.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The line in the document, from 1.
    pub line: usize,
    /// The column in the line, from 1, in characters.
    pub column: usize,
    /// What is wrong: one clause without a full stop.
    pub message: String,
    /// What to do about it, when we know.
    pub remedy: Option<String>,
    /// What of the document it is about.
    pub concern: Concern,
}

/// What of a document a problem is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Concern {
    /// What its values mean, alone or together.
    Meaning,
    /// Keys, types and words: what the JSON Schema says, too.
    Shape,
    /// How the YAML is written, of which no JSON value shows anything.
    Writing,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// Why a text is no table: every problem that it has, sorted by place.
///
/// Printed, it is one line per problem, at most a hundred, and then how many more there are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Every problem, by place.
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

/// A place in the document, from 1.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Place {
    /// Where a text begins.
    pub(super) const START: Self = Self { line: 1, column: 1 };

    /// The problem `message` at this place.
    pub(super) fn problem(self, message: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem { remedy: Some(remedy.into()), ..self.bare(message) }
    }

    /// [`Place::problem`] about the document's shape.
    pub(super) fn shape(self, message: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem { concern: Concern::Shape, ..self.problem(message, remedy) }
    }

    /// [`Place::problem`] about how the YAML is written.
    pub(super) fn writing(self, message: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem { concern: Concern::Writing, ..self.problem(message, remedy) }
    }

    /// The problem `message` at this place, for which we know no remedy.
    pub(super) fn bare(self, message: impl Into<String>) -> Problem {
        let (line, column) = (self.line as usize, self.column as usize);
        Problem { line, column, message: message.into(), remedy: None, concern: Concern::Meaning }
    }
}

/// What is wrong with a text, before it is known where it stands.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) remedy: String,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: remedy.into() }
    }

    pub(super) fn at(self, place: Place) -> Problem {
        place.problem(self.message, self.remedy)
    }
}

/// Problems as they are found, in any order.
#[derive(Debug, Default)]
pub(super) struct Collector(Vec<Problem>);

impl Collector {
    pub(super) fn add(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The problems by place; those of one place in the order in which they were found.
    pub(super) fn sorted(mut self) -> Vec<Problem> {
        self.0.sort_by_key(|problem| (problem.line, problem.column));
        self.0
    }

    /// An error if there is any problem.
    pub(super) fn verdict(self) -> Result<(), Problems> {
        if self.0.is_empty() { Ok(()) } else { Err(Problems(self.sorted())) }
    }
}

/// A text of the document in backticks: at most 80 characters of it, control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", excerpt(text, QUOTED))
}

/// Words in backticks: "`a`, `b` or `c`" with `last` = "or".
pub(super) fn listed<'a>(words: impl IntoIterator<Item = &'a str>, last: &str) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    let mut list = String::new();
    for (number, word) in words.iter().enumerate() {
        match number {
            0 => {}
            _ if number + 1 == words.len() => {
                list.push(' ');
                list.push_str(last);
                list.push(' ');
            }
            _ => list.push_str(", "),
        }
        list.push('`');
        list.push_str(word);
        list.push('`');
    }
    list
}

/// The one of `words` that was probably meant by `written`.
pub(super) fn did_you_mean<'a>(written: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if written.len() > QUOTED {
        return None;
    }
    let wanted = written.to_lowercase();
    words
        .into_iter()
        .map(|word| (distance(&wanted, &word.to_lowercase()), word))
        // A third of the letters may be wrong: `mirror`, `plain-http` and `onMising` are understood, `insecure` is not.
        .filter(|(distance, word)| *distance <= word.len().div_ceil(3).min(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// How many letters to insert, remove, replace or swap with their neighbour make `left` out of `right`.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    let mut last = None;
    for (row, letter) in left.chars().enumerate() {
        let mut current = Vec::with_capacity(above.len());
        current.push(row + 1);
        for (column, other) in right.iter().enumerate() {
            let cost = |of: &[usize], at: usize| of.get(at).copied().unwrap_or(usize::MAX - 1);
            let mut best = (cost(&above, column) + usize::from(letter != *other))
                .min(cost(&above, column + 1) + 1)
                .min(cost(&current, column) + 1);
            let previous = column.checked_sub(1).and_then(|column| right.get(column)).copied();
            if last == Some(*other) && previous == Some(letter) {
                best = best.min(cost(&before, column - 1) + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
        last = Some(letter);
    }
    above.last().copied().unwrap_or(0)
}

/// How many problems are printed.
const SHOWN: usize = 100;

/// How many characters of the document's own text a message quotes.
const QUOTED: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_a_hundred_problems_are_printed_and_then_how_many_more() {
        let problems = |count: u32| {
            let mut collector = Collector::default();
            for line in (1..=count).rev() {
                collector.add(Place { line, column: 1 }.bare("wrong"));
            }
            collector.verdict().unwrap_err()
        };
        assert_eq!(problems(2).to_string(), "line 1, column 1: wrong\nline 2, column 1: wrong");
        assert_eq!(problems(100).to_string().lines().count(), 100);
        let many = problems(103);
        assert_eq!(many.to_string().lines().count(), 101);
        assert!(many.to_string().ends_with("\nline 100, column 1: wrong\nand 3 more"));
        assert_eq!(many.iter().count(), 103);
    }

    #[test]
    fn a_quoted_text_is_short_and_has_no_control_characters() {
        assert_eq!(quoted("a\nb\u{1b}[31m\u{2028}"), "`a\\nb\\u{1b}[31m\\u{2028}`");
        let long = quoted(&"ä".repeat(5_000));
        assert_eq!(long, format!("`{}…`", "ä".repeat(80)));
    }

    #[test]
    fn what_was_meant_is_found_by_a_few_wrong_letters() {
        let keys = ["source", "mirrors", "onMissing", "onUnavailable", "plainHttp", "ca"];
        for (written, meant) in [
            ("sourc", Some("source")),
            ("suorce", Some("source")),
            ("mirror", Some("mirrors")),
            ("on-missing", Some("onMissing")),
            ("plainHTTP", Some("plainHttp")),
            ("cca", Some("ca")),
            ("insecure", None),
            ("", None),
        ] {
            assert_eq!(did_you_mean(written, keys), meant, "{written}");
        }
    }

    #[test]
    fn a_distance_is_how_many_letters_were_written_wrongly() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("abc", "xabc", 1),
            ("abc", "axbc", 1),
            ("abc", "abcx", 1),
            ("abc", "xbc", 1),
            ("abc", "abx", 1),
            ("ab", "ba", 1),
            ("abcd", "acbd", 1),
            ("abcd", "abdc", 1),
            ("abcdef", "badcfe", 3),
            ("ab", "bca", 3), // what was swapped is not torn apart again
            ("aab", "aba", 1),
            ("abc", "cab", 2),
            ("kitten", "sitting", 3),
            ("abc", "xyz", 3),
            ("äö", "öä", 1),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
            assert_eq!(distance(right, left), expected, "{right} {left}");
        }
    }
}
