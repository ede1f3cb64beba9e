//! Other projects' own manifests, applied unedited after what their own instructions apply before them.
//!
//! They are read in the folder `shared` beside the repository and never copied. From each file the test takes how
//! many Pods and images there have to be; none may be missing, and each must have the registry's digest.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    support::{Missing, Outcome, Shipped, eventually, image, repository},
    trials,
};

trials!["projects";
    juicefs_from_its_own_manifest,
    rook_from_its_own_manifests,
    longhorn_from_its_own_manifest,
    cert_manager_from_its_own_manifest,
];

/// Scenario 1. Its images are listed by hand there, retagged and edited into the manifest; here it is only applied.
fn juicefs_from_its_own_manifest() -> Outcome {
    let file = manifest("juicefs-csi/k8s.yaml")?;
    let shipped = Shipped::install()?;
    // It lives in kube-system, which is left alone unless its label says otherwise. Nothing else goes before it.
    shipped.plane.kubectl.must(&["label", "namespace", "kube-system", "portolan.dev/rewrite=enabled"], "");
    // The label reaches the API server's own cache a moment later.
    shipped.until_called("kube-system");
    let mirrors = [("docker.io/juicedata", "juicedata"), ("quay.io/k8scsi", "juicedata")];
    shipped.bring(&mirrors, &[("juicedata/mount", "v1.0.2-4.8.2")]);
    shipped.apply(&mirrors, &file, &[]);

    // As its controller makes a Mount Pod: straight through the API, from an image that no manifest names.
    let mount = json!({
        "metadata": {"name": "juicefs-paper-pvc"},
        "spec": {"containers": [{"name": "jfs-mount", "image": "juicedata/mount:v1.0.2-4.8.2"}]},
    });
    let mount = shipped.plane.api.create("/api/v1/namespaces/kube-system/pods", &mount).unwrap();
    assert_eq!(image(&mount, "containers/jfs-mount"), shipped.pinned("juicedata/mount", "v1.0.2-4.8.2"));
    Ok(())
}

/// Scenario 3. Before operator.yaml its instructions apply crds.yaml and common.yaml. The namespace and the account
/// of the latter are made here; the CRDs are not there, so the API server does not know a `CephCluster`.
fn rook_from_its_own_manifests() -> Outcome {
    let operator = manifest("rook/operator.yaml")?;
    let cluster = manifest("rook/cluster.yaml")?;
    let shipped = Shipped::install()?;
    shipped.plane.kubectl.must(&["create", "namespace", "rook-ceph"], "");
    shipped.plane.kubectl.must(&["-n=rook-ceph", "create", "serviceaccount", "rook-ceph-system"], "");
    let mirrors = [("docker.io/rook", "rook"), ("quay.io/ceph", "ceph")];
    shipped.bring(&mirrors, &[("ceph/ceph", "v17.2.3")]);
    shipped.apply(&mirrors, &operator, &[]);
    shipped.apply(&mirrors, &cluster, &["CephCluster"]);

    // As the operator makes its Pods: from the image that the custom resource names.
    let monitor = json!({
        "metadata": {"name": "rook-ceph-mon-a"},
        "spec": {"containers": [{"name": "mon", "image": "quay.io/ceph/ceph:v17.2.3"}]},
    });
    let monitor = shipped.plane.api.create("/api/v1/namespaces/rook-ceph/pods", &monitor).unwrap();
    assert_eq!(image(&monitor, "containers/mon"), shipped.pinned("ceph/ceph", "v17.2.3"));
    Ok(())
}

/// Its instructions apply nothing before it; its CRDs, which make no Pods, are not in the file here.
fn longhorn_from_its_own_manifest() -> Outcome {
    let file = manifest("longhorn/longhorn.yaml")?;
    let shipped = Shipped::install()?;
    let mirrors = [("docker.io/longhornio", "longhornio")];
    shipped.bring(&mirrors, &[]);
    shipped.apply(&mirrors, &file, &[]);
    Ok(())
}

/// Its instructions apply nothing before it; its CRDs, which make no Pods, are not in the file here.
fn cert_manager_from_its_own_manifest() -> Outcome {
    let file = manifest("cert-manager/cert-manager.yaml")?;
    let shipped = Shipped::install()?;
    let mirrors = [("quay.io/jetstack", "jetstack")];
    shipped.bring(&mirrors, &[]);
    shipped.apply(&mirrors, &file, &[]);
    Ok(())
}

/// Which prefix of a normalised reference becomes which prefix of the registry.
pub type Mirrors<'a> = &'a [(&'a str, &'a str)];

/// The Pods that one workload of a manifest has to have.
pub struct Expected {
    /// Its kind.
    pub kind: String,
    /// Where it is.
    pub namespace: String,
    /// What its Pods are labelled with.
    pub selector: String,
    /// How many it has to have.
    pub pods: usize,
    /// What the template writes, by the key of the sources annotation.
    pub images: BTreeMap<String, String>,
}

impl Shipped {
    /// Sets the table, and pushes what no manifest names.
    fn bring(&self, mirrors: Mirrors<'_>, images: &[(&str, &str)]) {
        let rule = |(source, mirror): &(&str, &str)| {
            format!("  - source: {source}\n    mirrors: [MIRROR/{mirror}]\n")
        };
        self.set_rules(&format!("rules:\n{}", mirrors.iter().map(rule).collect::<String>()));
        for (repository, tag) in images {
            self.registry.push(repository, tag);
        }
    }

