//! What holds for every table.

use proptest::prelude::*;

use super::*;

fn source() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("*".to_owned()),
        "\\*\\.(a|b|c)\\.io(:5000)?",
        "\\*\\.io",
        "(a|b|c)\\.(a|b)\\.io(:5000)?(/[xy]){0,3}",
        "(docker\\.io|index\\.docker\\.io|localhost:1|t\\.svc)(/[xy]){0,2}",
        "(docker\\.io|a\\.a\\.io)/[xy](/[xy])?:[12]",
    ]
}

fn mirror(exact: bool) -> impl Strategy<Value = String> {
    let tag = if exact { "/[xy]:[12]" } else { "" };
    prop_oneof![
        regex(&format!("(m|n)\\.corp(:5000)?(/[xy]){{0,2}}{tag}")),
        regex(&format!("(m|n)\\.corp/\\{{registry\\}}(/[xy])?{tag}")),
        regex(&format!("(a\\.a\\.io|docker\\.io)/[xy]{tag}")),
    ]
}

fn regex(pattern: &str) -> impl Strategy<Value = String> + use<> {
    proptest::string::string_regex(pattern).unwrap()
}

fn rule() -> impl Strategy<Value = String> {
    let namespaces = proptest::option::of(proptest::collection::vec("[ab*]{1,3}", 1..3));
    (source(), namespaces, any::<bool>()).prop_flat_map(|(source, namespaces, keep)| {
        let exact = source.split_once('/').is_some_and(|(_, path)| path.contains(':'));
        proptest::collection::vec(mirror(exact), 1..3).prop_map(move |mirrors| {
            let what =
                if keep { "keep: true".into() } else { format!("mirrors: ['{}']", mirrors.join("', '")) };
            let scope = namespaces
                .as_ref()
                .map_or_else(String::new, |patterns| format!(", namespaces: ['{}']", patterns.join("', '")));
            format!("source: '{source}', {what}{scope}")
        })
    })
}

/// Tables that are read; rules that do not go with the ones before them are left out.
fn sound_table() -> impl Strategy<Value = Table> {
    proptest::collection::vec(rule(), 0..10).prop_map(|rules| {
        let mut sound: Vec<&str> = Vec::new();
        for rule in &rules {
            sound.push(rule);
            if Table::parse(&document(&sound)).is_err() {
                sound.pop();
            }
        }
        table(&sound)
    })
}

fn image() -> impl Strategy<Value = String> {
    let registry = prop_oneof![
        Just(String::new()),
        "(a|b|c)\\.(a|b)\\.io(:5000|:6000)?/",
        "a\\.io/",
        "(m|n)\\.corp(:5000)?/",
        "(localhost:1|t\\.svc|127\\.0\\.0\\.1|\\[::1\\]:5|UP)/",
    ];
    let name = "(docker\\.io/|a\\.a\\.io/)?[xy](/[xy]){0,3}";
    let digest = proptest::option::of("[12]");
    (registry, name, "(:[12])?", digest).prop_map(|(registry, name, tag, digest)| {
        let digest = digest.map_or_else(String::new, |digit| format!("@sha256:{}", digit.repeat(64)));
        format!("{registry}{name}{tag}{digest}")
    })
}

/// The contract of product.md §1 word for word, by looking at every rule: what [`Table::lookup`] is compared with.
/// It reads the written texts only.
mod slowly {
    use super::*;

    #[derive(Debug, Eq, PartialEq)]
    pub(super) enum Found {
        Exception(usize),
        Inside(usize, usize),
        InsideNoRule,
        NoRule,
        Rule(usize),
    }

