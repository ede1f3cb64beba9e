//! Many Pods at once.

use std::{
    collections::{BTreeSet, HashMap},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use http::Method;
use serde_json::json;

use crate::{
    support::{Outcome, Portolan, PortolanOptions, Registry, Scene, admit, image, patched, runtime},
    trials,
};

trials!["load";
    five_hundred_pods_of_twenty_images_ask_a_cold_registry_twenty_times,
    ten_thousand_admissions_of_three_replicas_ask_once_for_each_image_and_replica,
];

fn five_hundred_pods_of_twenty_images_ask_a_cold_registry_twenty_times() -> Outcome {
    let scene = Scene::with_rules("rules:\n  - source: docker.io\n    mirrors: [MIRROR/hub]\n")
        .arguments(&["--fresh", "10m"])
        .with_delay(Duration::from_millis(200))
        .patient()
        .start()?;
    let expected: Vec<_> = (0..IMAGES)
        .map(|number| {
            let repository = format!("hub/library/app-{number}");
            let digest = scene.registry.push(&repository, "v1.0");
            format!("{}/{repository}:v1.0@{digest}", scene.host())
        })
        .collect();
    let asked_before = scene.registry.requests(&["GET", "HEAD"], "/manifests/");

    let (in_flight, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let create = async |number: usize| {
        let images = [number % IMAGES, (number + 7) % IMAGES];
        let pod = json!({
            "metadata": {"name": format!("pod-{number}")},
            "spec": {"containers": [
                {"name": "first", "image": format!("app-{}:v1.0", images[0])},
                {"name": "second", "image": format!("app-{}:v1.0", images[1])},
            ]},
        });
        most.fetch_max(in_flight.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let created = scene.api().request(Method::POST, &scene.path("pods"), Some(&pod)).await.unwrap();
        in_flight.fetch_sub(1, Ordering::Relaxed);
        assert_eq!(image(&created, "containers/first"), expected[images[0]]);
        assert_eq!(image(&created, "containers/second"), expected[images[1]]);
    };
    runtime().block_on(stream::iter(0..PODS).map(create).buffer_unordered(IN_FLIGHT).collect::<()>());
    let most = most.into_inner();
    assert!(most >= 32, "only {most} creations were in flight");

    let asked = scene.registry.requests(&["GET", "HEAD"], "/manifests/") - asked_before;
    assert_eq!(asked, IMAGES, "{}", scene.registry.output());
    for number in 0..IMAGES {
        let path = format!("/v2/hub/library/app-{number}/manifests/v1.0");
        assert_eq!(scene.registry.requests(&["HEAD"], &path), 1, "{path}");
    }
    Ok(())
}

fn ten_thousand_admissions_of_three_replicas_ask_once_for_each_image_and_replica() -> Outcome {
    let registry = Registry::plain()?;
    let tags: Vec<_> = (0..MANY_IMAGES).map(|number| format!("v{number}")).collect();
    let digest = registry.push_tags("hub/library/app", &tags);
    let rules = "rules:\n  - source: docker.io\n    mirrors: [MIRROR/hub]\n";
    let first = Portolan::start(&PortolanOptions {
        table: Some(Scene::table(&registry, rules, &[])),
        arguments: ["--fresh", "10m", "--resolve-timeout", "8s"].map(str::to_owned).into(),
        ..PortolanOptions::default()
    })?;
    let replicas = [first.start_beside()?, first.start_beside()?, first];
    let pushed = registry.requests(&["GET", "HEAD"], "/manifests/");

    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..IN_FLIGHT {
            scope.spawn(|| {
                let mut connections = replicas.each_ref().map(|_| None);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= ADMISSIONS {
                        return;
                    }
                    // Several ask for one image at once, and every replica for every image.
                    let (replica, tag) = (number % replicas.len(), &tags[number / 10 % MANY_IMAGES]);
                    let address = &replicas[replica].address;
                    let written = format!("app:{tag}");
                    let answer =
                        admit(&mut connections[replica], address, "one", &written).expect("an answer");
                    let expected = format!("{}/hub/library/app:{tag}@{digest}", registry.host());
                    assert_eq!(patched(&answer), Some(expected));
                }
            });
        }
    });

    let asked =
        registry.accesses().into_iter().filter(|line| line.contains(" /v2/hub/library/app/manifests/v"));
    let mut by_tag = HashMap::new();
    for line in asked.filter(|line| line.contains("\"HEAD ") || line.contains("\"GET ")) {
        let (_, rest) = line.split_once("/manifests/").unwrap();
        *by_tag.entry(rest.split(' ').next().unwrap().to_owned()).or_insert(0) += 1;
    }
    let counts: BTreeSet<_> = tags.iter().map(|tag| by_tag.get(tag).copied().unwrap_or_default()).collect();
    assert_eq!(counts, BTreeSet::from([replicas.len()]), "requests for one image");
    let all = registry.requests(&["GET", "HEAD"], "/manifests/") - pushed;
    assert_eq!(all, MANY_IMAGES * replicas.len());
    Ok(())
}

const ADMISSIONS: usize = 10_000;
const MANY_IMAGES: usize = 1_000;

const PODS: usize = 500;
const IMAGES: usize = 20;
const IN_FLIGHT: usize = 48;
