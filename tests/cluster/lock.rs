//! The lock: labelled ConfigMaps edited with kubectl, a file, registries that nobody asks, and a look now and then.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::{
    support::{Outcome, Scene, Shipped, eventually, folder, image},
    trials,
};

trials!["lock";
    with_a_full_lock_admissions_ask_no_registry,
    with_the_registry_gone_from_the_start_what_is_locked_is_pinned,
    an_edit_takes_effect_and_a_broken_one_leaves_the_last_good_lock_in_force,
    where_the_lock_is_required_nothing_else_is_let_through_and_without_one_it_is_not_ready,
    what_a_mirror_lacks_is_preferred_no_longer_and_a_moved_tag_is_said,
    a_lock_in_a_file_is_read_again_when_it_changes,
    the_shipped_rights_are_enough_to_follow_the_lock_and_to_tell_of_a_broken_one,
];

fn with_a_full_lock_admissions_ask_no_registry() -> Outcome {
    let scene = scene("", &["--lock-check", "1s"])?;
    let (nginx, redis) = (scene.push("hub/library/nginx", "1.25"), scene.push("hub/library/redis", "7"));
    // One in each key of two ConfigMaps, as far as it goes.
    scene.lock("first", &[("nginx", &line(&nginx))]);
    scene.lock("second", &[("redis", &line(&redis)), ("nothing", "# nothing yet\n")]);
    scene.wait_lines(2);

    let before = scene.registry.accesses().len();
    let digest = nginx.split_once('@').unwrap().1.to_owned();
    for number in 0..10 {
        let containers = json!([
            {"name": "web", "image": "nginx:1.25", "imagePullPolicy": "Always"},
            {"name": "cache", "image": "redis:7"},
            {"name": "by-digest", "image": format!("nginx@{digest}")},
            {"name": "inside", "image": scene.mirror("hub/library/redis:7")},
        ]);
        let name = format!("full-{number}");
        let pod = scene.create(&json!({"metadata": {"name": name}, "spec": {"containers": containers}}));
        assert_eq!(image(&pod, "containers/web"), nginx);
        assert_eq!(image(&pod, "containers/cache"), redis);
        assert_eq!(image(&pod, "containers/by-digest"), scene.mirror(&format!("hub/library/nginx@{digest}")));
        assert_eq!(image(&pod, "containers/inside"), redis);
        let lines = eventually(LIMIT, || {
            let lines = scene.portolan.audited(|line| line["pod"] == *name);
            if lines.len() == 4 { Ok(lines) } else { Err(lines) }
        });
        let from: Vec<_> = lines.iter().map(|line| line["resolvedFrom"].as_str().unwrap()).collect();
        assert_eq!(from, ["lock", "lock", "reference", "lock"]);
    }
    // The log has what was looked for in the background, and nothing else.
    let accesses = eventually(LIMIT, || {
        let accesses = scene.registry.accesses();
        if accesses.len() > before + 2 { Ok(accesses) } else { Err("no line of the background check") }
    });
    let agent = concat!("\"portolan-lock-check/", env!("CARGO_PKG_VERSION"), "\"");
    for access in &accesses[before..] {
        assert!(access.contains(agent), "{access}");
    }
    assert_eq!(scene.metric("portolan_resolved_total{from=\"registry\"}"), 0);
    // The counterpart: what has no line is asked about, under the other name.
    let postgres = scene.push("hub/library/postgres", "16");
    assert_eq!(scene.comes_out("postgres:16"), postgres);
    let agent = concat!("\"portolan/", env!("CARGO_PKG_VERSION"), "\"");
    assert!(scene.registry.accesses().iter().any(|access| access.contains(agent)));
    Ok(())
}

fn with_the_registry_gone_from_the_start_what_is_locked_is_pinned() -> Outcome {
    for mode in ["", "lock: require"] {
        let mut scene = scene("", &["--lock-check", "1s"])?;
        let nginx = scene.push("hub/library/nginx", "1.25");
        scene.lock("lock", &[("nginx", &line(&nginx))]);
        scene.wait_lines(1);
        scene.set_rules(mode);
        scene.registry.kill();
        scene.portolan.restart();
        scene.portolan.until_ready();

        let name = "locked";
        let pod = scene.create(&pod(name, "nginx:1.25"));
        assert_eq!(image(&pod, "containers/web"), nginx);
        let line = scene.portolan.audited(|line| line["pod"] == name).remove(0);
        assert_eq!(
            (&line["outcome"], &line["reason"], &line["resolvedFrom"]),
            (&json!("rewritten"), &json!("pinned"), &json!("lock"))
        );
        // Who waits for a registry does so for 2 s.
        assert!(line["elapsedMicros"].as_u64().unwrap() < 1_500_000, "{line}");
        // The background has looked in vain, and that changes nothing.
        eventually(LIMIT, || {
            let unknown = scene.metric("portolan_lock_checks_total{result=\"unknown\"}");
            if unknown > 0 { Ok(()) } else { Err("nobody has looked") }
        });
        assert_eq!(scene.comes_out("nginx:1.25"), nginx);
        assert_eq!(scene.metric("portolan_lock_missing"), 0);
    }
    Ok(())
}

