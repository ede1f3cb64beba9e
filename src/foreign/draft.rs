//! A table that is being put together from another tool's words.
//!
//! Readers say what they found. What cannot stand beside the other rules is left out, each with a warning, so that what
//! is printed can always be read.

mod print;
mod settle;

use std::{collections::BTreeMap, fmt};

use super::{
    import::{File, ImportError, Imported},
    text::List,
};
use crate::{
    image::{DEFAULT_REGISTRY, excerpt},
    table::{Problem, Table},
};

/// Rules, registries and warnings as they are found.
#[derive(Debug, Default)]
pub(super) struct Draft {
    rules: Vec<DraftRule>,
    registries: BTreeMap<String, Reach>,
    warnings: Vec<String>,
}

/// A rule that was found.
#[derive(Clone, Debug)]
pub(super) struct DraftRule {
    /// Where.
    pub(super) at: At,
    /// Its source, as a table has it.
    pub(super) source: String,
    /// Its mirrors; none: images are left as they are written.
    pub(super) mirrors: Vec<String>,
    /// The namespaces that it is for; none: all.
    pub(super) namespaces: Vec<String>,
    /// What becomes of images that no mirror has.
    pub(super) otherwise: Otherwise,
}

/// What becomes of images that no mirror has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Otherwise {
    /// They are not to be had.
    #[default]
    Nothing,
    /// They are pulled from their source.
    Source,
}

/// How a registry is reached, as far as a table can say it.
#[derive(Clone, Debug, Default)]
struct Reach {
    plain_http: bool,
    ca: Option<String>,
}

/// Where something stands: the file, the line and the key, as far as they are known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct At {
    pub(super) file: String,
    pub(super) line: Option<usize>,
    pub(super) key: String,
}

impl At {
    pub(super) fn new(file: &File<'_>, line: impl Into<Option<usize>>, key: impl Into<String>) -> Self {
        Self { file: file.name.to_owned(), line: line.into(), key: key.into() }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.file)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if self.key.is_empty() { Ok(()) } else { write!(f, ", `{}`", self.key) }
    }
}

impl Draft {
    /// Something that the table will not say, or not quite.
    pub(super) fn warn(&mut self, at: &At, text: impl fmt::Display) {
        self.say(&format!("{at}: {text}"));
    }

    /// A rule. Without mirrors it is an exception, and only kept where there would be mirrors otherwise.
    pub(super) fn rule(&mut self, rule: DraftRule) {
        self.rules.push(rule);
    }

    /// A rule for every namespace.
    pub(super) fn moved(
        &mut self,
        at: At,
        source: impl Into<String>,
        mirrors: Vec<String>,
        otherwise: Otherwise,
    ) {
        self.rules.push(DraftRule { at, source: source.into(), mirrors, namespaces: Vec::new(), otherwise });
    }

    /// An exception for every namespace, as far as one is needed.
    pub(super) fn kept(&mut self, at: At, source: impl Into<String>) {
        self.moved(at, source, Vec::new(), Otherwise::Source);
    }

    /// A registry that speaks HTTP without TLS.
    pub(super) fn plain_http(&mut self, host: &str) {
        self.registries.entry(host.to_owned()).or_default().plain_http = true;
    }

    /// Certificates to trust for a registry.
    pub(super) fn ca(&mut self, host: &str, pem: &str) {
        let ca = self.registries.entry(host.to_owned()).or_default().ca.get_or_insert_default();
        if !ca.contains(pem) {
            ca.push_str(pem);
        }
    }

    fn say(&mut self, text: &str) {
        let text = excerpt(text, LONGEST);
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    fn say_all(&mut self, texts: &[String]) {
        for text in texts {
            self.say(text);
        }
    }

    /// The table, which is read once before it is handed out.
    pub(super) fn finish(mut self, kind: &str, files: &[File<'_>]) -> Result<Imported, ImportError> {
        for rule in &mut self.rules {
            rule.source = normalised(&rule.source);
            for mirror in &mut rule.mirrors {
                *mirror = normalised(mirror);
            }
        }
        self.settle();
        if self.rules.is_empty() {
            self.say("no rule comes of it: nothing would be moved");
        }
        let names: Vec<_> = files.iter().map(|file| excerpt(file.name, 80)).collect();
        let about = format!("Made by `portolan import` from {} ({kind}).", List(&names));
        let text = self.write(&about);
        let parsed = Table::parse(&text).map_err(ImportError::NoTable)?;
        for Problem { message, remedy, .. } in &parsed.warnings {
            let remedy = remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
            self.say(&format!("of the table: {message}{remedy}"));
        }
        Ok(Imported { text, warnings: self.warnings })
    }
}

/// The other name of Docker Hub as the usual one.
fn normalised(text: &str) -> String {
    match text.strip_prefix("index.docker.io") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{DEFAULT_REGISTRY}{rest}"),
        _ => text.to_owned(),
    }
}

/// The longest warning, in characters.
const LONGEST: usize = 600;
