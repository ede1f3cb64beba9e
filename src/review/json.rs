//! JSON strings, appended to a text that is written by hand.
//!
//! An answer is mostly strings put together, of which some hold JSON themselves. Writing them straight into the one
//! buffer that they belong to saves the values and texts that a serialiser would be given.

mod embedded;

use wide::u8x16;

pub use embedded::{Embedded, Mark};
pub(crate) use embedded::{escaped, escaped_length, fixed};

/// Appends `text` as a JSON string, as `serde_json` writes it.
pub(crate) fn push_json(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

/// Appends what stands between the quotes of a JSON string.
pub(crate) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    push_text(out, text.as_bytes());
}

/// Appends what stands between the quotes of a JSON string for `text`, which is UTF-8.
fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + PART);
    let before = out.len();
    if push_plain(out, text) {
        return;
    }
    out.truncate(before);
    let rest = push_parts(out, text);
    for byte in push_words(out, rest) {
        push_byte(out, *byte);
    }
}

/// Appends `text`; `false` if some byte of it may not stand for itself.
///
/// Copied in pieces whose length the compiler knows, the last together with some of what is before it, once more: a few
/// instructions, where a copy of any length is a call. All are looked at before the one question is asked.
#[inline]
fn push_plain(out: &mut Vec<u8>, text: &[u8]) -> bool {
    /// Copies the first and the last bytes of a text that is longer than one of both and not longer than two.
    fn push_ends<const N: usize>(out: &mut Vec<u8>, text: &[u8], first: &[u8; N], last: &[u8; N]) {
        out.extend_from_slice(first);
        out.truncate(out.len() + text.len() - 2 * N);
        out.extend_from_slice(last);
    }

    if let Some(last) = text.last_chunk::<PART>() {
        let mut found = found_in(last);
        let (pieces, rest) = text.as_chunks::<{ 2 * PART }>();
        for piece in pieces {
            out.extend_from_slice(piece);
            for part in piece.as_chunks().0 {
                found |= found_in(part);
            }
        }
        if let Some(first) = rest.first_chunk() {
            found |= found_in(first);
            push_ends(out, rest, first, last);
        } else {
            out.truncate(out.len() + rest.len() - PART);
            out.extend_from_slice(last);
        }
        found.to_bitmask() == 0
    } else if let (Some(first), Some(last)) = (text.first_chunk::<WORD>(), text.last_chunk::<WORD>()) {
        push_ends(out, text, first, last);
        (specials(u64::from_le_bytes(*first)) | specials(u64::from_le_bytes(*last))) == 0
    } else if let (Some(first), Some(last)) = (text.first_chunk::<HALF>(), text.last_chunk::<HALF>()) {
        push_ends(out, text, first, last);
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        specials(u64::from(first) << 32 | u64::from(last)) == 0
    } else {
        for byte in text {
            out.push(*byte);
        }
        !text.iter().any(|byte| is_special(*byte))
    }
}

/// Appends `text` but for its end, which is shorter than a part and is given back.
fn push_parts<'t>(out: &mut Vec<u8>, mut text: &'t [u8]) -> &'t [u8] {
    // All, or all but the first: it has its backslash already and stands for itself behind it.
    let mut looked_at = !0;
    while let Some((part, behind)) = text.split_first_chunk() {
        out.extend_from_slice(part);
        let found = specials_of_part(part) & looked_at;
        if found == 0 {
            (text, looked_at) = (behind, !0);
            continue;
        }
        // Once more from the special one on.
        let plain = found.trailing_zeros() as usize;
        out.truncate(out.len() - PART + plain);
        text = text.get(plain..).unwrap_or_default();
        if let [control @ ..b' ', behind @ ..] = text {
            push_byte(out, *control);
            (text, looked_at) = (behind, !0);
        } else {
            out.push(b'\\');
            looked_at = !1;
        }
    }
    match text.split_first() {
        Some((first, behind)) if looked_at != !0 => {
            out.push(*first);
            behind
        }
        _ => text,
    }
}

