//! Registries that die or freeze, and Portolan gone: Pods are admitted all the same.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    support::{Outcome, Scene, eventually, image},
    trials,
};

trials!["outages";
    a_killed_registry_costs_no_pod_its_admission,
    a_frozen_registry_is_waited_for_once_and_never_past_the_deadline,
    what_is_old_is_used_while_the_registry_is_gone,
    what_is_old_is_used_while_the_registry_is_frozen,
    without_portolan_pods_are_admitted_as_written,
    a_frozen_portolan_is_not_waited_for_longer_than_the_configuration_says,
];

fn a_killed_registry_costs_no_pod_its_admission() -> Outcome {
    let mut scene = Scene::with_rules(RULES).start()?;
    let known = scene.push("docker.io/library/nginx", "1.25");
    let later = scene.push("docker.io/library/redis", "7");
    assert_eq!(scene.dry_run("warm", "nginx:1.25").0, known);
    scene.registry.kill();
    scene.known_and_unknown(&known);

    // It is probed again after a while, and what was unknown is pinned.
    scene.registry.restart();
    eventually(Duration::from_secs(60), || {
        let (came, _) = scene.dry_run("healed", "redis:7");
        if came == later { Ok(()) } else { Err(came) }
    });
    Ok(())
}

fn a_frozen_registry_is_waited_for_once_and_never_past_the_deadline() -> Outcome {
    let scene = Scene::with_rules(RULES).start()?;
    let known = scene.push("docker.io/library/nginx", "1.25");
    assert_eq!(scene.dry_run("warm", "nginx:1.25").0, known);
    scene.registry.freeze();
    scene.known_and_unknown(&known);
    scene.registry.thaw();
    Ok(())
}

fn what_is_old_is_used_while_the_registry_is_gone() -> Outcome {
    let mut scene = Scene::with_rules(RULES).arguments(&["--fresh", "1s"]).start()?;
    let known = scene.push("docker.io/library/nginx", "1.25");
    assert_eq!(scene.dry_run("warm", "nginx:1.25").0, known);
    scene.registry.kill();
    scene.only_stale(&known);
    Ok(())
}

fn what_is_old_is_used_while_the_registry_is_frozen() -> Outcome {
    let scene = Scene::with_rules(RULES).arguments(&["--fresh", "1s"]).start()?;
    let known = scene.push("docker.io/library/nginx", "1.25");
    assert_eq!(scene.dry_run("warm", "nginx:1.25").0, known);
    scene.registry.freeze();
    scene.only_stale(&known);
    scene.registry.thaw();
    Ok(())
}

fn without_portolan_pods_are_admitted_as_written() -> Outcome {
    let mut scene = Scene::with_rules(RULES).start()?;
    let known = scene.push("docker.io/library/nginx", "1.25");
    assert_eq!(image(&scene.create(&pod("with", "nginx:1.25")), "containers/web"), known);
    let status = scene.portolan.terminate();
    assert!(status.success(), "{status}");
    assert_eq!(image(&scene.create(&pod("without", "nginx:1.25")), "containers/web"), "nginx:1.25");
    Ok(())
}

fn a_frozen_portolan_is_not_waited_for_longer_than_the_configuration_says() -> Outcome {
    let scene = Scene::with_rules(RULES).start()?;
    let known = scene.push("docker.io/library/nginx", "1.25");
    assert_eq!(image(&scene.create(&pod("with", "nginx:1.25")), "containers/web"), known);
    scene.portolan.process.signal("STOP");
    assert_eq!(image(&scene.create(&pod("without", "nginx:1.25")), "containers/web"), "nginx:1.25");
    scene.portolan.process.signal("CONT");
    // What came while it was frozen may be all that it is busy with at first.
    eventually(Duration::from_secs(60), || {
        let shown = scene.api().create(&scene.path("pods?dryRun=All"), &pod("again", "nginx:1.25")).unwrap();
        let came = image(&shown, "containers/web");
        if came == known { Ok(()) } else { Err(came.to_owned()) }
    });
    Ok(())
}

