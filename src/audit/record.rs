//! One admission as the audit log sees it, and its lines.

use std::time::Duration;

use jiff::Timestamp;

use super::line::Line;
use crate::rewrite::{Decision, Mode, Outcome, Place, ResolvedFrom};

/// What was decided about one Pod, owned, to be written by another thread.
///
/// All its texts share one allocation, and its images another; [`Log::begin`](super::Log::begin) gives out what earlier
/// records took. The decisions are moved in.
///
/// ```
/// use portolan::{
///     audit::{Head, Record},
///     rewrite::{Decision, List, Mode, Place, Reason},
/// };
///
/// let head = Head { uid: "5f1c", operation: "CREATE", namespace: "shop", mode: Mode::Enforce, ..Head::default() };
/// let mut record = Record::new(&head);
/// let place = Place { list: List::Containers, index: 0 };
/// record.push(place, "app", "auto", Decision::kept(Reason::Placeholder));
/// assert_eq!(record.len(), 1);
/// ```
#[derive(Debug)]
pub struct Record {
    time: Timestamp,
    elapsed: Duration,
    mode: Mode,
    dry_run: bool,
    uid: Span,
    operation: Span,
    namespace: Span,
    pod: Span,
    owner: Option<Span>,
    user: Span,
    images: Vec<Image>,
    texts: String,
}

/// What a request says beside its images.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    /// The request's uid.
    pub uid: &'a str,
    /// `CREATE` or `UPDATE`.
    pub operation: &'a str,
    /// The request's namespace.
    pub namespace: &'a str,
    /// The Pod's name, or its `generateName`.
    pub pod: &'a str,
    /// Kind and name of the Pod's controller.
    pub owner: Option<(&'a str, &'a str)>,
    /// Who asked.
    pub user: &'a str,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// Whether the decisions were carried out.
    pub mode: Mode,
}

/// One image of a record.
#[derive(Debug)]
struct Image {
    place: Place,
    container: Span,
    /// The text as written, unless the decision's reference has it.
    written: Option<Span>,
    decision: Decision,
}

