use super::*;

fn answer(reference: &str, second: u64, login: Option<&str>) -> KeptAnswer {
    KeptAnswer {
        reference: reference.parse().unwrap(),
        digest: Digest::of(reference.as_bytes()),
        asked: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
        login: login.map(|login| Arc::new(login.into())),
    }
}

/// What is read of ConfigMaps with these texts.
fn read(maps: [Data; MAPS]) -> Kept {
    let maps = answers_names().into_iter().zip(maps).map(|(name, data)| {
        let map = ConfigMap { data: Some(data), ..ConfigMap::default() };
        (name, Some(map))
    });
    Kept::of(maps.collect())
}

fn one(key: &str, text: &str) -> Kept {
    let mut maps: [Data; MAPS] = Default::default();
    maps[2].insert(key.to_owned(), text.to_owned());
    read(maps)
}

#[test]
fn what_is_written_is_read_back_as_it_was() {
    let digest = Digest::of(b"x");
    let mut existing = answer(&format!("r.corp/a@{digest}"), 1_800_000_001, Some("5f3c-1.12"));
    existing.digest = digest;
    let answers =
        [answer("r.corp/a:1", 1_800_000_000, None), answer("r.corp/a:1", 7, Some("5f3c-1.12")), existing];
    let (maps, count) = render(&answers);
    assert_eq!(count, 3);
    let expected = format!("r.corp/a:1 {} 2027-01-15T08:00:00Z\n", Digest::of(b"r.corp/a:1"));
    assert_eq!(maps[0]["anonymous"], expected);
    assert!(maps.iter().skip(1).all(BTreeMap::is_empty), "a few are in one: {maps:?}");

    let kept = read(maps);
    assert!(kept.problems.is_empty());
    assert_eq!(kept.answers.len(), 3);
    assert!(answers.iter().all(|answer| kept.answers.contains(answer)), "{:?}", kept.answers);
}

#[test]
fn the_order_does_not_matter_and_one_answer_more_changes_one_config_map() {
    // Enough for all eight: of 60 bytes and a digest each.
    let name = |number: usize| format!("registry.example.com/{}/app:{number}", "a".repeat(150));
    let mut answers: Vec<_> = (0..10_000).map(|number| answer(&name(number), 7, None)).collect();
    let (maps, count) = render(&answers);
    assert_eq!(count, answers.len());
    assert!(maps.iter().all(|map| !map.is_empty()));
    answers.reverse();
    assert_eq!(render(&answers).0, maps);
    answers.push(answer("r.corp/one/more:1", 7, None));
    let changed = render(&answers).0.iter().zip(&maps).filter(|(now, before)| now != before).count();
    assert_eq!(changed, 1);
}

#[test]
fn what_does_not_fit_is_left_out_and_the_first_stay() {
    let name = |number: usize| format!("registry.example.com/{}/app:{number}", "a".repeat(180));
    let answers: Vec<_> = (0..30_000).map(|number| answer(&name(number), 7, None)).collect();
    let (maps, count) = render(&answers);
    let sizes = maps.each_ref().map(|map| map.values().map(String::len).sum::<usize>());
    assert!(sizes.iter().all(|size| *size <= MAX_SIZE && *size > MAX_SIZE - 1000), "{sizes:?}");
    assert!((12_000..15_000).contains(&count), "{count}");
    let kept: std::collections::HashSet<_> =
        read(maps).answers.into_iter().map(|answer| answer.reference).collect();
    assert!(answers.iter().take(10_000).all(|answer| kept.contains(&answer.reference)));
}

#[test]
fn a_line_that_cannot_be_read_is_named_and_the_others_count() {
    let (good, digest) = (answer("r.corp/a:1", 7, None), Digest::of(b"r.corp/a:1"));
    let line = line(&good);
    let other = Digest::of(b"other");
    for (bad, problem) in [
        ("r.corp/a:1".to_owned(), LineProblem::WrongWords),
        (format!("{} more", line.trim_end()), LineProblem::WrongWords),
        (line.replace("r.corp/a:1", "nginx"), LineProblem::BadReference),
        (line.replace("r.corp/a:1", "r.corp/a"), LineProblem::BadReference),
        (line.replace("sha256:", "sha255:"), LineProblem::BadDigest),
        (line.replace("1970", "soon"), LineProblem::BadTime),
        (line.replace("1970", "1969"), LineProblem::BadTime),
        (line.replace("r.corp/a:1", &format!("r.corp/a@{other}")), LineProblem::AnotherDigest),
        (line.replace(digest.as_str(), "\u{0}"), LineProblem::BadDigest),
    ] {
        let kept = one("anonymous", &format!("# a comment\n\n{bad}\n{line}{bad}\n"));
        assert_eq!(kept.answers, std::slice::from_ref(&good), "{bad}");
        assert_eq!(kept.problems.len(), 1, "{bad}");
        let found = &kept.problems[0];
        assert_eq!((found.line, found.problem, found.lines), (3, problem, 2), "{bad}");
        let shown = found.to_string();
        let place = "ConfigMap `portolan-answers-3`, key `anonymous`: line 3: ";
        assert!(shown.starts_with(place) && shown.ends_with("; 2 such lines"), "{shown}");
    }
    for key in ["table.yaml", "login-", "", "Anonymous"] {
        let kept = one(key, &line);
        assert!(kept.answers.is_empty(), "{key}");
        assert_eq!(kept.problems[0].problem, LineProblem::UnknownKey, "{key}");
    }
}
