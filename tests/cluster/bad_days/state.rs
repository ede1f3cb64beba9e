//! What Portolan reads from the cluster, deleted.

use std::{thread, time::Duration};

use serde_json::json;

use super::{
    Installation, Load,
    installation::{LIMIT, Replica},
};
use crate::{
    support::{Outcome, Scene, eventually, runtime},
    trials,
};

trials!["bad_days::state";
    with_the_table_deleted_every_replica_starts_from_the_last_good_one,
    with_the_required_lock_deleted_pods_are_denied_and_none_gets_by,
];

fn with_the_table_deleted_every_replica_starts_from_the_last_good_one() -> Outcome {
    let installation = Installation::start(&[], "")?;
    let ((), record) = installation.load.during("table deleted, then all replicas restarted", |_| {
        installation.kubectl(&["delete", "configmap", "portolan-table"]);
        installation.kubectl(&["rollout", "restart", "deployment/portolan"]);
        installation.rolled_out(2);
    });
    record.none_failed().all_answered().none_unrewritten();
    for replica in installation.replicas() {
        assert!(replica.metric("portolan_table_last_good_in_force") > 0.0, "{}", replica.name);
    }
    Ok(())
}

fn with_the_required_lock_deleted_pods_are_denied_and_none_gets_by() -> Outcome {
    let installation = Installation::start(&[], "")?;
    let line = installation.load.expected.replace('@', " ");
    let lock = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"lock": line},
        "metadata": {"name": "lock", "namespace": "portolan", "labels": {"portolan.dev/lock": "true"}},
    })
    .to_string();
    let put_back = || _ = installation.plane.kubectl.must(&["apply", "--filename", "-"], &lock);
    put_back();
    let rules = "rules:\n  - source: docker.io\n    mirrors: [MIRROR/hub]\n    lock: require\n";
    let table = Scene::table(&installation.registry, rules, &[]);
    let patch = json!({"data": {"table.yaml": table}}).to_string();
    installation.kubectl(&["patch", "configmap/portolan-table", "--type=merge", "--patch", &patch]);
    // What is not locked is denied by then.
    let unlocked = Load { written: "redis:7".to_owned(), ..installation.load.clone() };
    eventually(LIMIT, || match runtime().block_on(unlocked.make_one("unlocked")) {
        Err((403, message)) if message.contains("not-locked") => Ok(()),
        other => Err(other),
    });
    thread::sleep(Duration::from_secs(1));
    installation.load.wait_rewritten();

    let ((), record) = installation.load.during("lock deleted under `require`", |_| {
        thread::sleep(Duration::from_secs(1));
        installation.kubectl(&["delete", "configmap", "lock"]);
        eventually(LIMIT, || match runtime().block_on(installation.load.make_one("deleted")) {
            Err((403, message)) if message.contains("not-locked") => Ok(()),
            other => Err(other),
        });
        // New replicas wait for a lock, and the old ones stay.
        let old = installation.replicas();
        installation.kubectl(&["rollout", "restart", "deployment/portolan"]);
        let new = eventually(LIMIT, || {
            let replicas = installation.replicas();
            let is_new = |replica: &Replica| old.iter().all(|old| old.name != replica.name);
            let new = replicas.into_iter().find(is_new).ok_or("no new replica")?;
            if waits_for_a_lock(&new) { Ok(new) } else { Err("it does not say that yet") }
        });
        thread::sleep(Duration::from_secs(3));
        assert!(waits_for_a_lock(&new), "{:?}", new.readiness());
        let left = installation.replicas();
        assert!(
            old.iter().all(|old| left.iter().any(|replica| replica.name == old.name)),
            "{old:?} {left:?}"
        );
        put_back();
        installation.rolled_out(2);
    });
    record.none_failed().none_unrewritten();
    assert!(record.denied() > 0);
    Ok(())
}

/// Whether it has a table that requires a lock, and is not ready for want of one. Never is it ready without.
fn waits_for_a_lock(replica: &Replica) -> bool {
    let Ok((status, said)) = replica.readiness() else { return false };
    assert_ne!(status, 200, "{} is ready without a lock: {said}", replica.name);
    said.contains("[+] table ok") && said.contains("[-] lock missing")
}
