//! `check`, `lock` and `images` on a running cluster, and what the webhook then does with the lock.

use std::{process::Command, time::Duration};

use serde_json::{Value, json};

use crate::{
    support::{Outcome, Shipped, binary, eventually, image},
    trials,
};

trials!["check";
    check_says_what_of_the_running_cluster_would_run_and_what_stands_in_the_way,
    a_lock_written_from_the_mirrors_serves_admissions_and_what_leaves_it_is_said,
    the_images_of_the_running_cluster_are_listed_as_they_were_written,
];

fn check_says_what_of_the_running_cluster_would_run_and_what_stands_in_the_way() -> Outcome {
    let shipped = Shipped::install()?;
    shipped.set_rules(RULES);
    let nginx = shipped.registry.push("hub/library/nginx", "1.25");
    for (name, labels) in [("shop", json!({})), ("infra", json!({})), ("off", disabled())] {
        shipped.namespace(name, &labels);
    }
    let place = format!("{}/hub/library/nginx:1.25@{nginx}", shipped.registry.host());
    let created = shipped.make("api/v1", "shop", "pods", &pod("one", "nginx:1.25"));
    assert_eq!(image(&created, "containers/web"), place);
    // A Pod that was there before Portolan runs what it says.
    shipped.make("api/v1", "off", "pods", &pod("two", "busybox"));
    shipped.make("apis/batch/v1", "shop", "cronjobs", &cron_job("redis:7"));
    shipped.make("apis/apps/v1", "kube-system", "daemonsets", &daemon_set("quay.io/net/proxy:1"));
    let service = json!({
        "metadata": {"name": "registry"},
        "spec": {"selector": {"app": "registry"}, "ports": [{"port": 5000}]},
    });
    shipped.make("api/v1", "infra", "services", &service);
    shipped.put_policy();

    let (code, answer) = shipped.checked();
    assert_eq!(code, 1, "{answer}");
    for (written, state, namespaces) in [
        ("nginx:1.25", "ok", vec!["shop"]),
        ("busybox", "left-alone", vec!["off"]),
        ("redis:7", "missing", vec!["shop"]),
        ("quay.io/net/proxy:1", "left-alone", vec!["kube-system"]),
    ] {
        let row = row(&answer, written);
        assert_eq!((&row["state"], &row["namespaces"]), (&json!(state), &json!(namespaces)), "{row}");
    }
    assert_eq!(row(&answer, "nginx:1.25")["result"], place);
    let spot = &row(&answer, "redis:7")["places"][0];
    assert_eq!((&spot["kind"], &spot["name"]), (&json!("CronJob"), &json!("tidy")));
    let findings = answer["findings"].as_array().unwrap();
    let [mirror, images, made_up] = &**findings else { panic!("{findings:?}") };
    assert_eq!(
        (&mirror["kind"], &mirror["about"], &mirror["remedy"]),
        (
            &json!("mirror-in-cluster"),
            &json!("registry.infra.svc:5000"),
            &json!("kubectl label namespace --overwrite infra portolan.dev/rewrite=disabled")
        )
    );
    for (finding, pattern, source) in [
        (images, "docker.io/library/*", "docker.io/library/nginx:1.25"),
        (made_up, "ghcr.io/acme/**", "ghcr.io/acme/x"),
    ] {
        let message = finding["message"].as_str().unwrap();
        assert_eq!(finding["about"], "ClusterImagePolicy `signed`");
        assert!(
            message.contains(&format!("its pattern `{pattern}` matches `{source}` but not")),
            "{message}"
        );
        assert!(message.contains(&shipped.registry.host()), "{message}");
    }

    // With the image loaded and the remedy applied.
    shipped.registry.push("hub/library/redis", "7");
    shipped
        .plane
        .kubectl
        .must(&["label", "namespace", "--overwrite", "infra", "portolan.dev/rewrite=disabled"], "");
    let (code, answer) = shipped.checked();
    assert_eq!(code, 0, "{answer}");
    let kinds: Vec<_> =
        answer["findings"].as_array().unwrap().iter().map(|finding| &finding["kind"]).collect();
    assert_eq!(kinds, ["policy-no-longer-matches", "policy-no-longer-matches"]);

    // Whoever may not look is told, and no answer is made up.
    let nobody = shipped.portolan_as(&["check", "--cluster"], "/nonexistent");
    assert_eq!(nobody.0, 2, "{nobody:?}");
    Ok(())
}

