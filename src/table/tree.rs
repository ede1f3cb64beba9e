//! The first of three steps: YAML text into a small tree of scalars, lists and maps, each with its place.
//!
//! It knows YAML and nothing of tables. Anchors, aliases, merge keys, tags and a second document become problems
//! here, since no later step can see them. What nothing can be said about ([`Kind::Refused`]) has been reported, so
//! later steps pass it over in silence.
//!
//! The tree lies in one vector, in the order of the text: a collection knows where its content ends. So reading
//! 100,000 rules allocates a vector and no boxes, and no depth of nesting overflows the stack.

use std::borrow::Cow;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, options};

use super::problem::{Collector, Concern, Place, Problem, quoted};
use crate::image::excerpt;

/// A document as a tree.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    entries: Vec<Entry<'a>>,
}

/// A node of a tree: cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'t> {
    entries: &'t [Entry<'t>],
    at: u32,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind<'t> {
    List,
    Map,
    /// Reported already.
    Refused,
    /// A scalar without quotes, which may stand for something else than its text.
    Plain(&'t str),
    /// A scalar in quotes or a block scalar: a text.
    Text(&'t str),
}

impl<'a> Tree<'a> {
    /// Reads the first document of `text`; `None`: there is none.
    ///
    /// # Errors
    /// The syntax error, alone: what else was found before it may be its consequence.
    pub(super) fn read(text: &'a str, problems: &mut Collector) -> Result<Option<Self>, Problem> {
        if u32::try_from(text.len()).is_err() {
            return Err(
                Place::START.writing("the text has 4 GiB or more", "a table has a few megabytes at most")
            );
        }
        let mut reader = Reader { tree: Self { entries: Vec::new() }, open: Vec::new(), found: Vec::new() };
        let options = options! {
            emit_anchor_events: true,
            emit_comments: false,
            emit_unresolved_aliases: true,
        };
        let mut parser = Parser::new_from_str_with_options(text, options);
        let mut documents = 0;
        while let Some(next) = parser.next_event() {
            let (event, span) = next.map_err(|error| syntax(&error))?;
            if matches!(event, Event::DocumentStart(..)) {
                documents += 1;
                if documents == 2 {
                    let remedy = "a table is one document: put everything into the first";
                    reader.found.push(place(span.start).writing("a second document begins here", remedy));
                    break;
                }
            }
            reader.take(event, &span);
        }
        reader.found.into_iter().for_each(|problem| problems.add(problem));
        Ok((!reader.tree.entries.is_empty()).then_some(reader.tree))
    }

    /// The document itself.
    pub(super) fn root(&self) -> Node<'_> {
        self.node(0)
    }

    /// The node that said of itself to be [`Node::number`] `at`.
    pub(super) fn node(&self, at: u32) -> Node<'_> {
        Node { entries: &self.entries, at }
    }
}

impl<'t> Node<'t> {
    /// Which node of the tree this is, for those who keep many.
    pub(super) fn number(self) -> u32 {
        self.at
    }

    pub(super) fn place(self) -> Place {
        self.entry().place
    }

    pub(super) fn kind(self) -> Kind<'t> {
        match &self.entry().content {
            Content::List { .. } => Kind::List,
            Content::Map { .. } => Kind::Map,
            Content::Plain(text) => Kind::Plain(text),
            Content::Refused => Kind::Refused,
            Content::Text(text) => Kind::Text(text),
        }
    }

    /// The items of a list; the keys and values of a map in turn; of a scalar nothing.
    pub(super) fn items(self) -> impl Iterator<Item = Node<'t>> {
        let mut next = self.at + 1;
        let end = match self.entry().content {
            Content::List { end } | Content::Map { end } => end,
            _ => next,
        };
        std::iter::from_fn(move || {
            let item = (next < end).then_some(Node { at: next, ..self })?;
            next = item.end();
            Some(item)
        })
    }

    /// The keys of a map, each with its value.
    pub(super) fn pairs(self) -> impl Iterator<Item = (Node<'t>, Node<'t>)> {
        let mut items = self.items();
        std::iter::from_fn(move || Some((items.next()?, items.next()?)))
    }

    /// The number of the node behind this one and its content.
    fn end(self) -> u32 {
        match self.entry().content {
            Content::List { end } | Content::Map { end } => end,
            _ => self.at + 1,
        }
    }

    fn entry(self) -> &'t Entry<'t> {
        self.entries.get(self.at as usize).expect("nodes are numbered by the tree that they are of")
    }
}

