//! Pods of every shape: what they come with must neither mislead Portolan nor get in its way.

use serde_json::{Value, json};

use crate::{
    support::{Outcome, Scene, image, sources},
    trials,
};

trials!["pods";
    a_forged_annotation_decides_nothing,
    a_pod_with_almost_too_many_annotations_is_admitted_and_pinned,
    the_pull_secret_is_appended_once_where_the_registry_is_used,
];

fn a_forged_annotation_decides_nothing() -> Outcome {
    let scene = Scene::with_rules(RULES).start()?;
    let expected = scene.push("docker.io/library/nginx", "1.25");
    let forged = |written: &str, image: &str| json!({"containers/web": {"written": written, "image": image}});
    let create = |name: &str, text: &str, annotation: Value| {
        let mut pod = pod(name, &[text]);
        pod["metadata"]["annotations"] = json!({"portolan.dev/sources": annotation.to_string()});
        scene.create(&pod)
    };
    let truth = json!({"containers/web": {"written": "nginx:1.25", "image": expected}});

    // As if it had been rewritten to somebody else's image.
    let evil = format!("evil.example.com/nginx:1.25@sha256:{}", "0".repeat(64));
    let pod = create("rewritten", "nginx:1.25", forged("nginx:1.25", &evil));
    assert_eq!(image(&pod, "containers/web"), expected);
    assert_eq!(sources(&pod), truth);

    // As if another image had become this one: the table does not take it there.
    let pod = create("origin", &expected, forged("quay.io/acme/app:v1", &expected));
    assert_eq!(image(&pod, "containers/web"), expected);
    assert_eq!(sources(&pod), Value::Null);
    scene.kubectl(&["set", "image", "pod/origin", "web=quay.io/acme/app:v1"], "");
    assert_ne!(image(&scene.pod("origin"), "containers/web"), expected, "nothing to restore");

    // No JSON at all.
    let mut broken = self::pod("broken", &["nginx:1.25"]);
    broken["metadata"]["annotations"] = json!({"portolan.dev/sources": "{"});
    let pod = scene.create(&broken);
    assert_eq!(image(&pod, "containers/web"), expected);
    assert_eq!(sources(&pod), truth);
    Ok(())
}

fn a_pod_with_almost_too_many_annotations_is_admitted_and_pinned() -> Outcome {
    let scene = Scene::with_rules(RULES).start()?;
    let expected = scene.push("docker.io/library/nginx", "1.25");
    let heavy = |name: &str, images: &[&str]| {
        let mut pod = pod(name, images);
        pod["metadata"]["annotations"] = json!({"heavy": "x".repeat(255 * 1024)});
        scene.create(&pod)
    };
    let one = heavy("one", &["nginx:1.25"]);
    assert_eq!(image(&one, "containers/web"), expected);
    assert_eq!(sources(&one)["containers/web"]["image"], expected, "there was room for one entry");
    let eight = heavy("eight", &["nginx:1.25"; 8]);
    for (name, _) in NAMES.iter().zip(0..8) {
        assert_eq!(image(&eight, &format!("containers/{name}")), expected);
    }
    assert_eq!(sources(&eight), Value::Null, "there was no room for eight, and the Pod matters more");
    Ok(())
}

fn the_pull_secret_is_appended_once_where_the_registry_is_used() -> Outcome {
    let scene = Scene::with_rules(RULES).registry_fields(&["pullSecret: harbor-pull"]).start()?;
    let inside = scene.push("docker.io/library/nginx", "1.25");
    for (name, text, given, expected) in [
        ("none", "nginx:1.25", json!(null), json!([{"name": "harbor-pull"}])),
        (
            "another",
            "nginx:1.25",
            json!([{"name": "own"}]),
            json!([{"name": "own"}, {"name": "harbor-pull"}]),
        ),
        ("same", "nginx:1.25", json!([{"name": "harbor-pull"}]), json!([{"name": "harbor-pull"}])),
        ("pinned-already", &inside, json!(null), json!([{"name": "harbor-pull"}])),
        ("elsewhere", "registry.k8s.io/pause:3.9", json!(null), json!(null)),
    ] {
        let mut pod = pod(name, &[text]);
        if !given.is_null() {
            pod["spec"]["imagePullSecrets"] = given;
        }
        let created = scene.create(&pod);
        assert_eq!(created["spec"]["imagePullSecrets"], expected, "{name}");
    }
    Ok(())
}

/// A bare Pod with a container for each image, without annotations and without pull secrets.
fn pod(name: &str, images: &[&str]) -> Value {
    let containers: Vec<_> =
        images.iter().zip(NAMES).map(|(image, name)| json!({"name": name, "image": image})).collect();
    json!({"metadata": {"name": name}, "spec": {"containers": containers}})
}

const NAMES: [&str; 8] = ["web", "b", "c", "d", "e", "f", "g", "h"];

const RULES: &str = "rules:
  - source: docker.io
    mirrors: ['MIRROR/{registry}']
";