/// A part of the record's texts, which are less than 4 GiB: a review has 8 MiB at the most, of which a text is cut at
/// [`MAX_TEXT`].
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Record {
    /// Begins the record of one admission now.
    pub fn new(head: &Head<'_>) -> Self {
        let mut record = Self::empty();
        record.begin(head);
        record
    }

    /// One that says nothing yet, with room for what an ordinary Pod has.
    pub(super) fn empty() -> Self {
        Self {
            time: Timestamp::UNIX_EPOCH,
            elapsed: Duration::ZERO,
            mode: Mode::default(),
            dry_run: false,
            uid: Span::default(),
            operation: Span::default(),
            namespace: Span::default(),
            pod: Span::default(),
            owner: None,
            user: Span::default(),
            images: Vec::with_capacity(FIRST_IMAGES),
            texts: String::with_capacity(FIRST_TEXT),
        }
    }

    /// Begins the record of one admission now in the place of one that is done.
    pub(super) fn begin(&mut self, head: &Head<'_>) {
        #[expect(clippy::disallowed_methods, reason = "the stamp of the audit line is made here")]
        self.begin_at(Timestamp::now(), head);
    }

    fn begin_at(&mut self, time: Timestamp, head: &Head<'_>) {
        self.clear();
        let texts = &mut self.texts;
        self.time = time;
        self.elapsed = Duration::ZERO;
        self.mode = head.mode;
        self.dry_run = head.dry_run;
        self.uid = keep(texts, head.uid);
        self.operation = keep(texts, head.operation);
        self.namespace = keep(texts, head.namespace);
        self.pod = keep(texts, head.pod);
        self.owner = head.owner.map(|(kind, name)| {
            let start = keep(texts, kind).start;
            texts.push('/');
            Span { start, end: keep(texts, name).end }
        });
        self.user = keep(texts, head.user);
    }

    /// Lets go of images and texts, and keeps the memory that they took.
    pub(super) fn clear(&mut self) {
        self.images.clear();
        self.texts.clear();
    }

    /// Whether it takes as little memory as those of ordinary Pods.
    pub(super) fn is_small(&self) -> bool {
        self.images.capacity() <= MAX_KEPT_IMAGES && self.texts.capacity() <= MAX_KEPT_TEXT
    }

    /// Adds one image: where its text stands, the container or volume, the text as written, and what was decided.
    pub fn push(&mut self, place: Place, container: &str, written: &str, decision: Decision) {
        let container = keep(&mut self.texts, container);
        let written = decision.found.is_none().then(|| keep(&mut self.texts, written));
        self.images.push(Image { place, container, written, decision });
    }

    /// How long the admission took; said last, when it is known.
    pub fn set_elapsed(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
    }

    /// How many images the record has.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether it has none; then it has no lines.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Writes the record's lines to the end of `buffer`.
    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        if self.images.is_empty() {
            return;
        }
        let start = buffer.len();
        self.push_head(&mut Line::begin(buffer, &self.time));
        let head = start..buffer.len();
        for (number, image) in self.images.iter().enumerate() {
            // What all lines of a record begin with is encoded once and copied.
            if number > 0 {
                buffer.extend_from_within(head.clone());
            }
            let mut line = Line::go_on(buffer);
            self.push_image(&mut line, image);
            line.end();
        }
    }

    /// The fields that all lines of a record have in common, in the documented order.
    fn push_head(&self, line: &mut Line<'_>) {
        line.text(br#","kind":"#, "image");
        line.text(br#","uid":"#, self.text(self.uid));
        line.text(br#","operation":"#, self.text(self.operation));
        line.text(br#","namespace":"#, self.text(self.namespace));
        line.text(br#","pod":"#, self.text(self.pod));
        line.optional(br#","owner":"#, self.owner.map(|span| self.text(span)));
        line.text(br#","user":"#, self.text(self.user));
        line.flag(br#","dryRun":"#, self.dry_run);
        line.text(br#","mode":"#, self.mode.word());
    }

    /// The fields of one image, which follow.
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "their paths would name rooms that this one does not know"
    )]
    fn push_image(&self, line: &mut Line<'_>, image: &Image) {
        let decision = &image.decision;
        let reference = decision.reference();
        let written = match image.written {
            Some(span) => self.text(span),
            None => reference.map_or("", |reference| reference.written()),
        };
        let rule = decision.rule();
        let result = match &decision.outcome {
            Outcome::Denied => None,
            Outcome::Kept => Some(cut(written)),
            Outcome::Rewritten { to } => Some(&**to),
        };
        line.place(br#","field":"#, image.place);
        line.text(br#","container":"#, self.text(image.container));
        line.text(br#","written":"#, cut(written));
        line.optional(br#","reference":"#, reference.map(|reference| reference.as_str()));
        line.optional(br#","result":"#, result);
        line.optional(br#","digest":"#, decision.digest.as_ref().map(|digest| digest.as_str()));
        line.optional(br#","rule":"#, rule.map(|rule| rule.source()));
        line.list(br#","ruleNamespaces":"#, rule.and_then(|rule| rule.namespaces()));
        line.text(br#","outcome":"#, decision.outcome.word());
        line.text(br#","reason":"#, decision.reason.word());
        line.optional(br#","resolvedFrom":"#, decision.resolved_from.map(ResolvedFrom::word));
        line.optional(br#","mirror":"#, decision.named_mirror().map(|mirror| mirror.as_str()));
        line.number(br#","elapsedMicros":"#, u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX));
    }

    fn text(&self, span: Span) -> &str {
        self.texts.get(span.start as usize..span.end as usize).unwrap_or_default()
    }
}

/// Copies `text`, cut to the bound, to the end of `texts`.
fn keep(texts: &mut String, text: &str) -> Span {
    let position = |texts: &String| u32::try_from(texts.len()).unwrap_or(u32::MAX);
    let start = position(texts);
    texts.push_str(cut(text));
    Span { start, end: position(texts) }
}

/// The first [`MAX_TEXT`] bytes of a text, fewer if a character would be split.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(text)
}

/// The longest text that a line repeats: as long as an image's text may be (product.md §7).
const MAX_TEXT: usize = 4096;

/// How many images and bytes of text there is room for at first.
const FIRST_IMAGES: usize = 4;
const FIRST_TEXT: usize = 512;

/// No more images and bytes of text are room for in a record that is kept for the next admission.
const MAX_KEPT_IMAGES: usize = 32;
const MAX_KEPT_TEXT: usize = 4 * 1024;

#[cfg(test)]
mod tests;
