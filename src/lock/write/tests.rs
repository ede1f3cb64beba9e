use super::*;

fn digest(digit: char) -> Digest {
    format!("sha256:{}", digit.to_string().repeat(64)).parse().unwrap()
}

/// A text in which `=a` stands for a digest of that digit.
fn text(short: &str) -> String {
    let mut text = short.to_owned();
    for digit in ['a', 'b', 'c', 'd'] {
        text = text.replace(&format!("={digit}"), digest(digit).as_str());
    }
    text
}

fn update(lines: &[(&str, char)]) -> Update {
    let mut update = Update::default();
    for (place, digit) in lines {
        update.add(&text(place).parse().unwrap(), digest(*digit));
    }
    update
}

fn applied(update: &Update, old: &str, prune: bool) -> String {
    update.apply(&text(old), prune).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn a_new_lock_is_sorted_and_each_place_is_there_once() {
    let update =
        update(&[("r.corp/b:1", 'b'), ("r.corp/a:2", 'a'), ("r.corp/b:1", 'c'), ("r.corp/a@=c", 'c')]);
    assert_eq!(
        applied(&update, "# head\n", false),
        text("# head\nr.corp/a:2 =a\nr.corp/a@=c =c\nr.corp/b:1 =b\n")
    );
    assert_eq!((update.len(), update.is_empty()), (3, false));
    assert!(Update::default().is_empty());
}

#[test]
fn of_what_is_there_only_the_digests_that_have_changed_are_rewritten() {
    let old = "# head\n\n# the web\nr.corp/web:1  =a   # by hand\n r.corp/web:2  =b\n\n# rest\nr.corp/z:1 =c\n# end\n";
    let update = update(&[("r.corp/web:1", 'b'), ("r.corp/web:2", 'b'), ("r.corp/x:1", 'd')]);
    assert_eq!(
        applied(&update, old, false),
        text(
            "# head\n\n# the web\nr.corp/web:1 =b   # by hand\n r.corp/web:2  =b\nr.corp/x:1 =d\n\n# rest\nr.corp/z:1 =c\n# \
             end\n"
        )
    );
    assert_eq!(
        applied(&update, old, true),
        text(
            "# head\n\n# the web\nr.corp/web:1 =b   # by hand\n r.corp/web:2  =b\nr.corp/x:1 =d\n\n# rest\n# end\n"
        ),
        "pruned, what nobody needs goes and comments stay"
    );
}

#[test]
fn a_second_time_changes_nothing() {
    let update = update(&[("r.corp/m:1", 'b'), ("r.corp/a:1", 'b'), ("r.corp/z:1", 'd')]);
    let once = applied(&update, "# head\nr.corp/c:1 =a\nr.corp/m:1 =a\n", false);
    assert_eq!(once, text("# head\nr.corp/a:1 =b\nr.corp/c:1 =a\nr.corp/m:1 =b\nr.corp/z:1 =d\n"));
    assert_eq!(applied(&update, &once, false), once);
}

#[test]
fn lines_that_would_come_to_disagree_become_one() {
    let old = "r.corp/a:1 =a\nr.corp/a:1@=a =a\nr.corp/b@=c =c\n";
    assert_eq!(applied(&update(&[("r.corp/a:1", 'b')]), old, false), text("r.corp/a:1 =b\nr.corp/b@=c =c\n"));
    // One with a digest of its own says nothing about the tag.
    assert_eq!(
        applied(&update(&[("r.corp/a:1@=b", 'b')]), "r.corp/a:1 =a\n", false),
        text("r.corp/a:1 =a\nr.corp/a@=b =b\n")
    );
}

#[test]
fn what_nobody_could_say_anything_about_is_not_pruned() {
    let mut update = update(&[("r.corp/a:1", 'b')]);
    update.leave(&"r.corp/b:1".parse().unwrap());
    update.leave(&text("r.corp/c:9@=c").parse().unwrap());
    let old = "r.corp/b:1 =a\nr.corp/c@=c =c\nr.corp/d:1 =d\n";
    assert_eq!(applied(&update, old, true), text("r.corp/a:1 =b\nr.corp/b:1 =a\nr.corp/c@=c =c\n"));
}

#[test]
fn a_text_that_is_no_lock_is_not_written_over() {
    assert!(update(&[("r.corp/a:1", 'a')]).apply("nginx\n", true).is_err());
    // Which of two that disagree was meant is not for the update to say.
    assert!(update(&[("r.corp/a:1", 'c')]).apply(&text("r.corp/a:1 =a\nr.corp/a:1 =b\n"), false).is_err());
}

#[test]
fn sheets_are_bounded_and_together_the_same_lock() {
    let lines: Vec<_> = (0..100).map(|number| format!("r.corp/app:{number:03} {}\n", digest('a'))).collect();
    let lines = lines.concat();
    let line = lines.lines().next().unwrap().len() + 1;
    let sheets = sheets(&format!("# head\n{lines}"), 10 * line).unwrap();
    assert_eq!(sheets.len(), 10);
    assert!(sheets.iter().all(|sheet| sheet.len() == 10 * line), "as full as they may be");
    assert_eq!(sheets.concat(), lines);
    assert_eq!(super::sheets("# nothing\n", 1).unwrap(), Vec::<String>::new());
    // One line is more than allowed: it still is somewhere.
    assert_eq!(super::sheets(&lines, 1).unwrap().len(), 100);
}
