//! The page about the table, and its JSON Schema: both made from the keys that the parser goes by.

use std::fmt::Write as _;

use portolan::table::keys::{Absent, Either, Key, Section, TABLE, Value, Word};
use serde_json::{Map, Value as Json, json};

use super::{compare, compare_whole};

#[test]
fn the_page_about_the_table_has_every_key() {
    let mut page = String::from(ABOUT);
    section(&mut page, &TABLE, "");
    compare("table.md", &page);
}

#[test]
fn the_schema_of_the_table_has_every_key() {
    let mut schema = schema(&TABLE);
    schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".into(), "Portolan's mapping table".into());
    let text = serde_json::to_string_pretty(&Json::from(schema)).unwrap() + "\n";
    compare_whole("table.schema.json", &text);
}

/// A section's heading and keys, and below it those of the sections in it.
fn section(page: &mut String, section: &Section, path: &str) {
    let heading = if path.is_empty() { "The document".to_owned() } else { format!("`{path}`") };
    write!(page, "\n## {heading}\n\n{}", section.about).unwrap();
    if let Some(Either { switch, list }) = section.either {
        write!(page, " It has exactly one of `{switch}: true` and `{list}`.").unwrap();
    }
    page.push_str("\n\n| key | value | without it | meaning |\n|---|---|---|---|\n");
    for key in section.keys {
        let (value, absent) = (value(&key.value), absent(key));
        let is_inherited = matches!(key.absent, Absent::Inherited);
        let about = if is_inherited { key.about.to_owned() } else { about(key) };
        writeln!(page, "| `{}` | {value} | {absent} | {about} |", key.name).unwrap();
    }
    for key in section.keys {
        let (inner, list) = match key.value {
            Value::Section(inner) => (inner, ""),
            Value::Sections(inner) => (inner, "[]"),
            _ => continue,
        };
        let dot = if path.is_empty() { "" } else { "." };
        self::section(page, inner, &[path, dot, key.name, list].concat());
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Section(_) => "map".into(),
        Value::Sections(_) => "list of maps".into(),
        Value::Switch => "`true` or `false`".into(),
        Value::Text => "text".into(),
        Value::Texts => "list of texts".into(),
        Value::Word(words) => {
            words.iter().map(|word| format!("`{}`", word.text)).collect::<Vec<_>>().join(", ")
        }
    }
}

fn absent(key: &Key) -> String {
    match key.absent {
        Absent::Inherited => "as in `defaults`".into(),
        Absent::Means(words) => words.into(),
        Absent::Refused(_) => "refused".into(),
        Absent::Word(word) => format!("`{word}`"),
    }
}

/// What a key and its words mean.
fn about(key: &Key) -> String {
    let mut about = key.about.to_owned();
    let words: &[Word] = if let Value::Word(words) = key.value { words } else { &[] };
    for word in words.iter().filter(|word| !word.about.is_empty()) {
        write!(about, ". `{}`: {}", word.text, word.about).unwrap();
    }
    about
}

/// A section as a schema: draft 2020-12, only words that editors know.
fn schema(section: &Section) -> Map<String, Json> {
    let mut properties = Map::new();
    for key in section.keys {
        let mut value = match &key.value {
            Value::Section(section) => schema(section),
            Value::Sections(section) => object(json!({"type": "array", "items": schema(section)})),
            Value::Switch => object(json!({"type": "boolean"})),
            Value::Text => object(text()),
            Value::Texts => object(json!({"type": "array", "items": text(), "minItems": 1})),
            Value::Word(words) => {
                let words: Vec<_> = words.iter().map(|word| word.text).collect();
                object(json!({"type": "string", "enum": words}))
            }
        };
        let default = match (key.absent, &key.value) {
            (Absent::Word(word), Value::Switch) => Some(json!(word == "true")),
            (Absent::Word(word), _) => Some(json!(word)),
            _ => None,
        };
        if let Some(default) = default {
            value.insert("default".into(), default);
        }
        let without = match key.absent {
            Absent::Inherited | Absent::Means(_) => format!(". Without it: {}", absent(key)),
            Absent::Refused(_) | Absent::Word(_) => String::new(),
        };
        value.insert("description".into(), (about(key) + &without).into());
        properties.insert(key.name.into(), value.into());
    }
    let required: Vec<_> =
        section.keys.iter().filter(|key| key.required().is_some()).map(|key| key.name).collect();
    let mut schema = object(json!({
        "type": "object",
        "description": section.about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    }));
    if let Some(Either { switch, list }) = section.either {
        schema.insert("if".into(), json!({"properties": {switch: {"const": true}}, "required": [switch]}));
        schema.insert("then".into(), json!({"properties": {list: false}}));
        schema.insert("else".into(), json!({"required": [list]}));
    }
    schema
}

/// A number is its text as written, so that `1.10` stays that.
fn text() -> Json {
    json!({"type": ["string", "number"]})
}

fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(map) => map,
        _ => unreachable!("every caller passes an object"),
    }
}

const ABOUT: &str = "# The mapping table\n\n\
One YAML document, in a ConfigMap (key `table.yaml`) or in a file. A table with anything wrong is refused whole, with every\n\
mistake, its place and what to do; the last good one stays in force. Anchors, aliases, merge keys, tags, repeated keys and a\n\
second document are refused, too.\n\n\
[table.schema.json](table.schema.json) is a JSON Schema (draft 2020-12) of the same keys. An editor with a YAML language\n\
server reads it from a comment at the top of a table, which takes a path or a URL, and completes and checks keys and words:\n\n\
```yaml\n# yaml-language-server: $schema=docs/reference/table.schema.json\n```\n\n\
What values mean, and rules side by side, the schema cannot know: `portolan explain IMAGE --table FILE --offline` and\n\
`kubectl apply` check all of a table.\n";
