//! What people read: warnings, the message of a denial, and the API server's own audit annotation.

use std::{borrow::Cow, fmt::Write as _};

use sha2::{Digest as _, Sha256};

use crate::review::{Embedded, fixed};
use crate::rewrite::{Judged, Mode, Outcome, Reason};

/// The warnings about a Pod's images: what is not as the table asks for, and in audit mode what would have been.
pub(super) fn warnings(images: &[Judged<'_>], mode: Mode) -> Vec<String> {
    let mut sentences = images.iter().filter_map(|image| warning(image, mode));
    let mut warnings: Vec<String> = sentences.by_ref().take(MAX_WARNINGS).collect();
    let more = sentences.count();
    if more > 0 {
        warnings.pop();
        warnings.push(format!("portolan: and {} more images", more + 1));
    }
    warnings
}

/// The warning of a request that Portolan failed at.
pub(super) fn internal_error(cause: &str) -> String {
    format!("portolan: {cause}, so the images are as written ({})", Reason::InternalError.word())
}

/// The warning of an edit that Portolan failed to check.
pub(super) fn unchecked(cause: &str) -> String {
    format!("portolan: {cause}, so the edit was not checked ({})", Reason::InternalError.word())
}

fn warning(image: &Judged<'_>, mode: Mode) -> Option<String> {
    let Judged { field, decision } = image;
    let would = if mode == Mode::Audit { "would be " } else { "" };
    let what = match &decision.outcome {
        Outcome::Denied if mode == Mode::Audit => "would be denied".to_owned(),
        Outcome::Kept if explain(decision.reason).is_some() => format!("{would}kept as written"),
        Outcome::Rewritten { .. } if decision.is_unpinned() && decision.digest.is_none() => {
            format!("{would}rewritten without a digest")
        }
        Outcome::Rewritten { .. } if decision.is_unpinned() => {
            format!("{would}rewritten, its digest unchecked")
        }
        Outcome::Rewritten { to } if mode == Mode::Audit => {
            format!("would be rewritten to `{}`", shortened(to, MAX_WARNED_RESULT))
        }
        Outcome::Denied | Outcome::Kept | Outcome::Rewritten { .. } => return None,
    };
    let why = explain(decision.reason).map_or_else(String::new, |why| format!(": {why}"));
    let (list, reason) = (field.place.list.word(), decision.reason.word());
    let name = shortened(field.name, MAX_WARNED_NAME);
    let written = shortened(field.image, MAX_WARNED_IMAGE);
    let text = format!("portolan: {list}/{name}: `{written}` {what} ({reason}){why}");
    Some(shortened(&text, MAX_WARNING).into_owned())
}

/// What stands behind a reason that an admin should hear of.
fn explain(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::InvalidReference => "it is no image reference",
        Reason::Missing => "no mirror has it",
        Reason::NotLocked => "the lock has no line for it",
        Reason::Unauthorized => "the mirror refused our credentials",
        Reason::Unavailable => "no mirror answered in time",
        Reason::Unrepresentable => "it would be no valid reference in any mirror",
        _ => return None,
    })
}

