//! `export`: admission policies in an API server, beside a Portolan that is away and in its place.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use portolan::{
    lock::Lock,
    rewrite::{Outcome as Becomes, Plan, Pull, plan},
    table::Table,
};
use serde_json::{Value, json};

use crate::{
    support::{Api, ControlPlane, Outcome, Plane, Shipped, eventually, folder, image, run_in},
    trials,
};

trials!["policies";
    what_portolan_would_have_moved_is_refused_and_all_that_it_leaves_alone_passes,
    a_policy_of_many_rules_is_stored_and_costs_no_more_than_may_be,
    prefixes_are_rewritten_without_portolan_as_it_would_have_written_them,
];

/// Every kind of source, exceptions, namespaces and registries that wildcards pass by.
const RULES: &str = "
  - {source: docker.io, mirrors: ['MIRROR/hub', 'second.corp/hub']}
  - {source: 'docker.io/library/nginx:1.26', mirrors: ['MIRROR/hard/nginx:1.26-fips']}
  - {source: 'docker.io/library/redis@sha256:DIGEST', mirrors: ['MIRROR/hard/redis:7']}
  - {source: docker.io/acme/debug, keep: true}
  - {source: docker.io/acme/debug/more, mirrors: ['MIRROR/more']}
  - {source: '*.gcr.io', mirrors: ['MIRROR/{registry}'], namespaces: ['team-*']}
  - {source: '*.gcr.io', mirrors: ['MIRROR/a/{registry}'], namespaces: ['team-a*']}
  - {source: '*.gcr.io', keep: true, namespaces: [team-an]}
  - {source: '*.gcr.io:5000', mirrors: ['MIRROR/five/{registry}']}
  - {source: '*.eu.gcr.io', mirrors: ['MIRROR/eu/{registry}']}
  - {source: 'localhost:1', mirrors: [MIRROR/local]}
  - {source: '*', mirrors: ['MIRROR/all/{registry}'], namespaces: [shop]}
  - {source: quay.io/a/b/c/d, mirrors: [MIRROR/deep]}
";

const NAMESPACES: [&str; 4] = ["shop", "team-a", "team-an", "other"];

fn images(host: &str) -> Vec<String> {
    let digest = format!("sha256:{DIGEST}");
    let other = format!("sha256:{}", "1".repeat(64));
    let mut images: Vec<String> = [
        "nginx",
        "nginx:1.25",
        "nginx:1.26",
        "library/nginx:1.26",
        "docker.io/nginx:1.26",
        "index.docker.io/library/nginx:1.26",
        "docker.io/library/nginx",
        "acme/debug",
        "acme/debug:1",
        "acme/debugger",
        "acme/debug/more",
        "acme/debug/more/x:1",
        "gcr.io/a/b",
        "x.gcr.io/a/b",
        "x.gcr.io:5000/a",
        "x.y.gcr.io/a:1",
        "x.eu.gcr.io/a",
        "eu.gcr.io/a",
        "x.eu.gcr.io:5000/a",
        "x.gcr.io.evil.example/a",
        "xgcr.io/a",
        "localhost:1/x",
        "localhost:2/x",
        "localhost/x",
        "LOCALHOST:2/x",
        "127.0.0.1:5/x",
        "127.9.9.9/x",
        "128.0.0.1/x",
        "[::1]:5/x",
        "r.default.svc/x",
        "r.default.svc:5000/x",
        "r.default.svc.cluster.local/x",
        "svc.example/x",
        "quay.io/a/b/c/d",
        "quay.io/a/b/c/d/e/f:1",
        "quay.io/a/b/c",
        "quay.io/a/b/c/dd",
        "second.corp/hub/x",
        "second.corp/hubs",
        "second.corp/other",
        "host:5000/x",
        "Upper/x",
        "a/b/c",
        "docker.io/a/b:v1",
    ]
    .map(str::to_owned)
    .into();
    for name in ["redis", "redis:7", "docker.io/library/redis:x", "x.gcr.io/redis", "acme/debug"] {
        images.extend([format!("{name}@{digest}"), format!("{name}@{other}")]);
    }
    images.extend(
        ["hub/library/nginx:1", "hub", "other/x", "hard/nginx:2"].map(|path| format!("{host}/{path}")),
    );
    images
}

