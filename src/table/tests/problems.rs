//! product.md §1, "Refused whole".

use super::*;

mod conflicts;
mod document;
mod values;

const MISTAKES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tables/twenty-mistakes.yaml"));
const LINES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tables/twenty-mistakes.txt"));

#[test]
fn twenty_mistakes_are_twenty_lines() {
    let problems = Table::parse(MISTAKES).unwrap_err();
    assert_eq!(problems.to_string(), LINES.trim_end());
    assert_eq!(problems.iter().count(), 20);
    assert!(problems.iter().all(|problem| problem.remedy.is_some()));
}

#[test]
fn whatever_a_document_says_a_problem_is_one_line_without_control_characters() {
    for text in [
        "\"a\\nb\\e[31m\": 1\n",
        "? |\n  a\n  b\n: 1\n",
        "kind: \"x\\ny\"\n",
        "rules: [{source: \"\\e[31m/x\\n\", keep: \"\\0\"}]\n",
        "%TAG ! \u{1b}[31m\n---\nx\n",
        "a: \u{1b}[31m\n",
    ] {
        let problems = Table::parse(text).unwrap_err();
        let lines: Vec<String> = (&problems).into_iter().map(ToString::to_string).collect();
        assert!(!lines.is_empty(), "{text}");
        for line in lines {
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}

#[test]
fn a_table_with_many_problems_says_a_hundred_and_how_many_more() {
    let rules = vec!["source: nginx, keep: true"; 250];
    let lines = problems(&rules);
    assert_eq!(lines.len(), 101);
    assert_eq!(lines.last().map(String::as_str), Some("and 150 more"));
    assert!(lines[99].starts_with("line 103, "), "{}", lines[99]);
}
