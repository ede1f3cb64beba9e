//! A real node: what admission made of a Pod is pulled and runs, and a re-applied manifest does not restart it.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::{
    support::{Access, Image, LOGIN_SECRET, Outcome, Plane, Scene, eventually, image},
    trials,
};

trials!["node";
    a_pod_runs_by_tag_and_digest_out_of_a_registry_behind_a_login,
    an_unedited_pod_reapplied_does_not_restart,
];

fn a_pod_runs_by_tag_and_digest_out_of_a_registry_behind_a_login() -> Outcome {
    let scene = Scene::with_rules(RULES)
        .on(Plane::WithNode)
        .access(Access::Login)
        .registry_fields(&["credentials: harbor-pull", "pullSecret: harbor-pull"])
        .with_table_in_configmap()
        .start()?;
    let digest = scene.registry.push_image("docker.io/library/nginx", "1.25", &Image::busybox("web")?);
    let expected = scene.pinned("docker.io/library/nginx", "1.25");

    // Without the Secret nothing gets in: this Pod has the same image and keeps out of Portolan's hands.
    let mut outside = pod("outside", &expected);
    outside["metadata"]["labels"] = json!({"portolan.dev/rewrite": "disabled"});
    scene.create(&outside);
    eventually(START_LIMIT, || {
        let pod = scene.pod("outside");
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
        let refused = ["ErrImagePull", "ImagePullBackOff"].iter().any(|reason| waiting == reason);
        if refused { Ok(()) } else { Err(pod["status"].clone()) }
    });

    scene.apply(&pod("web", "nginx:1.25").to_string());
    let running = scene.running("web");
    assert_eq!(image(&running, "containers/web"), expected);
    assert_eq!(running["spec"]["imagePullSecrets"], json!([{"name": LOGIN_SECRET}]));
    let id = running["status"]["containerStatuses"][0]["imageID"].as_str().unwrap();
    assert!(id.ends_with(&digest), "the node runs {id}, not the index {digest}");
    scene.password_is_nowhere();
    Ok(())
}

fn an_unedited_pod_reapplied_does_not_restart() -> Outcome {
    let scene = Scene::with_rules(RULES).on(Plane::WithNode).arguments(&["--fresh", "1ms"]).start()?;
    let push = |tag: &str, content: &str| -> Result<String, _> {
        scene.registry.push_image("docker.io/library/nginx", tag, &Image::busybox(content)?);
        Ok(scene.pinned("docker.io/library/nginx", tag))
    };
    let first = push("1.25", "first")?;
    let manifest = pod("web", "nginx:1.25").to_string();
    scene.apply(&manifest);
    let before = scene.running("web");
    let is_update = |line: &Value| line["operation"] == "UPDATE";
    let reapply = |when: &str| {
        let seen = scene.portolan.audit_count(is_update);
        scene.apply(&manifest);
        assert_eq!(image(&scene.pod("web"), "containers/web"), first, "{when}");
        let line = scene.portolan.audited_beyond(seen, is_update);
        assert_eq!(line["reason"], "restored", "{when}: {line}");
        // What the kubelet has done about an edit it says with the generation that it saw.
        let after = scene.running("web");
        assert_eq!(container(&after), container(&before), "{when}");
    };
    reapply("nothing else happened");
    let moved = push("1.25", "moved")?;
    assert_ne!(moved, first);
    reapply("the tag moved");
    fs::write(&scene.portolan.table, Scene::table(&scene.registry, "rules: []\n", &[])).unwrap();
    eventually(Duration::from_secs(30), || {
        let shown = scene.api().create(&scene.path("pods?dryRun=All"), &pod("probe", "nginx:1.25")).unwrap();
        if image(&shown, "containers/web") == "nginx:1.25" {
            Ok(())
        } else {
            Err("the rule is still in force")
        }
    });
    reapply("the rule was removed");

    // The counterpart, without which nothing would show that a restart is seen: an edited image restarts it.
    scene.kubectl(&["set", "image", "pod/web", &format!("web={moved}")], "");
    eventually(START_LIMIT, || {
        let after = scene.pod("web");
        let (restarts, id) = container(&after);
        if restarts > 0 && id != container(&before).1 { Ok(()) } else { Err(after["status"].clone()) }
    });
    Ok(())
}

impl Scene {
    /// The Pod, once it runs and the kubelet has seen all of its edits.
    fn running(&self, name: &str) -> Value {
        eventually(START_LIMIT, || {
            let pod = self.pod(name);
            let runs = pod["status"]["phase"] == "Running"
                && pod["status"]["containerStatuses"][0]["state"]["running"].is_object()
                && pod["status"]["observedGeneration"] == pod["metadata"]["generation"];
            if runs { Ok(pod) } else { Err(pod["status"].clone()) }
        })
    }
}

/// How often a Pod's container was restarted, and which one runs.
fn container(pod: &Value) -> (u64, String) {
    let status = &pod["status"]["containerStatuses"][0];
    (status["restartCount"].as_u64().unwrap(), status["containerID"].as_str().unwrap_or_default().to_owned())
}

fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": "real"}, "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "web", "image": image}],
        },
    })
}

const START_LIMIT: Duration = Duration::from_secs(180);

const RULES: &str = "rules:
  - source: docker.io
    mirrors: ['MIRROR/{registry}']
";
