//! What ships in `manifests/` and `certs/`, against the contract.

#![expect(clippy::indexing_slicing, reason = "what is not there fails the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use portolan::{
    cluster::{CERTIFICATE_SECRET, CONFIGURATION, LEASE, answers_names},
    table::Table,
};
use serde_json::{Value, json};

/// The contract's matchConditions, as it writes them.
const MATCH_CONDITIONS: &str = r#"
- name: no-mirror-pod
  expression: "!has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)"
- name: no-system-namespace   # only in pods.portolan.dev
  expression: "!request.namespace.startsWith('kube-') && !request.namespace.startsWith('openshift-')"
- name: images-change
  expression: >-
    request.operation == 'CREATE'
    || object.spec.containers.map(c, has(c.image) ? c.image : '') != oldObject.spec.containers.map(c, has(c.image) ? c.image : '')
    || (has(object.spec.initContainers) ? object.spec.initContainers : []).map(c, has(c.image) ? c.image : '')
       != (has(oldObject.spec.initContainers) ? oldObject.spec.initContainers : []).map(c, has(c.image) ? c.image : '')
    || (has(object.spec.ephemeralContainers) ? object.spec.ephemeralContainers : []).map(c, has(c.image) ? c.image : '')
       != (has(oldObject.spec.ephemeralContainers) ? oldObject.spec.ephemeralContainers : []).map(c, has(c.image) ? c.image : '')
    || (has(object.spec.volumes) ? object.spec.volumes : []).filter(v, has(v.image)).map(v, has(v.image.reference) ? v.image.reference : '')
       != (has(oldObject.spec.volumes) ? oldObject.spec.volumes : []).filter(v, has(v.image)).map(v, has(v.image.reference) ? v.image.reference : '')
"#;

#[test]
fn the_webhook_has_exactly_its_three_entries_for_what_a_namespace_says() {
    let selected: Vec<_> = entries()
        .iter()
        .map(|entry| {
            let path = text(&entry["clientConfig"]["service"]["path"]).to_owned();
            (text(&entry["name"]).to_owned(), path, entry["namespaceSelector"].clone())
        })
        .collect();

    let selector = |operator: &str, values: &[&str]| {
        json!({"matchExpressions": [
            {"key": "portolan.dev/rewrite", "operator": operator, "values": values},
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["portolan"]},
        ]})
    };
    let expected = [
        ("pods.portolan.dev", "/mutate", selector("NotIn", &["enabled", "audit", "disabled"])),
        ("enabled.pods.portolan.dev", "/mutate", selector("In", &["enabled"])),
        ("audit.pods.portolan.dev", "/mutate/audit", selector("In", &["audit"])),
    ]
    .map(|(name, path, selector)| (name.to_owned(), path.to_owned(), selector));
    assert_eq!(selected, expected);
}

#[test]
fn every_entry_fails_open_and_asks_about_the_same_requests() {
    for entry in entries() {
        let name = text(&entry["name"]).to_owned();
        for (field, expected) in [
            ("admissionReviewVersions", json!(["v1"])),
            ("failurePolicy", json!("Ignore")),
            ("matchPolicy", json!("Equivalent")),
            ("reinvocationPolicy", json!("IfNeeded")),
            ("sideEffects", json!("NoneOnDryRun")),
            ("timeoutSeconds", json!(3)),
            (
                "objectSelector",
                json!({"matchExpressions": [
                    {"key": "portolan.dev/rewrite", "operator": "NotIn", "values": ["disabled"]},
                ]}),
            ),
            (
                "rules",
                json!([
                    {
                        "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
                        "operations": ["CREATE", "UPDATE"], "scope": "Namespaced",
                    },
                    {
                        "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/ephemeralcontainers"],
                        "operations": ["UPDATE"], "scope": "Namespaced",
                    },
                ]),
            ),
        ] {
            assert_eq!(entry[field], expected, "`{field}` of `{name}`");
        }
    }
}

#[test]
fn the_match_conditions_are_the_contracts() {
    let mut all: Vec<Value> = serde_saphyr::from_str(MATCH_CONDITIONS).unwrap();
    for entry in entries() {
        assert_eq!(entry["matchConditions"], json!(all), "of `{}`", entry["name"]);
        // The others are for namespaces that ask by their label.
        all.retain(|condition| condition["name"] != "no-system-namespace");
    }
}

