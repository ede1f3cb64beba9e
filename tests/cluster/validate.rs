//! Edits of the table and of locks as the API server asks about them, by the shipped configuration and rights.

use std::{fs, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::{
    support::{Outcome, Scene, Shipped, binary, eventually, folder, image},
    trials,
};

trials!["validate";
    a_broken_edit_is_refused_by_kubectl_apply_with_the_lines_of_explain,
    what_is_odd_is_stored_with_warnings_and_other_config_maps_without_a_look,
    a_broken_table_that_got_in_while_portolan_was_away_is_said_and_the_last_good_one_used,
];

fn a_broken_edit_is_refused_by_kubectl_apply_with_the_lines_of_explain() -> Outcome {
    let shipped = Shipped::install()?;
    let mistakes = include_str!("../fixtures/tables/twenty-mistakes.yaml");
    let stored = || shipped.plane.api.read(TABLE).unwrap()["data"]["table.yaml"].clone();
    let before = stored();

    let file = folder("explain").join("table.yaml");
    fs::write(&file, mistakes).unwrap();
    let path = file.to_str().unwrap();
    let explained =
        Command::new(binary()).args(["explain", "nginx", "--offline", "--table", path]).output().unwrap();
    assert_eq!(explained.status.code(), Some(2));
    let explained = String::from_utf8(explained.stderr).unwrap();
    let lines = explained.strip_prefix(&format!("error: cannot read the mapping table `{path}`: ")).unwrap();
    assert_eq!(lines.lines().count(), 20, "{lines}");

    let manifest = table_manifest(mistakes);
    wait_checked(&shipped);
    for flags in [&["apply"][..], &["apply", "--server-side", "--force-conflicts"], &["replace"]] {
        let said = shipped.plane.kubectl.run(&[flags, &["--filename", "-"]].concat(), &manifest);
        assert!(!said.ok, "{}", said.stdout);
        let (_, denied) = said.stderr.split_once("denied the request: ").expect(&said.stderr);
        let expected =
            format!("cannot read the mapping table in ConfigMap `portolan/portolan-table`: {lines}");
        assert_eq!(denied.trim_end(), expected.trim_end(), "{}", said.stderr);
        assert!(said.stderr.starts_with("Error from server (Forbidden)"), "{}", said.stderr);
    }

    assert_eq!(stored(), before);
    let metrics = shipped.portolan.ops("/metrics").unwrap().1;
    assert!(metrics.contains("portolan_table_errors_total 0\n"), "nothing broken was stored: {metrics}");
    assert!(
        metrics.contains("portolan_validations_total{result=\"denied\"} 3\n"),
        "dry runs do not count: {metrics}"
    );

    // Also what is created, and a lock.
    let lock = config_map(
        "apps",
        &json!({"portolan.dev/lock": "true"}),
        "apps",
        "registry.example.com/hub/nginx:1\n",
    );
    let said = shipped.plane.kubectl.run(&["create", "--filename", "-"], &lock);
    let expected = "labelled `portolan.dev/lock=true`: ConfigMap `apps`, key `apps`: line 1, column ";
    assert!(!said.ok && said.stderr.contains(expected), "{}{}", said.stdout, said.stderr);
    Ok(())
}

fn what_is_odd_is_stored_with_warnings_and_other_config_maps_without_a_look() -> Outcome {
    let shipped = Shipped::install()?;
    let apply = |manifest: &str| shipped.plane.kubectl.must(&["apply", "--filename", "-"], manifest);
    let checks = || {
        let metrics = shipped.portolan.ops("/metrics").unwrap().1;
        let lines = metrics.lines().filter(|line| line.starts_with("portolan_validations_total"));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap()).sum::<u32>()
    };
    wait_checked(&shipped);

    let odd = format!(
        "{HEAD}rules: []\nregistries:\n  - {{host: r.example, plainHttp: true, credentials: harbor}}\n"
    );
    let said = apply(&table_manifest(&odd));
    let warnings: Vec<_> =
        said.stderr.lines().filter(|line| line.starts_with("Warning: portolan: ")).collect();
    let [warning] = warnings[..] else { panic!("{}", said.stderr) };
    assert!(warning.contains("line 5, column ") && warning.contains("plainHttp"), "{warning}");
    let stored = shipped.plane.api.read(TABLE).unwrap();
    assert_eq!(stored["data"]["table.yaml"], odd);
    let lock = config_map("no-lock", &json!({"portolan.dev/lock": "yes"}), "apps", "no line of a lock\n");
    let said = apply(&lock);
    assert!(
        said.stderr.contains("Warning: portolan: label `portolan.dev/lock` is not `true`"),
        "{}",
        said.stderr
    );
    assert_eq!(checks(), 2);

    for (namespace, name) in [("portolan", "another"), ("default", "portolan-table"), ("default", "lock")] {
        let labels = json!(if name == "lock" { json!({"portolan.dev/lock": "true"}) } else { json!({}) });
        let manifest = config_map(name, &labels, "table.yaml", "rules: [")
            .replace("\"portolan\"", &format!("\"{namespace}\""));
        let said = apply(&manifest);
        assert!(said.stdout.contains("created") && !said.stderr.contains("portolan"), "{}", said.stderr);
    }
    assert_eq!(checks(), 2, "nobody asked about the others");

    // What contradicts a lock that is there is said at once, and by the watch's own words later.
    let locks = json!({"portolan.dev/lock": "true"});
    let lock = |name: &str, hex: &str| {
        config_map(name, &locks, "apps", &format!("r.example/hub/nginx:1 sha256:{}\n", hex.repeat(64)))
    };
    let said = apply(&lock("lock-one", "a"));
    assert!(!said.stderr.contains("portolan: "), "{}", said.stderr);
    eventually(LIMIT, || {
        let metrics = shipped.portolan.ops("/metrics").unwrap().1;
        if metrics.contains("portolan_lock_lines 1\n") { Ok(()) } else { Err(metrics) }
    });
    let said = apply(&lock("lock-two", "b"));
    let start = "Warning: portolan: the lock will not be in force: ConfigMap `lock-two`, key `apps`: line 1, column 1: ";
    let end = "on line 1 of ConfigMap `lock-one`, key `apps`; remove one of the two lines";
    let warning = said.stderr.lines().find(|line| line.starts_with(start) && line.ends_with(end));
    assert!(warning.is_some(), "{}", said.stderr);
    eventually(LIMIT, || {
        let report = shipped.portolan.ops("/readyz?verbose").unwrap().1;
        if report.contains("on line 1 of ConfigMap `lock-one`, key `apps`") { Ok(()) } else { Err(report) }
    });
    // With the other one mended nothing is left to say.
    assert!(!apply(&lock("lock-one", "b")).stderr.contains("portolan: "));
    Ok(())
}

