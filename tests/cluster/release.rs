//! The chart as a release: installed, upgraded, rolled back, tested and removed, with Portolan as Pods on the real node.

use std::{
    fs,
    process::Command,
    sync::LazyLock,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    support::{
        Access, ControlPlane, Helm, Outcome, Plane, Site, binary, chart, eventually, folder, image,
        start_as_account,
    },
    trials,
};

trials!["release";
    from_a_private_registry_it_runs_and_is_tested_and_goes_again,
    what_others_set_outlives_upgrades_and_nothing_is_left_behind,
];

fn from_a_private_registry_it_runs_and_is_tested_and_goes_again() -> Outcome {
    let site = Site::with_image(Access::Login, "tools/portolan", "v1")?;
    let helm = site.helm()?;
    let Site { plane, registry, .. } = &site;

    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace = json!({"metadata": {"name": "tools", "labels": labels}});
    plane.api.create("/api/v1/namespaces", &namespace).unwrap();
    let login = json!({
        "metadata": {"name": "harbor-pull"}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": registry.docker_config()},
    });
    plane.api.create("/api/v1/namespaces/tools/secrets", &login).unwrap();
    let folder = folder("release");
    let authority = certificate(plane, "tools");
    fs::write(folder.join("ca.crt"), &authority).unwrap();
    fs::write(folder.join("table.yaml"), site.table(&["credentials: harbor-pull"])).unwrap();
    let file = |name: &str| folder.join(name).display().to_string();

    let chart = chart();
    let install = [
        "install",
        "portolan",
        chart.to_str().unwrap(),
        "--namespace=tools",
        "--wait",
        "--timeout=180s",
        "--set",
        &format!("image.registry={},image.repository=tools/portolan,image.tag=v1", registry.host()),
        "--set",
        "imagePullSecrets={harbor-pull},registrySecrets={harbor-pull}",
        "--set",
        "certificate.source=secret",
        "--set-file",
        &format!("certificate.ca={}", file("ca.crt")),
        "--set-file",
        &format!("table.content={}", file("table.yaml")),
    ];
    let said = helm.run(&install);
    if !said.ok {
        let events = [
            "--namespace=tools",
            "get",
            "events",
            "--output=jsonpath={range .items[*]}{.message}{'\\n'}{end}",
        ];
        panic!("{}{}\n{}", said.stdout, said.stderr, plane.kubectl.run(&events, "").stdout);
    }
    // In this order, and nothing of it is wrong here.
    let steps = ["1. Audit.", "2. Check.", "3. One namespace.", "4. All:"]
        .map(|step| said.stdout.find(step).unwrap());
    assert!(steps.is_sorted() && !said.stdout.contains("!!"), "{}", said.stdout);
    let said = helm.must(&["test", "portolan", "--namespace=tools", "--timeout=180s"]);
    assert!(said.stdout.contains("Phase:          Succeeded"), "{}", said.stdout);
    let decided = format!("{}/hub/library/busybox:latest", registry.host());
    assert!(said.stderr.contains(&decided), "the table is the release's: {}", said.stderr);
    assert!(said.stderr.contains("the API server calls Portolan and trusts it"), "{}", said.stderr);
    // Its Pod is no object of the release: nobody would remove it later.
    eventually(LIMIT, || match plane.api.read("/api/v1/namespaces/tools/pods/portolan-test") {
        Ok(pod) => Err(pod),
        Err(_) => Ok(()),
    });

    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": "nginx:1.25"}]}});
    let try_out = "/api/v1/namespaces/default/pods?dryRun=All";
    let expected = site.rewritten();
    let runs = || {
        let shown = plane.api.create(try_out, &pod).map_err(|refusal| refusal.message)?;
        Ok::<_, String>(image(&shown, "containers/web").to_owned())
    };
    // The endpoints take a moment.
    eventually(LIMIT, || match runs() {
        Ok(found) if found == expected => Ok(()),
        other => Err(other),
    });

    helm.must(&["uninstall", "portolan", "--namespace=tools"]);
    // The API server learns a moment later that nobody is to be asked any more; replicas answer until they have ended.
    eventually(LIMIT, || match runs().unwrap().as_str() {
        "nginx:1.25" => Ok(()),
        other => Err(other.to_owned()),
    });
    let kinds =
        "mutatingwebhookconfigurations,validatingwebhookconfigurations,clusterroles,clusterrolebindings";
    let left = plane
        .kubectl
        .must(&["get", kinds, "--selector=app.kubernetes.io/name=portolan", "--output=name"], "");
    assert_eq!(left.stdout, "");
    let kinds = "deployments,services,configmaps,secrets,leases,roles,rolebindings,serviceaccounts,poddisruptionbudgets";
    let left = plane.kubectl.must(&["--namespace=tools", "get", kinds, "--output=name"], "").stdout;
    let left: Vec<_> = left.lines().collect();
    // What was there before.
    assert_eq!(
        left,
        ["configmap/kube-root-ca.crt", "secret/harbor-pull", "secret/portolan-tls", "serviceaccount/default"]
    );
    Ok(())
}