#[test]
fn edits_of_the_table_and_of_locks_are_checked_and_nothing_else() {
    let checking = checking();
    for (field, expected) in [
        ("name", json!("configmaps.portolan.dev")),
        ("admissionReviewVersions", json!(["v1"])),
        ("failurePolicy", json!("Ignore")),
        ("matchPolicy", json!("Equivalent")),
        ("sideEffects", json!("None")),
        ("timeoutSeconds", json!(5)),
        (
            "namespaceSelector",
            json!({"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["portolan"]},
            ]}),
        ),
        ("objectSelector", Value::Null),
        (
            "rules",
            json!([{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
                "operations": ["CREATE", "UPDATE"], "scope": "Namespaced",
            }]),
        ),
        (
            "matchConditions",
            json!([{"name": "table-or-lock", "expression":
                "request.name == 'portolan-table' \
                 || (has(object.metadata.labels) && 'portolan.dev/lock' in object.metadata.labels)"}]),
        ),
    ] {
        assert_eq!(checking[field], expected, "`{field}`");
    }
    assert_eq!(base_object("ConfigMap")["metadata"]["name"], "portolan-table");
}

#[test]
fn no_manifest_holds_a_ca_bundle_or_a_key() {
    for file in files("manifests/base").into_iter().chain(files("certs/cert-manager")) {
        let content = fs::read_to_string(&file).unwrap();
        assert!(!content.contains("caBundle:") && !content.contains("PRIVATE KEY"), "{}", file.display());
    }
}

#[test]
fn the_kustomization_lists_every_file_beside_it() {
    for folder in ["manifests/base", "certs/cert-manager", "certs/tls-self"] {
        let kustomization = document(&format!("{folder}/kustomization.yaml"), "Kustomization");
        let mut listed: BTreeSet<_> = list(&kustomization["resources"]).iter().map(text).collect();
        listed.remove("../../manifests/base");
        let files = files(folder);
        let beside = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap());
        assert_eq!(listed, beside.filter(|name| *name != "kustomization.yaml").collect(), "{folder}");
    }
}

#[test]
fn the_one_file_for_kubectl_apply_is_the_base() {
    let by_name = |objects: Vec<Value>| {
        let named = objects.into_iter().map(|object| {
            let name = (text(&object["kind"]).to_owned(), text(&object["metadata"]["name"]).to_owned());
            (name, object)
        });
        named.collect::<BTreeMap<_, _>>()
    };
    let file = documents(&root().join("manifests/install.yaml"));
    // As they are made: what the others need comes first, and the webhook last.
    assert_eq!(file[0]["kind"], "Namespace");
    let last = file.iter().rev().take(2).map(|object| text(&object["kind"]));
    assert!(last.eq(["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"]));
    assert_eq!(by_name(file), by_name(base()), "run `make manifests`");
}

#[test]
fn every_object_is_in_portolans_namespace() {
    for object in base() {
        let kind = text(&object["kind"]);
        let expected = match kind {
            "ClusterRole"
            | "ClusterRoleBinding"
            | "MutatingWebhookConfiguration"
            | "Namespace"
            | "ValidatingWebhookConfiguration" => Value::Null,
            _ => json!("portolan"),
        };
        assert_eq!(object["metadata"]["namespace"], expected, "{kind}");
    }
    assert_eq!(base_object("Namespace")["metadata"]["name"], "portolan");
}

#[test]
fn portolan_may_read_and_keep_some_things_in_its_own_namespace_look_at_pods_report_events_anywhere_and_be_trusted()
 {
    let everywhere = json!([
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["namespaces", "pods"], "verbs": ["list"]},
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            "resourceNames": [CONFIGURATION], "verbs": ["get", "list", "watch", "patch"],
        },
    ]);
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        assert_eq!(base_object(kind)["metadata"]["name"], CONFIGURATION);
    }
    assert_eq!(base_object("ClusterRole")["rules"], everywhere);
    let binding = base_object("ClusterRoleBinding");
    assert_eq!(binding["roleRef"]["kind"], "ClusterRole");
    assert_eq!(binding["roleRef"]["name"], base_object("ClusterRole")["metadata"]["name"]);
    assert_eq!(binding["subjects"], base_object("RoleBinding")["subjects"]);

    let expected = json!([
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["portolan-table"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]},
        {
            "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["portolan-table-last-good"],
            "verbs": ["get", "create", "patch"],
        },
        {
            "apiGroups": [""], "resources": ["configmaps"], "resourceNames": answers_names(),
            "verbs": ["get", "create", "patch"],
        },
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {
            "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [LEASE],
            "verbs": ["get", "update"],
        },
        {
            "apiGroups": [""], "resources": ["secrets"], "resourceNames": [CERTIFICATE_SECRET],
            "verbs": ["get", "create", "patch", "update"],
        },
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
    ]);
    assert_eq!(base_object("Role")["rules"], expected);
    let binding = base_object("RoleBinding");
    assert_eq!(binding["roleRef"]["name"], base_object("Role")["metadata"]["name"]);
    assert_eq!(binding["subjects"][0]["name"], base_object("ServiceAccount")["metadata"]["name"]);
    assert_eq!(
        base_object("Deployment")["spec"]["template"]["spec"]["serviceAccountName"],
        base_object("ServiceAccount")["metadata"]["name"],
    );
}