fn a_lock_written_from_the_mirrors_serves_admissions_and_what_leaves_it_is_said() -> Outcome {
    let shipped = Shipped::install()?;
    shipped.set_rules(RULES);
    let nginx = shipped.registry.push("hub/library/nginx", "1.25");
    let redis = shipped.registry.push("hub/library/redis", "7");
    shipped.make("apis/batch/v1", "default", "cronjobs", &cron_job("redis:7"));
    shipped.make("apis/apps/v1", "default", "daemonsets", &daemon_set("nginx:1.25"));

    let (code, maps, said) =
        shipped.portolan_as(&["lock", "--cluster", "-o", "configmaps"], &shipped.kubeconfig());
    assert_eq!(code, 0, "{said}");
    shipped.plane.kubectl.must(&["apply", "--server-side", "--filename", "-"], &maps);
    shipped.wait_metric("portolan_lock_lines 2");
    let before = shipped.registry.accesses().len();
    for (written, repository, tag, digest) in
        [("nginx:1.25", "nginx", "1.25", &nginx), ("redis:7", "redis", "7", &redis)]
    {
        let created = shipped
            .plane
            .api
            .create("/api/v1/namespaces/default/pods?dryRun=All", &pod(repository, written))
            .unwrap();
        let place = format!("{}/hub/library/{repository}:{tag}@{digest}", shipped.registry.host());
        assert_eq!(image(&created, "containers/web"), place);
        assert_eq!(shipped.portolan.audited(|line| line["pod"] == repository)[0]["resolvedFrom"], "lock");
    }
    let accesses = shipped.registry.accesses().split_off(before);
    assert!(accesses.iter().all(|access| access.contains("portolan-lock-check/")), "{accesses:?}");

    let (code, answer) = shipped.checked();
    assert_eq!((code, &row(&answer, "nginx:1.25")["lock"]), (0, &json!("verified")), "{answer}");
    shipped.registry.push_other("hub/library/nginx", "1.25");
    let (code, answer) = shipped.checked();
    assert_eq!((code, &row(&answer, "nginx:1.25")["state"]), (0, &json!("moved")), "{answer}");
    let (_, text, _) = shipped.portolan_as(&["check", "--cluster"], &shipped.kubeconfig());
    assert!(text.contains("its tag leads elsewhere than the digest that it is locked to"), "{text}");

    // What a new lock would not go together with is said beforehand.
    let not_running = format!("{}/hub/library/tool:3 sha256:{}", shipped.registry.host(), "b".repeat(64));
    let other = format!("{}/hub/library/nginx:1.25 {nginx}\n{not_running}\n", shipped.registry.host());
    let old = json!({
        "metadata": {"name": "portolan-lock-7", "labels": {"portolan.dev/lock": "true"}},
        "data": {"lock.txt": other},
    });
    shipped.make("api/v1", "portolan", "configmaps", &old);
    let (code, maps, said) =
        shipped.portolan_as(&["lock", "--cluster", "-o", "configmaps"], &shipped.kubeconfig());
    assert_eq!(code, 0, "{said}");
    assert!(maps.contains(&not_running), "what does not run now keeps its line: {maps}");
    assert!(said.contains("ConfigMap `portolan-lock-7` is from an earlier run"), "{said}");
    assert!(said.contains("these ConfigMaps would be refused: ConfigMap `portolan-lock-1`"), "{said}");
    shipped.plane.kubectl.must(&["--namespace=portolan", "delete", "configmap", "portolan-lock-7"], "");

    // An edit has every line looked at again: one more, which its mirror lacks.
    let absent = format!("{}/hub/library/absent:1", shipped.registry.host());
    let patch = json!({"data": {"more": format!("{absent} sha256:{}\n", "a".repeat(64))}}).to_string();
    let arguments = ["--namespace=portolan", "patch", "configmap/portolan-lock-1", "--patch", &patch];
    shipped.plane.kubectl.must(&arguments, "");
    let event = eventually(LIMIT, || {
        let events = shipped.plane.api.list("/apis/events.k8s.io/v1/namespaces/portolan/events");
        let ours = events.into_iter().find(|event| {
            event["reason"] == "LockOutdated"
                && event["note"].as_str().is_some_and(|note| note.contains(&absent))
        });
        ours.ok_or_else(|| shipped.portolan.process.output())
    });
    assert_eq!(
        (&event["regarding"]["kind"], &event["regarding"]["name"]),
        (&json!("ConfigMap"), &json!("portolan-lock-1"))
    );
    let note = event["note"].as_str().unwrap();
    for part in [
        format!("the mirror does not have the locked digest of `{absent}`"),
        format!("or is gone, of `{}/hub/library/nginx:1.25`", shipped.registry.host()),
    ] {
        assert!(note.contains(&part), "{note}");
    }
    shipped.wait_metric("portolan_event_errors_total 0");
    let described =
        shipped.plane.kubectl.must(&["--namespace=portolan", "describe", "configmap/portolan-lock-1"], "");
    assert!(described.stdout.contains("LockOutdated"), "{}", described.stdout);
    Ok(())
}

