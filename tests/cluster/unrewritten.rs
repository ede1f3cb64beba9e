//! Pods that are admitted while no Portolan answers: found, named and mended; and Pods whose label counts for nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    support::{Helm, Outcome, Scene, Shipped, eventually, image, sources},
    trials,
};

trials!["unrewritten";
    pods_admitted_while_portolan_was_away_are_counted_named_and_mended_by_what_is_printed,
    with_no_pod_opt_out_the_label_of_a_pod_counts_for_nothing_and_that_of_a_namespace_still_does,
];

fn pods_admitted_while_portolan_was_away_are_counted_named_and_mended_by_what_is_printed() -> Outcome {
    let mut shipped = Shipped::install_with_tls_self(&["--find-unrewritten=300ms"])?;
    shipped.set_rules("rules:\n  - source: docker.io\n    mirrors: [MIRROR/hub]\n");
    let digest = shipped.registry.push("hub/library/nginx", "1.25");
    let place = format!("{}/hub/library/nginx:1.25@{digest}", shipped.registry.host());
    for (name, label) in [("shop", None), ("off", Some("disabled")), ("watched", Some("audit"))] {
        let labels = label.map_or_else(|| json!({}), |label| json!({"portolan.dev/rewrite": label}));
        shipped.namespace(name, &labels);
    }
    // One that was rewritten before.
    let before = shipped.put("api/v1", "shop", "pods", &pod("before"));
    assert_eq!(image(&before, "containers/web"), place);

    shipped.stop();
    shipped.put("apis/apps/v1", "shop", "deployments", &deployment());
    shipped.put("apis/batch/v1", "shop", "jobs", &job());
    shipped.put("api/v1", "shop", "pods", &pod("bare"));
    let mut opted_out = pod("opted-out");
    opted_out["metadata"]["labels"] = json!({"portolan.dev/rewrite": "disabled"});
    shipped.put("api/v1", "shop", "pods", &opted_out);
    for namespace in ["off", "watched", "kube-system"] {
        shipped.put("api/v1", namespace, "pods", &pod("other"));
    }
    shipped.wait_unrewritten_pods("shop", 4);

    shipped.start_again()?;
    shipped.wait_line("portolan_unrewritten_pods 4");
    let rights = shipped.portolan.ops("/metrics").unwrap().1;
    assert!(rights.contains("\nportolan_unrewritten_errors_total 0\n"), "the account may look: {rights}");
    assert_eq!(shipped.portolan.status()["unrewritten"]["pods"], 4);

    let (code, answer) = shipped.checked_cluster();
    assert_eq!(code, 0, "they fail nothing: {answer}");
    let found = answer["unrewritten"].as_array().unwrap();
    let about =
        |kind: &str| found.iter().find(|one| one["kind"] == kind).unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!(found.len(), 3, "{found:?}");
    let (web, tidy, bare) = (about("Deployment"), about("Job"), about("Pod"));
    assert_eq!((&web["namespace"], &web["name"]), (&json!("shop"), &json!("web")));
    assert_eq!((web["pods"].as_array().unwrap().len(), &web["images"]), (2, &json!(["nginx:1.25"])));
    assert_eq!((&tidy["name"], &tidy["command"]), (&json!("tidy"), &Value::Null));
    assert_eq!((&bare["pods"], &bare["command"]), (&json!(["bare"]), &Value::Null));
    let (_, text, _) = shipped.run(&["check", "--cluster", "--resolve-timeout=10s"], "");
    let command = "kubectl --namespace shop rollout restart deployment/web";
    for line in ["4 Pods as if admitted without Portolan, and what mends them:", &format!("  {command}")] {
        assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
    }
    assert_eq!(web["command"], command);

    // What is printed mends them.
    shipped.plane.kubectl.must(&command.split(' ').skip(1).collect::<Vec<_>>(), "");
    shipped.wait_line("portolan_unrewritten_pods 2");
    shipped.plane.api.delete("/api/v1/namespaces/shop/pods/bare").unwrap();
    shipped.plane.api.delete("/apis/batch/v1/namespaces/shop/jobs/tidy").unwrap();
    shipped.wait_line("portolan_unrewritten_pods 0");
    let (code, answer) = shipped.checked_cluster();
    assert_eq!((code, &answer["unrewritten"]), (0, &json!([])), "{answer}");

    // One that no mirror has: who asks no registry takes it for one of them, who asks does not.
    let mut absent = pod("absent");
    absent["spec"]["containers"][0]["image"] = json!("busybox:none");
    let absent = shipped.put("api/v1", "shop", "pods", &absent);
    assert_eq!(image(&absent, "containers/web"), "busybox:none");
    shipped.wait_line("portolan_unrewritten_pods 1");
    let (code, answer) = shipped.checked_cluster();
    assert_eq!((code, &answer["unrewritten"]), (1, &json!([])), "{answer}");
    Ok(())
}

