use std::{fmt::Write as _, time::Duration};

use insta::assert_snapshot;
use serde_json::Value;

use super::{Ended, Folder};
use crate::support::{
    fake_registry::{FakeRegistry, Fault, manifest},
    webhook::table,
};

/// A folder with a table by which Docker's images are in `registry`; `more` are further rules.
fn folder(registry: &FakeRegistry, more: &[&str]) -> Folder {
    let folder = Folder::new();
    let host = registry.host();
    let docker = format!("{{source: docker.io, mirrors: ['{host}/hub']}}");
    let rules: Vec<_> = std::iter::once(&*docker).chain(more.iter().copied()).collect();
    let text = table(
        &rules,
        &[&format!("{{host: '{host}', plainHttp: true}}"), "{host: '127.0.0.1:1', plainHttp: true}"],
    );
    folder.write("table.yaml", &text.replace("HOST", &host));
    folder
}

impl Folder {
    async fn check(&self, arguments: &[&str]) -> Ended {
        self.run(&[&["check", "--table", "table.yaml"], arguments].concat()).await
    }

    /// `check` of a plain list, as JSON: exit code and answer.
    async fn checked(&self, images: &str, arguments: &[&str]) -> (i32, Value) {
        let arguments = [&["check", "--table", "table.yaml", "-o", "json", "-"], arguments].concat();
        let ended = self.run_with(&arguments, images).await;
        let answer = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.shown()));
        (ended.code, answer)
    }
}

/// Each image's state and what the lock says.
fn states(answer: &Value) -> Vec<(String, String, String)> {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let rows = answer["images"].as_array().unwrap();
    rows.iter().map(|row| (word(&row["written"]), word(&row["state"]), word(&row["lock"]))).collect()
}

fn state(answer: &Value, image: &str) -> (String, String) {
    let found = states(answer).into_iter().find(|(written, ..)| written == image);
    let (_, state, lock) = found.unwrap_or_else(|| panic!("no `{image}` in {answer}"));
    (state, lock)
}

fn pair(state: &str, lock: &str) -> (String, String) {
    (state.to_owned(), lock.to_owned())
}

const MANIFESTS: &str = "
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    spec:
      containers: [{name: web, image: nginx:1.25}, {name: side, image: redis:7}]
---
kind: CronJob
metadata: {name: tidy, namespace: shop}
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: a, image: redis:7}, {name: b, image: 'Bad:'}]}}}}}
---
kind: Namespace
metadata: {name: infra, labels: {portolan.dev/rewrite: disabled}}
---
kind: Pod
metadata: {name: reg, namespace: infra}
spec: {containers: [{name: a, image: registry:2}]}
---
kind: Pod
metadata: {name: dns, namespace: kube-system}
spec: {containers: [{name: a, image: coredns}, {name: b, image: quay.io/x/y:1}]}
---
kind: Pod
metadata: {name: out, namespace: shop, labels: {portolan.dev/rewrite: disabled}}
spec: {containers: [{name: a, image: nginx:1.25, imagePullPolicy: Never}]}
---
kind: Pod
metadata: {name: other, namespace: shop}
spec: {containers: [{name: a, image: quay.io/x/y:1}, {name: b, image: auto}]}
";

