//! What the chart is rendered to. No cluster: Helm, kubectl's kustomize and what the chart says of itself.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::{Value, json};

use crate::{
    support::{Helm, Outcome, chart, objects, programs, repository},
    trials,
};

trials!["chart";
    chart_and_base_are_the_same_objects,
    helm_finds_nothing_to_complain_of,
    every_value_is_described_and_checked_and_counts,
    what_is_set_is_where_it_belongs,
    wrong_values_are_refused_with_their_names,
    no_image_is_named_but_by_values,
    certificates_come_the_way_that_was_chosen,
    openshift_chooses_the_users_itself,
    alerts_speak_of_metrics_that_there_are,
    only_a_release_removes_things,
];

fn chart_and_base_are_the_same_objects() -> Outcome {
    let helm = Helm::alone()?;
    let kubectl = programs()?.join("kubectl");
    let render = |source: &str| {
        sorted(helm.template(&["--skip-tests", &format!("--set=certificate.source={source}")]))
    };
    let is_right = |object: &Value| object["kind"].as_str().unwrap().contains("Role");
    let certs = fs::read_dir(repository().join("certs")).unwrap().map(|entry| entry.unwrap());
    let ways = certs.filter(|entry| entry.path().join("kustomization.yaml").exists());
    let mut folders: Vec<_> =
        ways.map(|entry| format!("certs/{}", entry.file_name().to_str().unwrap())).collect();
    folders.push("manifests/base".to_owned());
    for folder in &folders {
        let source = match folder.as_str() {
            "certs/cert-manager" => "cert-manager",
            "certs/tls-self" => "self",
            "manifests/base" => "secret",
            other => panic!("{other}: with which values is it made?"),
        };
        let output =
            Command::new(&kubectl).args(["kustomize", folder]).current_dir(repository()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut kustomized = sorted(objects(&String::from_utf8(output.stdout).unwrap()));
        // A release's namespace is there before its chart.
        kustomized.retain(|object| object["kind"] != "Namespace");
        let mut rendered = render(source);
        // The rights of each way are in the base.
        rendered.retain(|object| !is_right(object));
        rendered.extend(render("self").into_iter().filter(is_right));
        let rendered = sorted(rendered);
        assert_eq!(names(&rendered), names(&kustomized), "{folder}");
        for (rendered, kustomized) in rendered.iter().zip(&kustomized) {
            assert_eq!(rendered, kustomized, "{folder}: run `make manifests`");
        }
    }
    assert!(folders.len() >= 2);
    Ok(())
}

fn helm_finds_nothing_to_complain_of() -> Outcome {
    let helm = Helm::alone()?;
    let chart = chart();
    for flags in [&[][..], &["--values", &all_values()]] {
        let all = [&["lint", "--strict", "--kube-version=1.35.0", chart.to_str().unwrap()], flags].concat();
        let said = helm.must(&all).stdout;
        assert!(said.contains("1 chart(s) linted, 0 chart(s) failed"), "{said}");
        assert!(!said.contains("[WARNING]"), "{said}");
    }
    Ok(())
}

fn every_value_is_described_and_checked_and_counts() -> Outcome {
    let helm = Helm::alone()?;
    let read = |path: &str| fs::read_to_string(chart().join(path)).unwrap();
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let all: Value = serde_saphyr::from_str(&fs::read_to_string(all_values()).unwrap()).unwrap();

    let mut described = BTreeSet::new();
    described_paths(&schema, "", &mut described);
    described.remove("/global");
    let mut given = BTreeSet::new();
    given_paths(&values, "", &schema, &mut given);
    // What an issuer and resources are made of has no default.
    described.retain(|path| !path.starts_with("/certificate/issuerRef/") && path != "/resources/claims");
    described.insert("/certificate/issuerRef".to_owned());
    assert_eq!(described, given, "values.schema.json and values.yaml name the same");

    // Each value of the fixture, put back to the default, makes a difference.
    let everything = helm.template(&["--values", &all_values(), "--api-versions=v1/Namespace"]);
    for path in &given {
        let (one, default) = (all.pointer(path), values.pointer(path).unwrap());
        let one = one.unwrap_or_else(|| panic!("tests/fixtures/chart/all.yaml does not set {path}"));
        let (one, default) = match path.as_str() {
            // Said by the others as well, or the same as by default.
            "/certificate/ca" | "/metrics/service" | "/table/create" | "/webhook/create" => continue,
            "/podDisruptionBudget/enabled" | "/serviceMonitor/enabled" | "/prometheusRule/enabled" => {
                (one, &json!(false))
            }
            _ => (one, default),
        };
        assert_ne!(one, default, "{path} of tests/fixtures/chart/all.yaml is the default");
        let set = format!("{}={default}", path[1..].replace('/', "."));
        let without =
            helm.template(&["--values", &all_values(), "--api-versions=v1/Namespace", "--set-json", &set]);
        assert_ne!(without, everything, "`--set-json {set}` makes no difference");
    }
    Ok(())
}

fn what_is_set_is_where_it_belongs() -> Outcome {
    let helm = Helm::alone()?;
    let rendered = helm.template(&["--values", &all_values()]);
    let object = |kind: &str, name: &str| {
        let found =
            rendered.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    };
    let deployment = &object("Deployment", "portolan")["spec"];
    let pod = &deployment["template"]["spec"];
    let container = &pod["containers"][0];
    let labels = json!({"app.kubernetes.io/name": "portolan"});
    for (found, expected) in [
        (&deployment["replicas"], json!(5)),
        (&deployment["selector"]["matchLabels"], labels.clone()),
        (
            &deployment["template"]["metadata"],
            json!({
                "annotations": {"example.com/checked": "yes"},
                "labels": {"app.kubernetes.io/name": "portolan", "team": "platform"},
            }),
        ),
        (&pod["imagePullSecrets"], json!([{"name": "harbor-pull"}, {"name": "other-pull"}])),
        (&pod["priorityClassName"], json!("system-cluster-critical")),
        (
            &pod["topologySpreadConstraints"],
            json!([
                {
                    "topologyKey": "example.com/rack", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": {"matchLabels": labels}, "matchLabelKeys": ["pod-template-hash"],
                },
                {
                    "topologyKey": "example.com/row", "maxSkew": 3, "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": {"row": "yes"}},
                },
            ]),
        ),
        (&pod["nodeSelector"]["node-role.kubernetes.io/control-plane"], json!("")),
        (&pod["tolerations"][0]["operator"], json!("Exists")),
        (
            &pod["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0]["weight"],
            json!(1),
        ),
        (
            &container["args"],
            json!([
                "serve",
                "--tls-dir",
                "/etc/portolan/tls",
                "--table-configmap",
                "portolan/mirrors",
                "--mode",
                "audit",
                "--pod-opt-out=false",
                "--find-unrewritten=0s",
                "--resolve-timeout=1s",
            ]),
        ),
        (&container["env"][1], json!({"name": "HTTPS_PROXY", "value": "http://proxy.test:3128"})),
        (&container["imagePullPolicy"], json!("Always")),
        (
            &container["resources"],
            json!({"requests": {"cpu": "100m", "memory": "100Mi"}, "limits": {"memory": "300Mi"}}),
        ),
        (&object("PodDisruptionBudget", "portolan")["spec"]["minAvailable"], json!("60%")),
        (&object("ConfigMap", "portolan-lock")["metadata"]["labels"]["portolan.dev/lock"], json!("true")),
        (
            &object("ServiceMonitor", "portolan")["spec"]["selector"]["matchLabels"],
            object("Service", "portolan-metrics")["metadata"]["labels"].clone(),
        ),
        (&object("ServiceMonitor", "portolan")["metadata"]["labels"]["release"], json!("prometheus")),
        (
            &object("ServiceMonitor", "portolan")["spec"]["endpoints"],
            json!([{"port": "ops", "interval": "15s"}]),
        ),
        // The webhook's port is open to all.
        (
            &object("NetworkPolicy", "portolan")["spec"]["ingress"],
            json!([
                {"ports": [{"protocol": "TCP", "port": 9443}]},
                {
                    "ports": [{"protocol": "TCP", "port": 9441}],
                    "from": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
                },
            ]),
        ),
        (
            &object("ValidatingWebhookConfiguration", "portolan")["webhooks"][0]["matchConditions"][0]["expression"],
            json!(
                "request.name == 'mirrors' \
                 || (has(object.metadata.labels) && 'portolan.dev/lock' in object.metadata.labels)"
            ),
        ),
    ] {
        assert_eq!(found, &expected);
    }
    let table = object("ConfigMap", "mirrors")["data"]["table.yaml"].as_str().unwrap();
    assert!(table.contains("{{ not a template }}"), "the text is taken as it is: {table}");
    let rights = object("Role", "portolan")["rules"].to_string();
    for names in [r#""resourceNames":["mirrors"]"#, r#""resourceNames":["harbor-pull","harbor-client"]"#] {
        assert!(rights.contains(names), "{rights}");
    }
    // A budget that leaves none would keep the node of the only replica for ever.
    let one = helm.template(&["--set=replicas=1"]);
    assert!(one.iter().all(|object| object["kind"] != "PodDisruptionBudget"));
    let without = helm.template(&["--set=webhook.create=false,table.create=false"]);
    assert!(!without.iter().any(|object| {
        object["kind"].as_str().unwrap().ends_with("WebhookConfiguration") || object["kind"] == "ConfigMap"
    }));
    Ok(())
}

fn wrong_values_are_refused_with_their_names() -> Outcome {
    let helm = Helm::alone()?;
    let chart = chart();
    for (set, said) in [
        ("replica=3", "additional properties 'replica' not allowed"),
        ("image.tagg=v1", "'/image': additional properties 'tagg' not allowed"),
        ("replicas=three", "'/replicas': got string, want integer"),
        ("replicas=-1", "'/replicas': minimum"),
        ("mode=dry", "'/mode': value must be one of 'enforce', 'audit'"),
        ("image.registry=https://registry.test", "'/image/registry': 'https://registry.test' does not match"),
        ("image.repository=Portolan", "'/image/repository': 'Portolan' does not match"),
        ("image.repository=portolan:v1", "'/image/repository': 'portolan:v1' does not match"),
        ("image.digest=sha256:12", "'/image/digest': 'sha256:12' does not match"),
        (
            "certificate.source=files",
            "'/certificate/source': value must be one of 'self', 'cert-manager', 'secret'",
        ),
        ("certificate.ca=ca.crt", "'/certificate/ca': 'ca.crt' does not match"),
        ("table.name=Mirrors", "'/table/name': 'Mirrors' does not match"),
        ("imagePullSecrets=harbor-pull", "'/imagePullSecrets': got string, want array"),
        ("podLabels.app\\.kubernetes\\.io/name=x", "invalid propertyName 'app.kubernetes.io/name'"),
        ("serviceMonitor.interval=often", "'/serviceMonitor/interval': 'often' does not match"),
        ("test.image.tag=a b", "'/test/image/tag': 'a b' does not match"),
        ("openshift=yes", "'/openshift': value must be one of"),
    ] {
        let refused = helm.run(&["template", "portolan", chart.to_str().unwrap(), "--set", set]);
        assert!(!refused.ok, "`{set}` was taken");
        assert!(refused.stderr.contains(said), "`{set}`: {}", refused.stderr);
    }
    Ok(())
}

fn no_image_is_named_but_by_values() -> Outcome {
    let helm = Helm::alone()?;
    let digest = format!("sha256:{}", "ab".repeat(32));
    for (set, own, tested) in [
        ("image.registry=r.test:5000", "r.test:5000/portolan/portolan:0.1.0", None),
        ("image.registry=r.test,image.repository=a/b,image.tag=v2", "r.test/a/b:v2", None),
        ("image.registry=,image.repository=portolan", "portolan:0.1.0", None),
        // A digest says which version it is; a tag beside it only if somebody wants one.
        (
            &format!("image.digest={digest}"),
            &format!("registry.example.com/portolan/portolan@{digest}"),
            None,
        ),
        (
            &format!("image.tag=v2,image.digest={digest}"),
            &format!("registry.example.com/portolan/portolan:v2@{digest}"),
            None,
        ),
        (
            "test.image.registry=t.test",
            "registry.example.com/portolan/portolan:0.1.0",
            Some("t.test/portolan/portolan:0.1.0"),
        ),
        (
            &format!("image.digest={digest},test.image.repository=t/t,test.image.tag=v3"),
            &format!("registry.example.com/portolan/portolan@{digest}"),
            Some("registry.example.com/t/t:v3"),
        ),
    ] {
        let mut rendered = helm.template(&["--set", set, "--api-versions=v1/Namespace"]);
        // Its comments have an example.
        rendered.retain(|object| object["kind"] != "ConfigMap");
        let mut found = BTreeSet::new();
        for object in &rendered {
            images(object, &mut found);
        }
        let expected = BTreeSet::from([own.to_owned(), tested.unwrap_or(own).to_owned()]);
        assert_eq!(found, expected, "{set}");
        if !set.contains("test.image.registry") && set.contains("image.registry=") {
            let text = json!(rendered).to_string();
            assert!(!text.contains("registry.example.com"), "{set}: {text}");
        }
    }
    Ok(())
}

fn certificates_come_the_way_that_was_chosen() -> Outcome {
    let helm = Helm::alone()?;
    let rendered = |flags: &[&str]| {
        let objects = helm.template(&[flags, &["--skip-tests", "--namespace=tools"]].concat());
        let of =
            |kind: &str| objects.iter().filter(|object| object["kind"] == kind).cloned().collect::<Vec<_>>();
        let pod = of("Deployment")[0]["spec"]["template"]["spec"].clone();
        let hooks = [of("MutatingWebhookConfiguration"), of("ValidatingWebhookConfiguration")].concat();
        let rights = json!([of("Role"), of("ClusterRole")]).to_string();
        (pod, hooks, of("Certificate"), rights)
    };
    let bundles = |hooks: &[Value]| -> Vec<Value> {
        hooks
            .iter()
            .flat_map(|hook| hook["webhooks"].as_array().unwrap())
            .map(|entry| entry["clientConfig"]["caBundle"].clone())
            .collect()
    };

    let (pod, hooks, certificates, rights) = rendered(&[]);
    assert_eq!(pod["containers"][0]["args"][1], "--tls-self");
    assert_eq!((&pod["volumes"], certificates.len()), (&Value::Null, 0));
    assert_eq!(bundles(&hooks), vec![Value::Null; 4]);
    assert!(
        rights.contains("portolan-tls-self") && rights.contains("mutatingwebhookconfigurations"),
        "{rights}"
    );

    let ca = chart().join("../../tests/fixtures/tables/ca.pem");
    let ca = format!("certificate.ca={}", ca.display());
    let flags = ["--set=certificate.source=secret,certificate.secretName=ours", "--set-file", &ca];
    let (pod, hooks, certificates, rights) = rendered(&flags);
    assert_eq!(pod["containers"][0]["args"][1], "--tls-dir");
    assert_eq!((&pod["volumes"][0]["secret"]["secretName"], certificates.len()), (&json!("ours"), 0));
    let given = bundles(&hooks);
    assert!(
        given.len() == 4 && given.iter().all(|bundle| bundle.as_str().unwrap().starts_with("LS0tLS1CRUdJTi"))
    );
    // Then nobody needs to patch anything.
    assert!(!rights.contains("portolan-tls-self") && !rights.contains("admissionregistration"), "{rights}");

    for (issuer, count) in [("", 2), (",certificate.issuerRef.name=internal", 1)] {
        let set = format!("--set=certificate.source=cert-manager{issuer}");
        let (pod, hooks, certificates, _) = rendered(&[&set]);
        let certificate =
            certificates.iter().find(|object| object["metadata"]["name"] == "portolan-tls").unwrap();
        assert_eq!(certificates.len(), count);
        assert_eq!(
            certificate["spec"]["dnsNames"],
            json!(["portolan.tools.svc", "portolan.tools.svc.cluster.local"])
        );
        assert_eq!(certificate["spec"]["secretName"], pod["volumes"][0]["secret"]["secretName"]);
        for hook in &hooks {
            let from = &hook["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
            assert_eq!(from, "tools/portolan-tls", "{hook}");
        }
    }
    Ok(())
}

fn openshift_chooses_the_users_itself() -> Outcome {
    let helm = Helm::alone()?;
    for (flags, is_fixed) in [
        (&[][..], true),
        (&["--api-versions=security.openshift.io/v1"], false),
        (&["--set=openshift=enabled"], false),
        (&["--set=openshift=disabled", "--api-versions=security.openshift.io/v1"], true),
    ] {
        let rendered = helm.template(flags);
        let pods = rendered.iter().filter_map(|object| match object["kind"].as_str().unwrap() {
            "Deployment" => Some(&object["spec"]["template"]["spec"]),
            "Pod" => Some(&object["spec"]),
            _ => None,
        });
        let mut count = 0;
        for pod in pods {
            count += 1;
            let security = pod["securityContext"].as_object().unwrap();
            // What Pod Security `restricted` asks for, on either.
            assert_eq!(security["runAsNonRoot"], true);
            assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
            for container in pod["containers"].as_array().unwrap() {
                let security = &container["securityContext"];
                assert_eq!(security["allowPrivilegeEscalation"], false);
                assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
            }
            for field in ["runAsUser", "runAsGroup", "fsGroup"] {
                assert_eq!(security.contains_key(field), is_fixed, "`{field}` with {flags:?}");
            }
        }
        assert_eq!(count, 2, "Portolan and its test");
    }
    Ok(())
}

fn alerts_speak_of_metrics_that_there_are() -> Outcome {
    let helm = Helm::alone()?;
    let page = fs::read_to_string(repository().join("docs/reference/metrics.md")).unwrap();
    let rendered = helm.template(&["--set=prometheusRule.enabled=true"]);
    let rule = rendered.iter().find(|object| object["kind"] == "PrometheusRule").unwrap();
    let rules = rule["spec"]["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() >= 10);
    for rule in rules {
        let expression = rule["expr"].as_str().unwrap();
        let words = expression.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
        let metrics: Vec<_> = words.filter(|word| word.starts_with("portolan_")).collect();
        assert!(!metrics.is_empty(), "{expression}");
        for metric in metrics {
            assert!(page.contains(&format!("| `{metric}` |")), "{metric} in {expression}");
        }
        assert_eq!(
            expression.matches("namespace=\"portolan\"").count(),
            expression.matches("portolan_").count()
        );
        assert!(rule["annotations"]["summary"].is_string());
    }
    Ok(())
}

/// `helm template` is applied as manifests: what empties and deletes must not be among them.
fn only_a_release_removes_things() -> Outcome {
    let helm = Helm::alone()?;
    let hooks = |flags: &[&str]| -> Vec<Value> {
        let rendered = helm.template(&[flags, &["--skip-tests"]].concat());
        rendered
            .into_iter()
            .filter(|object| object["metadata"]["annotations"]["helm.sh/hook"].is_string())
            .collect()
    };
    assert_eq!(hooks(&[]), Vec::<Value>::new());
    assert_eq!(hooks(&["--api-versions=v1/Namespace", "--set=uninstall.clean=false"]), Vec::<Value>::new());

    let in_a_release = hooks(&["--api-versions=v1/Namespace"]);
    let first: Vec<_> = in_a_release
        .iter()
        .filter(|object| object["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete")
        .map(|object| object["kind"].as_str().unwrap())
        .collect();
    assert_eq!(first, ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]);
    for object in in_a_release {
        let policy = &object["metadata"]["annotations"]["helm.sh/hook-delete-policy"];
        assert_eq!(policy, "before-hook-creation,hook-succeeded", "{object}");
    }
    Ok(())
}

fn all_values() -> String {
    repository().join("tests/fixtures/chart/all.yaml").display().to_string()
}

/// By kind and name, and with expressions that differ in white space alone made equal: kustomize folds them anew.
fn sorted(mut objects: Vec<Value>) -> Vec<Value> {
    for object in &mut objects {
        for webhook in object["webhooks"].as_array_mut().into_iter().flatten() {
            for condition in webhook["matchConditions"].as_array_mut().into_iter().flatten() {
                let expression = condition["expression"].as_str().unwrap();
                let words: Vec<_> = expression.split_whitespace().collect();
                condition["expression"] = json!(words.join(" "));
            }
        }
    }
    objects.sort_by_key(name);
    objects
}

fn names(objects: &[Value]) -> Vec<String> {
    objects.iter().map(name).collect()
}

fn name(object: &Value) -> String {
    format!("{}/{}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
}

/// Every text under a key that names an image.
fn images(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| images(item, found)),
        Value::Object(fields) => {
            for (key, field) in fields {
                match field {
                    Value::String(text)
                        if key.to_lowercase().contains("image") && key != "imagePullPolicy" =>
                    {
                        found.insert(text.clone());
                    }
                    _ => images(field, found),
                }
            }
        }
        _ => {}
    }
}

/// The paths of the values that a schema describes, down to where anything goes.
fn described_paths(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    match schema["properties"].as_object() {
        Some(properties) if schema["additionalProperties"] == false => {
            for (key, schema) in properties {
                described_paths(schema, &format!("{path}/{key}"), found);
            }
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

/// The paths of values, as far down as the schema describes them.
fn given_paths(value: &Value, path: &str, schema: &Value, found: &mut BTreeSet<String>) {
    match (value, schema["properties"].as_object()) {
        (Value::Object(fields), Some(properties)) if !fields.is_empty() => {
            for (key, value) in fields {
                given_paths(value, &format!("{path}/{key}"), &properties[key], found);
            }
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}
