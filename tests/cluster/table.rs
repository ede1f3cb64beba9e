//! The table's ConfigMap, edited with kubectl while Pods are created without pause.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    support::{Done, Outcome, Scene, eventually, image},
    trials,
};

trials!["table";
    an_edit_takes_effect_within_seconds_and_disturbs_no_admission,
    a_broken_edit_leaves_the_last_good_table_in_force_and_says_so,
];

fn an_edit_takes_effect_within_seconds_and_disturbs_no_admission() -> Outcome {
    let scene = Scene::with_rules(&rules("red")).with_table_in_configmap().start()?;
    let red = scene.push("red/library/nginx", "1.25");
    let blue = scene.push("blue/library/nginx", "1.25");
    let process = scene.portolan.process.id();
    let done = Done::default();
    thread::scope(|scope| {
        let creating = scope.spawn(|| {
            let mut seen = Vec::new();
            while !done.is_set() {
                seen.push(dry_run(&scene));
            }
            seen
        });
        let end = done.when_dropped();
        for color in ["blue", "red", "blue", "red", "blue"] {
            edit(&scene, &rules(color));
            let edited = Instant::now();
            let expected = if color == "blue" { &blue } else { &red };
            eventually(EDIT_LIMIT, || {
                let came = dry_run(&scene);
                if came == *expected {
                    Ok(())
                } else {
                    Err(format!("{came} {:?} after the edit", edited.elapsed()))
                }
            });
        }
        drop(end);
        let seen = creating.join().unwrap();
        assert!(seen.len() > 20, "only {} Pods were created meanwhile", seen.len());
        for came in seen {
            assert!(came == red || came == blue, "{came} is by neither table");
        }
    });
    assert_eq!(scene.portolan.process.id(), process);
    assert_eq!(scene.portolan.ops("/readyz").unwrap().0, 200);
    Ok(())
}

fn a_broken_edit_leaves_the_last_good_table_in_force_and_says_so() -> Outcome {
    let scene = Scene::with_rules(&rules("red")).with_table_in_configmap().start()?;
    let red = scene.push("red/library/nginx", "1.25");
    let blue = scene.push("blue/library/nginx", "1.25");
    edit(&scene, "rules:\n  - sorce: docker.io\n    mirrors: [MIRROR/blue]\n");
    // Line 3 counts from the document's first: `apiVersion`, `kind`, `rules`, and the rule.
    eventually(EDIT_LIMIT, || {
        let (status, body) = scene.portolan.ops("/readyz?verbose").unwrap();
        assert_eq!(status, 200, "a bad edit never takes readiness back: {body}");
        if body.contains("sorce") && body.contains("line 4") { Ok(()) } else { Err(body) }
    });
    let output = scene.portolan.process.output();
    let warning = output.lines().find(|line| line.contains("sorce")).expect("the log says so");
    assert!(
        warning.contains("WARN") && warning.contains("line 4") && warning.contains("source"),
        "{warning}"
    );
    let metrics = scene.portolan.ops("/metrics").unwrap().1;
    assert!(metrics.contains("portolan_table_errors_total 1\n"), "{metrics}");
    assert_eq!(dry_run(&scene), red);

    scene.kubectl(&["delete", "configmap", "portolan-table"], "");
    eventually(EDIT_LIMIT, || {
        let body = scene.portolan.ops("/readyz?verbose").unwrap().1;
        if body.contains("no ConfigMap") { Ok(()) } else { Err(body) }
    });
    assert_eq!(dry_run(&scene), red, "a table that is gone is as one that is broken");

    let table = Scene::table(&scene.registry, &rules("blue"), &[]);
    scene.kubectl(
        &["create", "configmap", "portolan-table", &format!("--from-literal=table.yaml={table}")],
        "",
    );
    eventually(
        EDIT_LIMIT,
        || if dry_run(&scene) == blue { Ok(()) } else { Err("the old table is in force") },
    );
    Ok(())
}

fn edit(scene: &Scene, rules: &str) {
    let patch: Value = json!({"data": {"table.yaml": Scene::table(&scene.registry, rules, &[])}});
    let patch = patch.to_string();
    scene.kubectl(&["patch", "configmap/portolan-table", "--type=merge", "--patch", &patch], "");
}

/// What the image of a new Pod comes out as.
fn dry_run(scene: &Scene) -> String {
    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": "nginx:1.25"}]}});
    image(&scene.api().create(&scene.path("pods?dryRun=All"), &pod).unwrap(), "containers/web").to_owned()
}

fn rules(color: &str) -> String {
    format!("rules:\n  - source: docker.io\n    mirrors: [MIRROR/{color}]\n")
}

/// Edits are seen by a watch, at once; but a machine may have other things to do.
const EDIT_LIMIT: Duration = Duration::from_secs(30);
