//! `explain -f` before, the API server after: what it says of a manifest is what is stored.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    support::{Outcome, Scene, binary, image},
    trials,
};

trials!["explain";
    what_explain_says_of_a_manifest_is_what_the_api_server_stores,
    what_explain_says_is_denied_is_denied,
];

fn what_explain_says_of_a_manifest_is_what_the_api_server_stores() -> Outcome {
    let scene = Scene::with_rules(RULES).registry_fields(&["pullSecret: harbor-pull"]).start()?;
    scene.push("hub/library/nginx", "1.25");
    scene.push("hub/library/busybox", "latest");
    scene.push("hub/team/data", "7");
    let (code, rows) = explain(&scene, MANIFEST);
    assert_eq!(code, 0, "{rows:?}");
    let said = scene.apply(MANIFEST);
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["web", "left-alone", "shop"]);

    for row in &rows {
        let name = row["name"].as_str().unwrap();
        let pod = match row["kind"].as_str().unwrap() {
            "Pod" => scene.pod(name),
            _ => scene.pods(&format!("app={name}"), 1).remove(0),
        };
        // The patch applied to what was sent is what is stored.
        let mut expected = described(name);
        let patch: json_patch::Patch = serde_json::from_value(row["patch"].clone()).unwrap();
        json_patch::patch(&mut expected, &patch).unwrap();
        let mut compared = 0;
        for list in ["containers", "initContainers"] {
            for container in expected["spec"][list].as_array().into_iter().flatten() {
                let key = format!("{list}/{}", container["name"].as_str().unwrap());
                assert_eq!(image(&pod, &key), container["image"], "{key} of {name}");
                compared += 1;
            }
        }
        for volume in expected["spec"]["volumes"].as_array().into_iter().flatten() {
            let key = format!("volumes/{}", volume["name"].as_str().unwrap());
            assert_eq!(image(&pod, &key), volume["image"]["reference"], "{key} of {name}");
            compared += 1;
        }
        assert_eq!(row["images"].as_array().unwrap().len(), compared);
        let annotation = |pod: &Value| pod["metadata"]["annotations"]["portolan.dev/sources"].clone();
        assert_eq!(annotation(&pod), annotation(&expected), "{name}");
        assert_eq!(pod["spec"]["imagePullSecrets"], expected["spec"]["imagePullSecrets"], "{name}");
        for image in row["images"].as_array().unwrap() {
            let stored = pod.pointer(image["field"].as_str().unwrap()).unwrap();
            assert_eq!(*stored, image["result"], "{name}: {image}");
        }
    }
    // Every warning about a Pod comes by kubectl, too.
    let warnings = rows[0]["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(said.stderr.contains(warnings[0].as_str().unwrap()), "{}", said.stderr);

    let mirrors = |row: &Value| row["mirrors"][0]["answer"].clone();
    let images = rows[0]["images"].as_array().unwrap();
    let answers: Vec<_> = images.iter().map(mirrors).collect();
    assert_eq!(answers, [json!("found"), json!("missing"), json!("found"), json!("found")]);
    assert_eq!(rows[1]["images"][0]["reason"], "opted-out");
    Ok(())
}

fn what_explain_says_is_denied_is_denied() -> Outcome {
    let scene = Scene::with_rules(RULES).start()?;
    let pod = MANIFEST.split("---").next().unwrap().replace("gone:1", "quay.io/gone:1");
    let (code, rows) = explain(&scene, &pod);
    assert_eq!(code, 1, "{rows:?}");
    let message = rows[0]["denied"].as_str().unwrap();
    let arguments = ["--namespace", &scene.namespace, "apply", "--filename", "-"];
    let said = scene.plane.kubectl.run(&arguments, &pod);
    assert!(!said.ok && said.stderr.contains(message), "{message}\n{}", said.stderr);
    assert_eq!(scene.api().read(&scene.path("pods/web")).unwrap_err().code, 404);
    Ok(())
}

/// What the binary says of a manifest, by the table of the scene's webhook.
fn explain(scene: &Scene, manifest: &str) -> (i32, Vec<Value>) {
    let mut child = Command::new(binary())
        .args(["explain", "-f", "-", "-o", "json", "--resolve-timeout", "20s"])
        .args(["--namespace", &scene.namespace, "--table"])
        .arg(&scene.portolan.table)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

/// The Pod that [`MANIFEST`] describes under this name.
fn described(name: &str) -> Value {
    let objects: Vec<Value> = serde_saphyr::from_multiple(MANIFEST).unwrap();
    let object = objects.into_iter().find(|object| object["metadata"]["name"] == name).unwrap();
    if object["kind"] == "Pod" { object } else { object["spec"]["template"].clone() }
}

const RULES: &str = "rules:
  - source: docker.io
    mirrors: [MIRROR/hub]
  - source: quay.io
    mirrors: [MIRROR/quay]
    onMissing: deny
";

const MANIFEST: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, annotations: {of: us}}
spec:
  containers:
    - {name: app, image: 'nginx:1.25'}
    - {name: gone, image: 'gone:1'}
  initContainers:
    - {name: prepare, image: busybox}
  volumes:
    - {name: data, image: {reference: 'team/data:7'}}
---
apiVersion: v1
kind: Pod
metadata: {name: left-alone, labels: {portolan.dev/rewrite: disabled}}
spec: {containers: [{name: app, image: 'nginx:1.25'}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: app, image: nginx:1.25}]}
";
