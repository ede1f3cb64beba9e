//! `--tls-self`: Portolan looks after its certificate and after the API server's trust in it, with the shipped rights.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    support::{Connection, Done, Outcome, Shipped, eventually, image, runtime},
    trials,
};

trials!["certificates";
    a_start_from_nothing_makes_itself_trusted_and_stays_so_with_the_shipped_rights,
    rotation_under_steady_pod_creation_loses_no_admission,
];

fn a_start_from_nothing_makes_itself_trusted_and_stays_so_with_the_shipped_rights() -> Outcome {
    let shipped = Shipped::install_with_tls_self(&[])?;
    shipped.set_rules(RULES);
    shipped.rewrites("first");
    for (kind, entries) in KINDS {
        let configuration = shipped.configuration(kind);
        let bundles = bundles(&configuration);
        assert_eq!(bundles.len(), entries, "{kind}");
        assert!(bundles.iter().all(|bundle| !bundle.is_empty() && *bundle == bundles[0]), "{kind}");
        // What it owns there: the bundles and nothing else.
        let managers = configuration["metadata"]["managedFields"].as_array().unwrap();
        let ours =
            managers.iter().find(|by| by["manager"] == "portolan" && by["operation"] == "Apply").unwrap();
        let fields = ours["fieldsV1"]["f:webhooks"].as_object().unwrap();
        assert_eq!(fields.len(), entries, "{ours}");
        for field in fields.values() {
            let expected = json!({".": {}, "f:clientConfig": {"f:caBundle": {}}, "f:name": {}});
            assert_eq!(*field, expected, "{kind}");
        }
    }

    // A second replica shows what is in the Secret, too.
    let second = shipped.portolan.start_beside()?;
    let trusted = &bundles(&shipped.configuration(KINDS[0].0))[0];
    let serial = |address: &str| Connection::open_trusting(address, trusted).unwrap().serial();
    assert_eq!(serial(&second.address), serial(&shipped.portolan.address));
    let secret = shipped.plane.api.read(SECRET).unwrap();
    let keys: Vec<_> = secret["data"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["ca.crt", "ca.key", "tls.crt", "tls.key"]);

    // Somebody removes it, and somebody applies the manifests once more.
    let before = trusted.clone();
    for (kind, _) in KINDS {
        let patch = r#"[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]"#;
        shipped
            .plane
            .kubectl
            .must(&["patch", &format!("{kind}/portolan"), "--type=json", "--patch", patch], "");
        eventually(Duration::from_secs(60), || {
            let now = bundles(&shipped.configuration(kind));
            if now.iter().all(|bundle| *bundle == before) { Ok(()) } else { Err("not put back") }
        });
    }
    shipped.rewrites("put-back");
    rights_are_narrow(&shipped);
    Ok(())
}

/// The account may have its own configurations trust it, and touch nobody else's, and no other Secret.
fn rights_are_narrow(shipped: &Shipped) {
    let account = shipped.api_of_account();
    let refused = |method: Method, path: &str, body: Option<&Value>| {
        let refusal = runtime().block_on(account.request(method.clone(), path, body)).unwrap_err();
        assert_eq!(refusal.code, 403, "{method} {path}: {}", refusal.message);
    };
    let api = "/apis/admissionregistration.k8s.io/v1";
    for (kind, _) in KINDS {
        let other = json!({"metadata": {"name": "other"}, "webhooks": []});
        shipped.plane.api.create(&format!("{api}/{kind}s"), &other).unwrap();
        let path = format!("{api}/{kind}s/other");
        refused(Method::GET, &path, None);
        refused(Method::PUT, &path, Some(&other));
        refused(Method::DELETE, &path, None);
        refused(Method::GET, &format!("{api}/{kind}s"), None);
        refused(Method::POST, &format!("{api}/{kind}s"), Some(&other));
        // Its own it may patch, and that only.
        refused(Method::DELETE, &format!("{api}/{kind}s/portolan"), None);
        account.read(&format!("{api}/{kind}s/portolan")).unwrap();
        let said = shipped.can_i("patch", &format!("{kind}s/other"), None);
        assert_eq!(said, "no", "{kind}");
        assert_eq!(shipped.can_i("patch", &format!("{kind}s/portolan"), None), "yes", "{kind}");
    }
    for (verb, secret, expected) in [
        ("update", "portolan-tls-self", "yes"),
        ("update", "harbor-pull", "no"),
        ("create", "harbor-pull", "no"),
        ("patch", "harbor-pull", "no"),
        ("delete", "portolan-tls-self", "no"),
    ] {
        let said = shipped.can_i(verb, &format!("secrets/{secret}"), Some("portolan"));
        assert_eq!(said, expected, "{verb} {secret}");
    }
    assert_eq!(shipped.can_i("update", "secrets/portolan-tls-self", Some("default")), "no");
}