fn an_edit_takes_effect_and_a_broken_one_leaves_the_last_good_lock_in_force() -> Outcome {
    let scene = scene("", &[])?;
    let old = scene.push("hub/library/nginx", "1.25");
    scene.lock("lock", &[("apps", &line(&old))]);
    scene.wait_lines(1);
    scene.registry.push_other("hub/library/nginx", "1.25");
    let new = scene.pinned("hub/library/nginx", "1.25");
    assert_ne!(old, new);
    assert_eq!(scene.comes_out("nginx:1.25"), old, "by the lock, though the tag has moved");
    scene.lock("lock", &[("apps", &line(&new))]);
    scene.wait_image("nginx:1.25", &new);

    // Two that disagree.
    scene.lock("other", &[("apps", &format!("# of old\n{}", line(&old)))]);
    eventually(EDIT_LIMIT, || {
        let (status, body) = scene.portolan.ops("/readyz?verbose").unwrap();
        assert_eq!(status, 200, "a bad edit never takes readiness back: {body}");
        let both =
            ["ConfigMap `other`, key `apps`: line 2, column 1", "on line 1 of ConfigMap `lock`, key `apps`"];
        if both.iter().all(|part| body.contains(part)) { Ok(()) } else { Err(body) }
    });
    let output = scene.portolan.process.output();
    let warning = output.lines().find(|line| line.contains("is locked to")).expect("the log says so");
    assert!(warning.contains("WARN") && warning.contains("remove one of the two lines"), "{warning}");
    assert_eq!(scene.metric("portolan_lock_errors_total"), 1);
    assert_eq!(scene.comes_out("nginx:1.25"), new);

    scene.kubectl(&["label", "configmap", "lock", "portolan.dev/lock-"], "");
    scene.wait_image("nginx:1.25", &old);
    scene.kubectl(&["delete", "configmap", "other"], "");
    // Nothing is locked any more: the registry is asked.
    scene.wait_image("nginx:1.25", &new);
    assert_eq!(scene.metric("portolan_lock_lines"), 0);
    Ok(())
}

fn where_the_lock_is_required_nothing_else_is_let_through_and_without_one_it_is_not_ready() -> Outcome {
    let mut scene = scene("", &[])?;
    let nginx = scene.push("hub/library/nginx", "1.25");
    let redis = scene.push("hub/library/redis", "7");
    scene.set_rules("lock: require");
    scene.portolan.restart();
    let said = eventually(LIMIT, || {
        let (status, body) = scene.portolan.ops("/readyz?verbose").map_err(|error| error.to_string())?;
        if status == 503 && body.contains("[+] table ok") && body.contains("there is no ConfigMap") {
            Ok(body)
        } else {
            Err(body)
        }
    });
    assert!(said.contains("[-] lock missing"), "{said}");
    scene.lock("lock", &[("broken", "nginx\n")]);
    eventually(LIMIT, || {
        let (status, body) = scene.portolan.ops("/readyz?verbose").unwrap();
        assert_eq!(status, 503);
        if body.contains("line 1, column 1: `nginx` is not written in full") { Ok(()) } else { Err(body) }
    });
    scene.lock("lock", &[("broken", &line(&nginx))]);
    scene.portolan.until_ready();

    scene.wait_image("nginx:1.25", &nginx);
    let before = scene.registry.accesses().len();
    let digest = redis.split_once('@').unwrap().1;
    for written in ["redis:7", &format!("redis@{digest}"), &format!("nginx@{digest}"), &redis] {
        let refusal =
            scene.api().create(&scene.path("pods?dryRun=All"), &pod("denied", written)).unwrap_err();
        let remedy = format!("the lock has no line for it in `{}`", scene.mirror("hub"));
        assert!(
            refusal.message.contains("not-locked") && refusal.message.contains(&remedy),
            "{}",
            refusal.message
        );
    }
    let agent = "portolan-lock-check/";
    let asked: Vec<_> = scene
        .registry
        .accesses()
        .split_off(before)
        .into_iter()
        .filter(|access| !access.contains(agent))
        .collect();
    assert!(asked.is_empty(), "{asked:?}");

    // What was ready stays so.
    scene.kubectl(&["delete", "configmap", "lock"], "");
    eventually(EDIT_LIMIT, || {
        if scene.metric("portolan_lock_lines") == 0 { Ok(()) } else { Err("the lock is still in force") }
    });
    assert_eq!(scene.portolan.ops("/readyz").unwrap().0, 200);
    Ok(())
}

