//! Which Pods pass through Portolan, by the configuration that ships, whole: namespaces, opt-outs, placeholders.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    support::{Outcome, Shipped, eventually, image, sources},
    trials,
};

trials!["namespaces"; the_shipped_configuration_takes_the_namespaces_and_pods_that_it_says];

fn the_shipped_configuration_takes_the_namespaces_and_pods_that_it_says() -> Outcome {
    let shipped = Shipped::install()?;
    shipped.registry.push("hub/docker.io/library/nginx", "1.25");
    shipped.registry.push("company/app", "v1");
    let hub = format!("{}/hub/docker.io/library/nginx:1.25", shipped.registry.host());
    let pinned = format!("{hub}@{}", shipped.registry.digest("hub/docker.io/library/nginx", "1.25"));

    // As shipped, nothing is rewritten, though Portolan is asked.
    let pod = shipped.create("default", &pod("as-shipped", "nginx:1.25"));
    assert_eq!((image(&pod, "containers/web"), sources(&pod)), ("nginx:1.25", Value::Null));
    let asked = shipped.portolan.audited(|line| line["pod"] == "as-shipped");
    assert_eq!((&asked[0]["outcome"], &asked[0]["reason"]), (&json!("kept"), &json!("no-rule")), "{asked:?}");

    shipped.set_rules("rules:\n  - source: '*'\n    mirrors: ['MIRROR/hub/{registry}']\n");
    shipped.by_namespace(&pinned);
    shipped.by_pod(&pinned);
    shipped.by_image(&hub, &pinned);
    Ok(())
}

impl Shipped {
    fn by_namespace(&self, pinned: &str) {
        for (namespace, label, expected, modes) in [
            ("unlabelled", None, pinned, &["enforce"][..]),
            ("says-enabled", Some("enabled"), pinned, &["enforce"]),
            ("says-audit", Some("audit"), "nginx:1.25", &["audit"]),
            ("says-disabled", Some("disabled"), "nginx:1.25", &[]),
            ("kube-own", None, "nginx:1.25", &[]),
            ("openshift-own", None, "nginx:1.25", &[]),
            ("kubeless", None, pinned, &["enforce"]),
        ] {
            let labels = label.map_or_else(|| json!({}), |label| json!({"portolan.dev/rewrite": label}));
            self.namespace(namespace, &labels);
            self.check(namespace, "web", expected, modes);
        }
        self.check("kube-system", "before", "nginx:1.25", &[]);
        self.plane.kubectl.must(&["label", "namespace", "kube-system", "portolan.dev/rewrite=enabled"], "");
        // The label reaches the API server's own cache a moment later.
        eventually(Duration::from_secs(60), || {
            let path = "/api/v1/namespaces/kube-system/pods?dryRun=All";
            let shown = self.plane.api.create(path, &pod("probe", "nginx:1.25")).unwrap();
            if image(&shown, "containers/web") == pinned { Ok(()) } else { Err("not labelled yet") }
        });
        self.check("kube-system", "after", pinned, &["enforce"]);

        // Its own namespace is restricted; the label that would ask for Portolan changes nothing there.
        self.plane.kubectl.must(&["label", "namespace", "portolan", "portolan.dev/rewrite=enabled"], "");
        let mut own = pod("own", "nginx:1.25");
        own["spec"]["securityContext"] =
            json!({"runAsNonRoot": true, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}});
        own["spec"]["containers"][0]["securityContext"] =
            json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        let own = self.create("portolan", &own);
        assert_eq!(image(&own, "containers/web"), "nginx:1.25", "Portolan's own namespace");

