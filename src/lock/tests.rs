use super::*;

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn reference(written: &str) -> Reference {
    written.parse().unwrap_or_else(|error| panic!("`{written}`: {error}"))
}

fn lock(text: &str) -> Lock {
    Lock::parse(text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What is wrong, a line each.
fn problems(text: &str) -> Vec<String> {
    Lock::parse(text)
        .map_or_else(|problems| problems.to_string().lines().map(Into::into).collect(), |_| vec![])
}

/// The digest that a place is locked to.
fn found(lock: &Lock, place: &str) -> Option<String> {
    lock.find(&reference(place)).map(|locked| locked.digest.to_string())
}

#[test]
fn a_line_is_a_reference_blanks_and_a_digest_and_the_rest_of_it_may_be_a_comment() {
    let (a, b) = (digest('a'), digest('b'));
    let text = format!(
        "\u{feff}# made by hand\n\n  \t# a comment\nr.corp/hub/app:1 {a}\n\tr.corp:5000/app:2\t  {b}   # by hand\r\n"
    );
    let lock = lock(&text);
    assert_eq!(lock.lines().len(), 2);
    assert_eq!(found(&lock, "r.corp/hub/app:1"), Some(a));
    assert_eq!(found(&lock, "r.corp:5000/app:2"), Some(b));
    for place in
        ["r.corp/hub/app:2", "r.corp/hub/app", "r.corp/app:1", "r.corp:5000/app:1", "r.corp/hub/ap:1"]
    {
        assert_eq!(found(&lock, place), None, "{place}");
    }
}

#[test]
fn an_empty_text_is_an_empty_lock() {
    for text in ["", "\n\n", "# nothing yet"] {
        assert!(lock(text).lines().is_empty(), "{text:?}");
    }
    assert_eq!(found(&Lock::default(), "r.corp/app:1"), None);
}

#[test]
fn a_digest_is_known_in_the_repository_of_any_line_that_has_it_and_in_no_other() {
    let [a, b, c] = ['a', 'b', 'c'].map(digest);
    let lock = lock(&format!(
        "r.corp/app:2 {c}\nr.corp/app:1 {b}\nr.corp/app:3 {b}\nr.corp/other@{a} {a}\nr.corp/both:1@{a} {a}\n"
    ));
    for (place, expected) in [
        (format!("r.corp/app@{b}"), Some(&b)),
        (format!("r.corp/app:2@{b}"), Some(&b)), // whatever the tag
        (format!("r.corp/app@{c}"), Some(&c)),
        (format!("r.corp/app@{a}"), None),
        (format!("r.corp/other@{a}"), Some(&a)),
        ("r.corp/other:latest".into(), None),
        (format!("r.corp/both@{a}"), Some(&a)),
        ("r.corp/both:1".into(), Some(&a)),
        (format!("r.corp/ap@{b}"), None),
    ] {
        assert_eq!(found(&lock, &place).as_ref(), expected, "{place}");
    }
}

#[test]
fn a_line_written_again_is_one_line_and_a_tag_with_its_digest_is_that_tag() {
    let a = digest('a');
    let lock = lock(&format!("r.corp/app:1 {a}\nr.corp/app:1 {a}\nr.corp/app:1@{a} {a}\n"));
    assert_eq!(lock.lines().len(), 1);
}

#[test]
fn everything_that_is_wrong_is_named_with_its_place_and_remedy() {
    let a = digest('a');
    let text = format!(
        "r.corp/app:1\n  nginx {a}\nr.corp/APP:1 {a} now\nr.corp/app:2 sha256:ab # é\né/x {a}\n\
         r.corp/app@{a} {}\nr.corp/{}:1 {a}\n",
        digest('b'),
        "x".repeat(250),
    );
    let example = "a line is a mirror's reference, a blank and a digest, as in \
                   `registry.example.com/hub/library/nginx:1.25 sha256:…`";
    let grammar =
        "the repository is not made of lower-case letters and digits, joined by `.`, `_`, `__`, `-` and `/`";
    assert_eq!(
        problems(&text),
        [
            format!("line 1, column 13: the line has no digest; {example}"),
            "line 2, column 3: `nginx` is not written in full; write `docker.io/library/nginx:latest`".into(),
            format!("line 3, column 1: `r.corp/APP:1` is no reference: {grammar}; {example}"),
            "line 3, column 86: `now` is more than a reference and a digest; begin a comment with `#`".into(),
            format!(
                "line 4, column 14: `sha256:ab` is no digest: a digest of `sha256` has 64 lower-case hex digits; {example}"
            ),
            format!("line 5, column 1: `é/x` is no reference: {grammar}; {example}"),
            format!(
                "line 6, column 1: the reference has the digest `{a}` and the line `{}`; write the same in both places",
                digest('b')
            ),
            format!(
                "line 7, column 1: registry and repository of `r.corp/{}…` have more than 255 characters; remove the \
                 line: no image is ever placed there",
                "x".repeat(153)
            ),
        ]
    );
}

#[test]
fn two_lines_that_disagree_are_an_error_that_names_both() {
    let [a, b] = ['a', 'b'].map(digest);
    assert_eq!(
        problems(&format!("r.corp/app:1 {a}\n\n  r.corp/app:1@{b} {b}\n")),
        [format!(
            "line 3, column 3: `r.corp/app:1` is locked to `{b}` here and to `{a}` on line 1; remove one of the two lines"
        )]
    );
    let (first, second) = (format!("# one\nr.corp/app:1 {a}"), format!("r.corp/app:1 {b}"));
    let documents = [
        Document { name: Some("ConfigMap `one`, key `x`"), config_map: Some("one"), text: &first },
        Document { name: Some("ConfigMap `two`, key `x`"), config_map: Some("two"), text: &second },
    ];
    assert_eq!(
        Lock::read(documents).unwrap_err().to_string(),
        format!(
            "ConfigMap `two`, key `x`: line 1, column 1: `r.corp/app:1` is locked to `{b}` here and to `{a}` on line 2 \
             of ConfigMap `one`, key `x`; remove one of the two lines"
        )
    );
}

#[test]
fn several_documents_are_one_lock() {
    let [a, b] = ['a', 'b'].map(digest);
    let (first, second) = (format!("r.corp/app:1 {a}"), format!("r.corp/app:2 {b}\nr.corp/app:1 {a}"));
    let document = |text| Document { name: Some("x"), config_map: None, text };
    let lock = Lock::read([document(&*first), document(&*second)]).unwrap();
    assert_eq!(lock.lines().len(), 2);
    assert_eq!(found(&lock, "r.corp/app:2"), Some(b));
}

#[test]
fn keys_of_config_maps_are_one_lock_and_problems_name_them() {
    let [a, b] = ['a', 'b'].map(digest);
    let (first, second) = (format!("r.corp/app:1 {a}"), format!("r.corp/app:2 {b}"));
    let lock = Lock::read_keys([("apps", "a.txt", &*first), ("base", "b.txt", &*second)]).unwrap();
    assert_eq!([found(&lock, "r.corp/app:1"), found(&lock, "r.corp/app:2")], [Some(a), Some(b)]);
    let third = format!("r.corp/app:3 {}\nr.corp/app:1 {}", digest('a'), digest('a'));
    let keys = [("apps", "a.txt", &*first), ("base", "b.txt", &*second), ("base", "c.txt", &third)];
    let lock = Lock::read_keys(keys).unwrap();
    let of: Vec<_> = lock.lines().iter().map(Line::config_map).collect();
    assert_eq!(of, [Some("apps"), Some("base"), Some("base")]);
    let alone = Lock::read([Document { name: None, config_map: None, text: &third }]).unwrap();
    assert_eq!(alone.lines()[0].config_map(), None);
    let problems = Lock::read_keys([("apps", "a.txt", &*first), ("base", "b.txt", "x")]).unwrap_err();
    let lines: Vec<_> = (&problems).into_iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("ConfigMap `base`, key `b.txt`: line 1, column 1: "), "{}", lines[0]);
}

#[test]
fn what_a_problem_quotes_has_no_control_characters_and_no_mark_that_is_not_seen() {
    for (written, quoted) in
        [("r.corp/\u{1b}[31mx:1", r"`r.corp/\u{1b}[31mx:1`"), ("r.corp/\u{feff}x:1", r"`r.corp/\u{feff}x:1`")]
    {
        let lines = problems(&format!("{written} {}", digest('a')));
        assert!(lines[0].contains(quoted), "{}", lines[0]);
    }
}

#[test]
fn at_most_a_hundred_problems_are_printed_and_then_how_many_more() {
    let text = problems(&"x\n".repeat(102));
    assert_eq!(text.len(), 101);
    assert_eq!(text.last().unwrap(), "and 104 more");
}

#[test]
fn what_a_mirror_says_is_kept_line_by_line_and_survives_an_edit() {
    let [a, b] = ['a', 'b'].map(digest);
    let text = format!("r.corp/app:1 {a}\nr.corp/app:2 {b}\n");
    let old = lock(&text);
    let is_missing = |lock: &Lock, place: &str| lock.find(&reference(place)).unwrap().is_missing;
    let [first, second] = old.lines() else { panic!() };
    assert_eq!(old.digest(first).map(Digest::as_str), Some(&*a));

    assert_eq!(old.note(first, Finding::Missing), Some(Finding::Present));
    assert_eq!(old.note(first, Finding::Missing), None, "no news");
    assert_eq!(old.note(second, Finding::Moved), Some(Finding::Present));
    assert_eq!(old.note(second, Finding::Moved), None, "no news");
    assert_eq!([first, second].map(|line| old.finding(line)), [Finding::Missing, Finding::Moved]);
    assert!(is_missing(&old, "r.corp/app:1") && is_missing(&old, &format!("r.corp/app:9@{a}")));
    assert!(!is_missing(&old, "r.corp/app:2"), "what has moved is still there");

    let new = lock(&format!("r.corp/app:3 {a}\n{text}r.corp/else:1 {a}\n"));
    new.inherit(&old);
    assert!(
        is_missing(&new, "r.corp/app:1") && is_missing(&new, "r.corp/app:3"),
        "the same repository and digest"
    );
    assert!(!is_missing(&new, "r.corp/else:1"), "another repository");
    let first = &new.lines()[1];
    assert_eq!(new.finding(first), Finding::Missing);
    assert_eq!(new.note(first, Finding::Present), Some(Finding::Missing));
    assert!(!is_missing(&new, "r.corp/app:1"));
}
