//! The lines that stand at the bottom of a terminal while something goes on, and change; what else is said goes above them.
//!
//! Below them the cursor waits in a row of its own, so that whoever ends us finds the prompt there. Each change is one text
//! to be written at once: nothing is to be seen of the steps between. The lines have to fit into the terminal, one row each.

use std::fmt::Write as _;

/// What stands there.
#[derive(Debug)]
pub(super) struct Screen {
    lines: Vec<String>,
    /// How many rows of it were drawn last.
    drawn: usize,
}

/// How many columns and rows a terminal has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Screen {
    pub(super) const fn new() -> Self {
        Self { lines: Vec::new(), drawn: 0 }
    }

    /// Has these lines stand there from the next time on that something is written.
    pub(super) fn set(&mut self, lines: Vec<String>) {
        self.lines = lines;
    }

    /// What is to be written to have the lines stand there.
    pub(super) fn show(&mut self) -> String {
        let mut text = self.back();
        for line in &self.lines {
            text.push_str(line);
            // Behind what is new, not before it: a row is never empty for a moment.
            text.push_str("\u{1b}[K\n");
        }
        if self.lines.len() < self.drawn {
            text.push_str("\u{1b}[J");
        }
        self.drawn = self.lines.len();
        text
    }

    /// What is to be written for a message above them. It may have lines of any length.
    pub(super) fn above(&mut self, message: &str) -> String {
        let mut text = self.back();
        if self.drawn > 0 {
            text.push_str("\u{1b}[J");
        }
        self.drawn = 0;
        text.push_str(message);
        text.push('\n');
        if !self.lines.is_empty() {
            text.push_str(&self.show());
        }
        text
    }

    /// To the beginning of the first line.
    fn back(&self) -> String {
        let mut text = String::new();
        if self.drawn > 0 {
            let _ = write!(text, "\r\u{1b}[{}A", self.drawn);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn lines_take_the_place_of_those_before_and_fewer_leave_nothing_behind() {
        let mut screen = Screen::new();
        assert_eq!(screen.show(), "", "nothing stands there, nothing is written");
        screen.set(lines(&["all", "one"]));
        assert_eq!(screen.show(), "all\u{1b}[K\none\u{1b}[K\n");
        screen.set(lines(&["all!"]));
        assert_eq!(screen.show(), "\r\u{1b}[2Aall!\u{1b}[K\n\u{1b}[J");
        screen.set(Vec::new());
        assert_eq!(screen.show(), "\r\u{1b}[1A\u{1b}[J");
        assert_eq!(screen.show(), "");
    }

    #[test]
    fn a_message_goes_above_them_and_stands_alone_where_there_are_none() {
        let mut screen = Screen::new();
        assert_eq!(screen.above("said"), "said\n", "without lines there is nothing but the message");
        screen.set(lines(&["all", "one"]));
        assert_eq!(screen.above("said"), "said\nall\u{1b}[K\none\u{1b}[K\n");
        screen.set(lines(&["all"]));
        assert_eq!(screen.above("a\nb"), "\r\u{1b}[2A\u{1b}[Ja\nb\nall\u{1b}[K\n");
        screen.set(Vec::new());
        assert_eq!(screen.above("end"), "\r\u{1b}[1A\u{1b}[Jend\n");
        assert_eq!(screen.above("after"), "after\n");
    }
}
