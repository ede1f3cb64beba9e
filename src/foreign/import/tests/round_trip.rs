//! What is exported and imported again decides the same, or the export said what it would not.

use super::*;
use crate::table::{Fallback, LockMode, Pin};

/// A way to another tool and back.
struct Tool {
    name: &'static str,
    there_and_back: fn(&Table) -> (Table, Vec<String>),
}

const TOOLS: [Tool; 5] = [
    Tool { name: "hosts.toml", there_and_back: by_hosts_toml },
    Tool {
        name: "registries.conf",
        there_and_back: |table| back(Kind::RegistriesConf, registries_conf(table)),
    },
    Tool {
        name: "registries.yaml",
        there_and_back: |table| back(Kind::RegistriesYaml, registries_yaml(table)),
    },
    Tool { name: "idms", there_and_back: |table| back(Kind::Idms, image_digest_mirror_set(table)) },
    Tool { name: "itms", there_and_back: |table| back(Kind::Itms, image_tag_mirror_set(table)) },
];

fn back(kind: Kind, exported: Exported) -> (Table, Vec<String>) {
    (read_back(kind, &[("x".to_owned(), exported.text)]), exported.warnings)
}

fn by_hosts_toml(table: &Table) -> (Table, Vec<String>) {
    let ExportedFiles { files, warnings } = hosts_toml(table);
    let files: Vec<_> = files.into_iter().filter(|(path, _)| path.ends_with("hosts.toml")).collect();
    (read_back(Kind::HostsToml, &files), warnings)
}

fn read_back(kind: Kind, files: &[(String, String)]) -> Table {
    let files: Vec<_> = files.iter().map(|(name, text)| File { name, text }).collect();
    let imported = import(Some(kind), &files, &mut |_, _| None);
    let imported = imported.unwrap_or_else(|error| panic!("{error}\n{files:?}"));
    Table::parse(&imported.text).unwrap().table
}

/// What becomes of an image, by what its mirrors may answer.
#[derive(Debug, PartialEq)]
enum Decided {
    AsWritten,
    InMirror(Pin, LockMode),
    Moved(Vec<String>, Pin, LockMode, Fallback, Fallback),
}

fn decided(table: &Table, reference: &Reference, namespace: Option<&str>) -> (Decided, Option<usize>) {
    match table.lookup(reference, namespace) {
        Lookup::Exception(rule) => (Decided::AsWritten, Some(rule.line())),
        Lookup::InsideNoRule | Lookup::NoRule => (Decided::AsWritten, None),
        Lookup::Inside { rule, .. } => (Decided::InMirror(rule.pin(), rule.lock()), Some(rule.line())),
        Lookup::Rule(rule) => (moved(rule, reference), Some(rule.line())),
    }
}

fn moved(rule: &Rule, reference: &Reference) -> Decided {
    let places = (0..rule.mirrors().len()).filter_map(|mirror| rule.place(mirror, reference));
    let mut texts: Vec<String> = Vec::new();
    for place in places {
        // A mirror that is written twice is asked once.
        if !texts.iter().any(|text| text == place.as_str()) {
            texts.push(place.as_str().to_owned());
        }
    }
    Decided::Moved(texts, rule.pin(), rule.lock(), rule.on_missing(), rule.on_unavailable())
}

fn regex(pattern: &str) -> impl Strategy<Value = String> + use<> {
    proptest::string::string_regex(pattern).unwrap()
}

/// A line for each rule, so that warnings can be told apart by them.
fn rule() -> impl Strategy<Value = String> {
    let source = prop_oneof![
        8 => regex("(a|b)\\.io(:5000)?"),
        8 => regex("(docker\\.io|index\\.docker\\.io|a\\.io)/[xy](/[xy])?"),
        4 => Just("docker.io".to_owned()),
        2 => regex("\\*\\.(io|b\\.io)(:5000)?"),
        2 => Just("*".to_owned()),
        1 => regex("docker\\.io/[xy]/[xy]:1"),
        1 => regex("(m|n)\\.corp/[xy]"),
    ];
    let mirror = |is_exact: bool| {
        let tag = if is_exact { "/z:1" } else { "" };
        prop_oneof![
            6 => regex(&format!("(m|n)\\.corp(:5000)?(/[pq]){{0,2}}{tag}")),
            1 => regex(&format!("(m|n)\\.corp/\\{{registry\\}}(/p)?{tag}")),
        ]
    };
    let policies = prop_oneof![
        6 => Just("onMissing: keep, onUnavailable: keep"),
        6 => Just("onMissing: rewrite, onUnavailable: rewrite"),
        1 => Just("onMissing: keep"),
        1 => Just("onMissing: deny, onUnavailable: deny"),
        1 => Just("onMissing: rewrite, onUnavailable: keep"),
        1 => Just("onMissing: keep, onUnavailable: keep, pin: digest"),
        1 => Just("onMissing: keep, onUnavailable: keep, lock: ignore"),
    ];
    let kept = proptest::bool::weighted(0.15);
    let scoped = proptest::bool::weighted(0.1);
    (source, policies, kept, scoped).prop_flat_map(move |(source, policies, kept, scoped)| {
        let is_exact = source.ends_with(":1");
        proptest::collection::vec(mirror(is_exact), 1..3).prop_map(move |mirrors| {
            let what = if kept {
                "keep: true".to_owned()
            } else {
                format!("mirrors: ['{}'], {policies}", mirrors.join("', '"))
            };
            let scope = if scoped { ", namespaces: [a]" } else { "" };
            format!("source: '{source}', {what}{scope}")
        })
    })
}