#[tokio::test]
async fn it_says_of_each_image_what_would_become_of_it_and_where_it_stands() {
    let registry = FakeRegistry::start().await;
    let nginx = registry.put("hub/library/nginx", "1.25", &manifest("nginx"));
    let folder = folder(&registry, &[]);
    folder.write("k8s.yaml", MANIFESTS);
    let ended = folder.check(&["k8s.yaml"]).await;
    let shown = ended.shown().replace(&registry.host(), "HOST").replace(nginx.as_str(), "DIGEST");
    assert_snapshot!(shown, @r"
    exit 1
    --- stdout
    invalid-reference  Bad:           invalid-reference
        no reference to an image: a node refuses it
        CronJob shop/tidy, k8s.yaml:11
    left-alone         auto           placeholder
    left-alone         coredns        system-namespace
    ok                 nginx:1.25     HOST/hub/library/nginx:1.25@DIGEST  in shop
    left-alone         nginx:1.25     opted-out  in shop
    left-alone         quay.io/x/y:1  system-namespace  in kube-system
    as-written         quay.io/x/y:1  no-rule  in shop
    missing            redis:7        HOST/hub/library/redis:7
        no mirror has it
        Deployment shop/web, k8s.yaml:7
        CronJob shop/tidy, k8s.yaml:11
    left-alone         registry:2     namespace-disabled

    9 images: 1 ok, 5 left-alone, 1 as-written (1 for want of a rule), 1 invalid-reference, 1 missing
    ");
}

#[tokio::test]
async fn its_json_has_everything_and_does_not_change_from_run_to_run() {
    let registry = FakeRegistry::start().await;
    registry.put("hub/library/nginx", "1.25", &manifest("nginx"));
    let folder = folder(&registry, &[]);
    folder.write("k8s.yaml", MANIFESTS);
    let first = folder.check(&["k8s.yaml", "-o", "json"]).await;
    assert_eq!(first.code, 1);
    assert_eq!(first.stdout, folder.check(&["k8s.yaml", "-o", "json"]).await.stdout);
    let answer: Value = serde_json::from_str(&first.stdout).unwrap();
    let redis = answer["images"].as_array().unwrap().iter().find(|row| row["written"] == "redis:7").unwrap();
    let shown = serde_json::to_string_pretty(redis).unwrap().replace(&registry.host(), "HOST");
    assert_snapshot!(shown, @r#"
    {
      "digest": null,
      "lock": null,
      "mirror": "HOST/hub",
      "mode": "enforce",
      "namespaces": [
        "shop"
      ],
      "outcome": "kept",
      "place": "HOST/hub/library/redis:7",
      "places": [
        {
          "document": 1,
          "field": "/spec/template/spec/containers/1/image",
          "file": "k8s.yaml",
          "kind": "Deployment",
          "line": 7,
          "name": "web",
          "namespace": "shop"
        },
        {
          "document": 2,
          "field": "/spec/jobTemplate/spec/template/spec/containers/0/image",
          "file": "k8s.yaml",
          "kind": "CronJob",
          "line": 11,
          "name": "tidy",
          "namespace": "shop"
        }
      ],
      "reason": "missing",
      "reference": "docker.io/library/redis:7",
      "resolvedFrom": null,
      "result": "redis:7",
      "rule": "docker.io",
      "state": "missing",
      "written": "redis:7"
    }
    "#);
    assert_eq!((&answer["summary"]["images"], &answer["summary"]["states"]["ok"]), (&9.into(), &1.into()));
}

#[tokio::test]
async fn where_images_are_only_audited_it_says_what_would_be_and_fails_nothing() {
    let registry = FakeRegistry::start().await;
    let nginx = registry.put("hub/library/nginx", "1", &manifest("nginx"));
    let host = registry.host();
    let folder = folder(
        &registry,
        &[
            &format!("{{source: gcr.io, mirrors: ['{host}/none'], onMissing: deny}}"),
            "{source: quay.io, mirrors: ['127.0.0.1:1/quay']}",
        ],
    );
    let pod = |namespace: &str, images: &str| {
        format!(
            "kind: Pod\nmetadata: {{name: web, namespace: {namespace}}}\nspec: {{containers: [{images}]}}\n---\n"
        )
    };
    let namespace = |label: &str| {
        format!("kind: Namespace\nmetadata: {{name: lab, labels: {{portolan.dev/rewrite: {label}}}}}\n---\n")
    };
    let images = "{image: nginx:1}, {image: gcr.io/a/b}, {image: quay.io/a/b}, {image: example.com/a/b}";
    folder.write("lab.yaml", &(namespace("audit") + &pod("lab", images)));
    let ended = folder.check(&["lab.yaml"]).await;
    let shown = ended.shown().replace(&host, "HOST").replace(nginx.as_str(), "DIGEST");
    assert_snapshot!(shown, @r"
    exit 0
    --- stdout
    as-written   example.com/a/b  no-rule
    missing      gcr.io/a/b       HOST/none/a/b:latest  (only audited)
        no mirror has it; a Pod with it would be denied
        Pod lab/web, lab.yaml:6
    ok           nginx:1          HOST/hub/library/nginx:1@DIGEST  (only audited)
    unavailable  quay.io/a/b      127.0.0.1:1/quay/a/b:latest  (only audited)
        the registry did not answer
        Pod lab/web, lab.yaml:6

    4 images: 1 ok (1 only audited), 1 as-written (1 for want of a rule), 1 unavailable (1 only audited), 1 missing (1 only audited)
    ");
    let (code, answer) = folder.checked("", &["lab.yaml"]).await;
    assert_eq!(code, 0);
    assert_eq!(answer["summary"]["audited"], serde_json::json!({"missing": 1, "ok": 1, "unavailable": 1}));
    assert!(answer["images"].as_array().unwrap().iter().all(|row| row["mode"] == "audit"), "{answer}");

    // What no node can run is wrong there too, and what is only audited in one namespace may be denied in another.
    folder.write("lab.yaml", &(namespace("audit") + &pod("lab", "{image: NGINX}")));
    assert_eq!(folder.check(&["lab.yaml"]).await.code, 1);
    let both = namespace("audit") + &pod("lab", "{image: gcr.io/a/b}") + &pod("shop", "{image: gcr.io/a/b}");
    folder.write("lab.yaml", &both);
    let ended = folder.check(&["lab.yaml"]).await;
    assert_snapshot!(ended.shown().replace(&host, "HOST"), @r"
    exit 1
    --- stdout
    missing  gcr.io/a/b  HOST/none/a/b:latest  in lab  (only audited)
        no mirror has it; a Pod with it would be denied
        Pod lab/web, lab.yaml:6
    missing  gcr.io/a/b  HOST/none/a/b:latest  in shop
        no mirror has it; a Pod with it is denied
        Pod shop/web, lab.yaml:10

    2 images: 2 missing (1 only audited)
    ");
    for label in ["enabled", "else"] {
        folder.write("lab.yaml", &(namespace(label) + &pod("lab", "{image: gcr.io/a/b}")));
        assert_eq!(folder.check(&["lab.yaml"]).await.code, 1, "{label}");
    }
}

#[tokio::test]
async fn what_commands_say_of_files_steers_no_terminal() {
    let registry = FakeRegistry::start().await;
    let folder = folder(&registry, &[]);
    let name = "a\u{1b}[31m\u{9b}.yaml";
    folder.write(name, "kind: [\n");
    for command in ["check", "lock"] {
        let ended = folder.run(&[command, "--table", "table.yaml", name]).await;
        assert_eq!(ended.code, 2, "{}", ended.shown());
        let steers = |character: char| character.is_control() && character != '\n';
        assert!(!ended.stderr.contains(steers), "{command}: {:?}", ended.stderr);
        assert!(ended.stderr.contains("`a\u{fffd}[31m\u{fffd}.yaml`, document 1"), "{}", ended.stderr);
    }
    let ended = folder.run(&["explain", "--table", "table.yaml", "--offline", "-f", name]).await;
    assert!(ended.code == 2 && !ended.stderr.contains('\u{1b}'), "{:?}", ended.stderr);
}

#[tokio::test]
async fn exit_0_is_all_there_and_1_is_missing_or_denied_and_2_is_not_known() {
    let registry = FakeRegistry::start().await;
    registry.put("hub/library/nginx", "latest", &manifest("nginx"));
    registry.put("hub/library/secret", "latest", &manifest("secret"));
    registry.fault_at("library/secret", Fault::Status(401));
    let host = registry.host();
    let folder = folder(
        &registry,
        &[
            "{source: quay.io, mirrors: ['127.0.0.1:1/quay']}",
            "{source: ghcr.io, mirrors: ['127.0.0.1:1/ghcr'], onUnavailable: deny}",
            &format!("{{source: gcr.io, mirrors: ['{host}/none'], onMissing: rewrite}}"),
        ],
    );
    for (images, code, expected) in [
        ("nginx\nexample.com/x/y\n", 0, vec!["as-written", "ok"]),
        ("nginx\nquay.io/a/b\n", 2, vec!["ok", "unavailable"]),
        ("secret\n", 2, vec!["unauthorized"]),
        ("ghcr.io/a/b\n", 1, vec!["unavailable"]),
        ("gcr.io/a/b\nquay.io/a/b\n", 1, vec!["missing", "unavailable"]),
        ("NGINX\n", 1, vec!["invalid-reference"]),
        ("# nothing\n", 0, vec![]),
    ] {
        let (ended, answer) = folder.checked(images, &[]).await;
        let found: Vec<_> = states(&answer).into_iter().map(|(_, state, _)| state).collect();
        assert_eq!((ended, found), (code, expected.into_iter().map(str::to_owned).collect()), "{images}");
    }
    let usage = folder.check(&[]).await;
    assert_eq!(usage.code, 2);
    assert!(usage.stderr.contains("PATH"), "{}", usage.stderr);
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_the_rest_is_checked() {
    let registry = FakeRegistry::start().await;
    registry.put("hub/library/nginx", "1", &manifest("nginx"));
    let folder = folder(&registry, &[]);
    let pod = |image: &str| format!("kind: Pod\nspec: {{containers: [{{image: '{image}'}}]}}\n");
    std::fs::create_dir_all(folder.path().join("deploy/deeper")).unwrap();
    folder.write("deploy/a.yaml", &format!("{}---\nkind: {{{{ x }}\n", pod("nginx:1")));
    folder
        .write("deploy/deeper/b.json", r#"{"kind": "Pod", "spec": {"containers": [{"image": "nginx:1"}]}}"#);
    folder.write("deploy/c.yml", &pod("nginx:1"));
    folder.write("deploy/README.md", "nginx:2\n");
    let ended = folder.check(&["deploy", "absent.yaml", "-o", "json"]).await;
    assert_eq!(ended.code, 2, "{}", ended.shown());
    let lines: Vec<_> = ended.stderr.lines().collect();
    let [document, absent] = &*lines else { panic!("{lines:?}") };
    let begin = "error: cannot read a document: `deploy/a.yaml`, document 2, line ";
    assert!(document.starts_with(begin) && document.contains("this is no YAML"), "{document}");
    assert_eq!(*absent, "error: cannot read `absent.yaml`: No such file or directory (os error 2)");
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    let rows = answer["images"].as_array().unwrap();
    assert_eq!(rows.len(), 1);
    let files: Vec<_> = rows[0]["places"].as_array().unwrap().iter().map(|place| &place["file"]).collect();
    assert_eq!(files, ["deploy/a.yaml", "deploy/c.yml", "deploy/deeper/b.json"]);
    // What is missing for certain outweighs it.
    folder.write("deploy/d.yaml", &pod("redis"));
    assert_eq!(folder.check(&["deploy"]).await.code, 1);
}

#[tokio::test]
async fn namespaces_decide_about_rules_and_those_without_get_the_one_given() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    for repository in ["hub/library/nginx", "team/nginx"] {
        registry.put(repository, "latest", &manifest(repository));
    }
    let scoped = format!("{{source: docker.io/library, mirrors: ['{host}/team'], namespaces: ['team-*']}}");
    let folder = folder(&registry, &[&scoped]);
    for (arguments, place) in [
        (&[][..], "hub/library/nginx"),
        (&["-n", "team-a"], "team/nginx"),
        (&["-n", "b"], "hub/library/nginx"),
    ] {
        let (_, answer) = folder.checked("nginx\n", arguments).await;
        assert_eq!(answer["images"][0]["place"], format!("{host}/{place}:latest"), "{arguments:?}");
    }
    let (_, answer) = folder.checked("nginx\n", &["-n", "portolan"]).await;
    assert_eq!(answer["images"][0]["reason"], "own-namespace");
    let (_, answer) = folder.checked("nginx\n", &["-n", "kube-system"]).await;
    assert_eq!(answer["images"][0]["reason"], "system-namespace");
}

#[tokio::test]
async fn it_looks_whether_what_the_lock_says_is_still_there() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let mut lock = String::new();
    for name in ["same", "moved", "gone", "lost"] {
        let digest = registry.put(&format!("hub/library/{name}"), "1", &manifest(name));
        writeln!(lock, "{host}/hub/library/{name}:1 {digest}").unwrap();
    }
    registry.clear();
    for name in ["same", "moved"] {
        registry.put(&format!("hub/library/{name}"), "1", &manifest(name));
    }
    for name in ["moved", "gone", "free"] {
        registry.put(&format!("hub/library/{name}"), "1", &manifest(&format!("another {name}")));
    }
    let folder = folder(&registry, &[]);
    folder.write("lock.txt", &lock);
    let images = "same:1\nmoved:1\ngone:1\nlost:1\nfree:1\n";
    let (code, answer) = folder.checked(images, &["--lock", "lock.txt"]).await;
    assert_eq!(code, 1);
    assert_eq!(state(&answer, "same:1"), pair("ok", "verified"));
    assert_eq!(state(&answer, "moved:1"), pair("moved", "moved"));
    assert_eq!(state(&answer, "gone:1"), pair("locked-missing", "missing"));
    assert_eq!(state(&answer, "lost:1"), pair("locked-missing", "missing"));
    assert_eq!(state(&answer, "free:1"), pair("ok", "not-locked"));
    assert_eq!(answer["summary"]["withoutLine"], 1);
    // The webhook, too, goes by the registry where the locked digest is gone.
    let row = |image: &str| {
        let rows = answer["images"].as_array().unwrap();
        rows.iter().find(|row| row["written"] == *image).unwrap().clone()
    };
    assert_eq!(
        (&row("gone:1")["reason"], &row("gone:1")["resolvedFrom"]),
        (&"pinned".into(), &"registry".into())
    );
    assert_eq!(
        (&row("moved:1")["reason"], &row("moved:1")["resolvedFrom"]),
        (&"pinned".into(), &"lock".into())
    );
    // What has moved still runs.
    let (code, _) = folder.checked("same:1\nmoved:1\nfree:1\n", &["--lock", "lock.txt"]).await;
    assert_eq!(code, 0);
    let text = folder.run_with(&["check", "--table", "table.yaml", "--lock", "lock.txt", "-"], images).await;
    for line in [
        "its tag leads elsewhere than the digest that it is locked to, or is gone",
        "its mirror does not have the digest that it is locked to",
        "(1 without a line in the lock)",
    ] {
        assert!(text.stdout.contains(line), "{}", text.stdout);
    }

    // Required, a locked digest is kept though it is gone, and what has no line is denied.
    let required = std::fs::read_to_string(folder.path().join("table.yaml")).unwrap();
    folder.write("table.yaml", &required.replace("rules:", "defaults: {lock: require}\nrules:"));
    let (code, answer) = folder.checked("gone:1\nfree:1\n", &["--lock", "lock.txt"]).await;
    assert_eq!(code, 1);
    assert_eq!(state(&answer, "gone:1"), pair("locked-missing", "missing"));
    assert_eq!(state(&answer, "free:1"), pair("not-locked", "not-locked"));
    assert_eq!(folder.checked("free:1\n", &["--lock", "lock.txt"]).await.0, 1);
    registry.fault(Fault::Close);
    let (code, answer) = folder.checked("same:1\n", &["--lock", "lock.txt"]).await;
    assert_eq!((code, state(&answer, "same:1")), (2, pair("unavailable", "unverified")));
}

#[tokio::test]
async fn what_the_webhook_does_not_ask_about_is_asked_about_here() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let here = registry.put("off/app", "1", &manifest("app"));
    let off = format!("{{source: quay.io, mirrors: ['{host}/off'], pin: off}}");
    let folder = folder(&registry, &[&off]);
    let absent = format!("{host}/hub/app@sha256:{}", "a".repeat(64));
    let inside = format!("{host}/off/app@{here}");
    let images = format!("quay.io/app:1\nquay.io/app:2\n{absent}\n{inside}\n");
    let (code, answer) = folder.checked(&images, &[]).await;
    assert_eq!(code, 1);
    assert_eq!(state(&answer, "quay.io/app:1").0, "ok");
    assert_eq!(state(&answer, "quay.io/app:2").0, "missing");
    assert_eq!(state(&answer, &absent).0, "missing");
    assert_eq!(state(&answer, &inside).0, "ok");
}

#[tokio::test]
async fn with_a_slow_registry_every_one_of_many_images_is_asked_about() {
    let registry = FakeRegistry::start().await;
    let mut images = String::new();
    for number in 0..300 {
        registry.put("hub/library/app", &format!("v{number:03}"), &manifest(&number.to_string()));
        writeln!(images, "app:v{number:03}").unwrap();
    }
    registry.fault(Fault::Delay(Duration::from_millis(60)));
    // The first ones come too late, which must not cost those behind them; and of each other one asked about then,
    // nobody knows yet whether the registry answers at all. What came late is known in the end.
    for number in 0..20 {
        registry.fault_at(&format!("manifests/v{number:03}"), Fault::Delay(Duration::from_millis(800)));
    }
    for number in [107, 117, 127] {
        registry.fault_at(&format!("manifests/v{number:03}"), Fault::Stall);
    }
    let (code, answer) = folder(&registry, &[]).checked(&images, &["--resolve-timeout", "500ms"]).await;
    let count = |word| states(&answer).iter().filter(|(_, state, _)| state == word).count();
    assert_eq!((code, count("ok"), count("unavailable")), (2, 297, 3), "{}", answer["summary"]);
}

#[tokio::test]
async fn custom_resources_images_are_checked_and_guesses_are_not() {
    let registry = FakeRegistry::start().await;
    registry.put("hub/ceph/ceph", "v17", &manifest("ceph"));
    let folder = folder(&registry, &[]);
    folder.write(
        "k8s.yaml",
        "apiVersion: ceph.rook.io/v1\nkind: CephCluster\nspec: {cephVersion: {image: 'ceph/ceph:v17'}}\n---\nkind: \
         ConfigMap\ndata: {CSI_IMAGE: 'cephcsi/x:v3'}\n",
    );
    let ended = folder.check(&["k8s.yaml", "-o", "json"]).await;
    let answer = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.code, states(&answer).len()), (0, 1), "{answer}");
    assert_eq!(state(&answer, "ceph/ceph:v17").0, "ok");
    registry.clear();
    assert_eq!(folder.check(&["k8s.yaml"]).await.code, 1);
}