fn what_a_mirror_lacks_is_preferred_no_longer_and_a_moved_tag_is_said() -> Outcome {
    let scene = scene("", &["--lock-check", "1s"])?;
    let nginx = scene.push("hub/library/nginx", "1.25");
    let old = scene.push("hub/library/redis", "7");
    let place = nginx.split_once('@').unwrap().0;
    let absent = format!("{place}@sha256:{}", "a".repeat(64));
    scene.lock("lock", &[("apps", &(line(&absent) + &line(&old)))]);
    scene.registry.push_other("hub/library/redis", "7");

    scene.wait_image("nginx:1.25", &nginx);
    eventually(LIMIT, || {
        let seen = (scene.metric("portolan_lock_missing"), scene.metric("portolan_lock_moved"));
        if seen == (1, 1) { Ok(()) } else { Err(seen) }
    });
    assert_eq!(scene.comes_out("redis:7"), old, "what has moved is still there, and still locked");
    let output = scene.portolan.process.output();
    for (part, mirror) in
        [("does not have a locked digest", place), ("leads elsewhere", "hub/library/redis:7")]
    {
        let lines: Vec<_> = output.lines().filter(|line| line.contains(part)).collect();
        assert_eq!(lines.len(), 1, "said once: {output}");
        assert!(lines[0].contains("WARN") && lines[0].contains(mirror), "{}", lines[0]);
    }
    scene.set_rules("lock: require");
    scene.wait_image("nginx:1.25", &absent);
    Ok(())
}

fn a_lock_in_a_file_is_read_again_when_it_changes() -> Outcome {
    let file = folder("lock").join("lock.txt");
    fs::write(&file, "# nothing yet\n").unwrap();
    let mut scene = Scene::with_rules(&rules("")).arguments(&["--lock", file.to_str().unwrap()]).start()?;
    let nginx = scene.push("hub/library/nginx", "1.25");
    scene.registry.kill();
    let place = nginx.split_once('@').unwrap().0;
    assert_eq!(scene.comes_out("nginx:1.25"), place);

    fs::write(&file, line(&nginx)).unwrap();
    scene.wait_image("nginx:1.25", &nginx);
    fs::write(&file, format!("{}{place} sha256:abc\n", line(&nginx))).unwrap();
    eventually(EDIT_LIMIT, || {
        let body = scene.portolan.ops("/readyz?verbose").unwrap().1;
        if body.contains("line 2, column") && body.contains("is no digest") { Ok(()) } else { Err(body) }
    });
    fs::remove_file(&file).unwrap();
    assert_eq!(scene.comes_out("nginx:1.25"), nginx);
    Ok(())
}