        // What audit mode would have done is said to whoever creates, and nobody else is told.
        let said = self.plane.kubectl.must(&["-n=says-audit", "run", "told", "--image=nginx:1.25"], "");
        assert!(said.stderr.contains("Warning:") && said.stderr.contains("rewritten"), "{said:?}");
        // The API server's log is written a moment after the answer, too.
        let events = eventually(Duration::from_secs(30), || {
            let events = self.plane.audit_events("says-audit", "pods");
            let is_told = |event: &Value| event["objectRef"]["name"] == "told" && event["verb"] == "create";
            if events.iter().any(is_told) { Ok(events) } else { Err(events) }
        });
        assert!(
            !events.iter().any(|event| event["annotations"].to_string().contains("images-")),
            "{events:?}"
        );
    }

    fn by_pod(&self, pinned: &str) {
        let mut out = pod("opted-out", "nginx:1.25");
        out["metadata"]["labels"] = json!({"portolan.dev/rewrite": "disabled"});
        let mut mirror = pod("of-a-file", "nginx:1.25");
        mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "0123"});
        mirror["spec"]["nodeName"] = json!("paper");
        mirror["spec"]["automountServiceAccountToken"] = json!(false);
        let mut never = pod("never", "nginx:1.25");
        never["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
        never["spec"]["volumes"] =
            json!([{"name": "model", "image": {"reference": "nginx:1.25", "pullPolicy": "Never"}}]);
        for (pod, asked) in [
            (out, None),
            (mirror, None),
            (never, Some("pull-never")),
            (pod("auto", "auto"), Some("placeholder")),
        ] {
            let written = image(&pod, "containers/web").to_owned();
            let created = self.create("default", &pod);
            assert_eq!(image(&created, "containers/web"), written, "{pod}");
            assert_eq!(sources(&created), Value::Null, "{pod}");
            let name = &pod["metadata"]["name"];
            if let Some(reason) = asked {
                for line in self.portolan.audited(|line| line["pod"] == *name) {
                    assert_eq!(line["reason"], reason, "{line}");
                }
            }
        }
        // After those: the log is in order, so a line about them would be there by now.
        let last = self.create("default", &pod("last", "nginx:1.25"));
        assert_eq!(image(&last, "containers/web"), pinned);
        self.portolan.audited(|line| line["pod"] == "last");
        let lines = self.portolan.audit();
        for namespace in ["says-disabled", "kube-own", "openshift-own"] {
            assert!(
                !lines.iter().any(|line| line["namespace"] == namespace),
                "{namespace} must not come either"
            );
        }
        for unasked in ["opted-out", "of-a-file", "own"] {
            assert!(!lines.iter().any(|line| line["pod"] == unasked), "{unasked} must not come to Portolan");
        }
    }

    /// Under a `*` rule.
    fn by_image(&self, hub: &str, pinned: &str) {
        let company = format!("{}/company/app:v1", self.registry.host());
        for (written, expected, reason) in [
            (company.as_str(), company.as_str(), "no-rule"),
            (hub, pinned, "mirrored"),
            (pinned, pinned, "mirrored"),
            ("localhost:32000/x:1", "localhost:32000/x:1", "no-rule"),
            ("127.0.0.1:32000/x:1", "127.0.0.1:32000/x:1", "no-rule"),
            ("registry.default.svc:5000/x:1", "registry.default.svc:5000/x:1", "no-rule"),
            ("registry.default.svc.cluster.local/x:1", "registry.default.svc.cluster.local/x:1", "no-rule"),
        ] {
            let shown = self
                .plane
                .api
                .create("/api/v1/namespaces/default/pods?dryRun=All", &pod("by-image", written));
            assert_eq!(image(&shown.unwrap(), "containers/web"), expected, "written as {written}");
            let line = self.portolan.audited(|line| line["pod"] == "by-image" && line["written"] == written);
            assert_eq!(line[0]["reason"], reason, "written as {written}");
        }
    }

    /// Creates a Pod there: its image, and in which modes Portolan was asked about it.
    fn check(&self, namespace: &str, name: &str, expected: &str, modes: &[&str]) {
        let created = self.create(namespace, &pod(name, "nginx:1.25"));
        assert_eq!(image(&created, "containers/web"), expected, "{namespace}");
        let lines = if modes.is_empty() {
            self.portolan.audit().into_iter().filter(|line| line["namespace"] == namespace).collect()
        } else {
            self.portolan.audited(|line| line["namespace"] == namespace && line["pod"] == name)
        };
        let seen: Vec<_> = lines.iter().map(|line| line["mode"].as_str().unwrap()).collect();
        assert_eq!(seen, modes, "{namespace}");
        // In audit mode the line says what would have been.
        assert!(lines.iter().all(|line| line["outcome"] == "rewritten"), "{namespace}: {lines:?}");
    }

    fn create(&self, namespace: &str, pod: &Value) -> Value {
        self.plane.api.create(&format!("/api/v1/namespaces/{namespace}/pods"), pod).unwrap()
    }
}

fn pod(name: &str, image: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "web", "image": image}]}})
}
