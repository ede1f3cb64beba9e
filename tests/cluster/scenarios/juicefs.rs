//! Scenario 1: the CSI driver of `JuiceFS`. docs/scenarios/juicefs.md tells it to people.

use std::fs;

use serde_json::json;

use super::crossing::Crossing;
use crate::{
    projects::{Mirrors, manifest},
    support::{Access, Image, Outcome, Scene},
};

pub fn juicefs_csi_crosses_the_gap_with_the_pods_that_its_controller_makes() -> Outcome {
    let file = manifest("juicefs-csi/k8s.yaml")?;
    let path = file.to_str().unwrap();
    let mut crossing = Crossing::between(&["docker.io", "quay.io"], Access::Plain)?;
    crossing.makes(&["/var/lib/juicefs", "/var/lib/juicefs/volume", "/var/lib/juicefs/config"]);
    for name in DRIVER.iter().chain([&MOUNT]) {
        crossing.publish(name, &Image::standing(name, &["mount.juicefs"])?);
    }

    // With a way out: what the manifest names, and what only the driver's controller knows.
    let listed = crossing.succeed(&["images", path], "").stdout;
    assert_eq!(listed.lines().collect::<Vec<_>>(), DRIVER);
    crossing.write("images.txt", &format!("{listed}# its controller makes Pods of this one\n{MOUNT}\n"));
    crossing.succeed(&["save", "--images", "images.txt", "bundle.tar"], "");

    // Without: the bundle, the manifest, and a table of two rules into one project.
    crossing.cut();
    let table = Scene::table(&crossing.scene.registry, RULES, &[]);
    crossing.write("table.yaml", &table);
    let check = ["check", "--table", "table.yaml", "--lock", "lock.txt", path, "images.txt"];
    crossing.write("lock.txt", "");
    let before = crossing.run(&check, "");
    assert_eq!(before.code, 1, "{}{}", before.stdout, before.stderr);
    crossing.succeed(&["load", "bundle.tar", "--table", "table.yaml", "--lock", "lock.txt"], "");
    crossing.succeed(&check, "");

    // It lives in kube-system, which is left alone unless its label says otherwise.
    crossing.install(&table, &crossing.read("lock.txt"));
    crossing
        .scene
        .plane
        .kubectl
        .must(&["label", "namespace", "kube-system", "portolan.dev/rewrite=enabled"], "");
    crossing.scene.take_in("kube-system");
    crossing.apply(MIRRORS, &file, &[]);

    // As the driver's controller makes it, from a setting of its own.
    let mount = json!({
        "metadata": {"name": "juicefs-real-pvc-5d8f2c41"},
        "spec": {
            "nodeName": "real", "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "jfs-mount", "image": MOUNT, "securityContext": {"privileged": true},
                "command": ["sh", "-c", "/bin/mount.juicefs redis://redis.kube-system/1 /jfs/pvc-5d8f2c41"],
            }],
        },
    });
    crossing.create("kube-system", &mount, &crossing.pinned(MIRRORS, MOUNT));
    assert!(!fs::read_to_string(&file).unwrap().contains(&crossing.scene.registry.host()));
    Ok(())
}

/// What the manifest names, in the order of `portolan images`.
const DRIVER: [&str; 4] = [
    "juicedata/juicefs-csi-driver:v0.17.0",
    "quay.io/k8scsi/csi-node-driver-registrar:v2.1.0",
    "quay.io/k8scsi/csi-provisioner:v1.6.0",
    "quay.io/k8scsi/livenessprobe:v1.1.0",
];

const MOUNT: &str = "juicedata/mount:v1.0.2-4.8.2";

const MIRRORS: Mirrors<'_> = &[("docker.io/juicedata", "juicedata"), ("quay.io/k8scsi", "juicedata")];

const RULES: &str = "rules:
  - source: docker.io/juicedata
    mirrors: [MIRROR/juicedata]
  - source: quay.io/k8scsi
    mirrors: [MIRROR/juicedata]
";