/// Appends `text` but for its end, which is shorter than a word and is given back.
#[inline]
fn push_words<'t>(out: &mut Vec<u8>, mut text: &'t [u8]) -> &'t [u8] {
    while let Some((word, behind)) = text.split_first_chunk() {
        out.extend_from_slice(word);
        let found = specials(u64::from_le_bytes(*word));
        if found == 0 {
            text = behind;
            continue;
        }
        let plain = found.trailing_zeros() as usize / 8;
        out.truncate(out.len() - WORD + plain);
        let Some((special, behind)) = text.get(plain..).and_then(<[u8]>::split_first) else { break };
        push_byte(out, *special);
        text = behind;
    }
    text
}

/// Which of sixteen bytes may not stand for themselves in a string: a bit for each, the first the lowest.
#[inline]
pub(super) fn specials_of_part(part: &[u8; PART]) -> u32 {
    found_in(part).to_bitmask()
}

/// Which of sixteen bytes may not stand for themselves in a string: all bits of those are set.
#[inline]
fn found_in(part: &[u8; PART]) -> u8x16 {
    let part = u8x16::new(*part);
    let last_control = u8x16::splat(b' ' - 1);
    part.simd_eq(u8x16::splat(b'"'))
        | part.simd_eq(u8x16::splat(b'\\'))
        | part.min(last_control).simd_eq(part)
}

fn push_byte(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(br#"\""#),
        b'\\' => out.extend_from_slice(br"\\"),
        b'\n' => out.extend_from_slice(br"\n"),
        b'\r' => out.extend_from_slice(br"\r"),
        b'\t' => out.extend_from_slice(br"\t"),
        0x08 => out.extend_from_slice(br"\b"),
        0x0c => out.extend_from_slice(br"\f"),
        control @ ..0x20 => {
            let digit = control & 15;
            let digit = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (control >> 4), digit]);
        }
        other => out.push(other),
    }
}

/// Of eight bytes, little end first, those that may not stand for themselves in a string have their highest bit set in
/// what is given; behind the first of them others may have it too.
#[inline]
fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let quotes = zeros(word ^ (ONES * u64::from(b'"')));
    let backslashes = zeros(word ^ (ONES * u64::from(b'\\')));
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    (quotes | backslashes | controls) & (ONES << 7)
}

/// Whether a byte may not stand for itself in a string: a quote, a backslash or a control character.
#[inline]
pub(super) fn is_special(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// Bytes that are compared at once.
pub(super) const PART: usize = 16;

/// Bytes of a word, and of half of one.
const WORD: usize = 8;
const HALF: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pushed(text: &str) -> String {
        let mut out = Vec::new();
        push_json(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_ascii_character_is_written_as_serde_json_does_wherever_it_stands() {
        for character in '\0'..='\u{80}' {
            for before in [0, 1, 3, 4, 6, 7, 8, 11, 14, 15, 16, 17, 40, 300] {
                let text = format!("{}{character}é{character}", "a".repeat(before));
                assert_eq!(pushed(&text), serde_json::to_string(&text).unwrap(), "{character:?}");
            }
        }
    }

    #[test]
    fn what_is_special_is_found_and_nothing_else_is() {
        for byte in 0..=u8::MAX {
            let special = matches!(byte, ..b' ' | b'"' | b'\\');
            assert_eq!(is_special(byte), special, "{byte:#x}");
            for at in 0..WORD {
                let mut word = [b'a'; WORD];
                word[at] = byte;
                let found = specials(u64::from_le_bytes(word));
                assert_eq!((found != 0).then(|| found.trailing_zeros() as usize / 8), special.then_some(at));
            }
            for at in 0..PART {
                let mut part = [b'~'; PART];
                part[at] = byte;
                assert_eq!(specials_of_part(&part), u32::from(special) << at, "{byte:#x}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_written_as_serde_json_does(text in ".{0,80}") {
            prop_assert_eq!(pushed(&text), serde_json::to_string(&text).unwrap());
        }
    }
}
