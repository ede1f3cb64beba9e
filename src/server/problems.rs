//! How the problems of a table or a lock are said in a log line or a note.

use std::fmt::{Display, Write as _};

/// Every problem on one line, cut to what a log takes.
pub(super) fn on_one_line<P: Display>(
    problems: impl IntoIterator<Item = P, IntoIter: ExactSizeIterator>,
) -> String {
    const MOST: usize = 20;
    let mut problems = problems.into_iter();
    let mut text = String::new();
    for problem in problems.by_ref().take(MOST) {
        if !text.is_empty() {
            text.push_str("; ");
        }
        let _ = write!(text, "{problem}");
    }
    if problems.len() > 0 {
        let _ = write!(text, "; and {} more", problems.len());
    }
    text
}
