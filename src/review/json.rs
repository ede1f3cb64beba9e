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
pub(crate) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 1);
    let (chunks, rest) = text.as_bytes().as_chunks::<CHUNK>();
    for chunk in chunks {
        // All bytes are looked at without a branch for each, and copied as so many that the compiler knows how many:
        // a few instructions, where short copies of any length are a call each.
        if chunk.iter().fold(false, |found, byte| found | is_escaped(*byte)) {
            push_bytes(out, chunk);
        } else {
            out.extend_from_slice(chunk);
        }
    }
    push_bytes(out, rest);
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        match *byte {
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
}

fn is_escaped(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// As wide as the vector registers that every x86-64 and aarch64 has.
const CHUNK: usize = 16;

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
            for before in [0, 1, 15, 16, 40] {
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