/// Certificates of seconds: while Pods are made all the time, the serving certificate changes several times and the
/// authority once. Beside the API server a client shakes hands anew all the time, with the trust of that moment.
fn rotation_under_steady_pod_creation_loses_no_admission() -> Outcome {
    let flags = ["--tls-self-life", "15s", "--tls-self-authority-life", "30s", "--tls-self-pace", "1s"];
    let shipped = Shipped::install_with_tls_self(&flags)?;
    shipped.set_rules(RULES);
    shipped.rewrites("before");
    let second = shipped.portolan.start_beside()?;
    let authority = || shipped.plane.api.read(SECRET).unwrap()["data"]["ca.crt"].clone();
    let first = authority();
    let (done, created, handshakes) = (Done::default(), AtomicUsize::new(0), AtomicUsize::new(0));
    let (serials, lost) = (Mutex::new(BTreeSet::new()), Mutex::new(Vec::new()));
    let begun = Instant::now();
    thread::scope(|scope| {
        let _end = done.when_dropped();
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.is_set() {
                    let number = created.fetch_add(1, Ordering::Relaxed);
                    let pod = shipped.plane.api.create(PODS, &pod(&format!("steady-{number}")));
                    match pod.map(|pod| image(&pod, "containers/web").to_owned()) {
                        Ok(image) if image.contains("/hub/") => {}
                        other => lost.lock().unwrap().push(format!("{:?}: {other:?}", begun.elapsed())),
                    }
                    thread::sleep(Duration::from_millis(30));
                }
            });
        }
        scope.spawn(|| {
            while !done.is_set() {
                let read = Instant::now();
                let trusted = bundles(&shipped.configuration(KINDS[0].0)).swap_remove(0);
                for address in [&shipped.portolan.address, &second.address] {
                    match Connection::open_trusting(address, &trusted) {
                        Ok(connection) => _ = serials.lock().unwrap().insert(connection.serial()),
                        // Who is that slow goes by a trust of long ago, as no API server does.
                        Err(_) if read.elapsed() >= PACE => {}
                        Err(error) => {
                            lost.lock().unwrap().push(format!("{:?}: {address}: {error}", begun.elapsed()));
                        }
                    }
                    handshakes.fetch_add(1, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(30));
            }
        });
        let now = eventually(ROTATION_LIMIT, || {
            let now = authority();
            if now == first { Err("the same authority signs") } else { Ok(now) }
        });
        // And until the old one is trusted no more.
        let old = STANDARD.decode(first.as_str().unwrap()).unwrap();
        let new = STANDARD.decode(now.as_str().unwrap()).unwrap();
        eventually(ROTATION_LIMIT, || {
            let held: Vec<_> = bundles(&shipped.configuration(KINDS[0].0));
            let has = |bundle: &Vec<u8>, one: &Vec<u8>| {
                String::from_utf8_lossy(bundle).contains(String::from_utf8_lossy(one).trim())
            };
            if held.iter().any(|bundle| has(bundle, &old)) || !held.iter().all(|bundle| has(bundle, &new)) {
                Err("the old one is trusted still")
            } else {
                Ok(())
            }
        });
    });
    let lost = lost.into_inner().unwrap();
    assert!(lost.is_empty(), "{} lost: {:?}", lost.len(), &lost[..lost.len().min(5)]);
    let (created, handshakes) = (created.into_inner(), handshakes.into_inner());
    let serials = serials.into_inner().unwrap().len();
    eprintln!("{created} Pods, {handshakes} handshakes, {serials} certificates in {:?}", begun.elapsed());
    assert!(serials >= 3, "only {serials} certificates were shown");
    assert!(created >= 100 && handshakes >= 100, "only {created} Pods and {handshakes} handshakes");
    assert_trusted_before_they_sign(
        &[&shipped.portolan, &second].map(|portolan| portolan.process.output()),
        PACE,
    );
    Ok(())
}

