//! What an edit changes and what it leaves: a re-applied manifest must never restart a container.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::{
    support::{Outcome, Scene, eventually, image, sources},
    trials,
};

trials!["updates";
    a_label_edited_on_a_pod_changes_no_image_and_asks_nobody,
    an_unedited_pod_reapplied_keeps_its_image_after_the_tag_moved_and_the_rule_went,
    an_image_applied_forth_and_back_ends_where_it_began,
    a_replaced_pod_keeps_its_image_and_the_annotation_that_it_came_without,
    an_image_volume_reapplied_stays_as_it_was,
    an_image_set_to_another_mirror_is_pinned_there,
];

fn a_label_edited_on_a_pod_changes_no_image_and_asks_nobody() -> Outcome {
    let scene = Scene::with_rules(RULES).start()?;
    let first = scene.push("docker.io/library/nginx", "1.25");
    let second = scene.push("docker.io/library/nginx", "1.26");
    scene.kubectl(&["run", "web", "--image=nginx:1.25"], "");
    scene.kubectl(&["label", "pod", "web", "edited=yes"], "");
    let pod = scene.pod("web");
    assert_eq!(pod["metadata"]["labels"]["edited"], "yes");
    assert_eq!(image(&pod, "containers/web"), first);

    // The log has its lines in order, so the label's would come before this one's.
    scene.kubectl(&["set", "image", "pod/web", "web=nginx:1.26"], "");
    assert_eq!(image(&scene.pod("web"), "containers/web"), second);
    let updates = scene.portolan.audited(|line| line["operation"] == "UPDATE");
    assert_eq!(updates.len(), 1, "{updates:?}");
    assert_eq!(updates[0]["written"], "nginx:1.26");
    Ok(())
}

fn an_unedited_pod_reapplied_keeps_its_image_after_the_tag_moved_and_the_rule_went() -> Outcome {
    // Nothing is remembered, so that a moved tag is seen at once.
    let scene = Scene::with_rules(RULES).arguments(&["--fresh", "1ms"]).start()?;
    let first = scene.push("docker.io/library/nginx", "1.25");
    let manifest = pod("web", "nginx:1.25");
    scene.apply(&manifest);
    let created = scene.pod("web");
    assert_eq!(image(&created, "containers/web"), first);
    let is_update = |line: &Value| line["operation"] == "UPDATE";
    let reapply = |when: &str| {
        let seen = scene.portolan.audit_count(is_update);
        scene.apply(&manifest);
        let pod = scene.pod("web");
        assert_eq!(image(&pod, "containers/web"), first, "{when}");
        assert_eq!(sources(&pod), sources(&created), "{when}");
        assert_eq!(pod["metadata"]["generation"], created["metadata"]["generation"], "{when}");
        let last = scene.portolan.audited_beyond(seen, is_update);
        assert_eq!(
            (&last["outcome"], &last["reason"]),
            (&json!("rewritten"), &json!("restored")),
            "{when}: {last}"
        );
        assert_eq!(last["result"], first, "{when}");
    };
    reapply("nothing else happened");

    scene.registry.push_other("docker.io/library/nginx", "1.25");
    let moved = scene.pinned("docker.io/library/nginx", "1.25");
    assert_ne!(moved, first);
    // Soon: a question on its way since before the tag moved may bring one more answer of then.
    let other = serde_json::from_str(&pod("other", "nginx:1.25")).unwrap();
    eventually(Duration::from_secs(30), || {
        let shown = scene.api().create(&scene.path("pods?dryRun=All"), &other).unwrap();
        let is_new = image(&shown, "containers/web") == moved;
        let said = || scene.portolan.audited(|line| line["pod"] == "other").pop();
        if is_new { Ok(()) } else { Err(format!("a new Pod does not follow the tag: {:?}", said())) }
    });
    reapply("the tag moved");

    fs::write(&scene.portolan.table, Scene::table(&scene.registry, "rules: []\n", &[])).unwrap();
    eventually(Duration::from_secs(30), || {
        let probe = serde_json::from_str(&pod("probe", "nginx:1.25")).unwrap();
        let shown = scene.api().create(&scene.path("pods?dryRun=All"), &probe).unwrap();
        if image(&shown, "containers/web") == "nginx:1.25" {
            Ok(())
        } else {
            Err("the rule is still in force")
        }
    });
    reapply("the rule was removed");
    Ok(())
}