fn the_images_of_the_running_cluster_are_listed_as_they_were_written() -> Outcome {
    let shipped = Shipped::install()?;
    shipped.set_rules(RULES);
    let nginx = shipped.registry.push("hub/library/nginx", "1.25");
    for (name, labels) in [("shop", json!({})), ("off", disabled())] {
        shipped.namespace(name, &labels);
    }
    let created = shipped.make("api/v1", "shop", "pods", &pod("one", "nginx:1.25"));
    let place = format!("{}/hub/library/nginx:1.25@{nginx}", shipped.registry.host());
    assert_eq!(image(&created, "containers/web"), place);
    let mut other = pod("two", "busybox");
    other["spec"]["containers"][0]["env"] = json!([{"name": "SIDE_IMAGE", "value": "quay.io/a/side:1"}]);
    shipped.make("api/v1", "off", "pods", &other);
    shipped.make("apis/batch/v1", "shop", "cronjobs", &cron_job("redis:7"));

    let list = |arguments: &[&str]| {
        let arguments = [&["images", "--cluster"], arguments].concat();
        let (code, stdout, stderr) = shipped.portolan_as(&arguments, &shipped.kubeconfig());
        assert_eq!(code, 0, "{stdout}{stderr}");
        stdout
    };
    let text = list(&[]);
    let lines: Vec<_> = text.lines().collect();
    for written in ["busybox", "nginx:1.25", "redis:7"] {
        assert!(lines.contains(&written), "{text}");
    }
    assert!(lines.is_sorted() && !text.contains(&shipped.registry.host()), "{text}");
    assert!(!text.contains("side") && list(&["--guesses"]).contains("\nquay.io/a/side:1\n"), "{text}");

    let answer: Value = serde_json::from_str(&list(&["-o", "json"])).unwrap();
    let row = answer.as_array().unwrap().iter().find(|row| row["image"] == "nginx:1.25").unwrap();
    let spot = &row["places"][0];
    assert_eq!(
        (&spot["kind"], &spot["namespace"], &spot["name"], &spot["field"]),
        (&json!("Pod"), &json!("shop"), &json!("one"), &json!("/spec/containers/0/image"))
    );
    let nobody = shipped.portolan_as(&["images", "--cluster"], "/nonexistent");
    assert_eq!((nobody.0, &*nobody.1), (2, ""), "{nobody:?}");
    Ok(())
}