impl Scene {
    /// With the registry out of order: what was asked a moment ago is pinned from memory; what nobody knows is
    /// rewritten without a digest before the API server gives up, and said so; from then on nobody waits.
    fn known_and_unknown(&self, known: &str) {
        let (came, line) = self.dry_run("known", "nginx:1.25");
        assert_eq!((came.as_str(), &line["resolvedFrom"]), (known, &json!("memory")), "{line}");
        assert!(elapsed(&line) < AT_ONCE, "{line}");

        // Had Portolan been late, the image would be as written.
        let unpinned = format!("{}/docker.io/library/redis:7", self.registry.host());
        let said = self.kubectl(&["run", "unknown", "--image=redis:7"], "");
        let created = self.pod("unknown");
        assert_eq!(image(&created, "containers/unknown"), unpinned);
        assert!(said.stderr.contains("Warning:") && said.stderr.contains("unavailable"), "{said:?}");
        let annotation = crate::support::sources(&created)["containers/unknown"].clone();
        assert_eq!(annotation, json!({"written": "redis:7", "image": unpinned, "reason": "unavailable"}));
        let line = self.portolan.audited(|line| line["pod"] == "unknown").remove(0);
        assert_eq!(
            (&line["outcome"], &line["reason"]),
            (&json!("rewritten"), &json!("unavailable")),
            "{line}"
        );
        assert!(elapsed(&line) < DEADLINE, "{line}");

        for name in ["left-alone-1", "left-alone-2", "left-alone-3"] {
            let (came, line) = self.dry_run(name, "postgres:16");
            assert!(came.ends_with("/docker.io/library/postgres:16"), "{came}");
            assert!(elapsed(&line) < AT_ONCE, "{line}");
        }
        let (came, line) = self.dry_run("known-still", "nginx:1.25");
        assert_eq!(came, known);
        assert!(elapsed(&line) < AT_ONCE, "{line}");
    }

    /// With the registry out of order: what was asked a while ago stays pinned, in the first admission before the
    /// deadline and in the next ones at once.
    fn only_stale(&self, known: &str) {
        eventually(Duration::from_secs(30), || {
            let (came, line) = self.dry_run("old", "nginx:1.25");
            assert_eq!(came, known, "{line}");
            assert!(elapsed(&line) < DEADLINE, "{line}");
            if line["resolvedFrom"] == "stale" { Ok(()) } else { Err(line) }
        });
        for name in ["old-1", "old-2", "old-3"] {
            let (came, line) = self.dry_run(name, "nginx:1.25");
            assert_eq!((came.as_str(), &line["resolvedFrom"]), (known, &json!("stale")), "{line}");
            assert_eq!(
                (&line["outcome"], &line["reason"]),
                (&json!("rewritten"), &json!("pinned")),
                "{line}"
            );
            assert!(elapsed(&line) < AT_ONCE, "{line}");
        }
    }

    /// What the image of a new Pod comes out as, and the last audit line about it.
    pub fn dry_run(&self, name: &str, written: &str) -> (String, Value) {
        let seen = self.portolan.audit().len();
        let shown = self.api().create(&self.path("pods?dryRun=All"), &pod(name, written)).unwrap();
        let line = eventually(Duration::from_secs(30), || {
            let lines = self.portolan.audit();
            lines[seen..].iter().find(|line| line["pod"] == name).cloned().ok_or("no audit line")
        });
        (image(&shown, "containers/web").to_owned(), line)
    }
}

fn pod(name: &str, image: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "web", "image": image}]}})
}

/// What Portolan itself says it took.
fn elapsed(line: &Value) -> Duration {
    Duration::from_micros(line["elapsedMicros"].as_u64().unwrap())
}

/// The API server waits for so long, Portolan for registries a second less; the rest is a slow machine's.
const DEADLINE: Duration = Duration::from_secs(3);

/// Nobody was waited for, on a machine that may have other things to do: who waits does so for 2 s.
const AT_ONCE: Duration = Duration::from_millis(1_500);

const RULES: &str = "rules:
  - source: docker.io
    mirrors: ['MIRROR/{registry}']
";
