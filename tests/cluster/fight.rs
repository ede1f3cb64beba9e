//! Controllers that compare images with what they wrote: noticed, told of once on each way, and at peace when their Pods
//! opt out.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    support::{Done, Outcome, Portolan, Scene, Shipped, eventually, image},
    trials,
};

trials!["fight";
    a_controller_that_makes_its_pods_anew_is_told_of_once_and_others_are_not,
    a_controller_that_sets_images_back_is_told_of_on_itself,
];

fn a_controller_that_makes_its_pods_anew_is_told_of_once_and_others_are_not() -> Outcome {
    let shipped = Shipped::install()?;
    shipped.set_rules("rules:\n  - source: docker.io\n    mirrors: ['MIRROR/hub']\n");
    for repository in ["hub/library/postgres", "hub/library/nginx"] {
        shipped.registry.push(repository, "17");
    }
    let (api, portolan) = (&shipped.plane.api, &shipped.portolan);
    let owner = make_owner(&shipped, "pg");

    let done = Done::default();
    thread::scope(|scope| {
        let _done = done.when_dropped();
        scope.spawn(|| {
            while !done.is_set() {
                for pod in ["pg-1", "pg-2"] {
                    reconcile(&shipped, pod, &owner, &json!({}));
                }
                thread::sleep(PACE);
            }
        });
        // What Kubernetes' own controllers do meanwhile: fifty Pods at once, and Pods of a Job that fail.
        shipped.plane.kubectl.must(&["apply", "--filename", "-"], OTHERS);
        scope.spawn(|| {
            while !done.is_set() {
                fail_pods(&shipped, "app=failing");
                thread::sleep(Duration::from_millis(200));
            }
        });
        eventually(NOTICED_LIMIT, || {
            let status = portolan.status();
            if status["fights"].as_array().unwrap().is_empty() {
                Err(status["counts"].clone())
            } else {
                Ok(())
            }
        });
        // It goes on, and nothing more is said.
        let times = |status: &Value| status["fights"][0]["times"].as_u64().unwrap();
        let first = times(&portolan.status());
        eventually(NOTICED_LIMIT, || {
            let status = portolan.status();
            if times(&status) >= first + 4 { Ok(()) } else { Err(status["fights"].clone()) }
        });
        eventually(NOTICED_LIMIT, || {
            let made = portolan.audit();
            let failed = made.iter().filter(|line| line["owner"] == "Job/failing").count();
            if failed >= 2 { Ok(()) } else { Err("the Job has not tried again") }
        });
    });

    let status = portolan.status();
    let [fight] = &status["fights"].as_array().unwrap()[..] else {
        panic!("one fight: {}", status["fights"])
    };
    assert_eq!((&fight["namespace"], &fight["isGoingOn"]), (&json!("default"), &json!(true)));
    assert_eq!(
        fight["owner"],
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "pg", "uid": owner["uid"]})
    );
    assert_eq!(fight["act"], "made-same");
    assert_eq!(fight["images"][0]["written"], "postgres:17");
    assert_told(portolan, "ConfigMap/pg");
    let event = the_event(&shipped.plane.api, "default", &owner);
    let described = shipped.plane.kubectl.must(&["describe", "configmap", "pg"], "").stdout;
    assert!(described.contains("FightOverImages") && described.contains("docs/operators.md"), "{described}");
    assert_eq!(event["type"], "Warning");
    let of = |owner: &str| {
        let made = portolan.audit();
        made.iter()
            .filter(|line| line["owner"].as_str().is_some_and(|found| found.starts_with(owner)))
            .count()
    };
    // They came by Portolan as well; their controller has its own pace.
    eventually(NOTICED_LIMIT, || match of("ReplicaSet/web-") {
        50.. => Ok(()),
        made => Err(made),
    });

    // As docs/operators.md says: its Pods opt out, and it is content with what it gets.
    let labels = json!({"portolan.dev/rewrite": "disabled"});
    reconcile(&shipped, "pg-1", &owner, &labels);
    let made = api.read(POD).unwrap();
    assert_eq!(image(&made, "containers/db"), "postgres:17");
    reconcile(&shipped, "pg-1", &owner, &labels);
    assert_eq!(api.read(POD).unwrap()["metadata"]["uid"], made["metadata"]["uid"]);
    Ok(())
}

