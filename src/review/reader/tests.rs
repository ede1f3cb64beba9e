use std::{collections::BTreeMap, path::Path};

use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::*;

/// What `text` reads as when all of it is kept, and whether it is taken when nothing is.
fn ours(text: &[u8]) -> (Result<Value, Mistake>, bool) {
    (read::<Value>(text).map_err(|error| error.mistake), read::<IgnoredAny>(text).is_ok())
}

fn assert_as_serde_json(text: &[u8]) {
    let (kept, skipped) = ours(text);
    let shown = String::from_utf8_lossy(text);
    match serde_json::from_slice::<Value>(text) {
        Ok(theirs) => assert_eq!(with_floats(kept.unwrap()), with_floats(theirs), "{shown}"),
        // serde_json refuses what is no character and no number of its own range, which no grammar forbids.
        Err(error) if error.to_string().contains("surrogate") || error.to_string().contains("range") => {}
        Err(error) => assert!(kept.is_err(), "{shown}: {error}"),
    }
    let taken = serde_json::from_slice::<IgnoredAny>(text).is_ok();
    // Of a list or an object that is skipped only strings and brackets are looked at.
    let is_nested = text.iter().any(|byte| matches!(byte, b'[' | b'{'));
    assert!(if is_nested { skipped || !taken } else { skipped == taken }, "{shown}");
}

/// With all numbers of one type, and to fifteen digits: the last ones are not exact in what `serde_json` reads.
fn with_floats(value: Value) -> Value {
    match value {
        Value::Number(number) => format!("{:.14e}", number.as_f64().unwrap()).into(),
        Value::Array(values) => values.into_iter().map(with_floats).collect(),
        Value::Object(values) => values.into_iter().map(|(key, value)| (key, with_floats(value))).collect(),
        other => other,
    }
}

#[test]
fn every_text_of_a_token_is_taken_or_refused_as_serde_json_does() {
    let tokens = [
        "",
        " ",
        "null",
        "nul",
        "nulll",
        "true",
        "tru",
        "false",
        "falsy",
        "0",
        "-0",
        "-",
        "00",
        "01",
        "1",
        "-12",
        "1.",
        "1.5",
        ".5",
        "1e",
        "1e+",
        "1e5",
        "1E-5",
        "1.5e3",
        "1.e3",
        "+1",
        "NaN",
        "0x1",
        "\"",
        "\"\"",
        "\"a\"",
        "\"a",
        "\"\\\"",
        "\"\\n\"",
        "\"\\x\"",
        "\"\\u00e9\"",
        "\"\\u00E9\"",
        "\"\\u00g9\"",
        "\"\\u00\"",
        "\"\\ud83d\\ude00\"",
        "\"\t\"",
        "\"\u{7f}\"",
        "\"é\"",
        "\" \"",
        "\"a b !\"",
        "\"\\b\\f\\n\\r\\t\\/\\\\\\\"\"",
        "\"twelve bytes and more, \\\\ behind them\"",
        "{}",
        "[]",
        "{",
        "[",
        "}",
        "]",
        "{\"a\":1}",
        "{\"a\" : 1 , \"b\":[ 1 , 2 ] }",
        "{\"a\":1,}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{1:1}",
        "{\"a\":1 \"b\":2}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1,2]",
        "[[],{}]",
        "{\"\\u0061\":{\"b\":null}}",
        "\u{feff}{}",
        "\u{a0}1",
        "\u{b}1",
        "\r\n\t 1\r\n\t ",
    ];
    for token in tokens {
        for text in
            [token.to_owned(), format!("[{token}]"), format!("{{\"k\":{token}}}"), format!("{token} x")]
        {
            assert_as_serde_json(text.as_bytes());
        }
    }
    for text in [&b"\"\xff\""[..], b"\xff", b"[\"\xc3\"]", b"{\"\xc3\xa9\":1}"] {
        assert_as_serde_json(text);
    }
}

#[test]
fn a_special_byte_is_found_wherever_it_stands() {
    for special in ["\"", "\\n", "\u{1}", "\u{1f}"] {
        for before in 0..20 {
            for behind in 0..10 {
                let text = format!("\"{}{special}{}\"", "a".repeat(before), "é".repeat(behind));
                assert_as_serde_json(text.as_bytes());
            }
        }
    }
}

