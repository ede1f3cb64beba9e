//! What comes out of unedited manifests: every kind of workload, every place of an image, and who is told.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    support::{Injector, Outcome, Scene, Webhook, eventually, image, sources},
    trials,
};

trials!["workloads";
    every_kind_of_workload_is_pinned_to_the_index,
    an_unedited_deployment_comes_out_rewritten_and_pinned,
    an_ephemeral_container_of_kubectl_debug_is_pinned,
    a_server_side_dry_run_shows_the_pinned_image_and_keeps_nothing,
    the_api_servers_audit_log_names_what_changed_also_when_reinvoked,
];

fn an_unedited_deployment_comes_out_rewritten_and_pinned() -> Outcome {
    let scene = Scene::with_rules(RULES).start()?;
    let pushed = scene.registry.push("docker.io/library/nginx", "1.25");
    scene.apply(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'nginx:1.25'}]}
",
    );
    let expected = format!("{}:1.25@{pushed}", scene.mirror("docker.io/library/nginx"));
    assert_eq!(
        scene.pinned("docker.io/library/nginx", "1.25"),
        expected,
        "the registry reports what was pushed"
    );
    for pod in scene.pods("app=web", 2) {
        assert_eq!(image(&pod, "containers/web"), expected);
        assert_eq!(sources(&pod), json!({"containers/web": {"written": "nginx:1.25", "image": expected}}));
    }
    let deployment =
        scene.api().read(&format!("/apis/apps/v1/namespaces/{}/deployments/web", scene.namespace));
    let template = &deployment.unwrap()["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(template, "nginx:1.25", "templates stay as written");
    for line in scene.portolan.audited(|line| line["written"] == "nginx:1.25") {
        assert_eq!((&line["outcome"], &line["reason"]), (&json!("rewritten"), &json!("pinned")), "{line}");
        assert_eq!(line["result"], expected);
        assert!(line["owner"].as_str().is_some_and(|owner| owner.starts_with("ReplicaSet/web-")), "{line}");
    }
    Ok(())
}

fn every_kind_of_workload_is_pinned_to_the_index() -> Outcome {
    let scene = Scene::with_rules(RULES).start()?;
    let expected = [
        ("containers/app", scene.push("docker.io/library/nginx", "1.25")),
        ("containers/second", scene.push("quay.io/acme/exporter", "v2.1.0")),
        ("initContainers/prepare", scene.push("docker.io/library/busybox", "latest")),
        ("initContainers/proxy", scene.push("docker.io/fluent/fluent-bit", "3.0")),
        ("volumes/model", scene.push("quay.io/acme/models", "v1")),
    ];
    for (kind, make) in KINDS {
        scene.apply(&make(kind).to_string());
    }
    for (kind, _) in KINDS {
        // The CronJob's controller waits for the minute.
        let pods = eventually(Duration::from_secs(180), || {
            let pods = scene.api().list(&scene.path(&format!("pods?labelSelector=kind%3D{kind}")));
            if pods.is_empty() { Err(format!("no Pod of the {kind}")) } else { Ok(pods) }
        });
        for pod in pods {
            for (key, expected) in &expected {
                assert_eq!(image(&pod, key), expected, "{key} of the {kind}");
                assert_eq!(sources(&pod)[key]["image"], *expected, "{key} of the {kind}");
            }
        }
    }
    Ok(())
}

fn an_ephemeral_container_of_kubectl_debug_is_pinned() -> Outcome {
    let scene = Scene::with_rules(RULES).start()?;
    let app = scene.push("docker.io/library/nginx", "1.25");
    let tools = scene.push("docker.io/library/busybox", "1.36");
    scene.kubectl(&["run", "web", "--image=nginx:1.25"], "");
    let said = scene.kubectl(
        &[
            "debug",
            "web",
            "--profile=general",
            "--container=look",
            "--image=busybox:1.36",
            "--",
            "sleep",
            "100000",
        ],
        "",
    );
    let pod = scene.pod("web");
    assert_eq!(image(&pod, "ephemeralContainers/look"), tools, "{said:?}");
    assert_eq!(image(&pod, "containers/web"), app);
    // The API server would discard an annotation here, so none is attempted.
    assert_eq!(sources(&pod), json!({"containers/web": {"written": "nginx:1.25", "image": app}}));
    Ok(())
}

fn a_server_side_dry_run_shows_the_pinned_image_and_keeps_nothing() -> Outcome {
    let scene = Scene::with_rules(RULES).start()?;
    let expected = scene.push("docker.io/library/nginx", "1.25");
    let said = scene.kubectl(&["run", "web", "--image=nginx:1.25", "--dry-run=server", "--output=json"], "");
    let shown: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(image(&shown, "containers/web"), expected);
    assert_eq!(scene.api().read(&scene.path("pods/web")).unwrap_err().code, 404);
    let lines = scene.portolan.audited(|line| line["pod"] == "web");
    assert!(lines.iter().all(|line| line["dryRun"] == true), "{lines:?}");
    Ok(())
}

