//! The only writer to stdout and stderr beside logs.

use std::{
    env,
    ffi::OsStr,
    io::{self, IsTerminal as _, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};
use terminal_size::terminal_size_of;

use super::screen::{Screen, Size};

/// How a command prints its data.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum OutputFormat {
    /// For scripts; stable
    Json,
    /// For people
    Text,
}

/// Prints data to stdout and all else to stderr.
#[derive(Debug)]
pub struct Printer {
    stdout: io::Stdout,
    stderr: io::Stderr,
}

/// Whether text on stdout has colours. Nothing is ever said by a colour alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Palette {
    Coloured,
    Plain,
}

/// What a word is meant to look like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tone {
    Bad,
    Doubtful,
    Good,
    Plain,
    Strong,
}

impl Palette {
    /// Colours only where a terminal shows them and nobody asked for none (<https://no-color.org>).
    fn of(is_terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        let is_refused = no_color.is_some_and(|value| !value.is_empty());
        let is_able = term.is_none_or(|term| term != "dumb");
        if is_terminal && is_able && !is_refused { Self::Coloured } else { Self::Plain }
    }

    /// A text in a tone.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Bad => "31",
            Tone::Doubtful => "33",
            Tone::Good => "32",
            Tone::Plain => return text.to_owned(),
            Tone::Strong => "1",
        };
        match self {
            Self::Coloured => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

impl Printer {
    pub(super) fn new() -> Self {
        Self { stdout: io::stdout(), stderr: io::stderr() }
    }

    /// How text on stdout is to look.
    pub(super) fn palette(&self) -> Palette {
        Palette::of(
            self.stdout.is_terminal(),
            env::var_os("NO_COLOR").as_deref(),
            env::var_os("TERM").as_deref(),
        )
    }

    /// One line of data.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.stdout.lock(), "{text}")
    }

    /// Data as one JSON document.
    pub(super) fn json<T: Serialize>(&mut self, value: &T) -> anyhow::Result<()> {
        let mut stdout = self.stdout.lock();
        serde_json::to_writer_pretty(&mut stdout, value).map_err(io::Error::from)?;
        writeln!(stdout)?;
        Ok(())
    }

    /// Something that the user should know though the command goes on.
    pub(super) fn warning(&mut self, text: &str) {
        self.say("warning", text);
    }

    /// What a command did, for people.
    pub(super) fn note(&mut self, text: &str) {
        if AS_EVENTS.load(Ordering::Relaxed) {
            return self.say("note", text);
        }
        self.write(|screen| screen.above(&plain_lines(text)));
    }

    /// What to do about what was said last.
    pub(super) fn hint(&mut self, text: &str) {
        self.say("hint", text);
    }

    /// Whether somebody watches stderr, so that lines there can be overwritten.
    pub(super) fn is_watched(&self) -> bool {
        !AS_EVENTS.load(Ordering::Relaxed)
            && self.stderr.is_terminal()
            && env::var_os("TERM").is_none_or(|term| term != "dumb")
    }

    /// Has all that is said to the end of the process be JSON, an object a line: messages become events, too.
    pub(super) fn speak_json() {
        AS_EVENTS.store(true, Ordering::Relaxed);
    }

    /// One line for scripts.
    pub(super) fn event(&mut self, event: &Value) {
        self.write(|screen| screen.above(&event.to_string()));
    }

    /// How large the terminal is that somebody watches.
    pub(super) fn size(&self) -> Size {
        let size = terminal_size_of(&self.stderr);
        size.map_or(Size { columns: 80, rows: 24 }, |(columns, rows)| Size {
            columns: columns.0.into(),
            rows: rows.0.into(),
        })
    }

    /// Has these lines stand at the bottom of the terminal; without any they are gone. What is said goes above them.
    pub(super) fn stand(&mut self, lines: Vec<String>) {
        self.write(|screen| {
            screen.set(lines);
            screen.show()
        });
    }

    /// The same, below what is said next.
    pub(super) fn stand_below(lines: Vec<String>) {
        SCREEN.lock().unwrap_or_else(PoisonError::into_inner).set(lines);
    }

    /// Why a command could not find out: the chain of causes on one line, remedies as hints below.
    pub(super) fn error(&mut self, error: &anyhow::Error) {
        self.say("error", &in_line(error.chain()));
    }

    fn say(&mut self, kind: &str, text: &str) {
        if AS_EVENTS.load(Ordering::Relaxed) {
            return self.event(&json!({"event": kind, "message": text}));
        }
        self.write(|screen| screen.above(&format!("{kind}: {}", plain_lines(text))));
    }

    fn write(&mut self, text: impl FnOnce(&mut Screen) -> String) {
        let mut screen = SCREEN.lock().unwrap_or_else(PoisonError::into_inner);
        let text = text(&mut screen);
        // In one piece, so that no half of it is ever to be seen. If stderr is gone there is nobody to tell.
        let _ = self.stderr.lock().write_all(text.as_bytes());
    }
}

/// Whether messages are events. Of the process: not everybody who says something has the one printer.
static AS_EVENTS: AtomicBool = AtomicBool::new(false);

/// What stands at the bottom of the terminal. Of the process, for the same reason.
static SCREEN: Mutex<Screen> = Mutex::new(Screen::new());

/// A text of the user's without what a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// The same of each line of a message: several problems are told below each other.
fn plain_lines(text: &str) -> String {
    text.replace(|character: char| character.is_control() && character != '\n', "\u{fffd}")
}

/// An error with its causes on one line.
pub(super) fn in_line(causes: anyhow::Chain<'_>) -> String {
    let mut text = String::new();
    for cause in causes.map(ToString::to_string) {
        // The errors of some dependencies repeat their sources.
        if text.ends_with(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_have_them_and_for_nobody_who_refuses() {
        for (is_terminal, no_color, term, expected) in [
            (true, None, Some("xterm-256color"), Palette::Coloured),
            (true, None, None, Palette::Coloured),
            (true, Some(""), Some("xterm"), Palette::Coloured),
            (true, Some("1"), Some("xterm"), Palette::Plain),
            (true, Some("0"), Some("xterm"), Palette::Plain),
            (true, None, Some("dumb"), Palette::Plain),
            (false, None, Some("xterm"), Palette::Plain),
        ] {
            let palette = Palette::of(is_terminal, no_color.map(OsStr::new), term.map(OsStr::new));
            assert_eq!(palette, expected, "{is_terminal} {no_color:?} {term:?}");
        }
    }
}
