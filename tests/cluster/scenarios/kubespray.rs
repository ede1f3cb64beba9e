//! Scenario 5: the images of a Kubespray cluster. docs/scenarios/kubespray.md tells it to people.

use std::fmt::Write as _;

use super::crossing::Crossing;
use crate::{
    projects::Mirrors,
    support::{Access, Image, Missing, Outcome, repository},
};

pub fn what_kubespray_registers_by_hand_crosses_into_a_project_behind_a_login() -> Outcome {
    let file = repository().parent().unwrap().join("shared/mirrors/kubespray/offline-v2.24.0.enabled.yml");
    let offline =
        std::fs::read_to_string(&file).map_err(|_| Missing(format!("{} is not there", file.display())))?;
    let hosts = ["docker.io", "gcr.io", "ghcr.io", "quay.io", "registry.k8s.io"];
    let mut crossing = Crossing::between(&hosts, Access::Login)?;
    for name in IMAGES {
        crossing.publish(name, &Image::standing(name, &[])?);
    }

    // As generate_list.sh leaves it.
    crossing.write("images.list", &(IMAGES.join("\n") + "\n"));
    crossing.succeed(&["save", "--images", "images.list", "bundle.tar"], "");
    crossing.cut();

    // The one line that everybody edits there.
    let host = crossing.scene.registry.host();
    let line = offline.lines().find(|line| line.starts_with("registry_host:")).unwrap();
    crossing.write("offline.yml", &offline.replace(line, &format!("registry_host: \"{host}/k8s\"")));
    let imported = crossing.succeed(&["import", "kubespray", "offline.yml"], "");
    let warned = "warning: images with equal paths below `docker.io`, `gcr.io`, `ghcr.io`, `registry.k8s.io` and \
                  `quay.io` have one place";
    assert!(imported.stderr.contains(warned), "{}", imported.stderr);
    let table = |more: &str| {
        let entry = crossing.scene.registry.entry(&["credentials: harbor-pull", "pullSecret: harbor-pull"]);
        format!("{}{more}registries:\n{entry}", imported.stdout)
    };

    // What was warned of: two of the list have one path. One arrives, the other is named and not put over it.
    let load = ["load", "bundle.tar", "--table", "table.yaml", "--lock", "lock.txt"];
    crossing.write("table.yaml", &table(""));
    let clashed = crossing.run(&load, "");
    assert_eq!(clashed.code, 1, "{}", clashed.stderr);
    assert!(clashed.stderr.contains("give one of them a rule of its own"), "{}", clashed.stderr);
    let table = table(&format!("  - source: gcr.io/coreos\n    mirrors: [\"{host}/k8s/gcr.io/coreos\"]\n"));
    crossing.write("table.yaml", &table);
    crossing.succeed(&load, "");
    crossing.succeed(&["check", "--table", "table.yaml", "--lock", "lock.txt", "images.list"], "");

    // Its own manifests are templates of Ansible's. This one is ours, with a container for every image.
    crossing.install(&table, &crossing.read("lock.txt"));
    crossing.take_in(NAMESPACE);
    crossing.write("addons.yaml", &addons());
    crossing.apply(MIRRORS, &crossing.folder.join("addons.yaml"), &[]);
    crossing.scene.password_is_nowhere();
    Ok(())
}

fn addons() -> String {
    let mut text = String::new();
    for (number, name) in IMAGES.iter().enumerate() {
        write!(
            text,
            "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: addon-{number}, namespace: {NAMESPACE}}}
spec:
  selector: {{matchLabels: {{app: addon-{number}}}}}
  template:
    metadata: {{labels: {{app: addon-{number}}}}}
    spec:
      containers:
      - {{name: addon, image: '{name}', args: [--v=2]}}
"
        )
        .unwrap();
    }
    text
}

const NAMESPACE: &str = "kubespray-addons";

/// One of each source, named as Kubespray names them, and one path that two sources have.
const IMAGES: [&str; 7] = [
    "docker.io/library/nginx:1.25.2-alpine",
    "gcr.io/coreos/etcd:v3.5.10",
    "ghcr.io/kube-vip/kube-vip:v0.5.12",
    "quay.io/calico/node:v3.26.4",
    "quay.io/coreos/etcd:v3.5.10",
    "registry.k8s.io/coredns/coredns:v1.10.1",
    "registry.k8s.io/pause:3.9",
];

const MIRRORS: Mirrors<'_> = &[
    ("gcr.io/coreos", "k8s/gcr.io/coreos"),
    ("docker.io", "k8s"),
    ("gcr.io", "k8s"),
    ("ghcr.io", "k8s"),
    ("quay.io", "k8s"),
    ("registry.k8s.io", "k8s"),
];