/// By the logs of all replicas: after the next authority came into the Secret, both configurations were made to trust
/// it, and only when that had had time to settle did it sign. A replica that starts takes what is signed as it is, so
/// that sooner it would show what no API server trusts.
pub fn assert_trusted_before_they_sign(logs: &[String], settle: Duration) {
    let settle = SignedDuration::try_from(settle).unwrap();
    let mut steps: Vec<(Timestamp, String)> = logs
        .iter()
        .flat_map(|log| log.lines())
        .filter_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let said = match line["message"].as_str()? {
                "shared certificate written" => &line["step"],
                "caBundle written" => &line["configuration"],
                _ => return None,
            };
            Some((line["timestamp"].as_str()?.parse().ok()?, said.as_str()?.to_owned()))
        })
        .collect();
    steps.sort();
    let mut switches = 0;
    for (at, (switched, _)) in steps.iter().enumerate().filter(|(_, (_, step))| step == "Switch") {
        let before = &steps[..at];
        let prepared = before.iter().rposition(|(_, step)| step == "Prepare");
        let trusted = &before[prepared.unwrap_or_else(|| panic!("nothing was prepared: {steps:?}"))..];
        for (kind, _) in KINDS {
            let is_settled = trusted.iter().any(|(written, said)| {
                said.eq_ignore_ascii_case(kind) && switched.duration_since(*written) >= settle
            });
            assert!(is_settled, "before it signs, a {kind} was to trust it for {settle:?}: {steps:?}");
        }
        switches += 1;
    }
    assert!(switches > 0, "no other authority came to sign: {steps:?}");
}

impl Shipped {
    /// Makes Pods until one comes out rewritten, and then another: the API server learns of a bundle a moment later.
    fn rewrites(&self, name: &str) {
        eventually(Duration::from_secs(60), || {
            let shown = self.plane.api.create(&format!("{PODS}?dryRun=All"), &pod(name)).unwrap();
            let came = image(&shown, "containers/web").to_owned();
            if came.contains("/hub/") { Ok(()) } else { Err(came) }
        });
        let made = self.plane.api.create(PODS, &pod(name)).unwrap();
        let expected = format!("{}/hub/library/nginx:1.25", self.registry.host());
        assert_eq!(image(&made, "containers/web"), expected);
    }

    fn configuration(&self, kind: &str) -> Value {
        self.plane.api.read(&format!("/apis/admissionregistration.k8s.io/v1/{kind}s/portolan")).unwrap()
    }

    /// What `kubectl auth can-i` says of Portolan's account.
    fn can_i(&self, verb: &str, object: &str, namespace: Option<&str>) -> String {
        let namespace = namespace.map(|namespace| format!("--namespace={namespace}"));
        let account = "--as=system:serviceaccount:portolan:portolan";
        let arguments: Vec<_> =
            ["auth", "can-i", verb, object, account].into_iter().chain(namespace.as_deref()).collect();
        self.plane.kubectl.run(&arguments, "").stdout.trim().to_owned()
    }
}

fn bundles(configuration: &Value) -> Vec<Vec<u8>> {
    let entries = configuration["webhooks"].as_array().unwrap().iter();
    let bundle = |entry: &Value| entry["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned();
    entries.map(|entry| STANDARD.decode(bundle(entry)).unwrap()).collect()
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "web", "image": "nginx:1.25"}]}})
}

/// Asks no registry.
const RULES: &str = "defaults: {pin: off}\nrules:\n  - source: docker.io\n    mirrors: [MIRROR/hub]\n";

/// The kinds of webhook configurations, and how many entries each of ours has.
const KINDS: [(&str, usize); 2] =
    [("mutatingwebhookconfiguration", 3), ("validatingwebhookconfiguration", 1)];

/// `--tls-self-pace`: for so long a next authority is trusted before it signs.
const PACE: Duration = Duration::from_secs(1);

const ROTATION_LIMIT: Duration = Duration::from_secs(120);

const SECRET: &str = "/api/v1/namespaces/portolan/secrets/portolan-tls-self";
const PODS: &str = "/api/v1/namespaces/default/pods";
