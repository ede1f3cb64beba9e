//! Portolan where it belongs: in Pods of a real node, by the manifests that ship, called through its Service.

use std::{
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    support::{
        ControlPlane, Done, Outcome, Process, Site, ask, binary, eventually, folder, free_port, image,
        objects, repository, sources,
    },
    trials,
};

trials!["installed"; the_shipped_manifests_run_portolan_and_the_api_server_reaches_it];

fn the_shipped_manifests_run_portolan_and_the_api_server_reaches_it() -> Outcome {
    let site = Site::plain()?;
    let plane = &site.plane;

    apply(&site, "manifests/base", None);
    let certificate = Command::new(binary()).args(["certs", "--output", "secret"]).output().unwrap();
    assert!(certificate.status.success());
    plane.kubectl.must(&["apply", "--filename", "-"], &String::from_utf8(certificate.stdout).unwrap());
    trust(plane);
    let patch = json!({"data": {"table.yaml": site.table(&[])}}).to_string();
    let portolan =
        |arguments: &[&str]| plane.kubectl.must(&[&["--namespace=portolan"], arguments].concat(), "").stdout;
    portolan(&["patch", "configmap/portolan-table", "--type=merge", "--patch", &patch]);
    roll_out(plane);

    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": "nginx:1.25"}]}});
    let path = "/api/v1/namespaces/default/pods";
    let expected = site.rewritten();
    // The edited table and the endpoints take a moment.
    eventually(LIMIT, || {
        let shown =
            plane.api.create(&format!("{path}?dryRun=All"), &pod).map_err(|refusal| refusal.message)?;
        let came = image(&shown, "containers/web");
        if came == expected { Ok(()) } else { Err(came.to_owned()) }
    });
    let created = plane.api.create(path, &pod).unwrap();
    assert_eq!(image(&created, "containers/web"), expected);
    assert_eq!(sources(&created), json!({"containers/web": {"written": "nginx:1.25", "image": expected}}));

    // Its audit log is its standard output.
    eventually(LIMIT, || {
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
    status_is_reached_by_port_forward(plane)?;
    it_goes_over_to_a_certificate_that_looks_after_itself(&site);
    Ok(())
}

/// By applying the other manifests, while Pods are made: for a while replicas show certificates of two authorities.
fn it_goes_over_to_a_certificate_that_looks_after_itself(site: &Site) {
    let (plane, expected) = (&site.plane, site.rewritten());
    let (done, made) = (Done::default(), AtomicUsize::new(0));
    let lost = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let _end = done.when_dropped();
        scope.spawn(|| {
            while !done.is_set() {
                let number = made.fetch_add(1, Ordering::Relaxed);
                let pod = json!({
                    "metadata": {"name": format!("meanwhile-{number}")},
                    "spec": {"containers": [{"name": "web", "image": "nginx:1.25"}]},
                });
                let created = plane.api.create("/api/v1/namespaces/default/pods?dryRun=All", &pod);
                match created.map(|pod| image(&pod, "containers/web").to_owned()) {
                    Ok(image) if image == expected => {}
                    other => lost.lock().unwrap().push((number, other)),
                }
                thread::sleep(Duration::from_millis(30));
            }
        });
        apply(site, "certs/tls-self", Some(&site.table(&[])));
        roll_out(plane);
        // And the old ones have gone.
        eventually(LIMIT, || {
            let left = plane.api.list("/api/v1/namespaces/portolan/pods").len();
            if left == 2 { Ok(()) } else { Err(format!("{left} Pods")) }
        });
    });
    let (lost, made) = (lost.into_inner().unwrap(), made.into_inner());
    assert!(lost.is_empty() && made > 0, "{} of {made} lost: {:?}", lost.len(), lost.first());

    let secret = plane.api.read("/api/v1/namespaces/portolan/secrets/portolan-tls-self").unwrap();
    let authority = STANDARD.decode(secret["data"]["ca.crt"].as_str().unwrap()).unwrap();
    for kind in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/portolan");
        for webhook in plane.api.read(&path).unwrap()["webhooks"].as_array().unwrap() {
            let bundle = STANDARD.decode(webhook["clientConfig"]["caBundle"].as_str().unwrap()).unwrap();
            let has_it = bundle.windows(authority.len()).any(|part| part == authority);
            assert!(has_it, "{kind} does not trust the new authority");
        }
    }
}

/// Waits until every replica is new and ready.
fn roll_out(plane: &ControlPlane) {
    let rollout = ["--namespace=portolan", "rollout", "status", "deployment/portolan", "--timeout=180s"];
    if plane.kubectl.run(&rollout, "").ok {
        return;
    }
    let ask =
        |arguments: &[&str]| plane.kubectl.run(&[&["--namespace=portolan"], arguments].concat(), "").stdout;
    let events = ask(&["get", "events", "--output=jsonpath={range .items[*]}{.message}{'\\n'}{end}"]);
    let logs = ask(&["logs", "--selector=app.kubernetes.io/name=portolan", "--tail=20", "--prefix"]);
    panic!("Portolan does not become ready:\n{events}\n{logs}");
}

/// Applies a folder of manifests with the image in the site's registry, and that table in the place of the shipped one.
fn apply(site: &Site, folder: &str, table: Option<&str>) {
    let folder = repository().join(folder);
    let rendered = site.plane.kubectl.must(&["kustomize", folder.to_str().unwrap()], "").stdout;
    let mut manifests = objects(&rendered);
    for manifest in &mut manifests {
        if let (Some(table), "portolan-table") = (table, manifest["metadata"]["name"].as_str().unwrap()) {
            manifest["data"]["table.yaml"] = json!(table);
        }
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests}).to_string();
    let edited =
        list.replace("registry.example.com/portolan/", &format!("{}/portolan/", site.registry.host()));
    assert_ne!(list, edited, "the image is named as kustomization.yaml says");
    site.plane.kubectl.must(&["apply", "--filename", "-"], &edited);
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
    eventually(LIMIT, || match ask(&local, "/status") {
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

/// For the kubelet, its log, and what the API server learns a moment later.
const LIMIT: Duration = Duration::from_secs(90);

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
