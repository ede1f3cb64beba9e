//! The JSON Schema and the parser agree on the shape of every table: keys, types and words.
//!
//! Every text that a test of this room reads comes by here ([`agree`]). What values mean is the parser's alone, and how
//! the YAML is written cannot be seen in the JSON value that a schema judges; the parser says of each problem which
//! it is.

use std::{cell::LazyCell, fs, path::Path};

use boon::{Compiler, SchemaIndex, Schemas};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::table::keys::{Absent, Key, Section, TABLE, Value};

/// What the two say of a document's shape.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Shape {
    Bad,
    Good,
    /// The YAML itself is refused, so that there is nothing to compare.
    Unseen,
}

/// Asserts that schema and parser agree on a document, and says on what.
#[track_caller]
pub(super) fn agree(text: &str) -> Shape {
    // The rows of a large table are alike, and a validator takes long for them.
    if text.len() > 64 * 1024 {
        return Shape::Unseen;
    }
    let problems = Table::parse(text).err().unwrap_or_default();
    let any = |concern| problems.iter().any(|problem| problem.concern == concern);
    if any(Concern::Writing) {
        return Shape::Unseen;
    }
    let value = json_of(text);
    let verdict = SCHEMA.with(|schema| schema.verdict(&value));
    assert_eq!(
        verdict.is_err(),
        any(Concern::Shape),
        "schema: {verdict:?}\nparser: {problems}\n{text}\nas JSON: {value}"
    );
    if verdict.is_err() { Shape::Bad } else { Shape::Good }
}

/// A document as an editor's language server takes it: YAML 1.2, so that `off` is a text.
fn json_of(text: &str) -> Json {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    fn verdict(&self, value: &Json) -> Result<(), String> {
        self.schemas.validate(value, self.index).map_err(|error| error.to_string())
    }
}

thread_local! {
    /// The schema that is handed out; `it::reference` sees to it that it is made from the keys.
    static SCHEMA: LazyCell<Schema> = LazyCell::new(|| {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/table.schema.json"));
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("table.json", serde_json::from_str(text).unwrap()).unwrap();
        let index = compiler.compile("table.json", &mut schemas).unwrap();
        Schema { schemas, index }
    });
}

#[test]
fn every_fixture_is_judged_alike() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tables");
    let mut judged = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            judged.push((name, agree(&fs::read_to_string(path).unwrap())));
        }
    }
    judged.sort();
    assert_eq!(judged, [("example".into(), Shape::Good), ("twenty-mistakes".into(), Shape::Unseen)]);
    // Without what no JSON value shows, the other mistakes are left.
    let mut mistakes = include_str!("../../../tests/fixtures/tables/twenty-mistakes.yaml").to_owned();
    for unseen in ["&anchor ", "    <<: *anchor\n", "    plainHttp: false\n"] {
        assert_eq!(mistakes.matches(unseen).count(), 1, "{unseen}");
        mistakes = mistakes.replace(unseen, "");
    }
    assert_eq!(agree(&mistakes), Shape::Bad);
}

#[test]
fn what_is_wrong_with_values_alone_is_no_matter_of_shape() {
    for rule in [
        "source: nginx, mirrors: [r.corp]",
        "source: '', mirrors: ['']",
        "source: docker.io, mirrors: [harbor]",
        "source: quay.io, mirrors: [r.corp/b], pin: off, lock: require",
        "source: 1.10, keep: true, namespaces: [007, 1.10]",
    ] {
        assert_eq!(agree(&document(&[rule])), Shape::Good, "{rule}");
    }
    let twice = ["source: docker.io, keep: true", "source: docker.io, keep: true"];
    assert_eq!(agree(&document(&twice)), Shape::Good);
    assert!(Table::parse(&document(&twice)).is_err());
}

/// A sound document that has every key.
fn whole(section: &Section) -> Json {
    let mut map: serde_json::Map<String, Json> =
        section.keys.iter().map(|key| (key.name.to_owned(), sound(key))).collect();
    if let Some(either) = section.either {
        map.insert(either.switch.to_owned(), json!(false));
    }
    map.into()
}

