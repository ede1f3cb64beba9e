//! Portolan where it belongs: in Pods of a real node, by the manifests that ship, called through its Service.

use std::{process::Command, time::Duration};

use serde_json::{Value, json};

use crate::{
    support::{
        ControlPlane, Outcome, Process, Site, ask, binary, eventually, folder, free_port, image, repository,
        sources,
    },
    trials,
};

trials!["installed"; the_shipped_manifests_run_portolan_and_the_api_server_reaches_it];

fn the_shipped_manifests_run_portolan_and_the_api_server_reaches_it() -> Outcome {
    let site = Site::plain()?;
    let Site { plane, registry, .. } = &site;

    let base = repository().join("manifests/base");
    let rendered = plane.kubectl.must(&["kustomize", base.to_str().unwrap()], "").stdout;
    let manifest =
        rendered.replace("registry.example.com/portolan/", &format!("{}/portolan/", registry.host()));
    assert_ne!(rendered, manifest, "the image is named as kustomization.yaml says");
    plane.kubectl.must(&["apply", "--filename", "-"], &manifest);
    let certificate = Command::new(binary()).args(["certs", "--output", "secret"]).output().unwrap();
    assert!(certificate.status.success());
    plane.kubectl.must(&["apply", "--filename", "-"], &String::from_utf8(certificate.stdout).unwrap());
    trust(plane);
    let patch = json!({"data": {"table.yaml": site.table(&[])}}).to_string();
    let portolan =
        |arguments: &[&str]| plane.kubectl.must(&[&["--namespace=portolan"], arguments].concat(), "").stdout;
    portolan(&["patch", "configmap/portolan-table", "--type=merge", "--patch", &patch]);
    let rollout = ["--namespace=portolan", "rollout", "status", "deployment/portolan", "--timeout=60s"];
    if !plane.kubectl.run(&rollout, "").ok {
        let events =
            portolan(&["get", "events", "--output=jsonpath={range .items[*]}{.message}{'\\n'}{end}"]);
        panic!("Portolan does not become ready:\n{events}");
    }

    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": "nginx:1.25"}]}});
    let path = "/api/v1/namespaces/default/pods";
    let expected = site.rewritten();
    // The edited table and the endpoints take a moment.
    eventually(Duration::from_secs(20), || {
        let shown =
            plane.api.create(&format!("{path}?dryRun=All"), &pod).map_err(|refusal| refusal.message)?;
        let came = image(&shown, "containers/web");
        if came == expected { Ok(()) } else { Err(came.to_owned()) }
    });
    let created = plane.api.create(path, &pod).unwrap();
    assert_eq!(image(&created, "containers/web"), expected);
    assert_eq!(sources(&created), json!({"containers/web": {"written": "nginx:1.25", "image": expected}}));

    // Its audit log is its standard output.
    eventually(Duration::from_secs(10), || {
        let logs = portolan(&["logs", "--selector=app.kubernetes.io/name=portolan", "--tail=-1"]);
        let lines: Vec<Value> = logs.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let is_it = |line: &&Value| line["pod"] == "web" && line["dryRun"] == false;
        let line = lines.iter().find(is_it).ok_or_else(|| logs.clone())?;
        if line["result"] == expected { Ok(()) } else { Err(line.to_string()) }
    });
    let own = plane.api.list("/api/v1/namespaces/portolan/pods");
    assert_eq!(own.len(), 2);
    for pod in own {
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0, "{}", pod["status"]);
    }
    status_is_reached_by_port_forward(plane)
}

/// Though the Pods listen on loopback only.
fn status_is_reached_by_port_forward(plane: &ControlPlane) -> Outcome {
    let local = format!("127.0.0.1:{}", free_port("127.0.0.1"));
    let ports = format!("{}:9442", local.split_once(':').unwrap().1);
    let _forward = Process::start(
        &plane.kubectl.program,
        |command| {
            command
                .args(["--namespace=portolan", "port-forward", "deployment/portolan", &ports])
                .env("KUBECONFIG", &plane.kubectl.kubeconfig);
        },
        folder("port-forward").join("log"),
    )?;
    eventually(Duration::from_secs(20), || match ask(&local, "/status") {
        Ok((200, body)) => {
            let status: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(status["table"]["from"], "ConfigMap `portolan/portolan-table`");
            assert_eq!(status["table"]["ruleCount"], 1);
            Ok(())
        }
        other => Err(other),
    });
    Ok(())
}

/// As certs/README.md says: the authority is in the same Secret, in the base64 that a `caBundle` has.
fn trust(plane: &ControlPlane) {
    let secret = plane.api.read("/api/v1/namespaces/portolan/secrets/portolan-tls").unwrap();
    let bundle = &secret["data"]["ca.crt"];
    for (kind, entries) in [("mutatingwebhookconfiguration", 3), ("validatingwebhookconfiguration", 1)] {
        let edits: Vec<_> = (0..entries)
            .map(|entry| json!({"op": "add", "path": format!("/webhooks/{entry}/clientConfig/caBundle"), "value": bundle}))
            .collect();
        let patch = json!(edits).to_string();
        plane.kubectl.must(&["patch", &format!("{kind}/portolan"), "--type=json", "--patch", &patch], "");
    }
}