#[test]
fn recorded_reviews_are_read_as_serde_json_reads_them_also_when_cut_or_garbled() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reviews");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        assert!(std::env::var_os("CI").is_none(), "the recorded reviews are missing: {}", folder.display());
        return;
    };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let body = std::fs::read(&path).unwrap();
        let body = body.trim_ascii();
        if body.len() > 10_000 || path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        assert_as_serde_json(body);
        for at in (0..body.len()).step_by(7) {
            let mut garbled = body.to_vec();
            for byte in [b'"', b'\\', b'}', b',', b' ', b'0', 0x01, 0xff] {
                garbled[at] = byte;
                let taken = serde_json::from_slice::<IgnoredAny>(&garbled).is_ok();
                if taken {
                    assert_eq!(read::<IgnoredAny>(&garbled), Ok(IgnoredAny), "byte {at} is {byte:#x}");
                } else if at % 5 == 0 {
                    assert!(read::<Value>(&garbled).is_err(), "byte {at} is {byte:#x}");
                }
            }
            assert_eq!(read::<IgnoredAny>(&body[..at]).unwrap_err().mistake, Mistake::End, "cut at {at}");
        }
    }
}

#[test]
fn half_a_surrogate_pair_is_the_replacement_character_as_in_go() {
    for (text, expected) in [
        (r#""\ud83d""#, "\u{fffd}"),
        (r#""\ude00!""#, "\u{fffd}!"),
        (r#""\ud83dx""#, "\u{fffd}x"),
        (r#""\ud83d\u0041""#, "\u{fffd}A"),
        (r#""\ud83d\n""#, "\u{fffd}\n"),
        (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
    ] {
        assert_eq!(read::<String>(text.as_bytes()), Ok(expected.to_owned()), "{text}");
        assert!(read::<IgnoredAny>(text.as_bytes()).is_ok(), "{text}");
    }
}

#[test]
fn nesting_is_bounded_where_values_are_kept() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let nested = |depth| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        let fits = nested(MAX_DEPTH);
        assert!(ours(fits.as_bytes()).0.is_ok() && ours(fits.as_bytes()).1);
        let deeper = nested(MAX_DEPTH + 1);
        assert_eq!(ours(deeper.as_bytes()), (Err(Mistake::Depth), true));
        // Skipping takes no stack.
        assert!(ours(nested(1_000_000).as_bytes()).1);
    }
    // Side by side is not within each other.
    for inner in ["[[]],", r#"{"a":{}},"#] {
        let (kept, skipped) = ours(format!("[{}1]", inner.repeat(1000)).as_bytes());
        assert!(kept.is_ok() && skipped, "{inner}");
    }
}

#[test]
fn a_mistake_says_where_it_is() {
    for (text, mistake, line, column) in [
        ("", Mistake::End, 1, 1),
        ("{\n \"a\": tru }", Mistake::Syntax, 2, 10),
        ("[1,\n\n2", Mistake::End, 3, 2),
        ("{} x", Mistake::Syntax, 1, 4),
        ("[\"a\u{1}\"]", Mistake::Syntax, 1, 4),
    ] {
        let error = read::<Value>(text.as_bytes()).unwrap_err();
        assert_eq!(error, ReadError { mistake, line, column }, "{text:?}");
    }
    assert_eq!(Mistake::Depth.to_string(), "it is nested too deeply");
    let cut = read::<IgnoredAny>(b"[1,\n{").unwrap_err();
    assert_eq!(cut, ReadError { mistake: Mistake::End, line: 2, column: 2 });
}

#[test]
fn a_struct_takes_what_it_has_and_skips_the_rest() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Pair<'a> {
        a: &'a str,
        #[serde(default)]
        b: Option<bool>,
    }
    let of = |text: &'static str| read::<Pair<'_>>(text.as_bytes()).map_err(|error| error.mistake);
    assert_eq!(of(r#"{"x":[{"a":1}],"a":"é","b":null,"y":1e9}"#), Ok(Pair { a: "é", b: None }));
    assert_eq!(of(r#"{"\u0061":"1","b":true}"#), Ok(Pair { a: "1", b: Some(true) }));
    for wrong in
        [r#"["é"]"#, r#"{"a":1}"#, r#"{"a":"","a":""}"#, r"{}", r#"{"a":"","b":"true"}"#, r#""a""#, "1"]
    {
        assert_eq!(of(wrong), Err(Mistake::Data), "{wrong}");
    }
    assert_eq!(read::<[u8; 1]>(b"[1,2]").map_err(|error| error.mistake), Err(Mistake::Data));
    let keys = read::<BTreeMap<String, Value>>(br#"{"a\"b":1,"c":{"d":[]}}"#).unwrap();
    assert_eq!(keys.into_keys().collect::<Vec<_>>(), ["a\"b", "c"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn anything_is_read_as_serde_json_reads_it(
        text in r#"([\[\]{},: ]|"(a|\\n|\\u00e9|é|[a-z]{0,20})"|-?[0-9.eE+]{1,4}|null|true|false|\n){0,12}"#
    ) {
        assert_as_serde_json(text.as_bytes());
    }

    #[test]
    fn what_serde_json_writes_is_read_back(texts in prop::collection::vec(".{0,40}", 0..6)) {
        let text = serde_json::to_vec(&texts).unwrap();
        prop_assert_eq!(read::<Vec<String>>(&text).unwrap(), texts);
    }
}
