//! Looking for Pods that were admitted without Portolan: `portolan serve` against an API server of our own that has Pods.

use serde_json::{Value, json};

use super::{FakeApiServer, Mood, NAMESPACE, TABLE, restart::Serve};
use crate::support::eventually;

/// A registry that is not there: asking it would be noticed by its metric.
const RULES: &str = "apiVersion: portolan.dev/v1\nkind: MappingTable\nrules:\n  \
                     - {source: docker.io, mirrors: ['127.0.0.1:1/hub']}\n  \
                     - {source: docker.io/acme/kept, keep: true}\n  \
                     - {source: quay.io, mirrors: ['127.0.0.1:1/quay'], namespaces: [shop], pin: off}\n";

fn pod(namespace: &str, name: &str, image: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": "app", "image": image}]},
        "status": {"phase": "Running"},
    })
}

async fn cluster() -> FakeApiServer {
    let server = FakeApiServer::start().await;
    server.put("configmaps", TABLE, &json!({"table.yaml": RULES}));
    for (name, label) in [
        ("shop", None),
        (NAMESPACE, None),
        ("kube-system", None),
        ("kube-public", Some("enabled")),
        ("openshift-dns", None),
        ("off", Some("disabled")),
        ("watched", Some("audit")),
    ] {
        let labels = label.map_or(Value::Null, |label| json!({"portolan.dev/rewrite": label}));
        server.put_namespace(name, &labels);
    }
    server
}

const FAST: [&str; 2] = ["--find-unrewritten", "100ms"];