fn a_broken_table_that_got_in_while_portolan_was_away_is_said_and_the_last_good_one_used() -> Outcome {
    let mut shipped = Shipped::install()?;
    for color in ["red", "blue"] {
        shipped.registry.push(&format!("{color}/library/nginx"), "1.25");
    }
    shipped.set_rules(&rules("red"));
    let kept = |shipped: &Shipped, color: &str| {
        eventually(LIMIT, || {
            let map = shipped.plane.api.read(LAST_GOOD).map_err(|refusal| refusal.message)?;
            let text = map["data"]["table.yaml"].as_str().unwrap_or_default().to_owned();
            if text.contains(&format!("/{color}]")) { Ok(()) } else { Err(text) }
        });
    };
    kept(&shipped, "red");
    assert_eq!(events(&shipped), Vec::<Value>::new());

    shipped.portolan.process.kill();
    let broken = Scene::table(&shipped.registry, &rules("blue").replace("source", "sorce"), &[]);
    shipped.plane.kubectl.must(&["apply", "--filename", "-"], &table_manifest(&broken));
    shipped.start_again()?;

    let report = shipped.portolan.ops("/readyz?verbose").unwrap().1;
    for expected in
        ["[+] table ok: line 4", "sorce", "as kept in ConfigMap `portolan-table-last-good`", "\nready\n"]
    {
        assert!(report.contains(expected), "`{expected}` is not in {report}");
    }
    let metrics = shipped.portolan.ops("/metrics").unwrap().1;
    for expected in ["portolan_table_errors_total 1\n", "portolan_table_last_good_in_force 1\n"] {
        assert!(metrics.contains(expected), "`{expected}` is not in {metrics}");
    }
    let event = eventually(LIMIT, || events(&shipped).pop().ok_or_else(|| shipped.portolan.process.output()));
    assert_eq!((&event["reason"], &event["type"]), (&json!("TableRefused"), &json!("Warning")));
    assert!(event["note"].as_str().unwrap().contains("line 4"), "{event}");
    let described =
        shipped.plane.kubectl.must(&["--namespace=portolan", "describe", "configmap/portolan-table"], "");
    assert!(described.stdout.contains("TableRefused"), "{}", described.stdout);
    assert_eq!(dry_run(&shipped), pinned(&shipped, "red"), "Pods go by the last good table");

    // Mended, it is in force at once, and kept.
    let good = Scene::table(&shipped.registry, &rules("blue"), &[]);
    shipped.plane.kubectl.must(&["apply", "--filename", "-"], &table_manifest(&good));
    eventually(LIMIT, || {
        let came = dry_run(&shipped);
        if came == pinned(&shipped, "blue") { Ok(()) } else { Err(came) }
    });
    kept(&shipped, "blue");
    assert!(shipped.portolan.ops("/readyz?verbose").unwrap().1.contains("[+] table ok\n"));
    let metrics = shipped.portolan.ops("/metrics").unwrap().1;
    for expected in [
        "portolan_table_last_good_in_force 0\n",
        "portolan_table_last_good_errors_total 0\n",
        "portolan_event_errors_total 0\n",
    ] {
        assert!(metrics.contains(expected), "`{expected}` is not in {metrics}");
    }
    assert_eq!(events(&shipped).len(), 1);
    Ok(())
}

