//! Which way imports point (docs/architecture.md): the rooms that a room may name, and the rooms that a dependency
//! may appear in. Read from the sources, comments and test modules left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A room and the rooms that it may name.
const ROOMS: &[(&str, &[&str])] = &[
    ("admission", &["audit", "image", "lock", "metrics", "registry", "review", "rewrite", "table"]),
    ("audit", &["image", "metrics", "review", "rewrite", "table"]),
    (
        "cli",
        &[
            "admission",
            "cluster",
            "foreign",
            "image",
            "inventory",
            "lock",
            "registry",
            "review",
            "rewrite",
            "server",
            "table",
            "tls",
            "transfer",
        ],
    ),
    ("cluster", &["image", "lock", "metrics", "table"]),
    ("foreign", &["image", "inventory", "table"]),
    ("image", &[]),
    ("inventory", &["image"]),
    ("lock", &["image"]),
    ("metrics", &["rewrite"]),
    ("registry", &["image", "metrics"]),
    ("review", &[]),
    ("rewrite", &["image", "lock", "review", "table"]),
    (
        "server",
        &[
            "admission",
            "audit",
            "cluster",
            "image",
            "lock",
            "metrics",
            "registry",
            "review",
            "rewrite",
            "table",
            "tls",
        ],
    ),
    ("table", &["image"]),
    ("tls", &["metrics"]),
    ("transfer", &["image", "registry"]),
];

/// A dependency and the rooms that it may appear in; one that is not listed may appear anywhere.
const DEPENDENCIES: &[(&str, &[&str])] = &[
    ("anyhow", &["cli", "main"]),
    ("axum", &["server"]),
    ("clap", &["cli", "main"]),
    ("granit_parser", &["inventory", "table"]),
    ("hyper", &["server"]),
    ("hyper_util", &["server"]),
    ("json_patch", &[]),
    ("k8s_openapi", &["cluster"]),
    ("kube", &["cluster"]),
    ("moka", &["registry"]),
    ("oci_client", &[]),
    ("prometheus_client", &["metrics"]),
    ("rcgen", &["tls"]),
    ("reqwest", &["registry"]),
    ("tar", &["transfer"]),
    ("terminal_size", &["cli"]),
    ("toml", &["foreign"]),
    ("x509_parser", &["tls"]),
];

/// The rooms that compile without a runtime, and what they may not name.
const PURE: &[&str] = &["foreign", "image", "inventory", "lock", "review", "rewrite", "table"];
const IMPURE_CRATES: &[&str] =
    &["arc_swap", "bytes", "futures", "http", "jiff", "rustls", "tokio", "tracing"];

#[test]
fn imports_point_the_way_of_the_map() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (room, path, code) in sources() {
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: the room `{room}` is not on the map", path.display()));
            continue;
        };
        seen.insert(room.clone());
        for named in rooms_named(&code) {
            if named != room && !allowed.contains(&named.as_str()) {
                wrong.push(format!("{}: `{room}` names `{named}`", path.display()));
            }
        }
    }
    for (room, _) in ROOMS {
        if !seen.contains(*room) {
            wrong.push(format!("the map has a room `{room}` that is not there"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn dependencies_stay_in_the_rooms_that_own_them() {
    let mut wrong = Vec::new();
    let mut used: BTreeMap<&str, usize> = BTreeMap::new();
    for (room, path, code) in sources().into_iter().chain([main_file()]) {
        for (dependency, rooms) in DEPENDENCIES {
            if names_crate(&code, dependency) {
                *used.entry(dependency).or_default() += 1;
                if !rooms.contains(&room.as_str()) {
                    wrong.push(format!("{}: `{dependency}` in `{room}`", path.display()));
                }
            }
        }
        for name in IMPURE_CRATES.iter().filter(|_| PURE.contains(&room.as_str())) {
            if names_crate(&code, name) {
                wrong.push(format!("{}: `{name}` in the pure room `{room}`", path.display()));
            }
        }
    }
    for (dependency, rooms) in DEPENDENCIES.iter().filter(|(_, rooms)| !rooms.is_empty()) {
        assert!(used.contains_key(dependency), "`{dependency}` is used nowhere, not even in {rooms:?}");
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_reader_of_imports_sees_grouped_nested_and_plain_paths() {
    let code = "use crate::{\n    image::{Digest, Reference},\n    table::Rule,\n};\nfn f(x: crate::review::Pod) {}\n\
                pub(crate) use crate::rewrite;\npub(in crate::audit) fn g() {}";
    let expected: BTreeSet<_> =
        ["audit", "image", "review", "rewrite", "table"].into_iter().map(str::to_owned).collect();
    assert_eq!(rooms_named(code), expected);
    assert!(names_crate("use kube::Client;", "kube"));
    assert!(!names_crate("use mykube::Client; crate::kube::x", "kube"));
    assert_eq!(without_comments("a // crate::x\n\"// no\" b /* crate::y */ c"), "a \n\"// no\" b  c");
}

/// Every source file: its room, its path, its code without comments and test modules.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 20, "the sources were not found");
    files
        .into_iter()
        .filter(|path| !path.ends_with("src/lib.rs") && !path.ends_with("src/main.rs"))
        .filter(|path| path.file_name().is_none_or(|name| name != "tests.rs"))
        .map(|path| {
            let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
            let room = first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
            let code = production(&fs::read_to_string(&path).unwrap());
            (room, path, code)
        })
        .collect()
}

fn main_file() -> (String, PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs");
    let code = production(&fs::read_to_string(&path).unwrap());
    ("main".to_owned(), path, code)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn production(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    without_comments(text)
}

fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_text = false;
    while let Some(character) = rest.chars().next() {
        if !in_text && rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
            continue;
        }
        if !in_text && rest.starts_with("/*") {
            rest = rest.find("*/").map_or("", |end| &rest[end + 2..]);
            continue;
        }
        if in_text && character == '\\' {
            let escaped: usize = rest.chars().take(2).map(char::len_utf8).sum();
            code.push_str(&rest[..escaped]);
            rest = &rest[escaped..];
            continue;
        }
        if character == '"' && !code.ends_with('\'') {
            in_text = !in_text;
        }
        code.push(character);
        rest = &rest[character.len_utf8()..];
    }
    code
}

/// The rooms that stand behind `crate::`, also in groups.
fn rooms_named(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = code[at + "crate::".len()..].trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut part = String::new();
            for character in group.chars() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        rooms.insert(first_name(&part));
                        part.clear();
                        continue;
                    }
                    _ => {}
                }
                part.push(character);
            }
            rooms.insert(first_name(&part));
        } else {
            rooms.insert(first_name(rest));
        }
    }
    rooms.remove("");
    rooms
}

fn first_name(path: &str) -> String {
    path.trim().chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].trim_end_matches("::");
        let glued = code[..at].ends_with("::");
        !glued && !before.chars().next_back().is_some_and(|last| last.is_alphanumeric() || last == '_')
    }) || code.contains(&format!("use {name};"))
}
