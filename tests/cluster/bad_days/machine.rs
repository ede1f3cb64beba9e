//! What a machine runs out of: time on its processors, memory, room on its disk.

use std::{fs, thread, time::Duration};

use futures::future::join_all;
use http::Method;
use serde_json::json;

use super::{
    Installation,
    installation::{LIMIT, Replica, WATCHED, restarts},
    span,
};
use crate::{
    support::{Outcome, eventually, runtime},
    trials,
};

trials!["bad_days::machine";
    with_a_twentieth_of_a_processor_all_are_rewritten,
    with_the_audit_logs_disk_full_all_are_rewritten,
    who_hits_its_memory_limit_is_started_again_and_the_other_goes_on,
];

fn with_a_twentieth_of_a_processor_all_are_rewritten() -> Outcome {
    let installation = Installation::start(&[], "")?;
    let resources = json!({"limits": {"cpu": "50m"}, "requests": {"cpu": "10m"}});
    installation
        .patch_template(&json!({"spec": {"containers": [{"name": "portolan", "resources": resources}]}}));
    installation.rolled_out(2);
    let replicas = installation.replicas();
    let quota = fs::read_to_string(replicas[0].control_group("cpu")?.join("cpu.cfs_quota_us")).unwrap();
    assert_eq!(quota.trim(), "5000", "of 100,000 µs");
    let ((), record) = installation.load.during("CPU at 5 %", |_| thread::sleep(span(5, 60)));
    record.none_failed().all_answered().none_unrewritten();
    Ok(())
}

fn with_the_audit_logs_disk_full_all_are_rewritten() -> Outcome {
    let installation = Installation::start(&[], "")?;
    let container = json!({
        "name": "portolan",
        "args": ["serve", "--tls-self", "--table-configmap=portolan/portolan-table", "--audit-log=/audit/log"],
        "volumeMounts": [{"name": "audit", "mountPath": "/audit"}],
    });
    let volume = json!({"name": "audit", "emptyDir": {"medium": "Memory", "sizeLimit": "16Ki"}});
    installation.patch_template(&json!({"spec": {"containers": [container], "volumes": [volume]}}));
    installation.rolled_out(2);
    let replicas = installation.replicas();
    installation.wait_connected(&replicas);
    let ((), record) = installation.load.during("disk full under the audit log", |_| {
        // One is full after some forty lines; the API server may well ask the same one all the time.
        eventually(LIMIT, || {
            let errors: Vec<_> =
                replicas.iter().map(|replica| replica.metric("portolan_audit_errors_total")).collect();
            if errors.iter().any(|errors| *errors > 0.0) { Ok(()) } else { Err(errors) }
        });
        thread::sleep(span(4, 60));
    });
    record.none_failed().all_answered().none_unrewritten();
    assert_eq!(installation.restarts(), 0);
    Ok(())
}

fn who_hits_its_memory_limit_is_started_again_and_the_other_goes_on() -> Outcome {
    let installation = Installation::start(&[], "")?;
    let replicas = installation.replicas();
    installation.wait_connected(&replicas);
    let victim = &replicas[0];
    let group = victim.control_group("memory")?;
    let (gap, record) = installation.load.during("memory limit hit", |clock| {
        thread::sleep(Duration::from_secs(1));
        let from = clock.now();
        // As if its limit were a little above what it has.
        let used: u64 =
            fs::read_to_string(group.join("memory.usage_in_bytes")).unwrap().trim().parse().unwrap();
        fs::write(group.join("memory.limit_in_bytes"), (used + ROOM).to_string()).unwrap();
        eventually(LIMIT, || {
            installation.make_big_pods();
            match installation.last_end(victim) {
                Some(reason) if reason == "OOMKilled" => Ok(()),
                other => Err(other),
            }
        });
        // Its endpoint goes after its Pod has said so.
        installation.wait_out(&replicas[..1]);
        let to = clock.now() + WATCHED;
        installation.rolled_out(2);
        thread::sleep(Duration::from_secs(1));
        (from, to)
    });
    record.none_failed().all_answered().none_unrewritten_but(&[gap]);
    Ok(())
}

impl Installation {
    /// How often containers of Portolan's were started again.
    fn restarts(&self) -> u64 {
        let pods = self.plane.api.list("/api/v1/namespaces/portolan/pods");
        pods.iter().map(restarts).sum()
    }

    /// Why its container ended last, if it did.
    fn last_end(&self, replica: &Replica) -> Option<String> {
        let pod = self.plane.api.read(&format!("/api/v1/namespaces/portolan/pods/{}", replica.name)).unwrap();
        let status = &pod["status"]["containerStatuses"][0];
        let ends = [&status["lastState"], &status["state"]];
        ends.iter().find_map(|state| Some(state["terminated"]["reason"].as_str()?.to_owned()))
    }

    /// Has the API server send reviews of a mebibyte, many at once.
    fn make_big_pods(&self) {
        let value = "x".repeat(1024 * 1024);
        let pod = json!({
            "metadata": {"name": "big"},
            "spec": {"containers": [
                {"name": "web", "image": self.load.written, "env": [{"name": "BIG", "value": value}]},
            ]},
        });
        let path = "/api/v1/namespaces/default/pods?dryRun=All";
        let make = || self.plane.api.request(Method::POST, path, Some(&pod));
        for made in runtime().block_on(join_all((0..20).map(|_| make()))) {
            made.expect("also a big Pod is admitted");
        }
    }
}

/// Less than twenty big reviews take.
const ROOM: u64 = 1024 * 1024;