fn what_others_set_outlives_upgrades_and_nothing_is_left_behind() -> Outcome {
    let plane = ControlPlane::of(Plane::Own)?;
    let helm = Helm::to(&plane)?;
    eventually(LIMIT, || plane.api.read("/api/v1/namespaces/default/serviceaccounts/default"));
    let before = everything(&plane);
    let chart = chart();
    let chart = chart.to_str().unwrap();
    let release = |words: &[&str], flags: &[&str]| {
        helm.must(&[words, &["--namespace=portolan"], flags].concat()).stdout
    };
    let said = release(&["install", "portolan", chart], &["--create-namespace"]);
    assert!(said.contains("!! That registry does not exist"), "{said}");

    let log = plane.ready["auditLog"].as_str().unwrap();
    let registered = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];
    // That log is written a moment after the answer.
    let created = eventually(LIMIT, || {
        let created = asked_by_helm(log, 0, "create");
        if registered.iter().all(|kind| created.iter().any(|one| one == kind)) {
            Ok(created)
        } else {
            Err(created)
        }
    });
    assert_eq!(created[created.len() - 2..], registered, "{created:?}");

    // Nothing answers, as there is no node: Pods are admitted as they are, and nobody waits for a timeout.
    let pod =
        json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": "nginx"}]}});
    // Once is enough: were there a timeout, it would be waited for each time.
    eventually(LIMIT, || {
        let begun = Instant::now();
        let shown = plane.api.create("/api/v1/namespaces/default/pods?dryRun=All", &pod).unwrap();
        assert_eq!(image(&shown, "containers/web"), "nginx");
        let time = begun.elapsed();
        if time < WEBHOOK_TIMEOUT { Ok(()) } else { Err(time) }
    });

    // What Portolan makes and sets when it runs: some of it by itself, the rest as it would be.
    let mut portolan = start_as_account(&plane)?;
    let place = |group: &str, rest: &str| format!("/{group}/namespaces/portolan/{rest}");
    for path in [
        place("api/v1", "configmaps/portolan-table-last-good"),
        place("apis/coordination.k8s.io/v1", "leases/portolan"),
    ] {
        eventually(LIMIT, || plane.api.read(&path));
    }
    for (kind, name) in [
        ("configmaps", "portolan-answers-1"),
        ("configmaps", "portolan-answers-8"),
        ("secrets", "portolan-tls-self"),
    ] {
        plane.api.create(&place("api/v1", kind), &json!({"metadata": {"name": name}})).unwrap();
    }
    for kind in KINDS {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{}s/portolan", kind.to_lowercase());
        let found = plane.api.read(&path).unwrap();
        let entries = found["webhooks"].as_array().unwrap().iter();
        let entries: Vec<_> = entries
            .map(|entry| json!({"name": entry["name"], "clientConfig": {"caBundle": *BUNDLE}}))
            .collect();
        let applied = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
            "metadata": {"name": "portolan"}, "webhooks": entries,
        });
        let apply =
            ["apply", "--server-side", "--field-manager=portolan", "--validate=false", "--filename=-"];
        plane.kubectl.must(&apply, &applied.to_string());
    }
    let is_trusted = || {
        let bundles = KINDS.iter().flat_map(|kind| {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{}s/portolan", kind.to_lowercase());
            plane.api.read(&path).unwrap()["webhooks"].as_array().unwrap().clone()
        });
        let bundles: Vec<_> = bundles.map(|entry| entry["clientConfig"]["caBundle"].clone()).collect();
        bundles == vec![json!(*BUNDLE); 4]
    };
    assert!(is_trusted());

    let deployment =
        || plane.api.read("/apis/apps/v1/namespaces/portolan/deployments/portolan").unwrap()["spec"].clone();
    release(&["upgrade", "portolan", chart], &["--set=replicas=3,mode=audit"]);
    assert_eq!(deployment()["replicas"], 3);
    assert!(is_trusted());
    let refused = helm.run(&["upgrade", "portolan", chart, "--namespace=portolan", "--set=replicas=many"]);
    assert!(
        !refused.ok && refused.stderr.contains("'/replicas': got string, want integer"),
        "{}",
        refused.stderr
    );
    assert_eq!(deployment()["replicas"], 3);
    release(&["rollback", "portolan", "1"], &[]);
    assert_eq!(deployment()["replicas"], 2);
    assert!(is_trusted());

    let length = written(log).len();
    release(&["uninstall", "portolan"], &[]);
    // It writes what it keeps, if it may, on its way out.
    portolan.terminate();
    let deleted = eventually(LIMIT, || {
        let deleted = asked_by_helm(log, length, "delete");
        if deleted.len() >= 2 { Ok(deleted) } else { Err(deleted) }
    });
    assert_eq!(deleted[..2], registered, "{deleted:?}");
    // What every namespace has.
    let own =
        ["ConfigMap/portolan/kube-root-ca.crt", "Namespace//portolan", "ServiceAccount/portolan/default"];
    // Deployments take their Pods along in the background.
    eventually(LIMIT, || {
        let mut left = everything(&plane);
        left.retain(|line| !before.contains(line) && !own.contains(&line.as_str()));
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    Ok(())
}

/// The kinds of the objects for which Helm asked the API server so, in order, from there on in its audit log; but for the
/// release itself, which Helm keeps as Secrets.
fn asked_by_helm(log: &str, from: usize, verb: &str) -> Vec<String> {
    written(log)[from..]
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["verb"] == verb)
        .filter(|event| event["userAgent"].as_str().unwrap_or_default().starts_with("Helm/"))
        .map(|event| event["objectRef"]["resource"].as_str().unwrap().to_owned())
        .filter(|resource| resource != "secrets")
        .collect()
}

