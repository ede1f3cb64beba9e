//! The shipped configuration's match conditions never err: under failure policy Ignore, an expression that does would
//! leave the webhook out without a word. Each Pod lacks one optional field that an expression reads.

use serde_json::{Value, json};

use crate::{
    support::{Outcome, Scene, image},
    trials,
};

trials!["conditions"; the_webhook_is_asked_about_pods_without_each_optional_field];

fn the_webhook_is_asked_about_pods_without_each_optional_field() -> Outcome {
    let scene = Scene::with_rules(RULES).start()?;
    let first = scene.push("docker.io/library/nginx", "1.25");
    let second = scene.push("docker.io/library/nginx", "1.26");
    for (name, given, absent) in [
        ("nothing", json!({}), &["annotations", "initContainers", "volumes"][..]),
        ("annotations", json!({"metadata": {"annotations": {"a": "b"}}}), &["initContainers", "volumes"]),
        (
            "init-containers",
            json!({"spec": {"initContainers": [{"name": "init", "image": "nginx:1.25"}]}}),
            &["annotations", "volumes"],
        ),
        (
            "volumes",
            json!({"spec": {"volumes": [{"name": "empty", "emptyDir": {}}]}}),
            &["annotations", "initContainers"],
        ),
    ] {
        let mut pod = bare(name);
        merge(&mut pod, &given);
        for field in absent {
            assert!(
                pod["spec"].get(field).is_none() && pod["metadata"].get(field).is_none(),
                "{name} has {field}"
            );
        }
        let created = scene.create(&pod);
        assert_eq!(image(&created, "containers/web"), first, "CREATE of {name}");
        for field in absent.iter().filter(|field| **field != "annotations") {
            assert!(created["spec"].get(field).is_none(), "the API server gave {name} {field}");
        }
        // An edit of the image is compared with an old Pod that lacks the same fields.
        let pod = format!("pod/{name}");
        scene.kubectl(&["set", "image", &pod, "web=nginx:1.26"], "");
        assert_eq!(image(&scene.pod(name), "containers/web"), second, "UPDATE of {name}");
        // Nothing changes here, so that every expression is evaluated to its end.
        scene.kubectl(&["label", &pod, "edited=yes"], "");
    }
    // Where another expression is true an error goes unseen; the API server counts them all the same.
    let metrics = scene.kubectl(&["get", "--raw", "/metrics"], "").stdout;
    let counted = |metric: &str| -> Vec<&str> {
        metrics.lines().filter(|line| line.starts_with(metric) && !line.ends_with(" 0")).collect()
    };
    let left_out = counted("apiserver_admission_match_condition_exclusions_total");
    assert!(!left_out.is_empty(), "the label edits were left out by the conditions");
    assert_eq!(counted("apiserver_admission_match_condition_evaluation_errors_total"), Vec::<&str>::new());
    Ok(())
}

/// A Pod that has none of the fields, and to which admission adds no volume.
fn bare(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{"name": "web", "image": "nginx:1.25"}],
        },
    })
}

fn merge(pod: &mut Value, given: &Value) {
    for part in ["metadata", "spec"] {
        for (key, value) in given[part].as_object().into_iter().flatten() {
            pod[part][key] = value.clone();
        }
    }
}

const RULES: &str = "rules:
  - source: docker.io
    mirrors: ['MIRROR/{registry}']
";
