//! JSON strings, appended to a text that is written by hand.
//!
//! An answer is mostly strings put together, of which some hold JSON themselves. Writing them straight into the one
//! buffer that they belong to saves the values and texts that a serialiser would be given.

/// Appends `text` as a JSON string, as `serde_json` writes it.
pub(crate) fn push_json(out: &mut String, text: &str) {
    out.push('"');
    push_escaped(out, text);
    out.push('"');
}

/// Appends what stands between the quotes of a JSON string.
pub(crate) fn push_escaped(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some((plain, behind)) = first_escaped(rest).and_then(|position| rest.split_at_checked(position))
    {
        out.push_str(plain);
        let mut characters = behind.chars();
        match characters.next() {
            Some('"') => out.push_str(r#"\""#),
            Some('\\') => out.push_str(r"\\"),
            Some('\n') => out.push_str(r"\n"),
            Some('\r') => out.push_str(r"\r"),
            Some('\t') => out.push_str(r"\t"),
            Some('\u{8}') => out.push_str(r"\b"),
            Some('\u{c}') => out.push_str(r"\f"),
            Some(control) => {
                out.push_str(r"\u00");
                for digit in [u32::from(control) >> 4, u32::from(control) & 15] {
                    out.extend(char::from_digit(digit, 16));
                }
            }
            None => {}
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
}

/// Where the first character stands that must be escaped.
fn first_escaped(text: &str) -> Option<usize> {
    let is_escaped = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    for (number, chunk) in text.as_bytes().chunks(CHUNK).enumerate() {
        // No branch for each byte, so that the compiler compares them all at once.
        if chunk.iter().fold(false, |found, byte| found | is_escaped(byte)) {
            return chunk.iter().position(is_escaped).map(|position| number * CHUNK + position);
        }
    }
    None
}

/// As wide as the vector registers that every x86-64 and aarch64 has.
const CHUNK: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pushed(text: &str) -> String {
        let mut out = String::new();
        push_json(&mut out, text);
        out
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