fn a_controller_that_sets_images_back_is_told_of_on_itself() -> Outcome {
    let rules = "rules:\n  - source: docker.io\n    mirrors: ['MIRROR/hub']\n";
    let scene = Scene::with_rules(rules).with_table_in_configmap().start()?;
    let nginx = scene.push("hub/library/nginx", "1.25");
    let map = json!({"metadata": {"name": "farm"}});
    let made = scene.api().create(&scene.path("configmaps"), &map).unwrap();
    let owner = reference(&made, "farm");
    let pod = json!({
        "metadata": {"name": "worker", "ownerReferences": [owner]},
        "spec": {"containers": [{"name": "web", "image": "nginx:1.25"}]},
    });
    let made = scene.create(&pod);
    assert_eq!(image(&made, "containers/web"), nginx);

    eventually(NOTICED_LIMIT, || {
        let mut pod = scene.pod("worker");
        pod["spec"]["containers"][0]["image"] = json!("nginx:1.25");
        let came = scene.api().overwrite(&scene.path("pods/worker"), &pod).unwrap();
        assert_eq!(image(&came, "containers/web"), nginx);
        let status = scene.portolan.status();
        if status["fights"].as_array().unwrap().is_empty() { Err("no fight") } else { Ok(()) }
    });

    let fight = &scene.portolan.status()["fights"][0];
    assert_eq!((&fight["act"], &fight["pod"]), (&json!("set-back"), &json!("worker")));
    assert_eq!(fight["images"], json!([{"written": "nginx:1.25", "result": nginx}]));
    assert_eq!(
        scene.pod("worker")["metadata"]["generation"],
        made["metadata"]["generation"],
        "no container restarts"
    );
    assert_told(&scene.portolan, "ConfigMap/farm");
    the_event(scene.api(), &scene.namespace, &owner);
    Ok(())
}

/// One warning that names the owner, and one in the figures.
#[track_caller]
fn assert_told(portolan: &Portolan, owner: &str) {
    eventually(NOTICED_LIMIT, || {
        let metrics = portolan.ops("/metrics").unwrap().1;
        let has = |line: &str| metrics.lines().any(|found| found == line);
        if has("portolan_fights_total 1") && has("portolan_fights_going_on 1") {
            Ok(())
        } else {
            Err(metrics)
        }
    });
    let output = portolan.process.output();
    let warnings: Vec<_> = output.lines().filter(|line| line.contains("again and again")).collect();
    assert_eq!(warnings.len(), 1, "{output}");
    let warning: Value = serde_json::from_str(warnings[0]).unwrap();
    assert_eq!((&warning["level"], &warning["owner"]), (&json!("WARN"), &json!(owner)), "{warning}");
    assert!(warning["remedy"].as_str().unwrap().contains("docs/operators.md"), "{warning}");
}

/// The one Event on the owner.
#[track_caller]
fn the_event(api: &crate::support::Api, namespace: &str, owner: &Value) -> Value {
    let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
    eventually(NOTICED_LIMIT, || {
        let mut events = api.list(&path);
        events.retain(|event| event["regarding"]["uid"] == owner["uid"]);
        assert!(events.len() <= 1, "{events:?}");
        events.pop().ok_or("no Event")
    })
}

/// An object that Pods can be owned by.
fn make_owner(shipped: &Shipped, name: &str) -> Value {
    let map = json!({"metadata": {"name": name}});
    let made = shipped.plane.api.create("/api/v1/namespaces/default/configmaps", &map).unwrap();
    reference(&made, name)
}

fn reference(made: &Value, name: &str) -> Value {
    let uid = &made["metadata"]["uid"];
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "controller": true})
}

/// What operators of that kind do: a Pod that does not run the image that was written goes, and is made again.
fn reconcile(shipped: &Shipped, name: &str, owner: &Value, labels: &Value) {
    let api = &shipped.plane.api;
    let path = format!("/api/v1/namespaces/default/pods/{name}");
    match api.read(&path) {
        Ok(pod) if image(&pod, "containers/db") == WRITTEN => return,
        Ok(_) => drop(api.delete(&path).unwrap()),
        Err(_) => {}
    }
    let pod = json!({
        "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]},
        "spec": {"containers": [{"name": "db", "image": WRITTEN}]},
    });
    eventually(NOTICED_LIMIT, || api.create("/api/v1/namespaces/default/pods", &pod));
}

/// Has the Pods with that label fail, as no kubelet does here.
fn fail_pods(shipped: &Shipped, selector: &str) {
    let selector = selector.replace('=', "%3D");
    for mut pod in
        shipped.plane.api.list(&format!("/api/v1/namespaces/default/pods?labelSelector={selector}"))
    {
        if pod["status"]["phase"] != "Failed" {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let path = format!("/api/v1/namespaces/default/pods/{name}/status");
            pod["status"]["phase"] = json!("Failed");
            // Its finalizer or the Job's controller may have been quicker.
            let _ = shipped.plane.api.replace(&path, &pod);
        }
    }
}

const WRITTEN: &str = "postgres:17";
const POD: &str = "/api/v1/namespaces/default/pods/pg-1";

const OTHERS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 50
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'nginx:17'}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: failing}
spec:
  backoffLimit: 6
  template:
    metadata: {labels: {app: failing}}
    spec: {restartPolicy: Never, containers: [{name: web, image: 'nginx:17'}]}
";

/// Between two looks of the controller at its Pods.
const PACE: Duration = Duration::from_millis(500);

const NOTICED_LIMIT: Duration = Duration::from_secs(180);
