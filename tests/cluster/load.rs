//! Many Pods at once.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use http::Method;
use serde_json::json;

use crate::{
    support::{Outcome, Scene, image, runtime},
    trials,
};

trials!["load"; five_hundred_pods_of_twenty_images_ask_a_cold_registry_twenty_times];

fn five_hundred_pods_of_twenty_images_ask_a_cold_registry_twenty_times() -> Outcome {
    let scene = Scene::with_rules("rules:\n  - source: docker.io\n    mirrors: [MIRROR/hub]\n")
        .arguments(&["--fresh", "10m"])
        .with_delay(Duration::from_millis(200))
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

const PODS: usize = 500;
const IMAGES: usize = 20;
const IN_FLIGHT: usize = 48;
