//! Texts of the world as messages show them: a piece of one line that no terminal obeys.
//!
//! In this room because every reader of texts may name it: tables, locks and manifests are quoted alike.

/// At most `most` characters of a text, with `…` behind them if there are more. Control characters and what else would
/// break the line or hide are escaped.
pub(crate) fn excerpt(text: &str, most: usize) -> String {
    let mut excerpt = String::with_capacity(text.len().min(most) + '…'.len_utf8());
    for (number, character) in text.chars().enumerate() {
        if number == most {
            excerpt.push('…');
            break;
        }
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}') {
            excerpt.extend(character.escape_default());
        } else {
            excerpt.push(character);
        }
    }
    excerpt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_of_one_line_that_steers_nothing() {
        for (text, most, expected) in [
            ("nginx:1.25", 10, "nginx:1.25"),
            ("nginx:1.25", 9, "nginx:1.2…"),
            ("", 0, ""),
            ("é…ß", 3, "é…ß"),
            ("a\nb\r\tc", 9, "a\\nb\\r\\tc"),
            ("\u{1b}[31m", 9, "\\u{1b}[31m"),
            ("\u{7f}\u{9b}", 9, "\\u{7f}\\u{9b}"),
            ("\u{feff}a\u{2028}b\u{2029}", 9, "\\u{feff}a\\u{2028}b\\u{2029}"),
            // What is escaped counts as the one character that it was.
            ("\n\n\n", 2, "\\n\\n…"),
        ] {
            assert_eq!(excerpt(text, most), expected, "{text:?}");
        }
    }
}
