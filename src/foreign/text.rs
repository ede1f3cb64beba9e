//! Texts in and out: YAML and TOML with lines, words as YAML and TOML take them, names without tag and digest.

use std::fmt;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::import::{File, ImportError, Kind};
use crate::{
    image::excerpt,
    inventory::{self, Content, Value},
};

/// Words in a row: `a, b and c`.
pub(super) struct List<'a, T>(pub(super) &'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, word) in self.0.iter().enumerate() {
            match number {
                0 => {}
                _ if number + 1 == self.0.len() => f.write_str(" and ")?,
                _ => f.write_str(", ")?,
            }
            write!(f, "{word}")?;
        }
        Ok(())
    }
}

/// A text as a scalar of YAML: in quotes where it would be something else without.
pub(super) fn yaml_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"./-_".contains(&byte);
    // `{registry}` in a flow list and a port before its end are what else comes up; both are safe in quotes.
    let is_word = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.contains(['.', '-', '/'])
        && text.bytes().all(is_plain);
    if is_word { text.to_owned() } else { quoted(text) }
}

/// A text in quotes, as JSON, YAML and TOML have it alike.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Registry and path of a text, which may have a tag or a digest.
pub(super) fn name_of(text: &str) -> &str {
    let without_digest = text.split('@').next().unwrap_or(text);
    match (without_digest.rfind('/'), without_digest.rfind(':')) {
        (Some(slash), Some(colon)) if colon > slash => without_digest.get(..colon).unwrap_or(without_digest),
        _ => without_digest,
    }
}

/// Whether `name` is `place` or below it.
pub(super) fn is_within(name: &str, place: &str) -> bool {
    name.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The certificates of a PEM text, and nothing else of it; `None`: there is none.
pub(super) fn certificates(pem: &str) -> Option<String> {
    let mut found = String::new();
    let mut is_inside = false;
    for line in pem.lines().map(str::trim) {
        is_inside |= line == "-----BEGIN CERTIFICATE-----";
        if is_inside {
            found.push_str(line);
            found.push('\n');
        }
        is_inside &= line != "-----END CERTIFICATE-----";
    }
    (!found.is_empty() && !is_inside).then_some(found)
}

/// The maps of a YAML text, each a document or an item of a list.
pub(super) fn yaml_maps(file: &File<'_>, kind: Kind) -> Result<Vec<Value>, ImportError> {
    let read = inventory::read(file.name, file.text);
    if let Some(problem) = read.problems.into_iter().next() {
        return Err(broken(file, problem.line, problem.message));
    }
    let mut maps = Vec::new();
    for document in read.documents {
        match document.content {
            Content::Object(map) => maps.push(map),
            Content::Image(_) => return Err(different(file, kind, "it has no keys and values")),
        }
    }
    Ok(maps)
}

/// The only map of a YAML text; `None`: it has nothing but comments.
pub(super) fn yaml_map(file: &File<'_>, kind: Kind) -> Result<Option<Value>, ImportError> {
    let mut maps = yaml_maps(file, kind)?;
    if let Some(second) = maps.get(1) {
        return Err(broken(file, second.line, "a second document begins here"));
    }
    Ok(maps.pop())
}

/// A TOML text with its lines.
pub(super) struct Toml<'a> {
    pub(super) file: File<'a>,
    root: Spanned<DeTable<'a>>,
}

/// A table of a TOML text.
#[derive(Clone, Copy)]
pub(super) struct Section<'t> {
    toml: &'t Toml<'t>,
    table: &'t DeTable<'t>,
}

impl<'a> Toml<'a> {
    pub(super) fn read(file: &File<'a>) -> Result<Self, ImportError> {
        let root = DeTable::parse(file.text).map_err(|error| {
            let line = error.span().map(|span| line_of(file.text, span.start));
            let message = format!("this is no TOML: {}", excerpt(error.message(), 200));
            ImportError::Broken { file: file.name.to_owned(), line, message }
        })?;
        Ok(Self { file: *file, root })
    }

    pub(super) fn root(&self) -> Section<'_> {
        Section { toml: self, table: self.root.get_ref() }
    }
}

