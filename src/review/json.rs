//! JSON strings, appended to a text that is written by hand.
//!
//! An answer is mostly strings put together, of which some hold JSON themselves. Writing them straight into the one
//! buffer that they belong to saves the values and texts that a serialiser would be given.

/// Appends `text` as a JSON string, as `serde_json` writes it.
pub(crate) fn push_json(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

/// Appends what stands between the quotes of a JSON string.
///
/// Eight bytes at a time are looked at and copied, so that the compiler knows the length: a few instructions, where a
/// copy of any length is a call.
pub(crate) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    out.reserve(rest.len() + 8);
    while let Some((word, behind)) = rest.split_first_chunk::<8>() {
        out.extend_from_slice(word);
        let found = specials(u64::from_le_bytes(*word));
        if found == 0 {
            rest = behind;
            continue;
        }
        // Once more from the special one on.
        let plain = found.trailing_zeros() as usize / 8;
        out.truncate(out.len() - 8 + plain);
        let Some((special, behind)) = rest.get(plain..).and_then(<[u8]>::split_first) else { break };
        if matches!(special, b'"' | b'\\') {
            out.extend_from_slice(&[b'\\', *special]);
        } else {
            push_byte(out, *special);
        }
        rest = behind;
    }
    match text.as_bytes().last_chunk::<8>() {
        // The end of a plain text is copied together with some of what was before it, once more.
        Some(last) if specials(u64::from_le_bytes(*last)) == 0 => {
            out.truncate(out.len() + rest.len() - 8);
            out.extend_from_slice(last);
        }
        _ => rest.iter().for_each(|byte| push_byte(out, *byte)),
    }
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
pub(super) fn specials(word: u64) -> u64 {
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

    proptest! {
        #[test]
        fn any_text_is_written_as_serde_json_does(text in ".{0,80}") {
            prop_assert_eq!(pushed(&text), serde_json::to_string(&text).unwrap());
        }
    }
}