    /// Applies the file and compares every Pod that comes of it with what the file and the registry say.
    fn apply(&self, mirrors: Mirrors<'_>, file: &Path, unknown: &[&str]) {
        let path = file.to_str().unwrap();
        let (objects, said) = self.plane.kubectl.objects(&["--filename", path]);
        assert_eq!(unknown_kinds(&said), unknown.iter().copied().collect(), "{said}");
        let expected: Vec<_> = objects.iter().filter_map(expected).collect();
        let mut repositories = BTreeMap::new();
        for text in expected.iter().flat_map(|workload| workload.images.values()) {
            let (repository, tag) = mirrored(mirrors, text);
            if repositories.insert(text.clone(), (repository.clone(), tag.clone())).is_none() {
                self.registry.push(&repository, &tag);
            }
        }

        let said = self.plane.kubectl.run(&["apply", "--filename", path], "");
        assert_eq!(unknown_kinds(&said.stderr), unknown.iter().copied().collect(), "{}", said.stderr);
        assert_eq!(said.ok, unknown.is_empty(), "{}", said.stderr);
        let applied = said.stdout.lines().count();
        assert_eq!(applied, objects.len(), "something was refused: {}{}", said.stdout, said.stderr);
        for kind in unknown {
            println!("{}: the API server does not know the kind {kind}, which was not applied", shown(file));
        }

        let mut checked = 0;
        for workload in &expected {
            let pods = eventually(Duration::from_secs(180), || {
                let selector = workload.selector.replace('=', "%3D").replace(',', "%2C").replace('/', "%2F");
                let path = format!("/api/v1/namespaces/{}/pods?labelSelector={selector}", workload.namespace);
                let pods = self.plane.api.list(&path);
                if pods.len() == workload.pods { Ok(pods) } else { Err((path, pods.len(), workload.pods)) }
            });
            for pod in pods {
                for (key, text) in &workload.images {
                    let (repository, tag) = &repositories[text];
                    assert_eq!(image(&pod, key), self.pinned(repository, tag), "{} {key}", workload.kind);
                    checked += 1;
                }
            }
        }
        println!("{}: {} workloads, {checked} images pinned", shown(file), expected.len());
    }

    fn pinned(&self, repository: &str, tag: &str) -> String {
        format!("{}/{repository}:{tag}@{}", self.registry.host(), self.registry.digest(repository, tag))
    }
}

/// What a workload of a manifest has to become on one node that never says that a Pod is ready.
pub fn expected(object: &Value) -> Option<Expected> {
    let spec = &object["spec"];
    let replicas = || usize::try_from(spec["replicas"].as_u64().unwrap_or(1)).unwrap();
    let kind = object["kind"].as_str().unwrap();
    let pods = match kind {
        "Deployment" => replicas(),
        // The second Pod waits for the first to be ready.
        "StatefulSet" => replicas().min(1),
        "DaemonSet" => 1,
        other => {
            assert!(spec["template"]["spec"]["containers"].is_null(), "what Pods does a {other} make?");
            return None;
        }
    };
    let labels = spec["selector"]["matchLabels"].as_object().unwrap();
    let selector: Vec<_> =
        labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap())).collect();
    let mut images = BTreeMap::new();
    for list in ["initContainers", "containers"] {
        for container in spec["template"]["spec"][list].as_array().into_iter().flatten() {
            let key = format!("{list}/{}", container["name"].as_str().unwrap());
            images.insert(key, container["image"].as_str().unwrap().to_owned());
        }
    }
    Some(Expected {
        kind: kind.to_owned(),
        namespace: object["metadata"]["namespace"].as_str().unwrap_or("default").to_owned(),
        selector: selector.join(","),
        pods,
        images,
    })
}

/// Where the table takes a reference: repository and tag. Written here without a line of Portolan's.
pub fn mirrored(mirrors: Mirrors<'_>, text: &str) -> (String, String) {
    let (name, tag) = text.rsplit_once(':').unwrap();
    let first = name.split('/').next().unwrap();
    let full = if first.contains('.') { name.to_owned() } else { format!("docker.io/{name}") };
    let (source, mirror) = mirrors
        .iter()
        .find(|(source, _)| full.starts_with(&format!("{source}/")))
        .unwrap_or_else(|| panic!("no rule for {text}"));
    (full.replacen(source, mirror, 1), tag.to_owned())
}

/// The kinds of which kubectl said that the API server does not know them; it may have said nothing else but
/// warnings.
pub fn unknown_kinds(said: &str) -> BTreeSet<&str> {
    let mut kinds = BTreeSet::new();
    for line in said.lines() {
        if let Some((_, rest)) = line.split_once("no matches for kind \"") {
            kinds.insert(rest.split('"').next().unwrap());
        } else {
            let is_harmless =
                line.starts_with("Warning: ") || line.contains("ensure CRDs are installed first");
            assert!(is_harmless, "refused: {line}");
        }
    }
    kinds
}

/// The file as it is called in `shared/manifests`.
fn shown(file: &Path) -> String {
    let parts: Vec<_> = file.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
    format!("{}/{}", parts[1], parts[0])
}

/// A file of `shared/manifests`.
pub fn manifest(path: &str) -> Result<PathBuf, Missing> {
    let file = repository().parent().unwrap().join("shared/manifests").join(path);
    if file.is_file() { Ok(file) } else { Err(Missing(format!("{} is not there", file.display()))) }
}
