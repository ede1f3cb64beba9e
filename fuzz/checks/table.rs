//! No text panics the reader of tables; problems have a place and are fit to print; by a table that is taken, the
//! lookup agrees with what `explain` considers, and rewriting twice equals rewriting once.

use portolan::{
    image::Reference,
    table::{Fate, Lookup, Mirror, Table},
};

/// Panics if the text is read wrongly, or the table that it makes answers wrongly.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsed = match Table::parse(text) {
        Ok(parsed) => parsed,
        Err(problems) => {
            assert!(problems.iter().count() > 0);
            for problem in &problems {
                assert!(problem.line >= 1 && problem.column >= 1, "{problem}");
                assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
            }
            assert!(problems.to_string().lines().count() <= 101);
            return;
        }
    };
    for warning in &parsed.warnings {
        assert!(!warning.to_string().contains(char::is_control), "{warning:?}");
    }
    let table = parsed.table;
    let rules = table.rules().iter().take(MOST_RULES);
    let sources = rules.map(|rule| rule.source().trim_start_matches("*.").to_owned());
    let images = sources.flat_map(|source| [format!("{source}/a/b:1"), source]);
    for image in images.chain(IMAGES.iter().map(|image| (*image).to_owned())) {
        let Ok(reference) = Reference::parse(&image) else { continue };
        for namespace in [None, Some("team-a"), Some("")] {
            check_lookup(&table, &reference, namespace);
        }
    }
}

fn check_lookup(table: &Table, reference: &Reference, namespace: Option<&str>) {
    let considered = table.considered(reference, namespace);
    let won: Vec<_> = considered
        .iter()
        .filter(|one| one.fate == Fate::Won)
        .map(|one| (one.rule.id(), one.mirror.map(Mirror::as_str)))
        .collect();
    let rule = match table.lookup(reference, namespace) {
        Lookup::Rule(rule) | Lookup::Exception(rule) => rule,
        Lookup::Inside { rule, mirror } => {
            assert_eq!(won, [(rule.id(), rule.mirrors().get(mirror).map(Mirror::as_str))], "{reference}");
            return;
        }
        Lookup::InsideNoRule | Lookup::NoRule => {
            assert!(won.is_empty(), "{reference}: considered {won:?}, found none");
            return;
        }
    };
    assert_eq!(won, [(rule.id(), None)], "{reference}");
    for mirror in 0..rule.mirrors().len() {
        let Some(place) = rule.place(mirror, reference) else { continue };
        let again = table.lookup(&place, namespace);
        assert!(
            matches!(again, Lookup::Inside { .. } | Lookup::Exception(_)),
            "{reference} became {place}, and that {again:?}"
        );
    }
}

/// Asked of every table, beside its own sources.
const IMAGES: &[&str] = &[
    "nginx",
    "docker.io/library/nginx:1.25",
    "quay.io/a/b@sha256:0000000000000000000000000000000000000000000000000000000000000007",
    "eu.gcr.io/a/b:2",
    "[::1]:5000/a",
    "localhost:5000/a",
    "Upper/a",
    "registry.example.com:32000/docker.io/library/nginx:1",
];

/// A table of many rules takes long to ask, and adds nothing.
const MOST_RULES: usize = 50;