fn what_portolan_would_have_moved_is_refused_and_all_that_it_leaves_alone_passes() -> Outcome {
    let mut shipped = Shipped::install()?;
    let host = shipped.registry.host();
    let rules = format!("rules:{}", RULES.replace("DIGEST", DIGEST));
    shipped.set_rules("rules:\n  - source: docker.io\n    mirrors: [MIRROR/hub]\n");
    let digest = shipped.registry.push("hub/library/nginx", "1.25");
    for name in NAMESPACES {
        shipped.namespace(name, &json!({}));
    }
    for (name, label) in [("off", "disabled"), ("watched", "audit"), ("kube-asked", "enabled")] {
        shipped.namespace(name, &json!({"portolan.dev/rewrite": label}));
    }
    shipped.namespace("openshift-own", &json!({}));
    let table = write_table(&rules.replace("MIRROR", &host));
    let (policy, said) = export(&shipped.plane, "validating-admission-policy", &table);
    for text in ["`pin` is not asked for", "`onMissing: keep` leaves"] {
        assert!(said.contains(text), "{said}");
    }
    apply(&shipped.plane, &policy);
    let api = shipped.plane.api.clone();
    eventually(LIMIT, || match dry_run(&api, "shop", &pod(&["quay.io/x"])) {
        Err(refusal) if refusal.contains("image `quay.io/x` is not in its mirror") => Ok(()),
        other => Err(other),
    });
    // With Portolan there, what it rewrites passes.
    let created = dry_run(&api, "shop", &pod(&["nginx:1.25"])).unwrap();
    assert_eq!(image(&created, "containers/c0"), format!("{host}/hub/library/nginx:1.25@{digest}"));

    shipped.stop();
    let table = Table::parse(&std::fs::read_to_string(&table).unwrap()).unwrap().table;
    let (mut refused, mut passed) = (0, 0);
    for namespace in NAMESPACES {
        for image in images(&host) {
            let said = dry_run(&api, namespace, &pod(&[&image]));
            let moves = decided(&table, namespace, &image).would_move();
            match &said {
                Ok(_) => passed += 1,
                Err(refusal) => {
                    assert!(refusal.contains(&format!("image `{image}` is not in its mirror")), "{refusal}");
                    refused += 1;
                }
            }
            assert_eq!(said.is_err(), moves, "{image} in {namespace}: {said:?}");
        }
    }
    assert!(refused > 50 && passed > 50, "{refused} {passed}");
    left_out(&api);
    everywhere_in_a_pod(&api, &host);
    updates(&api, &host);
    Ok(())
}

/// Namespaces and Pods that are left out as in the webhook.
fn left_out(api: &Api) {
    for (namespace, passes) in [
        ("kube-system", true),
        ("openshift-own", true),
        ("kube-asked", false),
        ("off", true),
        ("watched", true),
        ("other", false),
    ] {
        let said = dry_run(api, namespace, &pod(&["nginx"]));
        assert_eq!(said.is_ok(), passes, "{namespace}: {said:?}");
    }
    let mut own = pod(&["nginx"]);
    own["spec"]["securityContext"] =
        json!({"runAsNonRoot": true, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}});
    own["spec"]["containers"][0]["securityContext"] =
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    dry_run(api, "portolan", &own).unwrap();

    let mut opted_out = pod(&["nginx"]);
    opted_out["metadata"]["labels"] = json!({"portolan.dev/rewrite": "disabled"});
    let mut mirror_pod = pod(&["nginx"]);
    mirror_pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "0123"});
    mirror_pod["spec"]["nodeName"] = json!("paper");
    mirror_pod["spec"]["automountServiceAccountToken"] = json!(false);
    let mut never = pod(&["nginx"]);
    never["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    for pod in [opted_out, mirror_pod, never, pod(&["auto"])] {
        dry_run(api, "shop", &pod).unwrap_or_else(|refusal| panic!("{pod}: {refusal}"));
    }
}

/// Every list that names images, and more than one image.
fn everywhere_in_a_pod(api: &Api, host: &str) {
    let inside = format!("{host}/hub/library/nginx:1.25");
    dry_run(api, "shop", &pod(&[&inside, &inside])).unwrap();
    dry_run(api, "shop", &pod(&[&inside, "nginx"])).unwrap_err();
    for (list, entry) in [
        ("initContainers", json!({"name": "setup", "image": "nginx"})),
        ("volumes", json!({"name": "model", "image": {"reference": "nginx"}})),
    ] {
        let mut pod = pod(&[&inside]);
        pod["spec"][list] = json!([entry]);
        let refusal = dry_run(api, "shop", &pod).unwrap_err();
        assert!(refusal.contains("image `nginx`"), "{refusal}");
    }
}