#[test]
fn the_pods_have_no_more_rights_than_they_need() {
    let pod = pod();
    let container = &pod["containers"][0];

    assert_eq!(list(&pod["containers"]).len(), 1);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let expected = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
    });
    assert_eq!(container["securityContext"], expected);
    for amount in [&container["resources"]["requests"], &container["resources"]["limits"]] {
        assert!(amount["cpu"].is_string() && amount["memory"].is_string(), "{amount}");
    }
    let dockerfile = fs::read_to_string(root().join("Dockerfile")).unwrap();
    assert!(dockerfile.contains("USER 65532:65532"), "the image's user is the Pod's");
}

#[test]
fn there_are_two_pods_apart_and_one_is_always_left() {
    let deployment = base_object("Deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];

    assert_eq!(deployment["spec"]["replicas"], 2);
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    assert_eq!(base_object("PodDisruptionBudget")["spec"]["minAvailable"], 1);
    let spread = pod();
    let keys: Vec<_> = list(&spread["topologySpreadConstraints"])
        .iter()
        .map(|constraint| {
            assert_eq!(&constraint["labelSelector"]["matchLabels"], labels);
            text(&constraint["topologyKey"])
        })
        .collect();
    assert_eq!(keys, ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]);
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&base_object("PodDisruptionBudget")["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&base_object("Service")["spec"]["selector"], labels);
}

#[test]
fn the_pods_have_time_to_drain() {
    // The default of --drain-delay, and what requests in flight may take at most (timeoutSeconds).
    const DRAIN_DELAY: u64 = 5;
    const IN_FLIGHT: u64 = 30;

    let grace = pod()["terminationGracePeriodSeconds"].as_u64().unwrap();

    assert!(grace > DRAIN_DELAY + IN_FLIGHT, "{grace} s");
}

#[test]
fn the_ways_to_a_pod_meet() {
    let pod = pod();
    let container = &pod["containers"][0];
    let port = |name: &str| {
        let ports = list(&container["ports"]);
        ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].clone()
    };

    // Portolan's own defaults: --listen and --ops-listen.
    assert_eq!((port("https"), port("ops")), (json!(9443), json!(9441)));
    let service = base_object("Service");
    assert_eq!(service["spec"]["ports"], json!([{"name": "https", "port": 443, "targetPort": 9443}]));
    let checking = checking();
    assert_eq!(checking["clientConfig"]["service"]["path"], "/validate");
    for entry in entries().iter().chain([&checking]) {
        let called = &entry["clientConfig"]["service"];
        assert_eq!(called["name"], service["metadata"]["name"]);
        assert_eq!(called["namespace"], service["metadata"]["namespace"]);
        assert_eq!(called["port"], 443);
    }
    for (probe, path) in
        [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
    {
        assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": "ops"}), "{probe}");
    }
}

#[test]
fn serve_is_told_of_the_mounted_certificate_and_of_the_shipped_table() {
    let pod = pod();
    let container = &pod["containers"][0];
    let table = base_object("ConfigMap");
    let table = format!("{}/{}", text(&table["metadata"]["namespace"]), text(&table["metadata"]["name"]));

    assert_eq!(
        container["args"],
        json!(["serve", "--tls-dir", "/etc/portolan/tls", "--table-configmap", table])
    );
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/etc/portolan/tls");
    assert_eq!(container["volumeMounts"][0]["name"], pod["volumes"][0]["name"]);
    assert_eq!(pod["volumes"][0]["secret"]["secretName"], "portolan-tls");
    assert_eq!(pod["volumes"][0]["secret"]["defaultMode"], 0o440);
}

#[test]
fn the_image_is_that_of_this_version_and_kustomize_can_name_another() {
    let image = pod()["containers"][0]["image"].clone();

    assert_eq!(image, format!("registry.example.com/portolan/portolan:{}", env!("CARGO_PKG_VERSION")));
    // What a kustomization of the user's names.
    let page = fs::read_to_string(root().join("docs/install.md")).unwrap();
    assert!(page.contains("  - name: registry.example.com/portolan/portolan\n"));
    let chart = documents(&root().join("manifests/chart/Chart.yaml"))[0].clone();
    for version in ["version", "appVersion"] {
        assert_eq!(chart[version], env!("CARGO_PKG_VERSION"), "`{version}` of the chart");
    }
}

#[test]
fn the_shipped_table_rewrites_nothing_and_holds_an_example() {
    let table = shipped_table();
    let shipped: Value = serde_saphyr::from_str(&table).unwrap();
    assert_eq!(shipped, json!({"apiVersion": "portolan.dev/v1", "kind": "MappingTable", "rules": []}));

    let example: Value = serde_saphyr::from_str(&example(&table)).unwrap();
    assert_eq!(example["kind"], "MappingTable");
    assert_eq!(list(&example["rules"]).len(), 6);
    assert_eq!(example["registries"][0]["credentials"], "harbor-pull");
}

#[test]
fn the_table_room_reads_the_shipped_table_and_its_example() {
    let shipped = shipped_table();

    for (text, rules) in [(shipped.clone(), 0), (example(&shipped), 6)] {
        let parsed = Table::parse(&text).unwrap_or_else(|problems| panic!("{problems}\nin\n{text}"));
        assert_eq!(parsed.table.rules().len(), rules);
        assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
    }
}

#[test]
fn cert_manager_makes_what_the_deployment_mounts_for_the_name_that_is_called() {
    let certificates = documents(&root().join("certs/cert-manager/certificates.yaml"));
    let named = |name: &str| {
        let found = certificates
            .iter()
            .find(|object| object["kind"] == "Certificate" && object["metadata"]["name"] == name);
        found.unwrap().clone()
    };

    let server = named("portolan-tls");
    assert_eq!(server["spec"]["secretName"], pod()["volumes"][0]["secret"]["secretName"]);
    assert_eq!(
        server["spec"]["dnsNames"],
        json!(["portolan.portolan.svc", "portolan.portolan.svc.cluster.local"]),
    );
    assert_eq!(named("portolan-ca")["spec"]["isCA"], true);
    let kustomization = document("certs/cert-manager/kustomization.yaml", "Kustomization");
    let kinds = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];
    assert_eq!(list(&kustomization["patches"]).len(), kinds.len());
    for (number, kind) in kinds.into_iter().enumerate() {
        let entry = &kustomization["patches"][number];
        let patch: Value = serde_saphyr::from_str(text(&entry["patch"])).unwrap();
        assert_eq!((&entry["target"]["kind"], &patch["kind"]), (&json!(kind), &json!(kind)));
        assert_eq!(
            patch["metadata"]["annotations"]["cert-manager.io/inject-ca-from"],
            "portolan/portolan-tls"
        );
    }
}

