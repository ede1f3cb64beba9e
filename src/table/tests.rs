use super::*;

mod mirrors;
mod probes;
mod problems;
mod properties;
mod reading;
mod shape;
mod warnings;
mod which_rule;

const EXAMPLE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tables/example.yaml"));

/// A document with these rules, each in braces; the first is on line 4.
fn document(rules: &[&str]) -> String {
    let mut text = String::from("apiVersion: portolan.dev/v1\nkind: MappingTable\nrules:\n");
    for rule in rules {
        text.push_str("  - {");
        text.push_str(rule);
        text.push_str("}\n");
    }
    if rules.is_empty() { text.replace("rules:", "rules: []") } else { text }
}

/// A table with these rules.
fn table(rules: &[&str]) -> Table {
    parse(&document(rules)).table
}

#[track_caller]
fn parse(text: &str) -> Parsed {
    shape::agree(text);
    Table::parse(text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What is wrong with a table of these rules, a line each.
fn problems(rules: &[&str]) -> Vec<String> {
    problems_of(&document(rules))
}

#[track_caller]
fn problems_of(text: &str) -> Vec<String> {
    shape::agree(text);
    Table::parse(text)
        .map_or_else(|problems| problems.to_string().lines().map(Into::into).collect(), |_| vec![])
}

fn warnings(rules: &[&str]) -> Vec<String> {
    parse(&document(rules)).warnings.iter().map(ToString::to_string).collect()
}

fn reference(written: &str) -> Reference {
    written.parse().unwrap_or_else(|error| panic!("`{written}`: {error}"))
}

/// What becomes of an image in a namespace, in words: its place in the first mirror of the rule, or why it has none.
fn found(table: &Table, written: &str, namespace: Option<&str>) -> String {
    let reference = reference(written);
    match table.lookup(&reference, namespace) {
        Lookup::Exception(rule) => format!("exception of {}", rule.source()),
        Lookup::Inside { rule, mirror } => format!("inside {}", rule.mirrors()[mirror].as_str()),
        Lookup::InsideNoRule => "inside, no rule".into(),
        Lookup::NoRule => "no rule".into(),
        Lookup::Rule(rule) => match rule.place(0, &reference) {
            Some(place) => place.to_string(),
            None => "unrepresentable".into(),
        },
    }
}

/// [`found`] in the namespace `default`.
fn rewritten(table: &Table, written: &str) -> String {
    found(table, written, Some("default"))
}

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}