/// What runs already may be edited, but for its images.
fn updates(api: &Api, host: &str) {
    let inside = format!("{host}/hub/library/nginx:1.25");
    let label = |value: &str| json!({"metadata": {"labels": {"portolan.dev/rewrite": value}}});
    // As it was before the policy: it has opted out meanwhile.
    let mut before = pod(&["nginx"]);
    before["metadata"]["name"] = json!("before");
    before["metadata"]["labels"] = json!({"portolan.dev/rewrite": "disabled"});
    api.create("/api/v1/namespaces/shop/pods", &before).unwrap();
    let path = "/api/v1/namespaces/shop/pods/before";
    let edit = |path: &str, edit: &dyn Fn(&mut Value)| {
        let mut pod = api.read(path).unwrap();
        edit(&mut pod);
        api.overwrite(path, &pod).map_err(|refusal| refusal.message)
    };
    edit(path, &|pod| pod["metadata"]["labels"] = label("enabled")["metadata"]["labels"].clone()).unwrap();
    edit(path, &|pod| pod["metadata"]["labels"]["more"] = json!("x")).unwrap();
    let refusal = edit(path, &|pod| pod["spec"]["containers"][0]["image"] = json!("nginx:2")).unwrap_err();
    assert!(refusal.contains("image `nginx:2`"), "{refusal}");
    let debug = |image: &str| {
        edit(&format!("{path}/ephemeralcontainers"), &|pod| {
            let debugger = json!({"name": format!("d{}", image.len()), "image": image});
            pod["spec"]["ephemeralContainers"] = json!([debugger]);
        })
    };
    let refusal = debug("busybox").unwrap_err();
    assert!(refusal.contains("image `busybox`"), "{refusal}");
    debug(&inside).unwrap();
    edit(path, &|pod| pod["spec"]["containers"][0]["image"] = json!(inside)).unwrap();
}

fn a_policy_of_many_rules_is_stored_and_costs_no_more_than_may_be() -> Outcome {
    let plane = ControlPlane::of(Plane::Own)?;
    namespace(&plane.api, "shop");
    for count in [10, 1_000, 10_000] {
        let mut rules = "rules:\n".to_owned();
        for number in 0..count {
            let path = format!("team-{number}/images");
            let _ = writeln!(
                rules,
                "  - {{source: registry.example.com/{path}, mirrors: [r.corp/{count}/{path}]}}"
            );
        }
        let (policy, said) = export(&plane, "validating-admission-policy", &write_table(&rules));
        assert_eq!(said.contains("--server-side"), count == 10_000, "{said}");
        apply(&plane, &policy);
        let last = count - 1;
        // As large as Pods get, and every image goes through all of it.
        let there: Vec<_> =
            (0..40).map(|number| format!("r.corp/{count}/team-{last}/images/a/b/c-{number}:1")).collect();
        let moved = format!("registry.example.com/team-{last}/images/x:1");
        let other = "registry.example.com/team/images/x:1".to_owned();
        let pod_of = |last: &str| pod(&there.iter().map(String::as_str).chain([last]).collect::<Vec<_>>());
        eventually(LIMIT, || match dry_run(&plane.api, "shop", &pod_of(&moved)) {
            Err(refusal) if refusal.contains(&format!("image `{moved}` is not in its mirror")) => Ok(()),
            other => Err(other.err()),
        });
        dry_run(&plane.api, "shop", &pod_of(&other)).unwrap();
    }
    Ok(())
}