/// A table of no more rules than one warning names.
fn table() -> impl Strategy<Value = String> {
    proptest::collection::vec(rule(), 1..5).prop_map(|rules| {
        let mut sound: Vec<String> = Vec::new();
        for rule in rules {
            sound.push(rule);
            if Table::parse(&document(&sound)).is_err() {
                sound.pop();
            }
        }
        document(&sound)
    })
}

fn document(rules: &[String]) -> String {
    let lines: Vec<_> = rules.iter().map(|rule| format!("  - {{{rule}}}\n")).collect();
    let registries = "registries:\n  - {host: m.corp, plainHttp: true}\n";
    let none = if rules.is_empty() { " []" } else { "" };
    format!("apiVersion: portolan.dev/v1\nkind: MappingTable\nrules:{none}\n{}{registries}", lines.concat())
}

fn image() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        Just("docker.io/"),
        Just(""),
        Just("a.io/"),
        Just("a.io:5000/"),
        Just("b.io/"),
        Just("c.b.io/"),
        Just("c.b.io:5000/"),
        Just("m.corp/"),
        Just("m.corp:5000/"),
        Just("n.corp/"),
        Just("localhost:1/"),
    ];
    (host, "[xyp](/[xyp]){0,3}(:[12])?").prop_map(|(host, path)| format!("{host}{path}"))
}

/// The lines that warnings name.
fn lines_of(warnings: &[String]) -> BTreeSet<usize> {
    let about_rules = warnings.iter().filter(|text| text.starts_with("the rule"));
    let before = about_rules.filter_map(|text| text.split(": ").next());
    before
        .flat_map(|text| text.split(|letter: char| !letter.is_ascii_digit()))
        .filter_map(|word| word.parse().ok())
        .collect()
}

#[test]
fn what_is_exported_and_imported_again_decides_the_same_or_the_export_said_so() {
    let mut runner = TestRunner::deterministic();
    let (tables, images) = (table(), proptest::collection::vec(image(), 40));
    for tool in TOOLS {
        let (mut same, mut moved, mut whole, mut told) = (0, 0, 0, 0);
        for _ in 0..250 {
            let text = tables.new_tree(&mut runner).unwrap().current();
            let table = Table::parse(&text).unwrap().table;
            let (again, warnings) = (tool.there_and_back)(&table);
            let lost = lines_of(&warnings);
            whole += usize::from(lost.is_empty());
            for image in images.new_tree(&mut runner).unwrap().current() {
                let Ok(reference) = Reference::parse(&image) else { continue };
                for namespace in [None, Some("a")] {
                    let (expected, line) = decided(&table, &reference, namespace);
                    let (found, _) = decided(&again, &reference, namespace);
                    if expected == found {
                        same += 1;
                        moved += usize::from(matches!(found, Decided::Moved(..)));
                        continue;
                    }
                    told += 1;
                    assert!(
                        !lost.is_empty(),
                        "{}: {image} in {namespace:?}: {expected:?} by line {line:?} became {found:?}\n{text}\n{warnings:#?}",
                        tool.name
                    );
                    // The rule that moves an image is the one that is warned of.
                    if matches!(expected, Decided::Moved(..)) {
                        assert!(
                            line.is_some_and(|line| lost.contains(&line)),
                            "{}: {image} in {namespace:?}: {expected:?} by line {line:?} became {found:?}\n{text}\n{warnings:#?}",
                            tool.name
                        );
                    }
                }
            }
        }
        println!("{}: {same} the same, {moved} of them moved, {told} told; {whole} tables whole", tool.name);
        assert!(moved > 500 && whole > 10 && told > 100, "{}: {moved} {whole} {told}", tool.name);
    }
}
