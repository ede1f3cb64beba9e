//! Scenario 3: Rook Ceph by an `ImageContentSourcePolicy` of `OpenShift`. docs/scenarios/openshift-icsp.md tells it to people.

use std::{fmt::Write as _, fs, path::PathBuf, process::Command, time::Duration};

use serde_json::{Value, json};

use super::crossing::{Crossing, runs};
use crate::{
    projects::{Mirrors, manifest},
    support::{Access, Image, Missing, Outcome, binary, eventually, folder, repository},
};

pub fn rook_ceph_crosses_the_gap_by_the_policy_of_openshift() -> Outcome {
    let (operator, cluster, list) =
        (manifest("rook/operator.yaml")?, manifest("rook/cluster.yaml")?, manifest("rook/images.txt")?);
    let policy = fs::read_to_string(policy()?).unwrap();
    let mut crossing =
        Crossing::between(&["docker.io", "quay.io", "registry.k8s.io"], Access::Named(Vec::new()))?;
    let list_text = fs::read_to_string(&list).unwrap();
    let names: Vec<_> = list_text.split_whitespace().collect();
    let images: Result<Vec<_>, _> = names
        .iter()
        .copied()
        .chain([TOOLBOX])
        .map(|name| Image::standing(name, &[]).map(|image| (name, image)))
        .collect();
    let images = images?;
    crossing.publish_all(&images);
    let by_digest = format!("quay.io/ceph/ceph@{}", images.last().unwrap().1.index.digest);
    let settings = settings(&names);
    crossing.write("settings.yaml", &settings);

    // With a way out: the project's own list, its manifests, and the settings of the site; one image by its digest.
    let of_site = crossing.succeed(&["images", "--guesses", "settings.yaml"], "").stdout;
    assert_eq!(of_site.lines().count(), KEYS.len(), "each value of the ConfigMap is an image: {of_site}");
    let paths = [&list, &operator, &cluster].map(|path| path.to_str().unwrap());
    let listed =
        crossing.succeed(&[&["images", "--guesses", "settings.yaml"], &paths[..]].concat(), "").stdout;
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(listed.lines().collect::<Vec<_>>(), sorted);
    crossing.write("images.txt", &format!("{listed}{by_digest}\n"));
    crossing.succeed(&["save", "--images", "images.txt", "bundle.tar"], "");

    // Without: the policy that the cluster has had, and a rule for each place from which Rook has moved its images since.
    crossing.cut();
    let mirror = crossing.scene.registry.host();
    crossing.write("icsp.yaml", &policy.replace(POLICY_MIRROR, &mirror));
    let table = crossing.succeed(&["import", "icsp", "icsp.yaml"], "").stdout;
    // Nothing is asked for across the gap.
    let table = table.replace(": keep", ": rewrite");
    let table = format!("{table}{}registries:\n{}", appended(&mirror), crossing.scene.registry.entry(&[]));
    crossing.write("table.yaml", &table);
    crossing.write("lock.txt", "");
    let check = ["check", "--table", "table.yaml", "--lock", "lock.txt", "images.txt", paths[1], paths[2]];
    assert_eq!(crossing.run(&check, "").code, 1);
    crossing.succeed(&["load", "bundle.tar", "--table", "table.yaml", "--lock", "lock.txt"], "");
    crossing.succeed(&check, "");
    // What the mirror has of each, index and every platform, is what its author has pushed.
    let carried = format!("{mirror}/ceph/ceph@{}", by_digest.split_once('@').unwrap().1);
    let mirrored = names.iter().map(|name| crossing.pinned(MIRRORS, name) + "\n").collect::<String>();
    crossing.write("mirrored.txt", &format!("{mirrored}{carried}\n"));
    crossing.succeed(&["save", "--table", "table.yaml", "--images", "mirrored.txt", "back"], "");
    for (name, image) in &images {
        for blob in [&image.index].into_iter().chain(&image.manifests).chain(&image.blobs) {
            let path = crossing.folder.join("back/blobs").join(blob.digest.replace(':', "/"));
            assert!(fs::read(path).is_ok_and(|bytes| bytes == blob.bytes), "{} of {name}", blob.digest);
        }
    }

    // As Rook's instructions say: what comes before the operator, the operator, a cluster. Nothing in them is edited.
    crossing.install(&table, &crossing.read("lock.txt"));
    crossing.scene.take_in("rook-ceph");
    crossing.write("before.yaml", BEFORE);
    crossing.prepare(&crossing.folder.join("before.yaml"));
    let kubectl = &crossing.scene.plane.kubectl;
    kubectl.must(&["wait", "--for=condition=Established", "crd/cephclusters.ceph.rook.io"], "");
    crossing.apply(MIRRORS, &operator, &[]);
    crossing.prepare(&cluster);
    kubectl.must(&["apply", "--server-side", "--field-manager=site", "--filename=-"], &settings);
    for path in &paths[1..] {
        assert!(!fs::read_to_string(path).unwrap().contains(&mirror));
    }

    // As the operator makes its Pods: from the custom resource, from the values of its ConfigMap, from what it was built
    // with.
    let of_cluster = crossing.scene.api().read(CLUSTER).unwrap()["spec"]["cephVersion"]["image"].clone();
    let ceph = of_cluster.as_str().unwrap();
    crossing.make("rook-ceph-mon-a", &[("mon", ceph), ("log-collector", ceph)], &|pod| {
        pod["spec"]["initContainers"] = json!([{
            "name": "chown-container-data-dir", "image": ceph,
            "command": ["sh", "-c", "chown --recursive ceph:ceph /var/log/ceph || true"],
        }]);
    });
    let data = crossing.scene.api().read(CONFIG_MAP).unwrap()["data"].clone();
    let of = |key: &str| data[key].as_str().unwrap_or_else(|| panic!("no {key} in {data}"));
    let provisioner = [
        ("csi-attacher", of("ROOK_CSI_ATTACHER_IMAGE")),
        ("csi-provisioner", of("ROOK_CSI_PROVISIONER_IMAGE")),
        ("csi-rbdplugin", of("ROOK_CSI_CEPH_IMAGE")),
        ("csi-resizer", of("ROOK_CSI_RESIZER_IMAGE")),
        ("csi-snapshotter", of("ROOK_CSI_SNAPSHOTTER_IMAGE")),
        ("csi-addons", named(&names, "k8s-sidecar")),
        ("volume-replication", named(&names, "volumereplication-operator")),
    ];
    crossing.make("csi-rbdplugin-provisioner", &provisioner, &|_| {});
    let plugin = [
        ("csi-nfsplugin", named(&names, "nfsplugin")),
        ("csi-rbdplugin", of("ROOK_CSI_CEPH_IMAGE")),
        ("driver-registrar", of("ROOK_CSI_REGISTRAR_IMAGE")),
    ];
    // Privileged and in the node's network, as the real ones are. What those load into the kernel and mount from the machine
    // is left out: there is no Ceph in a stand-in that could use it.
    crossing.make("csi-rbdplugin", &plugin, &|pod| {
        pod["spec"]["hostNetwork"] = json!(true);
        for container in pod["spec"]["containers"].as_array_mut().unwrap() {
            container["securityContext"] = json!({"privileged": true});
        }
    });
    let ran: Vec<_> =
        provisioner.iter().chain(&plugin).map(|(_, name)| *name).chain([ceph, OPERATOR]).collect();
    assert!(names.iter().all(|name| ran.contains(name)), "{names:?} {ran:?}");

    // A digest is not changed, and nothing is added to it.
    crossing.create("rook-ceph", &pod("rook-ceph-tools", &[("tools", &by_digest)]), &carried);
    Ok(())
}

