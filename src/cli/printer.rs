//! The only writer to stdout and stderr beside logs.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

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

impl Printer {
    pub(super) fn new() -> Self {
        Self { stdout: io::stdout(), stderr: io::stderr() }
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
        // If stderr is gone there is nobody to tell.
        let _ = writeln!(self.stderr.lock(), "{text}");
    }

    /// Why a command could not find out: the chain of causes on one line, remedies as hints below.
    pub(super) fn error(&mut self, error: &anyhow::Error) {
        let mut text = String::new();
        for cause in error.chain().map(ToString::to_string) {
            // The errors of some dependencies repeat their sources.
            if text.ends_with(&cause) {
                continue;
            }
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
        self.say("error", &text);
    }

    fn say(&mut self, kind: &str, text: &str) {
        let _ = writeln!(self.stderr.lock(), "{kind}: {text}");
    }
}
