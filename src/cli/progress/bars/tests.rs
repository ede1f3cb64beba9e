use std::time::Duration;

use super::*;
use crate::transfer::{Part, Saved, TransferError};

/// Images with bytes, and a time that only we move.
struct Run {
    bars: Bars,
    now: Instant,
}

impl Run {
    fn new(at_once: usize) -> Self {
        Self { bars: Bars::new(at_once), now: Instant::now() }
    }

    fn on(&mut self, event: &Event<'_>) {
        self.bars.on(event, self.now);
    }

    fn begin(&mut self, image: &Reference, needed: u64) {
        self.on(&Event::Begun(image));
        self.on(&Event::Needed(image, needed));
    }

    fn end(&mut self, image: &Reference) {
        let result: Result<Saved, _> = Err(TransferError::Lacking { what: Part::Manifest(None) });
        self.on(&Event::Ended { image, result: &result });
    }

    /// The lines of a terminal of that size.
    fn lines(&self, columns: usize, rows: usize) -> Vec<String> {
        let total = Total { text: "1 of 9 images, 3.0 KiB of 12.0 KiB", done: 3 << 10, needed: 12 << 10 };
        self.bars.lines(total, Size { columns, rows }, self.now)
    }

    /// The names of the images that have a bar, as far as they are to be seen.
    fn shown(&self, rows: usize) -> Vec<String> {
        let lines = self.lines(80, rows);
        lines.iter().skip(1).map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }
}

fn image(name: &str) -> Reference {
    Reference::parse(name).unwrap()
}

#[test]
fn each_image_has_name_bar_bytes_and_time_left_below_the_bar_for_all() {
    let (one, two) = (image("r.corp/team/one:1"), image("docker.io/library/a-long-name-of-an-image:1.25.3"));
    let mut run = Run::new(6);
    run.begin(&one, 40 << 20);
    run.begin(&two, 1 << 30);
    run.on(&Event::Received(&one, 5 << 20));
    run.on(&Event::Received(&two, 1));
    run.on(&Event::Kept(&one, 5 << 20));
    run.now += Duration::from_secs(5);
    run.on(&Event::Received(&one, 5 << 20));
    // What was there says nothing about how fast the rest comes: 25 MiB at 2 MiB a second.
    assert_eq!(
        run.lines(80, 24),
        [
            "[==>       ]  1 of 9 images, 3.0 KiB of 12.0 KiB",
            "r.corp/team/one:1             [===>      ]    15.0 MiB of 40.0 MiB    0:12 left",
            "docker.io…of-an-image:1.25.3  [>         ]          1 B of 1.0 GiB",
        ]
    );
}

#[test]
fn no_line_is_as_wide_as_the_terminal_and_names_are_shortened_in_the_middle() {
    let long = image(&format!(
        "registry.example.com:32000/{}/app:1.2.3",
        "a-path/".repeat(20).trim_end_matches('/')
    ));
    let mut run = Run::new(6);
    run.begin(&long, 9 << 20);
    run.now += Duration::from_secs(1);
    run.on(&Event::Received(&long, 9 << 20));
    for columns in 1..=300 {
        let lines = run.lines(columns, 24);
        assert_eq!(lines.len(), 2, "{columns}");
        for line in &lines {
            assert!(line.chars().count() < columns.max(2), "{columns}: {line}");
        }
        let name = lines[1].split(' ').next().unwrap();
        if columns >= 30 {
            let (begin, end) = name.split_once('…').unwrap();
            assert!(long.as_str().starts_with(begin) && long.as_str().ends_with(end), "{columns}: {name}");
            assert!(begin.len() >= 4 && end.len() >= begin.len(), "{columns}: {name}");
        }
    }
    let at = |columns| run.lines(columns, 24).remove(1);
    assert_eq!(at(30), "registr…-path/app:1.2.3  100%");
    assert!(
        !at(72).contains('[')
            && at(73).contains("[==========]")
            && at(101).contains("[====================]")
    );
    assert_eq!(at(300), at(200), "the figures stay near the name");
}

#[test]
fn no_more_images_have_a_bar_than_blobs_move_and_those_that_wait_take_the_place_of_those_that_end() {
    let images = ["one", "two", "three", "four"].map(|name| image(&format!("r.corp/{name}:1")));
    let [one, two, three, four] = &images;
    let mut run = Run::new(2);
    for image in &images {
        run.begin(image, 1000);
    }
    assert_eq!(run.shown(24), <[&str; 0]>::default(), "nothing moves yet");
    for image in [three, one, four] {
        run.on(&Event::Received(image, 1));
    }
    assert_eq!(run.shown(24), ["r.corp/three:1", "r.corp/one:1"]);
    run.end(three);
    assert_eq!(run.shown(24), ["r.corp/one:1", "r.corp/four:1"]);
    run.end(two);
    run.end(one);
    run.end(four);
    assert_eq!(run.lines(80, 24).len(), 1);
}

#[test]
fn a_low_terminal_keeps_the_line_for_all_and_a_row_for_the_cursor() {
    let mut run = Run::new(6);
    for name in ["one", "two", "three"] {
        let image = image(&format!("r.corp/{name}:1"));
        run.begin(&image, 1000);
        run.on(&Event::Received(&image, 1));
    }
    for (rows, expected) in [(24, 4), (5, 4), (4, 3), (3, 2), (2, 1), (1, 1), (0, 1)] {
        let lines = run.lines(80, rows);
        assert_eq!(lines.len(), expected, "{rows}");
        assert!(lines[0].contains("1 of 9 images"), "{lines:?}");
    }
}

#[test]
fn an_image_that_goes_to_two_places_keeps_its_bar_until_both_are_done() {
    let (one, other) = (image("r.corp/one:1"), image("r.corp/other:1"));
    let mut run = Run::new(6);
    run.on(&Event::Begun(&one));
    run.begin(&one, 1000);
    run.on(&Event::Received(&one, 500));
    run.end(&one);
    assert_eq!(run.shown(24), ["r.corp/one:1"]);
    // Found in its place before it was begun.
    run.end(&other);
    run.on(&Event::Received(&other, 500));
    assert_eq!(run.shown(24), ["r.corp/one:1"]);
    run.end(&one);
    assert_eq!(run.shown(24), <[&str; 0]>::default());
}

#[test]
fn a_bar_is_full_only_when_all_is_done() {
    for (done, needed, expected) in [
        (0, 0, "[>    ]"),
        (0, 10, "[>    ]"),
        (9, 10, "[====>]"),
        (10, 10, "[=====]"),
        (11, 10, "[=====]"),
        (20, 10, "[=====]"),
        (u64::MAX - 1, u64::MAX, "[====>]"),
    ] {
        assert_eq!(gauge(5, done, needed), expected, "{done} of {needed}");
    }
}