/// What `OpenShift` 4.13 and later has in its place, and what its machine-config operator makes of it on every node.
pub fn the_policy_and_what_became_of_it_are_one_table() -> Outcome {
    let (policy, folder) = (policy()?, folder("policies"));
    let rows = [
        ("docker.io/ceph", "ceph"),
        ("docker.io/rook", "rook"),
        ("k8s.gcr.io/sig-storage", "sig-storage"),
        ("quay.io/cephcsi", "cephcsi"),
    ];
    let set = |kind: &str, list: &str| {
        let mut text =
            format!("apiVersion: config.openshift.io/v1\nkind: {kind}\nmetadata:\n  name: rook-ceph\n");
        writeln!(text, "spec:\n  {list}:").unwrap();
        for (source, path) in rows {
            writeln!(text, "  - source: {source}\n    mirrors: ['{POLICY_MIRROR}/{path}']").unwrap();
        }
        text
    };
    fs::write(folder.join("idms.yaml"), set("ImageDigestMirrorSet", "imageDigestMirrors")).unwrap();
    fs::write(folder.join("itms.yaml"), set("ImageTagMirrorSet", "imageTagMirrors")).unwrap();
    let mut registries =
        "unqualified-search-registries = ['registry.access.redhat.com', 'docker.io']\n".to_owned();
    for (source, path) in rows {
        writeln!(
            registries,
            "\n[[registry]]\n  prefix = ''\n  location = '{source}'\n  mirror-by-digest-only = true\n\n  \
             [[registry.mirror]]\n    location = '{POLICY_MIRROR}/{path}'",
        )
        .unwrap();
    }
    fs::write(folder.join("registries.conf"), registries).unwrap();

    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let images: Vec<_> = ["rook/ceph:v1.10.0", "quay.io/cephcsi/cephcsi:v3.7.0", "docker.io/ceph/ceph:v17"]
        .map(str::to_owned)
        .into_iter()
        .chain([
            format!("k8s.gcr.io/sig-storage/csi-attacher@{digest}"),
            "quay.io/ceph/ceph:v17.2.3".to_owned(),
        ])
        .collect();
    let expected = json!([
        format!("{POLICY_MIRROR}/rook/ceph:v1.10.0"),
        format!("{POLICY_MIRROR}/cephcsi/cephcsi:v3.7.0"),
        format!("{POLICY_MIRROR}/ceph/ceph:v17"),
        format!("{POLICY_MIRROR}/sig-storage/csi-attacher@{digest}"),
        // Rook has moved it since: a rule is to be appended.
        "quay.io/ceph/ceph:v17.2.3",
    ]);
    let run = |arguments: &[&str]| {
        let output = Command::new(binary()).args(arguments).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for (kind, file, warning) in [
        ("icsp", policy.to_str().unwrap(), "holds for images with a digest alone"),
        ("idms", "idms.yaml", "holds for images with a digest alone"),
        ("itms", "itms.yaml", "holds for images with a tag alone"),
        ("registries.conf", "registries.conf", "digest"),
    ] {
        for kind in [kind, "auto"] {
            let (table, said) = run(&["import", kind, file]);
            assert_eq!(said.matches(warning).count(), rows.len(), "{kind} {file}: {said}");
            fs::write(folder.join("table.yaml"), table).unwrap();
            let mut explain = vec!["explain", "--offline", "--table", "table.yaml", "-o", "json"];
            explain.extend(images.iter().map(String::as_str));
            let decided: Vec<Value> = serde_json::from_str(&run(&explain).0).unwrap();
            let results: Vec<_> = decided.iter().map(|one| one["result"].clone()).collect();
            assert_eq!(Value::from(results), expected, "{kind} {file}");
        }
    }
    Ok(())
}

impl Crossing {
    /// Creates a Pod as the operator does, with these containers, and waits until each runs the mirror's image.
    fn make(&self, name: &str, containers: &[(&str, &str)], change: &dyn Fn(&mut Value)) {
        let mut pod = pod(name, containers);
        change(&mut pod);
        let api = self.scene.api();
        let made = api.create("/api/v1/namespaces/rook-ceph/pods", &pod).unwrap();
        let path = format!("/api/v1/namespaces/rook-ceph/pods/{name}");
        eventually(RUN_LIMIT, || {
            let seen = api.read(&path).unwrap();
            for list in ["initContainers", "containers"] {
                for container in pod["spec"][list].as_array().into_iter().flatten() {
                    let key = format!("{list}/{}", container["name"].as_str().unwrap());
                    runs(&seen, &key, &self.pinned(MIRRORS, container["image"].as_str().unwrap()))?;
                }
            }
            Ok::<_, String>(())
        });
        assert_eq!(made["metadata"]["name"], name);
        api.delete(&path).unwrap();
    }
}

fn pod(name: &str, containers: &[(&str, &str)]) -> Value {
    let containers: Vec<_> =
        containers.iter().map(|(name, image)| json!({"name": name, "image": image})).collect();
    json!({
        "metadata": {"name": name},
        "spec": {"nodeName": "real", "terminationGracePeriodSeconds": 0, "containers": containers},
    })
}

/// What a site sets: the versions of the CSI images, by the names that their projects gave them.
fn settings(names: &[&str]) -> String {
    let mut text =
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: rook-ceph-operator-config\n  namespace: rook-ceph\ndata:\n"
            .to_owned();
    for (key, part) in KEYS {
        writeln!(text, "  {key}: {}", named(names, part)).unwrap();
    }
    text
}

fn named<'n>(names: &[&'n str], part: &str) -> &'n str {
    names.iter().find(|name| name.contains(&format!("/{part}:"))).unwrap()
}

