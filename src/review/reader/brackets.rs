//! Where a list or an object ends of which nothing is kept.
//!
//! Nine tenths of a review are such values, so they are walked over 64 bytes at a time: one bit for each byte says where
//! quotes, escapes and brackets stand, and the brackets outside of strings are counted. This is how simdjson finds its
//! structure (Langdale and Lemire, "Parsing Gigabytes of JSON per Second", 2019, section 3.1). The rest of the grammar
//! is not checked here: what nobody reads was written by the API server's own encoder.

use wide::u8x16;

/// Where the list or object ends whose first byte is that of `text`: the place behind its last byte. `None` if `text`
/// ends before.
pub(super) fn end(text: &[u8]) -> Option<usize> {
    let mut strings = Strings::default();
    let mut depth = 0_u32;
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    for (number, block) in blocks.iter().enumerate() {
        if let Some(end) = step(block, &mut strings, &mut depth) {
            return Some(number * BLOCK + end);
        }
    }
    let mut block = [b' '; BLOCK];
    block.get_mut(..rest.len())?.copy_from_slice(rest);
    step(&block, &mut strings, &mut depth).map(|end| blocks.len() * BLOCK + end)
}

/// Walks over one block. Gives the place behind the bracket that closes the first one, if it is in this block.
#[inline]
fn step(block: &[u8; BLOCK], strings: &mut Strings, depth: &mut u32) -> Option<usize> {
    let bits = Bits::of(block);
    let inside = strings.inside(bits.quotes, bits.backslashes);
    let closing = bits.closing & !inside;
    let mut brackets = bits.opening & !inside | closing;
    while brackets != 0 {
        let place = brackets.trailing_zeros();
        if closing >> place & 1 == 0 {
            *depth += 1;
        } else {
            *depth -= 1;
            if *depth == 0 {
                return Some(place as usize + 1);
            }
        }
        brackets &= brackets - 1;
    }
    None
}

/// A bit for each byte of a block; the first byte's is the lowest.
struct Bits {
    quotes: u64,
    backslashes: u64,
    /// `{` and `[`.
    opening: u64,
    /// `}` and `]`.
    closing: u64,
}

impl Bits {
    #[inline]
    fn of(block: &[u8; BLOCK]) -> Self {
        let mut bits = Self { quotes: 0, backslashes: 0, opening: 0, closing: 0 };
        let (parts, _) = block.as_chunks::<PART>();
        for (number, part) in parts.iter().enumerate() {
            let part = u8x16::new(*part);
            let at = |wanted: u8, part: u8x16| {
                u64::from(part.simd_eq(u8x16::splat(wanted)).to_bitmask()) << (number * PART)
            };
            // In ASCII a brace is a square bracket with this bit.
            let braced = part | u8x16::splat(b'{' ^ b'[');
            bits.quotes |= at(b'"', part);
            bits.backslashes |= at(b'\\', part);
            bits.opening |= at(b'{', braced);
            bits.closing |= at(b'}', braced);
        }
        bits
    }
}

/// What a block must know of the one before it.
#[derive(Default)]
struct Strings {
    /// All ones if the last block ended inside a string.
    open: u64,
    /// 1 if the last block ended with a backslash that escapes this one's first byte.
    escaping: u64,
}

impl Strings {
    /// The bytes that stand inside strings, the opening quotes among them.
    #[inline]
    fn inside(&mut self, quotes: u64, backslashes: u64) -> u64 {
        let quotes = quotes & !self.escaped(backslashes);
        let inside = parity_up_to(quotes) ^ self.open;
        self.open = if inside >> (BLOCK - 1) == 0 { 0 } else { u64::MAX };
        inside
    }

    /// The bytes behind an odd number of backslashes.
    #[inline]
    fn escaped(&mut self, backslashes: u64) -> u64 {
        if backslashes == 0 {
            return std::mem::take(&mut self.escaping);
        }
        let backslashes = backslashes & !self.escaping;
        let behind = backslashes << 1 | self.escaping;
        // A run that begins at an odd place carries through to the byte behind it: adding finds all of them at once.
        let odd_starts = backslashes & !EVEN & !behind;
        let (carried, is_open) = odd_starts.overflowing_add(backslashes);
        self.escaping = u64::from(is_open);
        (EVEN ^ carried << 1) & behind
    }
}

/// Each bit says whether the number of ones up to it, itself among them, is odd.
#[inline]
fn parity_up_to(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// As many bytes as there are bits in what is computed with.
const BLOCK: usize = 64;

/// As many as are compared at once; every processor of 64 bits can.
const PART: usize = 16;

/// Every second place, from the first.
const EVEN: u64 = 0x5555_5555_5555_5555;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// The same, byte by byte; a backslash outside of strings, where JSON has none, escapes a quote alone.
    fn plain_end(text: &[u8]) -> Option<usize> {
        let (mut depth, mut in_string, mut is_escaped) = (0, false, false);
        for (place, byte) in text.iter().enumerate() {
            match byte {
                b'"' if !is_escaped => in_string = !in_string,
                b'[' | b'{' if !in_string => depth += 1,
                b']' | b'}' if !in_string => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(place + 1);
                    }
                }
                _ => {}
            }
            is_escaped = *byte == b'\\' && !is_escaped;
        }
        None
    }

    #[test]
    fn a_bracket_ends_the_value_wherever_it_stands() {
        for before in 0..140 {
            for (open, close) in [("[", "]"), ("{", "}"), ("[\"", "\"]"), (r#"["\"]"#, r#"\\"]"#)] {
                let text = format!("{open}{}{close}, and [more]", " ".repeat(before));
                let end = text.find(close).unwrap() + close.len();
                assert_eq!(super::end(text.as_bytes()), Some(end), "{text}");
                assert_eq!(super::end(&text.as_bytes()[..end - 1]), None, "{text}");
            }
        }
    }

    #[test]
    fn runs_of_backslashes_escape_by_twos_also_across_blocks() {
        for before in 50..70 {
            for run in 0..140 {
                let text = format!("[\"{}{}\"]\"]", "a".repeat(before), "\\".repeat(run));
                assert_eq!(super::end(text.as_bytes()), plain_end(text.as_bytes()), "{text}");
            }
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(Value::from),
            r#"[a-c\\"\[\]{}é]{0,30}"#.prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(6, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(r#"[a-c\\"{]{0,6}"#, inner, 0..6)
                    .prop_map(|values| values.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_value_ends_where_it_was_written_to(value in json(), behind in r#"[\[\]{}", ]{0,80}"#) {
            let value = serde_json::to_string(&[value]).unwrap();
            prop_assert_eq!(end(format!("{value}{behind}").as_bytes()), Some(value.len()));
            prop_assert_eq!(end(value.get(..value.len() - 1).unwrap_or_default().as_bytes()), None);
        }

        #[test]
        fn any_bytes_are_walked_over_as_byte_by_byte(text in r#"[\[{][\[\]{}\\" a\x00]{0,200}"#) {
            prop_assert_eq!(end(text.as_bytes()), plain_end(text.as_bytes()));
        }
    }
}