fn sound(key: &Key) -> Json {
    match &key.value {
        Value::Section(section) => whole(section),
        Value::Sections(section) => json!([whole(section), whole(section)]),
        Value::Switch => json!(true),
        Value::Text => json!("quay.io"),
        Value::Texts => json!(["r.corp/hub", "r.corp/more"]),
        Value::Word(words) => json!(words.last().unwrap().text),
    }
}

/// JSON is YAML, but for the texts that YAML takes for something else: they come in quotes.
fn judged(value: &Json) -> Shape {
    agree(&value.to_string())
}

#[test]
fn every_key_is_missed_mistyped_and_misspelt_alike() {
    /// Each section of the document, by the JSON pointer to it.
    fn sections(section: &'static Section, at: &str, found: &mut Vec<(String, &'static Section)>) {
        found.push((at.to_owned(), section));
        for key in section.keys {
            match key.value {
                Value::Section(inner) => sections(inner, &format!("{at}/{}", key.name), found),
                Value::Sections(inner) => sections(inner, &format!("{at}/{}/1", key.name), found),
                _ => {}
            }
        }
    }
    let document = whole(&TABLE);
    assert_eq!(judged(&document), Shape::Good);
    let mut all = Vec::new();
    sections(&TABLE, "", &mut all);
    assert_eq!(all.len(), 4);
    let wrong =
        [json!(null), json!(true), json!(7), json!("text"), json!([]), json!([[]]), json!([null]), json!({})];
    let (mut bad, mut good) = (0, 0);
    for (at, section) in all {
        let changed = |change: &dyn Fn(&mut serde_json::Map<String, Json>)| {
            let mut document = document.clone();
            change(document.pointer_mut(&at).unwrap().as_object_mut().unwrap());
            judged(&document)
        };
        assert_eq!(changed(&|map| drop(map.insert("zzz".into(), json!(1)))), Shape::Bad, "{at}");
        for key in section.keys {
            let missing = changed(&|map| drop(map.remove(key.name)));
            let needed = section.either.is_some_and(|either| either.list == key.name);
            let is_refused = matches!(key.absent, Absent::Refused(_)) || needed;
            assert_eq!(missing == Shape::Bad, is_refused, "{at}/{}", key.name);
            for value in &wrong {
                match changed(&|map| drop(map.insert(key.name.into(), value.clone()))) {
                    Shape::Bad => bad += 1,
                    _ => good += 1,
                }
            }
        }
    }
    assert!(bad > 100 && good > 10, "{bad} bad, {good} good");
}

/// Any value that a document may have somewhere, and the words and keys that it may have.
fn anything() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Json::from),
        (0..100_u8).prop_map(Json::from),
        prop::sample::select(vec![
            "",
            "docker.io",
            "off",
            "keep",
            "deny",
            "prefer",
            "portolan.dev/v1",
            "MappingTable"
        ])
        .prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let keys = vec![
            "apiVersion",
            "kind",
            "defaults",
            "rules",
            "registries",
            "source",
            "mirrors",
            "keep",
            "namespaces",
            "pin",
            "onMissing",
            "lock",
            "host",
            "plainHttp",
            "ca",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            prop::collection::btree_map(prop::sample::select(keys), inner, 0..5)
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_in_any_place_is_judged_alike(place in 0..1_000_usize, value in anything()) {
        let mut document = whole(&TABLE);
        let mut places = Vec::new();
        pointers(&document, String::new(), &mut places);
        let place = &places[place % places.len()];
        *document.pointer_mut(place).unwrap() = value;
        judged(&document);
    }
}

/// Every place of a value.
fn pointers(value: &Json, at: String, found: &mut Vec<String>) {
    match value {
        Json::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                pointers(item, format!("{at}/{number}"), found);
            }
        }
        Json::Object(map) => {
            for (key, item) in map {
                pointers(item, format!("{at}/{key}"), found);
            }
        }
        _ => {}
    }
    found.push(at);
}
