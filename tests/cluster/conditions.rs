//! The match conditions that ship, evaluated by the real API server on Pods without the optional fields.
//!
//! Under the shipped failure policy Ignore an expression that errs would only skip Portolan, unseen. Here the policy
//! is Fail, so that one that errs refuses the Pod and says so.

use serde_json::{Value, json};

use crate::{
    support::{Outcome, Scene, eventually, image},
    trials,
};

trials!["conditions";
    no_condition_errs_on_a_pod_without_optional_fields,
    no_condition_errs_on_an_image_that_is_absent,
    the_api_server_counts_no_error_of_an_update_that_changes_no_image,
];

fn no_condition_errs_on_a_pod_without_optional_fields() -> Outcome {
    let scene = Scene::with_rules(RULES).failing_closed().start()?;
    let rewritten = |tag: &str| scene.mirror(&format!("docker.io/library/nginx:{tag}"));
    for present in 0..1 << OPTIONAL.len() {
        let name = format!("pod-{present}");
        let created = scene.create(&pod(&name, present));
        assert_eq!(image(&created, "containers/web"), rewritten("1.25"), "{name}");

        // No image changes, so nothing in the last condition is true: only now would one operand's error count.
        let labelled = |pod: &Value, label: &str| {
            let mut pod = pod.clone();
            pod["metadata"]["labels"] = json!({"edited": label});
            scene.api().overwrite(&scene.path(&format!("pods/{name}")), &pod).unwrap()
        };
        let mut edited = labelled(&created, "once");
        edited["spec"]["containers"][0]["image"] = json!("nginx:1.26");
        let edited = scene.api().overwrite(&scene.path(&format!("pods/{name}")), &edited).unwrap();
        assert_eq!(image(&edited, "containers/web"), rewritten("1.26"), "{name}");

        // The first has none beside it in the old object, the second has one.
        let mut debugged = edited;
        let path = scene.path(&format!("pods/{name}/ephemeralcontainers"));
        for count in 1..=2 {
            let containers: Vec<_> = (1..=count)
                .map(|number| match number {
                    _ if number < count => debugged["spec"]["ephemeralContainers"][number - 1].clone(),
                    _ => json!({"name": format!("look-{number}"), "image": "nginx:1.27"}),
                })
                .collect();
            debugged["spec"]["ephemeralContainers"] = json!(containers);
            debugged = scene.api().overwrite(&path, &debugged).unwrap();
            assert_eq!(image(&debugged, &format!("ephemeralContainers/look-{count}")), rewritten("1.27"));
        }

        let mut edited = labelled(&debugged, "twice");
        edited["spec"]["containers"][0]["image"] = json!("nginx:1.28");
        let edited = scene.api().overwrite(&scene.path(&format!("pods/{name}")), &edited).unwrap();
        assert_eq!(image(&edited, "containers/web"), rewritten("1.28"), "{name}");
    }
    Ok(())
}

/// The API server refuses such Pods, but only after it has called Portolan.
fn no_condition_errs_on_an_image_that_is_absent() -> Outcome {
    let scene = Scene::with_rules(RULES).failing_closed().start()?;
    for (number, edit) in ABSENT.into_iter().enumerate() {
        let name = format!("new-{number}");
        let mut new = pod(&name, EVERYTHING);
        edit(&mut new);
        let refusal = scene.api().create(&scene.path("pods"), &new).unwrap_err();
        assert_eq!(refusal.code, 422, "{name}: {refusal:?}");
        assert!(refusal.message.contains("Required value"), "{name}: {refusal:?}");
        scene.portolan.audited(|line| line["pod"] == name && line["operation"] == "CREATE");

        let name = format!("old-{number}");
        let mut old = scene.create(&pod(&name, EVERYTHING));
        edit(&mut old);
        // Whatever else the API server has against it (a volume may not be edited), it is not a condition.
        let refusal = scene.api().overwrite(&scene.path(&format!("pods/{name}")), &old).unwrap_err();
        assert_eq!(refusal.code, 422, "{name}: {refusal:?}");
        scene.portolan.audited(|line| line["pod"] == name && line["operation"] == "UPDATE");
    }
    // The counterpart, without which nothing would show that an error is seen: one that errs refuses the Pod.
    scene.add_condition("object.spec.hostname == 'x'");
    eventually(std::time::Duration::from_secs(60), || {
        match scene.api().create(&scene.path("pods?dryRun=All"), &pod("errs", 0)) {
            Err(refusal) if refusal.message.contains("hostname") => Ok(()),
            other => Err(other.map_err(|refusal| refusal.message)),
        }
    });
    Ok(())
}

/// Where one part of an expression is true, an error in another goes unseen; here none is, so that each is evaluated
/// to its end, and the API server counts what errs.
fn the_api_server_counts_no_error_of_an_update_that_changes_no_image() -> Outcome {
    let scene = Scene::with_rules(RULES).start()?;
    for present in 0..1 << OPTIONAL.len() {
        let name = format!("pod-{present}");
        scene.create(&pod(&name, present));
        scene.kubectl(&["label", "pod", &name, "edited=yes"], "");
    }
    let metrics = scene.kubectl(&["get", "--raw", "/metrics"], "").stdout;
    let counted = |metric: &str| -> Vec<&str> {
        let counts = metrics.lines().filter(|line| line.starts_with(metric) && !line.ends_with(" 0"));
        counts.filter(|line| line.contains(r#"operation="UPDATE""#)).collect()
    };
    assert!(
        !counted("apiserver_admission_match_condition_exclusions_total").is_empty(),
        "the labels were seen"
    );
    assert_eq!(counted("apiserver_admission_match_condition_evaluation_errors_total"), Vec::<&str>::new());
    Ok(())
}

/// Takes an image's text away.
type Edit = fn(&mut Value);

const ABSENT: [Edit; 3] = [
    |pod| _ = pod["spec"]["containers"][0].as_object_mut().unwrap().remove("image"),
    |pod| _ = pod["spec"]["initContainers"][0].as_object_mut().unwrap().remove("image"),
    |pod| _ = pod["spec"]["volumes"][0]["image"].as_object_mut().unwrap().remove("reference"),
];

/// What a Pod may have and may lack; an ephemeral container comes in later.
const OPTIONAL: [Edit; 3] = [
    |pod| pod["metadata"]["annotations"] = json!({"some": "annotation"}),
    |pod| pod["spec"]["initContainers"] = json!([{"name": "first", "image": "nginx:1.25"}]),
    |pod| {
        pod["spec"]["volumes"] = json!([
            {"name": "model", "image": {"reference": "nginx:1.25"}},
            {"name": "empty", "emptyDir": {}},
        ]);
    },
];

const EVERYTHING: usize = (1 << OPTIONAL.len()) - 1;

/// A Pod with the optional fields whose bits are set.
fn pod(name: &str, present: usize) -> Value {
    let mut pod = json!({
        "metadata": {"name": name},
        // The API server would add the token's volume before it asks.
        "spec": {"automountServiceAccountToken": false, "containers": [{"name": "web", "image": "nginx:1.25"}]},
    });
    for (bit, add) in OPTIONAL.iter().enumerate() {
        if present & (1 << bit) != 0 {
            add(&mut pod);
        }
    }
    pod
}

/// Asks no registry.
const RULES: &str = "defaults: {pin: off}
rules:
  - source: docker.io
    mirrors: ['MIRROR/{registry}']
";
