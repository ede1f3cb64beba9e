//! Resident memory: idle, with many images known, and after a burst of the longest reviews.

use std::{thread, time::Duration};

use crate::{
    Plan,
    bodies::{Body, with_images},
    servers::Setup,
    tables,
};

/// Starts a Portolan of its own and prints what it takes.
pub(crate) fn measure(plan: &Plan, setup: &Setup) {
    let model = &Body::of(&Plan { bodies: vec!["small".to_owned()], ..plan.clone() })[0].bytes;
    let server = setup.portolan(tables::SOME);
    println!("\n## Resident memory, {} rules\n", tables::SOME);
    println!("| | MiB |\n|---|---|");
    thread::sleep(SETTLE);
    println!("| idle | {:.1} |", server.process.memory("VmRSS:"));

    let mut client = server.connect();
    for first in (0..IMAGES).step_by(IMAGES_OF_A_POD) {
        let images: Vec<_> =
            (first..first + IMAGES_OF_A_POD).map(|number| format!("team/app-{number}:1.0")).collect();
        let answer = client.post(&with_images(model, &images, 0));
        assert!(!String::from_utf8(answer).unwrap().contains("warnings"));
    }
    thread::sleep(SETTLE);
    println!("| {IMAGES} images known | {:.1} |", server.process.memory("VmRSS:"));
    let known = server.metric("portolan_cache_entries");
    assert_eq!(known, IMAGES as u64);

    let review = with_images(model, &["nginx:1.25".to_owned()], 3 << 20);
    thread::scope(|scope| {
        for _ in 0..plan.connections {
            scope.spawn(|| {
                let mut client = server.connect();
                (0..REVIEWS).for_each(|_| drop(client.post(&review)));
            });
        }
    });
    println!(
        "| most, during {} reviews of {:.1} MiB on {} connections | {:.1} |",
        REVIEWS * plan.connections,
        review.len() as f64 / f64::from(1 << 20),
        plan.connections,
        server.process.memory("VmHWM:"),
    );
    thread::sleep(SETTLE);
    println!("| after it | {:.1} |", server.process.memory("VmRSS:"));
}

const IMAGES: usize = 10_000;
const IMAGES_OF_A_POD: usize = 20;
/// How many reviews come on each connection.
const REVIEWS: usize = 10;
/// Longer than Portolan's figures are carried over (2 s).
const SETTLE: Duration = Duration::from_secs(3);