fn prefixes_are_rewritten_without_portolan_as_it_would_have_written_them() -> Outcome {
    let plane = ControlPlane::of(Plane::OwnWithMutatingPolicies)?;
    let api = &plane.api;
    for name in NAMESPACES {
        namespace(api, name);
    }
    let host = "mirror.corp:5000";
    let rules =
        format!("defaults: {{pin: off}}\nrules:{}", RULES.replace("DIGEST", DIGEST).replace("MIRROR", host));
    let table = write_table(&rules);
    let (policy, said) = export(&plane, "mutating-admission-policy", &table);
    assert!(said.contains("only the first mirror counts") && !said.contains("`pin`"), "{said}");
    apply(&plane, &policy);
    eventually(LIMIT, || {
        let created = dry_run(api, "shop", &pod(&["quay.io/x"]))?;
        let image = image(&created, "containers/c0").to_owned();
        if image == "mirror.corp:5000/all/quay.io/x:latest" { Ok(()) } else { Err(image) }
    });
    let table = Table::parse(&std::fs::read_to_string(&table).unwrap()).unwrap().table;
    let mut moved = 0;
    for namespace in NAMESPACES {
        for written in images(host) {
            let created = dry_run(api, namespace, &pod(&[&written])).unwrap();
            let Plan::Settled(decision) = decided(&table, namespace, &written) else { panic!("{written}") };
            let expected = match &decision.outcome {
                Becomes::Rewritten { to } => {
                    moved += 1;
                    &**to
                }
                _ => &written,
            };
            assert_eq!(image(&created, "containers/c0"), expected, "{written} in {namespace}");
        }
    }
    assert!(moved > 50, "{moved}");

    // Every list, and nothing beside the images.
    let mut whole = pod(&["nginx", "acme/debug"]);
    whole["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "b"}]);
    whole["spec"]["initContainers"] = json!([{"name": "setup", "image": "busybox", "imagePullPolicy": "Never"},
        {"name": "more", "image": "busybox"}]);
    whole["spec"]["volumes"] = json!([{"name": "model", "image": {"reference": "a/model:1", "pullPolicy": "Always"}},
        {"name": "empty", "emptyDir": {}}]);
    let created = dry_run(api, "other", &whole).unwrap();
    for (key, expected) in [
        ("containers/c0", "mirror.corp:5000/hub/library/nginx:latest"),
        ("containers/c1", "acme/debug"),
        ("initContainers/setup", "busybox"),
        ("initContainers/more", "mirror.corp:5000/hub/library/busybox:latest"),
        ("volumes/model", "mirror.corp:5000/hub/a/model:1"),
    ] {
        assert_eq!(image(&created, key), expected, "{key}");
    }
    assert_eq!(created["spec"]["containers"][0]["env"], whole["spec"]["containers"][0]["env"]);
    assert_eq!(created["spec"]["volumes"][0]["image"]["pullPolicy"], "Always");

    let mut running = pod(&["nginx"]);
    running["metadata"]["name"] = json!("running");
    let path = "/api/v1/namespaces/other/pods";
    let running = api.create(path, &running).unwrap();
    assert_eq!(image(&running, "containers/c0"), "mirror.corp:5000/hub/library/nginx:latest");
    let mut debugged = running;
    debugged["spec"]["ephemeralContainers"] = json!([{"name": "debugger", "image": "busybox"}]);
    let debugged = api.overwrite(&format!("{path}/running/ephemeralcontainers"), &debugged).unwrap();
    assert_eq!(
        image(&debugged, "ephemeralContainers/debugger"),
        "mirror.corp:5000/hub/library/busybox:latest"
    );
    Ok(())
}

/// What the webhook's own code makes of an image.
fn decided(table: &Table, namespace: &str, image: &str) -> Plan {
    plan(table, &Lock::default(), image, Pull::Sometimes, Some(namespace))
}

fn write_table(rules: &str) -> PathBuf {
    let path = folder("table").join("table.yaml");
    std::fs::write(&path, format!("apiVersion: portolan.dev/v1\nkind: MappingTable\n{rules}")).unwrap();
    path
}

/// The policy, and what was said about it.
#[track_caller]
fn export(plane: &ControlPlane, kind: &str, table: &std::path::Path) -> (String, String) {
    let (code, policy, said) = run_in(plane, &["export", kind, "--table", table.to_str().unwrap()], "");
    assert_eq!(code, 0, "{said}");
    (policy, said)
}

#[track_caller]
fn apply(plane: &ControlPlane, policy: &str) {
    plane.kubectl.must(&["apply", "--server-side", "--filename", "-"], policy);
}

fn namespace(api: &Api, name: &str) {
    api.create("/api/v1/namespaces", &json!({"metadata": {"name": name}})).unwrap();
    // Without it the API server takes no Pods there.
    eventually(LIMIT, || api.read(&format!("/api/v1/namespaces/{name}/serviceaccounts/default")));
}

fn dry_run(api: &Api, namespace: &str, pod: &Value) -> Result<Value, String> {
    let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
    api.create(&path, pod).map_err(|refusal| refusal.message)
}

/// A Pod of containers `c0`, `c1`, … with these images.
fn pod(images: &[&str]) -> Value {
    let container = |(number, image): (usize, &&str)| json!({"name": format!("c{number}"), "image": image});
    let containers: Vec<_> = images.iter().enumerate().map(container).collect();
    json!({"metadata": {"name": "probe"}, "spec": {"containers": containers}})
}

const DIGEST: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
const LIMIT: Duration = Duration::from_secs(60);