fn an_image_applied_forth_and_back_ends_where_it_began() -> Outcome {
    let scene = Scene::with_rules(RULES).start()?;
    let first = scene.push("docker.io/library/nginx", "1.25");
    let second = scene.push("docker.io/library/nginx", "1.26");
    for (written, expected) in [("nginx:1.25", &first), ("nginx:1.26", &second), ("nginx:1.25", &first)] {
        scene.apply(&pod("web", written));
        let pod = scene.pod("web");
        assert_eq!(image(&pod, "containers/web"), expected);
        assert_eq!(sources(&pod), json!({"containers/web": {"written": written, "image": expected}}));
    }
    Ok(())
}

fn a_replaced_pod_keeps_its_image_and_the_annotation_that_it_came_without() -> Outcome {
    let scene = Scene::with_rules(RULES).start()?;
    let first = scene.push("docker.io/library/nginx", "1.25");
    let second = scene.push("docker.io/library/nginx", "1.26");
    let manifest = pod("web", "nginx:1.25");
    scene.kubectl(&["create", "--filename", "-"], &manifest);
    let created = scene.pod("web");
    scene.kubectl(&["replace", "--filename", "-"], &manifest);
    let replaced = scene.pod("web");
    assert_eq!(image(&replaced, "containers/web"), first);
    assert_eq!(sources(&replaced), sources(&created));
    let line = scene.portolan.audited(|line| line["operation"] == "UPDATE").pop().unwrap();
    assert_eq!(line["reason"], "restored", "{line}");

    scene.kubectl(&["replace", "--filename", "-"], &pod("web", "nginx:1.26"));
    let replaced = scene.pod("web");
    assert_eq!(image(&replaced, "containers/web"), second);
    assert_eq!(sources(&replaced), json!({"containers/web": {"written": "nginx:1.26", "image": second}}));
    Ok(())
}

fn an_image_volume_reapplied_stays_as_it_was() -> Outcome {
    let scene = Scene::with_rules(RULES).arguments(&["--fresh", "1ms"]).start()?;
    scene.push("docker.io/library/nginx", "1.25");
    let model = scene.push("quay.io/acme/models", "v1");
    let mut manifest: Value = serde_json::from_str(&pod("web", "nginx:1.25")).unwrap();
    manifest["spec"]["volumes"] =
        json!([{"name": "model", "image": {"reference": "quay.io/acme/models:v1"}}]);
    let manifest = manifest.to_string();
    scene.apply(&manifest);
    let created = scene.pod("web");
    assert_eq!(image(&created, "volumes/model"), model);
    // The API server refuses an edited volume: were it resolved anew, this would fail.
    scene.registry.push_other("quay.io/acme/models", "v1");
    scene.apply(&manifest);
    let pod = scene.pod("web");
    assert_eq!(image(&pod, "volumes/model"), model);
    assert_eq!(sources(&pod), sources(&created));
    Ok(())
}

fn an_image_set_to_another_mirror_is_pinned_there() -> Outcome {
    let scene = Scene::with_rules(
        "rules:
  - source: docker.io
    mirrors: ['MIRROR/{registry}']
  - source: quay.io
    mirrors: ['SECOND/quay']
",
    )
    .with_second_registry()
    .start()?;
    scene.push("docker.io/library/nginx", "1.25");
    let second = scene.second.as_ref().unwrap();
    let digest = second.push("quay/acme/app", "v2");
    let written = format!("{}/quay/acme/app:v2", second.host());
    scene.kubectl(&["run", "web", "--image=nginx:1.25"], "");
    scene.kubectl(&["set", "image", "pod/web", &format!("web={written}")], "");
    let pod = scene.pod("web");
    let expected = format!("{written}@{digest}");
    assert_eq!(image(&pod, "containers/web"), expected);
    assert_eq!(sources(&pod), json!({"containers/web": {"written": written, "image": expected}}));
    let line = scene.portolan.audited(|line| line["operation"] == "UPDATE").pop().unwrap();
    assert_eq!((&line["outcome"], &line["reason"]), (&json!("rewritten"), &json!("mirrored")), "{line}");
    Ok(())
}

/// A bare Pod that says itself all that the API server would add on creation and refuse to lose on replacement.
fn pod(name: &str, image: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "serviceAccountName": "default", "automountServiceAccountToken": false,
            "containers": [{"name": "web", "image": image}],
        },
    })
    .to_string()
}

const RULES: &str = "rules:
  - source: docker.io
    mirrors: ['MIRROR/{registry}']
  - source: quay.io
    mirrors: ['MIRROR/{registry}']
";