#[tokio::test]
async fn pods_that_the_webhook_would_move_are_counted_and_all_others_are_not() {
    let server = cluster().await;
    let with = |mut pod: Value, pointer: &str, value: Value| {
        *pod.pointer_mut(pointer).unwrap() = value;
        pod
    };
    let labelled = with(
        pod("shop", "opted-out", "nginx"),
        "/metadata",
        json!({"name": "opted-out", "namespace": "shop", "labels": {"portolan.dev/rewrite": "disabled"}}),
    );
    let mirror_pod = with(
        pod("shop", "of-a-node", "nginx"),
        "/metadata",
        json!({"name": "x", "namespace": "shop", "annotations": {"kubernetes.io/config.mirror": "x"}}),
    );
    let left = json!({"containers/app": {"written": "quay.io/a/b", "image": "nginx"}}).to_string();
    let been = with(
        pod("shop", "been", "nginx"),
        "/metadata",
        json!({"name": "been", "namespace": "shop", "annotations": {"portolan.dev/sources": left}}),
    );
    let ended = with(pod("shop", "ended", "nginx"), "/status/phase", json!("Succeeded"));
    server.pods(|pods| {
        pods.extend([
            // Found.
            pod("shop", "web", "nginx"),
            pod("shop", "scoped", "quay.io/a/b"),
            pod("kube-public", "asked-for", "nginx"),
            // Not called about.
            pod("kube-system", "dns", "nginx"),
            pod("openshift-dns", "dns", "nginx"),
            pod("off", "web", "nginx"),
            pod("watched", "web", "nginx"),
            pod("unknown", "web", "nginx"),
            // Left alone, or left where it is.
            pod(NAMESPACE, "own", "nginx"),
            pod("kube-public", "not-scoped", "quay.io/a/b"),
            pod("shop", "exception", "acme/kept"),
            pod("shop", "no-rule", "ghcr.io/a/b"),
            pod("shop", "inside", "127.0.0.1:1/hub/library/nginx:latest"),
            pod("shop", "auto", "auto"),
            labelled,
            mirror_pod,
            been,
            ended,
        ]);
    });
    let serve = Serve::start_with(&server, &FAST);
    serve.measures("portolan_unrewritten_pods 3").await;
    serve.measures("portolan_unrewritten_errors_total 0").await;
    let status = serve.status().await["unrewritten"].clone();
    assert_eq!((&status["pods"], &status["error"]), (&json!(3), &Value::Null));
    assert_eq!(status["examples"], json!(["shop/web", "shop/scoped", "kube-public/asked-for"]));
    assert!(serve.log().contains("as if they had been admitted without Portolan"), "{}", serve.log());
    // No registry was asked about any of them.
    serve.measures(r#"portolan_registry_requests_total{result="unavailable"} 0"#).await;

    // With an edited table, and after a restart of what was found.
    server.put("configmaps", TABLE, &json!({"table.yaml": RULES.replace("docker.io,", "docker.io/x,")}));
    serve.measures("portolan_unrewritten_pods 1").await;
    server.pods(Vec::clear);
    serve.measures("portolan_unrewritten_pods 0").await;
    assert!(serve.log().contains("all Pods run what Portolan made of their images"), "{}", serve.log());
}

#[tokio::test]
async fn a_label_that_counts_for_nothing_hides_no_pod() {
    let server = cluster().await;
    let mut labelled = pod("shop", "web", "nginx");
    labelled["metadata"]["labels"] = json!({"portolan.dev/rewrite": "disabled"});
    server.pods(|pods| pods.push(labelled));
    let serve = Serve::start_with(&server, &[&FAST[..], &["--pod-opt-out=false"]].concat());
    serve.measures("portolan_unrewritten_pods 1").await;
}

#[tokio::test]
async fn pods_are_read_page_by_page_to_the_last() {
    let server = cluster().await;
    server.pods(|pods| pods.extend((0..151).map(|number| pod("shop", &format!("web-{number}"), "nginx"))));
    let serve = Serve::start_with(&server, &FAST);
    serve.measures("portolan_unrewritten_pods 151").await;
    let status = serve.status().await["unrewritten"].clone();
    assert_eq!(status["examples"].as_array().unwrap().len(), 10);
    let lists: Vec<_> =
        server.requests().into_iter().filter(|request| request.starts_with("list pods")).collect();
    let ends = ["continue=", "continue=50", "continue=100", "continue=150"];
    assert!(lists.iter().zip(ends).all(|(list, end)| list.ends_with(end)), "{lists:?}");
}

#[tokio::test]
async fn a_missing_right_is_counted_and_said_once_and_costs_nothing_else() {
    let server = cluster().await;
    server.pods(|pods| pods.push(pod("shop", "web", "nginx")));
    server.set_mood(Mood::RefusePods);
    let serve = Serve::start_with(&server, &FAST);
    eventually("some looks have failed", async || {
        let metrics = serve.ops("/metrics").await;
        let failed = metrics.lines().find_map(|line| line.strip_prefix("portolan_unrewritten_errors_total "));
        failed.is_some_and(|failed| failed.trim().parse::<u64>().unwrap() >= 3)
    })
    .await;
    let error = "cannot list Pods: the API server answered 403: refused with 403";
    assert_eq!(serve.log().matches(error).count(), 1, "{}", serve.log());
    assert_eq!(serve.status().await["unrewritten"]["error"], error);
    serve.says(&["\nready\n"]).await;
    server.set_mood(Mood::Well);
    serve.measures("portolan_unrewritten_pods 1").await;
}

#[tokio::test]
async fn of_two_replicas_one_looks_and_where_nothing_is_carried_out_nobody_does() {
    let server = cluster().await;
    server.pods(|pods| pods.push(pod("shop", "web", "nginx")));
    for arguments in [&["--mode", "audit", "--find-unrewritten", "100ms"][..], &["--find-unrewritten", "0s"]]
    {
        let serve = Serve::start_with(&server, arguments);
        serve.says(&["\nready\n"]).await;
        serve.measures("portolan_lease_held 1").await;
        assert_eq!(serve.status().await["unrewritten"], Value::Null);
        let looks = server.requests().iter().any(|request| request.starts_with("list pods"));
        assert!(!looks, "{arguments:?}");
        // The next one need not wait for the Lease.
        server.edit("leases", "portolan", |lease| lease["spec"]["holderIdentity"] = Value::Null);
    }
    let first = Serve::start_with(&server, &FAST);
    first.measures("portolan_unrewritten_pods 1").await;
    let second = Serve::start_with(&server, &FAST);
    second.says(&["\nready\n"]).await;
    let seen = server.requests().len();
    eventually("the first goes on", async || {
        server.requests()[seen..].iter().filter(|request| request.starts_with("list pods")).count() > 5
    })
    .await;
    second.measures("portolan_lease_held 0").await;
    assert_eq!(second.status().await["unrewritten"], Value::Null);
}