fn with_no_pod_opt_out_the_label_of_a_pod_counts_for_nothing_and_that_of_a_namespace_still_does() -> Outcome {
    let helm = Helm::alone()?;
    let scene = Scene::with_rules("rules: [{source: docker.io, mirrors: [MIRROR/hub]}]\n")
        .arguments(&["--pod-opt-out=false"])
        .start()?;
    let pinned = scene.push("hub/library/nginx", "1.25");
    let mut labelled = pod("labelled");
    labelled["metadata"]["labels"] = json!({"portolan.dev/rewrite": "disabled"});
    let created = scene.api().create(&scene.path("pods?dryRun=All"), &labelled).unwrap();
    assert_eq!(image(&created, "containers/web"), "nginx:1.25", "the selector leaves it out");

    let rendered = helm.template(&["--set=podOptOut=false"]);
    let strict = rendered.iter().find(|object| object["kind"] == "MutatingWebhookConfiguration").unwrap();
    let strict = strict["webhooks"].as_array().unwrap();
    assert!(strict.iter().all(|entry| entry["objectSelector"].is_null()), "{strict:?}");
    let deployment = rendered.iter().find(|object| object["kind"] == "Deployment").unwrap();
    assert!(deployment.to_string().contains(r#""--pod-opt-out=false""#), "{deployment}");
    scene.edit_webhook(|entry| {
        let strict = strict.iter().find(|strict| strict["name"] == entry["name"]).unwrap();
        entry["objectSelector"] = strict["objectSelector"].clone();
    });
    eventually(LIMIT, || {
        let created = scene.api().create(&scene.path("pods?dryRun=All"), &labelled).unwrap();
        if image(&created, "containers/web") == pinned { Ok(()) } else { Err(created) }
    });
    let created = scene.create(&labelled);
    assert_eq!(image(&created, "containers/web"), pinned);
    assert_eq!(sources(&created)["containers/web"]["written"], "nginx:1.25");

    let label = format!("namespace/{}", scene.namespace);
    scene.plane.kubectl.must(&["label", &label, "portolan.dev/rewrite=disabled"], "");
    eventually(LIMIT, || {
        let created = scene.api().create(&scene.path("pods?dryRun=All"), &pod("other")).unwrap();
        if image(&created, "containers/web") == "nginx:1.25" { Ok(()) } else { Err(created) }
    });
    Ok(())
}

impl Shipped {
    #[track_caller]
    fn put(&self, version: &str, namespace: &str, resource: &str, object: &Value) -> Value {
        self.plane.api.create(&format!("/{version}/namespaces/{namespace}/{resource}"), object).unwrap()
    }

    /// Waits until controllers have made theirs, and sees to it that none was rewritten.
    fn wait_unrewritten_pods(&self, namespace: &str, count: usize) {
        eventually(LIMIT, || {
            let pods = self.plane.api.list(&format!("/api/v1/namespaces/{namespace}/pods"));
            let opted_out = |pod: &Value| pod["metadata"]["name"] == "opted-out";
            let made: Vec<_> =
                pods.into_iter().filter(|pod| sources(pod).is_null() && !opted_out(pod)).collect();
            if made.len() == count { Ok(()) } else { Err(made.len()) }
        });
    }

    fn wait_line(&self, line: &str) {
        eventually(LIMIT, || {
            let metrics = self.portolan.ops("/metrics").unwrap().1;
            let found = metrics.lines().any(|at| at == line);
            if found { Ok(()) } else { Err((line.to_owned(), self.portolan.status()["unrewritten"].clone())) }
        });
    }

    /// `check` of the whole cluster: exit code and answer.
    #[track_caller]
    fn checked_cluster(&self) -> (i32, Value) {
        let arguments = ["check", "--cluster", "-o", "json", "--resolve-timeout", "10s"];
        let (code, stdout, stderr) = self.run(&arguments, "");
        assert_eq!(stderr, "");
        (code, serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}")))
    }
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "web", "image": "nginx:1.25"}]}})
}

fn deployment() -> Value {
    let labels = json!({"app": "web"});
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            // Nothing runs here, so that no new Pod would ever be available.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod("")["spec"]},
        },
    })
}

fn job() -> Value {
    let mut spec = pod("")["spec"].clone();
    spec["restartPolicy"] = json!("Never");
    json!({"metadata": {"name": "tidy"}, "spec": {"template": {"spec": spec}}})
}

const LIMIT: Duration = Duration::from_secs(90);
