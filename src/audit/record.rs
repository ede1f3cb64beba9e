//! One admission as the audit log sees it, and its lines.

use std::time::Duration;

use jiff::Timestamp;

use super::line::Line;
use crate::rewrite::{Decision, Mode, Outcome, Place, ResolvedFrom};

/// What was decided about one Pod, owned, to be written by another thread.
///
/// All its texts share one allocation; the decisions are moved in.
///
/// ```
/// use portolan::{
///     audit::{Head, Record},
///     rewrite::{Decision, List, Mode, Place, Reason},
/// };
///
/// let head = Head { uid: "5f1c", operation: "CREATE", namespace: "shop", mode: Mode::Enforce, ..Head::default() };
/// let mut record = Record::new(&head, 1);
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

/// A part of the record's texts.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
}

impl Record {
    /// Begins the record of one admission now, with room for `images` of them.
    pub fn new(head: &Head<'_>, images: usize) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the stamp of the audit line is made here")]
        Self::at(Timestamp::now(), head, images)
    }

    fn at(time: Timestamp, head: &Head<'_>, images: usize) -> Self {
        let owner = head.owner.map_or(0, |(kind, name)| kind.len() + name.len() + 1);
        let length = head.uid.len()
            + head.operation.len()
            + head.namespace.len()
            + head.pod.len()
            + head.user.len()
            + owner
            + images * TEXT_OF_AN_IMAGE;
        let mut texts = String::with_capacity(length.min(MAX_FIRST_TEXT));
        Self {
            time,
            elapsed: Duration::ZERO,
            mode: head.mode,
            dry_run: head.dry_run,
            uid: keep(&mut texts, head.uid),
            operation: keep(&mut texts, head.operation),
            namespace: keep(&mut texts, head.namespace),
            pod: keep(&mut texts, head.pod),
            owner: head.owner.map(|(kind, name)| {
                let start = keep(&mut texts, kind).start;
                texts.push('/');
                Span { start, end: keep(&mut texts, name).end }
            }),
            user: keep(&mut texts, head.user),
            images: Vec::with_capacity(images),
            texts,
        }
    }

    /// Adds one image: where its text stands, the container or volume, the text as written, and what was decided.
    pub fn push(&mut self, place: Place, container: &str, written: &str, decision: Decision) {
        let container = keep(&mut self.texts, container);
        let written = decision.reference.is_none().then(|| keep(&mut self.texts, written));
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
        let reference = decision.reference.as_ref();
        let written = match image.written {
            Some(span) => self.text(span),
            None => reference.map_or("", |reference| reference.written()),
        };
        let rule = decision.rule.as_deref();
        let result = match &decision.outcome {
            Outcome::Denied => None,
            Outcome::Kept => Some(cut(written)),
            Outcome::Rewritten { to } => Some(to.as_str()),
        };
        let mirror = decision.mirror.and_then(|mirror| rule?.mirrors().get(mirror));
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
        line.optional(br#","mirror":"#, mirror.map(|mirror| mirror.as_str()));
        line.number(br#","elapsedMicros":"#, u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX));
    }

    fn text(&self, span: Span) -> &str {
        self.texts.get(span.start..span.end).unwrap_or_default()
    }
}

/// Copies `text`, cut to the bound, to the end of `texts`.
fn keep(texts: &mut String, text: &str) -> Span {
    let start = texts.len();
    texts.push_str(cut(text));
    Span { start, end: texts.len() }
}

/// The first [`MAX_TEXT`] bytes of a text, fewer if a character would be split.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(text)
}

/// The longest text that a line repeats: as long as an image's text may be (product.md §7).
const MAX_TEXT: usize = 4096;

/// What the container and sometimes the text as written take of an image, mostly.
const TEXT_OF_AN_IMAGE: usize = 32;

/// No more is set aside before it is needed.
const MAX_FIRST_TEXT: usize = 16 * 1024;

#[cfg(test)]
mod tests;