#[derive(Debug)]
struct Entry<'a> {
    place: Place,
    content: Content<'a>,
}

#[derive(Debug)]
enum Content<'a> {
    List { end: u32 },
    Map { end: u32 },
    Plain(Cow<'a, str>),
    Refused,
    Text(Cow<'a, str>),
}

/// A tree that is being read.
struct Reader<'a> {
    tree: Tree<'a>,
    open: Vec<Open>,
    found: Vec<Problem>,
}

/// A collection whose end was not seen yet.
struct Open {
    at: usize,
    map: bool,
    /// How many nodes it has so far; in a map, keys have even numbers.
    nodes: usize,
    /// Whether the last key was a merge key: that its value is an alias is the same mistake.
    merging: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, event: Event<'a>, span: &Span) {
        let at = place(span.start);
        match event {
            Event::Scalar(text, style, _, tag) => {
                self.refuse_tag(tag.is_some(), span);
                let plain = style == ScalarStyle::Plain;
                let merging = plain && self.at_key() && text == "<<";
                self.count(merging);
                let content = if merging {
                    self.found.push(at.writing("YAML merge keys are not read here", "write the keys out"));
                    Content::Refused
                } else if plain {
                    Content::Plain(text)
                } else {
                    Content::Text(text)
                };
                self.tree.entries.push(Entry { place: at, content });
            }
            Event::SequenceStart(_, _, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.open(at, false);
            }
            Event::MappingStart(_, _, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.open(at, true);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                if !self.open.last().is_some_and(|open| open.merging) {
                    self.found.push(at.writing("YAML aliases are not read here", "write the value out"));
                }
                self.count(false);
                self.tree.entries.push(Entry { place: at, content: Content::Refused });
            }
            Event::Anchor(_, name) => {
                let message = format!("YAML anchors are not read here: {}", quoted(&format!("&{name}")));
                self.found.push(at.writing(message, "remove it and write the value out where it is needed"));
            }
            _ => {}
        }
    }

    fn open(&mut self, at: Place, map: bool) {
        if self.at_key() {
            self.found.push(at.writing("a key is a list or a map", "a key of this document is one word"));
        }
        self.count(false);
        self.open.push(Open { at: self.tree.entries.len(), map, nodes: 0, merging: false });
        let content = if map { Content::Map { end: 0 } } else { Content::List { end: 0 } };
        self.tree.entries.push(Entry { place: at, content });
    }

    fn close(&mut self) {
        let behind = u32::try_from(self.tree.entries.len())
            .expect("a text has more bytes than nodes, and 4 GiB were refused");
        let Some(open) = self.open.pop() else { return };
        if let Some(Content::List { end } | Content::Map { end }) =
            self.tree.entries.get_mut(open.at).map(|entry| &mut entry.content)
        {
            *end = behind;
        }
    }

    fn refuse_tag(&mut self, tagged: bool, span: &Span) {
        if tagged {
            let at = place(span.tag_start.unwrap_or(span.start));
            let remedy = "remove it; a text that looks like something else is written in quotes";
            self.found.push(at.writing("YAML tags are not read here", remedy));
        }
    }

    /// Whether the next node is a key.
    fn at_key(&self) -> bool {
        self.open.last().is_some_and(|open| open.map && open.nodes.is_multiple_of(2))
    }

    /// Counts a node of the innermost collection.
    fn count(&mut self, merging: bool) {
        if let Some(open) = self.open.last_mut() {
            open.nodes += 1;
            open.merging = merging;
        }
    }
}

fn syntax(error: &ScanError) -> Problem {
    // The parser's own words, which may quote the text.
    let message = format!("this is no YAML: {}", excerpt(&error.info(), 200));
    Problem { concern: Concern::Writing, ..place(*error.marker()).bare(message) }
}

/// The parser counts lines from 1 and columns from 0.
fn place(marker: Marker) -> Place {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Place { line: number(marker.line()), column: number(marker.col()).saturating_add(1) }
}
