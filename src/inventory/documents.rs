//! Texts into documents: split where YAML splits, lists taken apart, a broken document named and passed over.

use std::sync::Arc;

use super::{
    json,
    problem::{Fault, Problem},
    value::{Kind, Value},
    yaml,
};

/// What a text holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// What could be read, in the order of the text.
    pub documents: Vec<Document>,
    /// What could not.
    pub problems: Vec<Problem>,
}

/// A document, an item of a list in one, or a line of a plain list.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What the text is called.
    pub file: Arc<str>,
    /// Which document of the text, from 1; items of a list are of one document.
    pub number: usize,
    /// The line on which it begins, from 1.
    pub line: usize,
    /// What it says.
    pub content: Content,
}

/// What a document says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// An image: a line of a plain list.
    Image(Box<str>),
    /// An object, such as a Pod. Always a map.
    Object(Value),
}

/// Reads a text of which `file` is the name: YAML or JSON, documents and `List`s of any number, or a plain list of
/// images.
///
/// ```
/// let text = "kind: Pod\nmetadata: {name: a}\n---\nkind: [\n---\nkind: Pod\nmetadata: {name: b}\n";
/// let inventory = portolan::inventory::read("pods.yaml", text);
/// assert_eq!(inventory.documents.len(), 2);
/// assert!(inventory.problems[0].to_string().starts_with("`pods.yaml`, document 2, line "));
/// ```
pub fn read(file: &str, text: &str) -> Inventory {
    read_within(file.into(), text, MOST_COPIES)
}

/// Reads a text whose aliases may stand for so much.
pub(super) fn read_within(file: Arc<str>, text: &str, copies: usize) -> Inventory {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { file, inventory: Inventory::default(), scalars: Vec::new() };
    match text.trim_start().starts_with(['{', '[']).then(|| json::read(text)).flatten() {
        Some(values) => {
            for (position, value) in values.into_iter().enumerate() {
                reader.take(position + 1, value);
            }
        }
        None => reader.read_yaml(text, copies),
    }
    reader.finish(text)
}

struct Reader {
    file: Arc<str>,
    inventory: Inventory,
    /// The places of documents that are neither map nor list.
    scalars: Vec<(usize, usize)>,
}

impl Reader {
    fn read_yaml(&mut self, text: &str, mut copies: usize) {
        let mut number = 0;
        for (first_line, part) in parts(text) {
            let (values, fault) = yaml::read(&part, &mut copies);
            for mut value in values {
                if value.kind == Kind::Null {
                    continue;
                }
                move_down(&mut value, first_line - 1);
                number += 1;
                self.take(number, value);
            }
            if let Some(Fault { line, message }) = fault {
                number += 1;
                let line = line + first_line - 1;
                self.inventory.problems.push(Problem {
                    file: Arc::clone(&self.file),
                    document: number,
                    line,
                    message,
                });
            }
        }
    }

    fn take(&mut self, number: usize, value: Value) {
        let line = value.line;
        match value.kind {
            Kind::Map(_) => self.take_object(number, value),
            Kind::List(items) => {
                for item in items {
                    match item.kind {
                        Kind::Map(_) => self.take_object(number, item),
                        Kind::Text(image) => self.push(number, item.line, Content::Image(image)),
                        _ => self.scalars.push((number, item.line)),
                    }
                }
            }
            Kind::Null => {}
            Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => self.scalars.push((number, line)),
        }
    }

    /// An object, or each of those in a list of objects: `List`, `PodList`.
    fn take_object(&mut self, number: usize, value: Value) {
        let item_kind = value.get("kind").and_then(Value::as_text).and_then(|kind| kind.strip_suffix("List"));
        let is_list = item_kind.is_some() && value.get("items").and_then(Value::as_list).is_some();
        let line = value.line;
        let (Some(item_kind), true, Kind::Map(_)) = (item_kind.map(Box::<str>::from), is_list, &value.kind)
        else {
            return self.push(number, line, Content::Object(value));
        };
        let Kind::Map(mut list) = value.kind else { return };
        let version = list.remove("apiVersion");
        let Some(Value { kind: Kind::List(items), .. }) = list.remove("items") else { return };
        for mut item in items {
            let line = item.line;
            let Kind::Map(entries) = &mut item.kind else { continue };
            // In a list of one kind the API server leaves it out of the items.
            if !item_kind.is_empty() && !entries.contains_key("kind") {
                entries.insert("kind".into(), Value { line, kind: Kind::Text(item_kind.clone()) });
                if let (Some(version), false) = (&version, entries.contains_key("apiVersion")) {
                    entries.insert("apiVersion".into(), version.clone());
                }
            }
            self.take_object(number, item);
        }
    }