impl Shipped {
    /// Creates an object in a namespace.
    #[track_caller]
    fn make(&self, version: &str, namespace: &str, resource: &str, object: &Value) -> Value {
        self.plane.api.create(&format!("/{version}/namespaces/{namespace}/{resource}"), object).unwrap()
    }

    /// The administrator's kubeconfig.
    fn kubeconfig(&self) -> String {
        self.plane.kubectl.kubeconfig.display().to_string()
    }

    /// Runs the command with a kubeconfig: exit code, stdout, stderr.
    fn portolan_as(&self, arguments: &[&str], kubeconfig: &str) -> (i32, String, String) {
        let folder = self.plane.kubectl.kubeconfig.parent().unwrap();
        let output = Command::new(binary())
            .args(arguments)
            .env_clear()
            .env("HOME", folder)
            .env("KUBECONFIG", kubeconfig)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// `check` of the whole cluster: exit code and answer.
    #[track_caller]
    fn checked(&self) -> (i32, Value) {
        let arguments = ["check", "--cluster", "-o", "json", "--resolve-timeout", "10s"];
        let (code, stdout, stderr) = self.portolan_as(&arguments, &self.kubeconfig());
        assert_eq!(stderr, "");
        (code, serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}")))
    }

    fn wait_metric(&self, line: &str) {
        eventually(LIMIT, || {
            let metrics = self.portolan.ops("/metrics").unwrap().1;
            if metrics.lines().any(|at| at == line) { Ok(()) } else { Err(self.portolan.process.output()) }
        });
    }

    /// Has the cluster serve sigstore's `ClusterImagePolicy`, and makes one that names sources.
    fn put_policy(&self) {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let definition = json!({
            "metadata": {"name": "clusterimagepolicies.policy.sigstore.dev"},
            "spec": {
                "group": "policy.sigstore.dev",
                "scope": "Cluster",
                "names": {
                    "plural": "clusterimagepolicies", "singular": "clusterimagepolicy",
                    "kind": "ClusterImagePolicy", "listKind": "ClusterImagePolicyList",
                },
                "versions": [{
                    "name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                }],
            },
        });
        let api = &self.plane.api;
        api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).unwrap();
        let policy = json!({
            "apiVersion": "policy.sigstore.dev/v1beta1",
            "kind": "ClusterImagePolicy",
            "metadata": {"name": "signed"},
            "spec": {"images": [
                {"glob": "ghcr.io/acme/**"}, {"glob": "docker.io/library/*"},
                {"glob": "**"}, {"glob": "elsewhere.example.com/*"},
            ]},
        });
        eventually(LIMIT, || {
            let made = api.create("/apis/policy.sigstore.dev/v1beta1/clusterimagepolicies", &policy);
            made.map_err(|refusal| refusal.message)
        });
    }
}

fn row<'a>(answer: &'a Value, written: &str) -> &'a Value {
    let rows = answer["images"].as_array().unwrap();
    let mut found = rows.iter().filter(|row| row["written"] == written);
    let row = found.next().unwrap_or_else(|| panic!("no `{written}` in {answer}"));
    assert!(found.next().is_none(), "{answer}");
    row
}

fn disabled() -> Value {
    json!({"portolan.dev/rewrite": "disabled"})
}

fn pod(name: &str, image: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "web", "image": image}]}})
}

fn cron_job(image: &str) -> Value {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "tidy", "image": image}]});
    json!({
        "metadata": {"name": "tidy"},
        "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": {"spec": spec}}}},
    })
}

fn daemon_set(image: &str) -> Value {
    let labels = json!({"app": "x"});
    let spec = json!({"containers": [{"name": "x", "image": image}]});
    json!({
        "metadata": {"name": "x"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    })
}

const RULES: &str = "rules:
  - source: docker.io
    mirrors: [MIRROR/hub]
  - source: ghcr.io
    mirrors: [MIRROR/ghcr]
  - source: quay.io
    mirrors: ['registry.infra.svc:5000/quay']
";

const LIMIT: Duration = Duration::from_secs(90);