#[test]
fn a_certificate_that_looks_after_itself_is_the_same_command_without_a_mount() {
    let kustomization = document("certs/tls-self/kustomization.yaml", "Kustomization");
    let entry = &kustomization["patches"][0];
    assert_eq!(entry["target"], json!({"kind": "Deployment", "name": "portolan"}));
    let patch: json_patch::Patch = serde_saphyr::from_str(text(&entry["patch"])).unwrap();
    let mut deployment = base_object("Deployment");
    json_patch::patch(&mut deployment, &patch).unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    let mut args = list(&self::pod()["containers"][0]["args"]).clone();
    assert_eq!(args.splice(1..3, [json!("--tls-self")]).next(), Some(json!("--tls-dir")));
    assert_eq!(pod["containers"][0]["args"], json!(args));
    assert_eq!((&pod["containers"][0]["volumeMounts"], &pod["volumes"]), (&Value::Null, &Value::Null));
}

/// The text under the ConfigMap's key.
fn shipped_table() -> String {
    text(&base_object("ConfigMap")["data"]["table.yaml"]).to_owned()
}

/// The example in the shipped table, as its own words say: without what precedes it and one `# ` of each line.
fn example(table: &str) -> String {
    let lines = table.lines().skip_while(|line| !line.starts_with("# apiVersion:"));
    let lines = lines.map(|line| line.strip_prefix("# ").unwrap().to_owned() + "\n");
    lines.collect()
}

fn entries() -> Vec<Value> {
    list(&base_object("MutatingWebhookConfiguration")["webhooks"]).clone()
}

/// The one entry that checks edits.
fn checking() -> Value {
    let configuration = base_object("ValidatingWebhookConfiguration");
    assert_eq!(list(&configuration["webhooks"]).len(), 1);
    configuration["webhooks"][0].clone()
}

fn pod() -> Value {
    base_object("Deployment")["spec"]["template"]["spec"].clone()
}

fn base_object(kind: &str) -> Value {
    let found: Vec<_> = base().into_iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}");
    found[0].clone()
}

/// Every object of `manifests/base`, as the files have it.
fn base() -> Vec<Value> {
    let files = files("manifests/base").into_iter();
    let objects = files.filter(|file| !file.ends_with("kustomization.yaml"));
    objects.flat_map(|file| documents(&file)).collect()
}

fn document(path: &str, kind: &str) -> Value {
    let found = documents(&root().join(path)).into_iter().find(|object| object["kind"] == kind);
    found.unwrap()
}

fn documents(file: &Path) -> Vec<Value> {
    let content = fs::read_to_string(file).unwrap();
    serde_saphyr::from_multiple(&content).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}