/// The Events of Portolan on the table's ConfigMap.
fn events(shipped: &Shipped) -> Vec<Value> {
    let all = shipped.plane.api.list("/apis/events.k8s.io/v1/namespaces/portolan/events");
    let ours = |event: &Value| {
        event["reportingController"] == "portolan" && event["regarding"]["name"] == "portolan-table"
    };
    all.into_iter().filter(ours).collect()
}

/// Waits until the API server asks about edits: it learns of a changed configuration a moment after it was written.
fn wait_checked(shipped: &Shipped) {
    let manifest = table_manifest("rules: [");
    eventually(LIMIT, || {
        let said = shipped.plane.kubectl.run(&["apply", "--dry-run=server", "--filename", "-"], &manifest);
        if said.ok { Err(said.stdout) } else { Ok(()) }
    });
}

fn table_manifest(text: &str) -> String {
    config_map("portolan-table", &json!({"app.kubernetes.io/name": "portolan"}), "table.yaml", text)
}

fn config_map(name: &str, labels: &Value, key: &str, text: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "portolan", "labels": labels}, "data": {key: text},
    })
    .to_string()
}

/// What the image of a new Pod comes out as.
fn dry_run(shipped: &Shipped) -> String {
    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": "nginx:1.25"}]}});
    let path = "/api/v1/namespaces/default/pods?dryRun=All";
    image(&shipped.plane.api.create(path, &pod).unwrap(), "containers/web").to_owned()
}

fn pinned(shipped: &Shipped, color: &str) -> String {
    let repository = format!("{color}/library/nginx");
    let digest = shipped.registry.digest(&repository, "1.25");
    format!("{}/{repository}:1.25@{digest}", shipped.registry.host())
}

fn rules(color: &str) -> String {
    format!("rules:\n  - source: docker.io\n    mirrors: [MIRROR/{color}]\n")
}

const HEAD: &str = "apiVersion: portolan.dev/v1\nkind: MappingTable\n";
const TABLE: &str = "/api/v1/namespaces/portolan/configmaps/portolan-table";
const LAST_GOOD: &str = "/api/v1/namespaces/portolan/configmaps/portolan-table-last-good";
const LIMIT: Duration = Duration::from_secs(60);