/// The rules that the policy of that time has not: since then Rook takes images from elsewhere.
fn appended(mirror: &str) -> String {
    let rule = |(source, path)| format!("  - source: {source}\n    mirrors: ['{mirror}/{path}']\n");
    [
        ("quay.io/ceph", "ceph"),
        ("quay.io/csiaddons", "csiaddons"),
        ("registry.k8s.io/sig-storage", "sig-storage"),
    ]
    .map(rule)
    .concat()
}

fn policy() -> Result<PathBuf, Missing> {
    let file = repository().parent().unwrap().join("shared/mirrors/icsp/rook-ceph.yaml");
    if file.is_file() { Ok(file) } else { Err(Missing(format!("{} is not there", file.display()))) }
}

/// The mirror that the policy names.
const POLICY_MIRROR: &str = "airgap-45-lb.airgap-ocp45.ibmcloud.io.cpak:5000";

const OPERATOR: &str = "rook/ceph:v1.10.0";

/// Named by its digest.
const TOOLBOX: &str = "quay.io/ceph/ceph:v17.2.2";

/// The settings that are patched by hand, one by one, and what their images are called.
const KEYS: [(&str, &str); 6] = [
    ("ROOK_CSI_CEPH_IMAGE", "cephcsi"),
    ("ROOK_CSI_REGISTRAR_IMAGE", "csi-node-driver-registrar"),
    ("ROOK_CSI_RESIZER_IMAGE", "csi-resizer"),
    ("ROOK_CSI_PROVISIONER_IMAGE", "csi-provisioner"),
    ("ROOK_CSI_SNAPSHOTTER_IMAGE", "csi-snapshotter"),
    ("ROOK_CSI_ATTACHER_IMAGE", "csi-attacher"),
];

const MIRRORS: Mirrors<'_> = &[
    ("docker.io/rook", "rook"),
    ("quay.io/ceph", "ceph"),
    ("quay.io/cephcsi", "cephcsi"),
    ("quay.io/csiaddons", "csiaddons"),
    ("registry.k8s.io/sig-storage", "sig-storage"),
];

const CLUSTER: &str = "/apis/ceph.rook.io/v1/namespaces/rook-ceph/cephclusters/rook-ceph";

const CONFIG_MAP: &str = "/api/v1/namespaces/rook-ceph/configmaps/rook-ceph-operator-config";

/// Of Rook's crds.yaml and common.yaml as much as the API server wants.
const BEFORE: &str = "apiVersion: v1
kind: ServiceAccount
metadata:
  name: rook-ceph-system
  namespace: rook-ceph
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: cephclusters.ceph.rook.io
spec:
  group: ceph.rook.io
  names: {kind: CephCluster, listKind: CephClusterList, plural: cephclusters, singular: cephcluster}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

const RUN_LIMIT: Duration = Duration::from_secs(180);