/// The whole lines of a log: of what is being written now, half a line may be there.
fn written(log: &str) -> String {
    let mut text = fs::read_to_string(log).unwrap();
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    text
}

/// A certificate for Portolan's Service in that namespace, put there as a Secret; its authority, PEM.
fn certificate(plane: &ControlPlane, namespace: &str) -> Vec<u8> {
    let output = Command::new(binary())
        .args(["certs", "--output", "secret"])
        .args(["--namespace", namespace])
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    plane.kubectl.must(&["apply", "--filename", "-"], &String::from_utf8(output.stdout).unwrap());
    let secret = plane.api.read(&format!("/api/v1/namespaces/{namespace}/secrets/portolan-tls")).unwrap();
    STANDARD.decode(secret["data"]["ca.crt"].as_str().unwrap()).unwrap()
}

/// Every object of the cluster that somebody made: kind, namespace and name.
fn everything(plane: &ControlPlane) -> Vec<String> {
    let resources = plane.kubectl.must(&["api-resources", "--verbs=list", "--output=name"], "").stdout;
    let resources: Vec<_> =
        resources.lines().filter(|name| !PASSING.iter().any(|passing| name.starts_with(passing))).collect();
    let columns =
        "--output=jsonpath={range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}{'\\n'}{end}";
    let found = plane.kubectl.must(&["get", &resources.join(","), "--all-namespaces", columns], "").stdout;
    found.lines().map(ToOwned::to_owned).collect()
}

/// What controllers and components make and remove by themselves.
const PASSING: [&str; 3] = ["componentstatuses", "events", "ipaddresses"];

const KINDS: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// For what the API server and the node do a moment later.
const LIMIT: Duration = Duration::from_secs(60);

/// `timeoutSeconds` of the webhook.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// Any certificate: the API server looks whether it is one.
static BUNDLE: LazyLock<String> =
    LazyLock::new(|| STANDARD.encode(include_str!("../fixtures/tables/ca.pem")));