impl<'t> Section<'t> {
    pub(super) fn keys(self) -> impl Iterator<Item = (&'t str, usize)> {
        self.table.keys().map(move |key| (&**key.get_ref(), self.toml.line(key.span().start)))
    }

    pub(super) fn has(self, key: &str) -> bool {
        self.value(key).is_some()
    }

    pub(super) fn line_of(self, key: &str) -> Option<usize> {
        self.keys().find(|(name, _)| *name == key).map(|(_, line)| line)
    }

    pub(super) fn text(self, key: &str) -> Result<Option<&'t str>, ImportError> {
        self.typed(key, "a text", DeValue::as_str)
    }

    pub(super) fn switch(self, key: &str) -> Result<Option<bool>, ImportError> {
        self.typed(key, "`true` or `false`", DeValue::as_bool)
    }

    /// A list of texts.
    pub(super) fn texts(self, key: &str) -> Result<Option<Vec<&'t str>>, ImportError> {
        self.typed(key, "a list of texts", |value| {
            value.as_array()?.iter().map(|item| item.get_ref().as_str()).collect()
        })
    }

    /// A text, or a list of texts.
    pub(super) fn text_or_texts(self, key: &str) -> Result<Option<Vec<&'t str>>, ImportError> {
        match self.value(key).and_then(DeValue::as_str) {
            Some(text) => Ok(Some(vec![text])),
            None => self.texts(key),
        }
    }

    pub(super) fn section(self, key: &str) -> Result<Option<Self>, ImportError> {
        let table = self.typed(key, "a table", DeValue::as_table)?;
        Ok(table.map(|table| Self { table, ..self }))
    }

    /// An array of tables, each with its line.
    pub(super) fn sections(self, key: &str) -> Result<Vec<(Self, usize)>, ImportError> {
        let list = self.typed(key, "an array of tables", |value| {
            let items = value.as_array()?.iter();
            let sections = items.map(|item| {
                let line = self.toml.line(item.span().start);
                Some((Self { table: item.get_ref().as_table()?, ..self }, line))
            });
            sections.collect()
        })?;
        Ok(list.unwrap_or_default())
    }

    /// The tables of this table by their places in the text, each with its name and line.
    pub(super) fn in_order(self) -> Result<Vec<(&'t str, Self, usize)>, ImportError> {
        let mut found = Vec::new();
        for (key, value) in self.table {
            let line = self.toml.line(key.span().start);
            let Some(table) = value.get_ref().as_table() else {
                return Err(broken(&self.toml.file, line, format!("`{}` is a table", key.get_ref())));
            };
            found.push((key.span().start, (&**key.get_ref(), Self { table, ..self }, line)));
        }
        found.sort_by_key(|(start, _)| *start);
        Ok(found.into_iter().map(|(_, found)| found).collect())
    }

    fn value(self, key: &str) -> Option<&'t DeValue<'t>> {
        self.table.get(key).map(Spanned::get_ref)
    }

    fn typed<T>(
        self,
        key: &str,
        what: &str,
        take: impl FnOnce(&'t DeValue<'t>) -> Option<T>,
    ) -> Result<Option<T>, ImportError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match take(value) {
            Some(taken) => Ok(Some(taken)),
            None => Err(ImportError::Broken {
                file: self.toml.file.name.to_owned(),
                line: self.line_of(key),
                message: format!("`{key}` is {what}"),
            }),
        }
    }
}

impl Toml<'_> {
    fn line(&self, position: usize) -> usize {
        line_of(self.file.text, position)
    }
}

/// The line of a position, from 1.
fn line_of(text: &str, position: usize) -> usize {
    text.bytes().take(position).filter(|byte| *byte == b'\n').count() + 1
}

pub(super) fn broken(
    file: &File<'_>,
    line: impl Into<Option<usize>>,
    message: impl Into<String>,
) -> ImportError {
    ImportError::Broken {
        file: file.name.to_owned(),
        line: line.into(),
        message: excerpt(&message.into(), 400),
    }
}

pub(super) fn different(file: &File<'_>, kind: Kind, why: impl Into<String>) -> ImportError {
    ImportError::Different { file: file.name.to_owned(), kind, why: excerpt(&why.into(), 400) }
}