    fn push(&mut self, number: usize, line: usize, content: Content) {
        self.inventory.documents.push(Document { file: Arc::clone(&self.file), number, line, content });
    }

    /// A text without an object in it is a plain list; what else is no object is a mistake.
    fn finish(mut self, text: &str) -> Inventory {
        let is_sound = self.inventory.problems.is_empty();
        if self.inventory.documents.is_empty()
            && (is_sound && !self.scalars.is_empty() || is_plain_list(text))
        {
            self.inventory.problems.clear();
            for (position, line) in text.lines().enumerate() {
                let image = without_comment(line);
                if !image.is_empty() && image != "---" {
                    self.push(1, position + 1, Content::Image(image.into()));
                }
            }
            return self.inventory;
        }
        for (document, line) in self.scalars {
            let message = "this is no object: put it right or leave it out".to_owned();
            self.inventory.problems.push(Problem { file: Arc::clone(&self.file), document, line, message });
        }
        self.inventory.problems.sort_by_key(|problem| problem.line);
        self.inventory
    }
}

/// The parts of a text between its markers `---`, each with the line on which it begins. No YAML scalar can have such
/// a line in it, so that what is broken in one part leaves the others whole.
fn parts(text: &str) -> Vec<(usize, String)> {
    let mut parts = vec![(1, String::new())];
    for (position, line) in text.split_inclusive('\n').enumerate() {
        let behind =
            line.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if let Some(content) = behind {
            // Where the marker was there are blanks, so that columns stay.
            parts.push((position + 1, format!("   {content}")));
        } else if let Some((_, part)) = parts.last_mut() {
            part.push_str(line);
        }
    }
    // Of directives (`%YAML 1.1`) alone the parser would miss the document that they are of.
    parts.retain(|(_, part)| {
        part.lines()
            .map(str::trim)
            .any(|line| !line.is_empty() && !line.starts_with(['#', '%']) && line != "...")
    });
    parts
}

fn move_down(value: &mut Value, lines: usize) {
    if lines == 0 {
        return;
    }
    value.line += lines;
    match &mut value.kind {
        Kind::List(items) => items.iter_mut().for_each(|item| move_down(item, lines)),
        Kind::Map(entries) => entries.values_mut().for_each(|entry| move_down(entry, lines)),
        Kind::Bool(_) | Kind::Null | Kind::Number(_) | Kind::Text(_) => {}
    }
}

/// Whether every line is one word that may be an image: also where YAML would find a fault, as in a comment between
/// two lines of what it takes for one text.
fn is_plain_list(text: &str) -> bool {
    let mut words = text.lines().map(without_comment).filter(|line| !line.is_empty()).peekable();
    words.peek().is_some()
        && words.all(|word| {
            !word.contains(char::is_whitespace)
                && !word.ends_with(':')
                && word.starts_with(|first: char| first.is_alphanumeric())
        })
}

/// A line of a plain list without blanks around it and without its comment: what begins with `#`, alone or behind a
/// blank.
fn without_comment(line: &str) -> &str {
    let mut end = line.len();
    let mut is_after_blank = true;
    for (position, character) in line.char_indices() {
        if character == '#' && is_after_blank {
            end = position;
            break;
        }
        is_after_blank = character.is_whitespace();
    }
    line.get(..end).unwrap_or(line).trim()
}

/// How much the aliases of a text may stand for: a million values, or 32 MB of text.
const MOST_COPIES: usize = 1_000_000;