fn the_shipped_rights_are_enough_to_follow_the_lock_and_to_tell_of_a_broken_one() -> Outcome {
    let shipped = Shipped::install()?;
    shipped.set_rules(&rules(""));
    let digest = shipped.registry.push("hub/library/nginx", "1.25");
    let place = format!("{}/hub/library/nginx:1.25", shipped.registry.host());
    let manifest = config_map("lock", &[("nginx", &format!("{place} {digest}\n"))]).to_string();
    shipped.plane.kubectl.must(&["--namespace=portolan", "apply", "--filename", "-"], &manifest);
    let elsewhere =
        config_map("lock", &[("nginx", &format!("{place} sha256:{}\n", "a".repeat(64)))]).to_string();
    shipped.plane.kubectl.must(&["--namespace=default", "apply", "--filename", "-"], &elsewhere);
    eventually(EDIT_LIMIT, || {
        let metrics = shipped.portolan.ops("/metrics").unwrap().1;
        if metrics.lines().any(|line| line == "portolan_lock_lines 1") { Ok(()) } else { Err(metrics) }
    });
    let created =
        shipped.plane.api.create("/api/v1/namespaces/default/pods?dryRun=All", &pod("web", "nginx:1.25"));
    assert_eq!(image(&created.unwrap(), "containers/web"), format!("{place}@{digest}"));
    let line = shipped.portolan.audited(|line| line["pod"] == "web").remove(0);
    assert_eq!(line["resolvedFrom"], "lock");

    // Broken while nobody checks edits: it is said on the ConfigMap.
    shipped
        .plane
        .kubectl
        .must(&["delete", "validatingwebhookconfiguration", "portolan", "--ignore-not-found"], "");
    let broken = config_map("broken", &[("nginx", "nginx\n")]).to_string();
    shipped.plane.kubectl.must(&["--namespace=portolan", "apply", "--filename", "-"], &broken);
    let event = eventually(EDIT_LIMIT, || {
        let events = shipped.plane.api.list("/apis/events.k8s.io/v1/namespaces/portolan/events");
        let refused = events.iter().find(|event| event["reason"] == "LockRefused");
        refused.cloned().ok_or_else(|| shipped.portolan.process.output())
    });
    assert_eq!(event["regarding"]["name"], "broken");
    let note = event["note"].as_str().unwrap();
    assert!(note.contains("ConfigMap `broken`, key `nginx`: line 1"), "{note}");
    Ok(())
}

impl Scene {
    /// Applies a ConfigMap with the lock's label.
    fn lock(&self, name: &str, keys: &[(&str, &str)]) {
        self.apply(&config_map(name, keys).to_string());
    }

    /// Waits until the lock in force has so many lines.
    fn wait_lines(&self, lines: u64) {
        eventually(EDIT_LIMIT, || {
            let in_force = self.metric("portolan_lock_lines");
            if in_force == lines { Ok(()) } else { Err(in_force) }
        });
    }

    /// Waits until an image comes out so.
    fn wait_image(&self, written: &str, expected: &str) {
        eventually(EDIT_LIMIT, || {
            let came = self.comes_out(written);
            if came == expected { Ok(()) } else { Err(came) }
        });
    }

    /// Edits the rule and waits until it is in force.
    fn set_rules(&self, more: &str) {
        let before = self.metric_text("portolan_table_last_success_timestamp_seconds");
        let table = format!("# edited\n{}", Self::table(&self.registry, &rules(more), &[]));
        let patch = json!({"data": {"table.yaml": table}}).to_string();
        self.kubectl(&["patch", "configmap/portolan-table", "--type=merge", "--patch", &patch], "");
        eventually(EDIT_LIMIT, || {
            let now = self.metric_text("portolan_table_last_success_timestamp_seconds");
            if now == before { Err("the old table is in force") } else { Ok(()) }
        });
    }

    fn metric(&self, name: &str) -> u64 {
        self.metric_text(name).parse().unwrap()
    }

    fn metric_text(&self, name: &str) -> String {
        let text = self.portolan.ops("/metrics").unwrap().1;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no metric {name} in {text}")).to_owned()
    }

    /// What the image of a new Pod comes out as.
    fn comes_out(&self, written: &str) -> String {
        let shown = self.api().create(&self.path("pods?dryRun=All"), &pod("web", written)).unwrap();
        image(&shown, "containers/web").to_owned()
    }
}

/// A scene whose table is in a ConfigMap, so that its namespace stands for Portolan's own.
fn scene(more: &str, arguments: &[&str]) -> Result<Scene, crate::support::Missing> {
    Scene::with_rules(&rules(more)).with_table_in_configmap().arguments(arguments).start()
}

/// One rule, with this line more.
fn rules(more: &str) -> String {
    format!("rules:\n  - source: docker.io\n    mirrors: ['MIRROR/hub']\n    {more}\n")
}

fn config_map(name: &str, keys: &[(&str, &str)]) -> Value {
    let data: serde_json::Map<_, _> =
        keys.iter().map(|(key, text)| ((*key).to_owned(), json!(text))).collect();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"portolan.dev/lock": "true"}},
        "data": data,
    })
}

/// The line of the lock for a reference with its digest.
fn line(pinned: &str) -> String {
    let (place, digest) = pinned.split_once('@').unwrap();
    format!("{place} {digest}\n")
}

fn pod(name: &str, image: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "web", "image": image}]}})
}

/// Edits are seen by a watch and files every second, but a machine may have other things to do.
const EDIT_LIMIT: Duration = Duration::from_secs(30);

const LIMIT: Duration = Duration::from_secs(60);