/// Why the Pod is refused; `None` if no image is denied.
pub(super) fn denial(images: &[Judged<'_>]) -> Option<String> {
    let mut text = String::new();
    for Judged { field, decision } in images.iter().filter(|image| image.decision.outcome == Outcome::Denied)
    {
        let (list, reason) = (field.place.list.word(), decision.reason.word());
        let written = shortened(field.image, MAX_REFERENCE);
        text.push_str(if text.is_empty() { "portolan: " } else { "; " });
        let _ = write!(text, "image `{written}` of {list}/{} is denied ({reason})", field.name);
        if let Some(rule) = decision.rule() {
            let mirrors: Vec<_> =
                rule.mirrors().iter().map(|mirror| format!("`{}`", mirror.as_str())).collect();
            let _ = write!(text, " by the rule for `{}`: ", rule.source());
            // The others said that they have it not.
            let silent = decision.mirror.and_then(|mirror| mirrors.get(mirror)).map_or("", String::as_str);
            let _ = match decision.reason {
                Reason::Missing => write!(
                    text,
                    "{} does not have it; load the image there, or set `onMissing` to keep or rewrite",
                    mirrors.join(", ")
                ),
                Reason::NotLocked => write!(
                    text,
                    "the lock has no line for it in {}; add one, or set `lock` to prefer",
                    mirrors.join(", ")
                ),
                Reason::Unauthorized => write!(
                    text,
                    "{silent} refused our credentials; mend the Secret named in `registries`, or set `onUnavailable`"
                ),
                _ => write!(
                    text,
                    "{silent} did not answer in time; try again, or set `onUnavailable` to keep or rewrite"
                ),
            };
        }
    }
    (!text.is_empty()).then_some(text)
}

/// What the API server's audit log is given: the images changed or denied. Both texts are empty, and stay so if there
/// are none.
///
/// The key ends in the first hex digits of the value's SHA-256, because a key that is set twice (by a reinvocation)
/// is dropped.
pub(super) fn audit_annotation(images: &[Judged<'_>], key: &mut String, value: &mut Embedded) {
    for Judged { field, decision } in images {
        if decision.outcome == Outcome::Kept {
            continue;
        }
        let before = value.mark();
        let result = decision.result();
        if value.is_empty() {
            let entry = field.image.len() + field.name.len() + result.map_or(0, str::len) + ENTRY;
            value.reserve((images.len() * entry).min(MAX_AUDIT_ANNOTATION));
            value.push(fixed!(br#"[{"field":""#));
        } else {
            value.push(fixed!(br#",{"field":""#));
        }
        value.push_text(field.place.list.word());
        value.push(fixed!(b"/"));
        value.push_text(field.name);
        match result {
            Some(image) => {
                value.push(fixed!(br#"","image":""#));
                value.push_text(image);
                value.push(fixed!(br#"","reason":""#));
            }
            None => value.push(fixed!(br#"","image":null,"reason":""#)),
        }
        value.push_text(decision.reason.word());
        value.push(fixed!(br#"","written":""#));
        value.push_text(&shortened(field.image, MAX_AUDITED));
        value.push(fixed!(br#""}"#));
        if value.plain().len() + 1 > MAX_AUDIT_ANNOTATION {
            value.cut(before);
            break;
        }
    }
    if value.is_empty() {
        return;
    }
    value.push(fixed!(b"]"));
    key.push_str(AUDIT_KEY);
    let digest = Sha256::digest(value.plain());
    for digit in digest.iter().take(4).flat_map(|byte| [byte >> 4, byte & 0xf]) {
        key.extend(char::from_digit(digit.into(), 16));
    }
}

/// At most `limit` characters of `text`, the middle replaced by `…`; control characters made visible.
pub(super) fn shortened(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let visible = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    let length = text.chars().count();
    if length <= limit {
        return text.chars().map(visible).collect();
    }
    let tail = limit / 2;
    let head = limit - 1 - tail;
    let mut short: String = text.chars().take(head).map(visible).collect();
    short.push('…');
    short.extend(text.chars().skip(length - tail).map(visible));
    short.into()
}

/// Annotation of the API server's own audit event, written by Portolan: the images changed or denied, as JSON of at most
/// 8 KiB. The key ends in the first eight hex digits of its value's SHA-256; the API server puts the webhook's name
/// before it.
pub const AUDIT_KEY: &str = "images-";

/// How many warnings one answer has, and how many characters each (product limits; the API server cuts at 256).
pub(super) const MAX_WARNINGS: usize = 8;
pub(super) const MAX_WARNING: usize = 256;
/// How much a warning shows of a name, of the image as written, and of what it would be. With all three in full and the
/// longest list and reason it has 254 characters, so that it is never cut where it says what becomes of the image.
const MAX_WARNED_NAME: usize = 40;
const MAX_WARNED_IMAGE: usize = 64;
const MAX_WARNED_RESULT: usize = 80;
/// How much of a reference a denial shows.
const MAX_REFERENCE: usize = 120;
/// How much of a reference an audit annotation shows: more than any valid one has.
pub(super) const MAX_AUDITED: usize = 1024;
/// The most bytes of the audit annotation's value.
const MAX_AUDIT_ANNOTATION: usize = 8 * 1024;
/// What an entry of it takes beside its texts: the names of its fields.
const ENTRY: usize = 64;

#[cfg(test)]
mod tests;