    pub(super) fn lookup(table: &Table, reference: &Reference, namespace: Option<&str>) -> Found {
        let rules = table.rules();
        let own_registry = rules
            .iter()
            .flat_map(|rule| rule.mirrors())
            .any(|mirror| mirror.as_str().split('/').next() == Some(reference.registry()));
        let host = reference.registry().trim_start_matches('[').split([']', ':']).next().unwrap();
        let local = ["localhost", "127.0.0.1", "t.svc", ""].contains(&host);
        let best = rules
            .iter()
            .filter_map(|rule| {
                let (rank, length) = holds(rule.source(), reference)?;
                let scope = admits(rule, namespace)?;
                (rank > 1 || !own_registry && !local).then_some((rank, length, scope, rule))
            })
            .max_by(|left, right| {
                (left.0, left.1, left.2)
                    .cmp(&(right.0, right.1, right.2))
                    .then(right.3.id().cmp(&left.3.id()))
            })
            .map(|(.., rule)| rule);
        if let Some(rule) = best
            && rule.keep()
        {
            return Found::Exception(rule.id());
        }
        let mut inside = false;
        let mut holder: Option<(usize, usize, usize)> = None;
        for rule in rules {
            for (number, mirror) in rule.mirrors().iter().enumerate() {
                let before = mirror.as_str().split('{').next().unwrap();
                let (registry, path) = before.split_once('/').unwrap_or((before, ""));
                let path = path.split([':', '@']).next().unwrap();
                let prefix = format!("{registry}/{path}");
                let prefix = prefix.trim_end_matches('/');
                if format!("{}/", reference.name()).starts_with(&format!("{prefix}/")) {
                    inside = true;
                    if admits(rule, namespace).is_some()
                        && holder.is_none_or(|(length, ..)| prefix.len() > length)
                    {
                        holder = Some((prefix.len(), rule.id(), number));
                    }
                }
            }
        }
        match (holder, inside, best) {
            (Some((_, rule, mirror)), ..) => Found::Inside(rule, mirror),
            (None, true, _) => Found::InsideNoRule,
            (None, false, Some(rule)) => Found::Rule(rule.id()),
            (None, false, None) => Found::NoRule,
        }
    }

    /// How specific a source is: rank, then length.
    fn holds(source: &str, reference: &Reference) -> Option<(u8, usize)> {
        let source = source.replace("index.docker.io", "docker.io");
        if source == "*" {
            return Some((0, 0));
        }
        if let Some(suffix) = source.strip_prefix("*.") {
            let (host, port) = suffix.split_once(':').unwrap_or((suffix, ""));
            let (own_host, own_port) =
                reference.registry().rsplit_once(':').unwrap_or_else(|| (reference.registry(), ""));
            let labels: Vec<&str> = own_host.split('.').collect();
            let holds = (1..labels.len()).any(|at| labels[at..].join(".") == host);
            let length = host.len() * 2 + usize::from(!port.is_empty());
            return (holds && (port.is_empty() || port == own_port)).then_some((1, length));
        }
        if source.split_once('/').is_some_and(|(_, path)| path.contains([':', '@'])) {
            let exact = Reference::parse(&source).unwrap();
            return (exact.as_str() == reference.as_str()).then_some((3, 0));
        }
        format!("{}/", reference.name()).starts_with(&format!("{source}/")).then_some((2, source.len()))
    }

    fn admits(rule: &Rule, namespace: Option<&str>) -> Option<(u8, usize)> {
        let Some(patterns) = rule.namespaces() else {
            return Some((0, 0));
        };
        let namespace = namespace?;
        let matching = patterns.iter().filter(|pattern| matches(pattern.as_bytes(), namespace.as_bytes()));
        matching
            .map(|pattern| if pattern.contains('*') { (1, pattern.find('*').unwrap()) } else { (2, 0) })
            .max()
    }

    fn matches(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|at| matches(rest, &text[at..])),
            [byte, rest @ ..] => text.first() == Some(byte) && matches(rest, &text[1..]),
        }
    }
}