fn the_api_servers_audit_log_names_what_changed_also_when_reinvoked() -> Outcome {
    let scene = Scene::with_rules(RULES).start()?;
    let app = scene.push("docker.io/library/nginx", "1.25");
    let proxy = scene.push("docker.io/envoyproxy/envoy", "v1.30.0");
    let sidecar = json!({"name": "proxy", "image": "envoyproxy/envoy:v1.30.0"});
    let injector = Injector::start(&json!([{"op": "add", "path": "/spec/containers/-", "value": sidecar}]));
    let _webhook = Webhook::register(
        scene.api(),
        &format!("zz-{}", scene.namespace),
        &scene.namespace,
        Injector::configuration(),
        &injector.address,
    );
    // Until the API server knows of the second webhook, Pods come out without the second container.
    let web = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "app", "image": "nginx:1.25"}]}});
    eventually(Duration::from_secs(60), || {
        let shown = scene.api().create(&scene.path("pods?dryRun=All"), &web).unwrap();
        if shown["spec"]["containers"].as_array().unwrap().len() == 2 { Ok(()) } else { Err("not injected") }
    });
    let pod = scene.create(&web);
    assert_eq!(image(&pod, "containers/app"), app);
    assert_eq!(image(&pod, "containers/proxy"), proxy, "the reinvocation sees what the other webhook added");
    assert_eq!(
        sources(&pod),
        json!({
            "containers/app": {"written": "nginx:1.25", "image": app},
            "containers/proxy": {"written": "envoyproxy/envoy:v1.30.0", "image": proxy},
        })
    );

    let annotations = eventually(Duration::from_secs(60), || {
        scene
            .plane
            .audit_events(&scene.namespace, "pods")
            .into_iter()
            .find(|event| {
                let uri = event["requestURI"].as_str().unwrap_or_default();
                event["verb"] == "create" && event["stage"] == "ResponseComplete" && !uri.contains("dryRun")
            })
            .map(|event| event["annotations"].clone())
            .ok_or("the API server has not audited the creation")
    });
    let told: Vec<_> = annotations
        .as_object()
        .unwrap()
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix("pods.portolan.dev/images-")?, value.as_str()?)))
        .collect();
    assert_eq!(told.len(), 2, "one of the first call and one of the second: {annotations}");
    for (key, value) in &told {
        let hash = Sha256::digest(value.as_bytes());
        assert_eq!(*key, format!("{:08x}", u32::from_be_bytes(hash[..4].try_into().unwrap())));
    }
    assert!(told.iter().any(|(_, value)| value.contains(&app)), "{told:?}");
    assert!(told.iter().any(|(_, value)| value.contains(&proxy) && !value.contains(&app)), "{told:?}");
    Ok(())
}

/// Makes the manifest of one kind.
type Make = fn(&str) -> Value;

/// The kinds, the slowest first: the CronJob is due at the next minute.
const KINDS: [(&str, Make); 6] = [
    ("CronJob", |kind| {
        let job = json!({"template": template(kind, "Never")});
        workload("batch/v1", kind, &json!({"schedule": "* * * * *", "jobTemplate": {"spec": job}}))
    }),
    ("Job", |kind| workload("batch/v1", kind, &json!({"template": template(kind, "Never")}))),
    ("DaemonSet", |kind| {
        workload("apps/v1", kind, &json!({"selector": selector(kind), "template": template(kind, "Always")}))
    }),
    ("Deployment", |kind| {
        workload("apps/v1", kind, &json!({"selector": selector(kind), "template": template(kind, "Always")}))
    }),
    ("StatefulSet", |kind| {
        let spec =
            json!({"serviceName": "all", "selector": selector(kind), "template": template(kind, "Always")});
        workload("apps/v1", kind, &spec)
    }),
    ("Pod", |kind| {
        let mut pod = template(kind, "Always");
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!(kind);
        pod["metadata"]["name"] = json!("pod");
        pod
    }),
];

fn workload(version: &str, kind: &str, spec: &Value) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": kind.to_lowercase()}, "spec": spec})
}

fn selector(kind: &str) -> Value {
    json!({"matchLabels": {"kind": kind}})
}

/// Every place that names an image, in every way of writing one.
fn template(kind: &str, restart: &str) -> Value {
    json!({
        "metadata": {"labels": {"kind": kind}},
        "spec": {
            "restartPolicy": restart,
            "initContainers": [
                {"name": "prepare", "image": "busybox"},
                {"name": "proxy", "image": "fluent/fluent-bit:3.0", "restartPolicy": "Always"},
            ],
            "containers": [
                {"name": "app", "image": "docker.io/library/nginx:1.25"},
                {"name": "second", "image": "quay.io/acme/exporter:v2.1.0"},
            ],
            "volumes": [{"name": "model", "image": {"reference": "quay.io/acme/models:v1"}}],
        },
    })
}

/// Everything from two registries, each under its own name.
const RULES: &str = "rules:
  - source: docker.io
    mirrors: ['MIRROR/{registry}']
  - source: quay.io
    mirrors: ['MIRROR/{registry}']
";