fn quickly(table: &Table, reference: &Reference, namespace: Option<&str>) -> slowly::Found {
    match table.lookup(reference, namespace) {
        Lookup::Exception(rule) => slowly::Found::Exception(rule.id()),
        Lookup::Inside { rule, mirror } => slowly::Found::Inside(rule.id(), mirror),
        Lookup::InsideNoRule => slowly::Found::InsideNoRule,
        Lookup::NoRule => slowly::Found::NoRule,
        Lookup::Rule(rule) => slowly::Found::Rule(rule.id()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_lookup_agrees_with_a_linear_scan(
        table in sound_table(),
        images in proptest::collection::vec(image(), 1..20),
        namespace in proptest::option::of("[ab]{1,3}"),
    ) {
        for image in images {
            let reference = reference(&image);
            let expected = slowly::lookup(&table, &reference, namespace.as_deref());
            prop_assert_eq!(quickly(&table, &reference, namespace.as_deref()), expected, "{}", image);
            let considered = table.considered(&reference, namespace.as_deref());
            let won: Vec<_> = considered
                .iter()
                .filter(|considered| considered.fate == Fate::Won)
                .map(|considered| (considered.rule.id(), considered.mirror.map(Mirror::as_str)))
                .collect();
            let winner = match table.lookup(&reference, namespace.as_deref()) {
                Lookup::Exception(rule) | Lookup::Rule(rule) => vec![(rule.id(), None)],
                Lookup::Inside { rule, mirror } => vec![(rule.id(), Some(rule.mirrors()[mirror].as_str()))],
                Lookup::InsideNoRule | Lookup::NoRule => vec![],
            };
            prop_assert_eq!(won, winner, "{}", image);
            let unexplained = |row: &&Considered<'_>| row.fate != Fate::Won && row.why.is_none();
            prop_assert!(considered.iter().find(unexplained).is_none(), "{:?}", considered);
        }
    }

    #[test]
    fn what_an_admission_asks_first_is_among_what_is_loaded(
        table in sound_table(),
        images in proptest::collection::vec(image(), 1..20),
        namespaces in proptest::collection::vec(proptest::option::of("[ab]{1,3}"), 1..8),
    ) {
        for image in images {
            let destinations = table.destinations(&reference(&image));
            for namespace in &namespaces {
                let found = table.find(&image, namespace.as_deref()).unwrap();
                let Some(asked) = found.places.first() else { continue };
                let loaded = destinations.iter().find(|destination| destination.place == asked.reference);
                let loaded = loaded.ok_or_else(|| {
                    TestCaseError::fail(format!("{image} in {namespace:?}: {found:?}, {destinations:?}"))
                })?;
                let rule = found.rule.as_ref().unwrap().id();
                prop_assert!(loaded.rules.iter().any(|loaded| loaded.id() == rule), "{} {:?}", image, loaded);
            }
        }
    }

    #[test]
    fn rewriting_twice_equals_rewriting_once(
        table in sound_table(),
        images in proptest::collection::vec(image(), 1..20),
        namespace in proptest::option::of("[ab]{1,3}"),
    ) {
        for image in images {
            let reference = reference(&image);
            let Lookup::Rule(rule) = table.lookup(&reference, namespace.as_deref()) else { continue };
            for mirror in 0..rule.mirrors().len() {
                let Some(place) = rule.place(mirror, &reference) else { continue };
                let again = table.lookup(&place, namespace.as_deref());
                prop_assert!(
                    matches!(again, Lookup::Inside { .. } | Lookup::Exception(_)),
                    "{} became {}, and that {:?}", image, place, again
                );
                prop_assert_eq!(place.written(), place.as_str());
            }
        }
    }

    #[test]
    fn placing_a_reference_never_panics(table in sound_table(), image in image(), mirror in 0_usize..4) {
        let reference = reference(&image);
        for rule in table.rules() {
            if let Some(place) = rule.place(mirror, &reference) {
                let mirror = &rule.mirrors()[mirror];
                prop_assert_eq!(place.registry(), mirror.registry());
                let exact = mirror.as_str().split_once('/').is_some_and(|(_, path)| path.contains(':'));
                prop_assert!(exact || place.tag() == reference.tag() && place.digest() == reference.digest());
            }
        }
    }

    #[test]
    fn no_damaged_table_panics(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[\\PC\n\t &*!|>'\"{}\\[\\]:#-]{0,4}"), 1..6)
    ) {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        for (at, length, with) in cuts {
            let start = at.index(text.len());
            let end = text.len().min(start + length);
            text.splice(start..end, with.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(problems) = Table::parse(&text) {
            prop_assert!(problems.iter().count() > 0);
            for problem in &problems {
                prop_assert!(problem.line >= 1 && problem.column >= 1);
                prop_assert!(!problem.to_string().contains(['\n', '\u{1b}']), "{}", problem);
            }
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = Table::parse(&text);
    }
}
