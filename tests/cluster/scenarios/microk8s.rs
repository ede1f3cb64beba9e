//! Scenario 2: `MicroK8s` in an air gap. docs/scenarios/microk8s.md tells it to people.
//!
//! By hand there are three options, of which more than one may be needed: a proxy, mirrors that every node is told of, and
//! bundles loaded into every node.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

use super::crossing::Crossing;
use crate::{
    projects::Mirrors,
    support::{Access, ControlPlane, Image, Outcome, Registry, authority_pem, eventually, image, installed},
};

pub fn what_nodes_were_told_by_hand_becomes_a_table_and_nodes_are_told_the_rest() -> Outcome {
    let ctr = installed("ctr", "containerd")?;
    let mut crossing = Crossing::between(&["docker.io", "quay.io", "registry.k8s.io"], Access::Plain)?;
    // One mirror is on loopback and without TLS. The other has an address as a company's has, and its certificate is of the
    // company's own authority: commands reach it through the proxy unless they are told not to.
    let address = node_address(&crossing.scene.plane);
    let private = Registry::start_at(&address, Access::Named(Vec::new()))?;
    let (mut digests, mut configurations) = (BTreeMap::new(), BTreeMap::new());
    for name in [WEB, TOOL, STATIC, SIDE_LOADED] {
        let image = Image::standing(name, &[])?;
        crossing.publish(name, &image);
        digests.insert(name, image.index.digest.clone());
        // That of the node's platform.
        let configuration = image.blobs.iter().find(|blob| blob.media.contains(".config.")).unwrap();
        configurations.insert(name, configuration.digest.clone());
    }

    // Option B as it is done by hand: a folder for each upstream, as it lies on every node.
    let plain = crossing.scene.registry.host();
    for host in ["docker.io", "registry.k8s.io"] {
        crossing.tell_nodes(host, &format!("http://{plain}"), "");
    }
    crossing.tell_nodes("quay.io", &format!("https://{}", private.host()), "ca = 'ca.crt'\n");
    fs::write(crossing.folder.join("by-hand/quay.io/ca.crt"), authority_pem()).unwrap();
    let table = crossing.succeed(&["import", "hosts.toml", "by-hand"], "").stdout;
    for expected in [
        format!("- source: docker.io\n    mirrors: [\"{plain}\"]\n"),
        format!("- source: quay.io\n    mirrors: [\"{}\"]\n", private.host()),
        format!("- host: \"{plain}\"\n    plainHttp: true\n"),
        format!("- host: \"{}\"\n    ca: |\n      -----BEGIN CERTIFICATE-----\n", private.host()),
    ] {
        assert!(table.contains(&expected), "{expected} in {table}");
    }
    crossing.write("table.yaml", &table);

    // Option A: from here the world is reached through a proxy only, and the proxy does not know the mirror.
    crossing.write("images.txt", &format!("{WEB}\n{TOOL}\n{STATIC}\n"));
    crossing.write("side-loaded.txt", SIDE_LOADED);
    crossing.succeed(&["save", "--images", "images.txt", "bundle.tar"], "");
    crossing.succeed(&["save", "--images", "side-loaded.txt", "side-loaded.tar"], "");
    crossing.write("tool.txt", TOOL);
    let copy = |no_proxy: &str| {
        let arguments = ["copy", "--images", "tool.txt", "--table", "table.yaml", "--retries", "0"];
        let output = crossing.command(&arguments).env("NO_PROXY", no_proxy).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = copy("");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&private.host()), "{said}");
    assert!(private.accesses().is_empty(), "{:?}", private.accesses());
    let (code, said) = copy(&format!("other.example,{address}"));
    assert_eq!(code, Some(0), "{said}");
    assert!(private.requests(&["PUT"], "/v2/coreos/etcd/manifests/v3.5.9") > 0, "{:?}", private.accesses());

    // Without a way out: both mirrors are loaded, and Pods are moved to either.
    crossing.cut();
    crossing.succeed(&["load", "bundle.tar", "--table", "table.yaml", "--lock", "lock.txt"], "");
    crossing.succeed(&["check", "--table", "table.yaml", "--lock", "lock.txt", "images.txt"], "");
    // The node must reach the mirrors too, whatever it is told for the sources: `export` says how.
    let node = Told::by_export(&crossing);
    crossing.install(&table, &crossing.read("lock.txt"));
    crossing.scene.take_in("microk8s");
    crossing.write("web.yaml", DEPLOYMENT);
    crossing.apply(MIRRORS, &crossing.folder.join("web.yaml"), &[]);
    let tool = format!("{}/coreos/etcd:v3.5.9@{}", private.host(), digests[TOOL]);
    crossing.create("microk8s", &pod("tool", TOOL), &tool);

    // What admission never sees is pulled by the name that it is written with, from the mirror, by the same files: the
    // sandbox image, static Pods; here a Pod of a namespace of which Portolan hears nothing.
    let unseen = crossing.node_runs("default", &pod("static", STATIC));
    assert_eq!(image(&unseen, "containers/app"), STATIC);
    assert!(image_id(&unseen).ends_with(&digests[STATIC]), "{}", image_id(&unseen));
    drop(node);

    // Option C: the same tar file into the node's containerd, by its names. No registry has this image.
    let socket = node_folder(&crossing.scene.plane).join("run-containerd/containerd.sock");
    let ctr = |arguments: &[&str]| {
        let mut command = Command::new(&ctr);
        command.arg("--address").arg(&socket).args(["--namespace", "k8s.io", "images"]).args(arguments);
        let output = command.current_dir(&crossing.folder).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    ctr(&["import", "side-loaded.tar"]);
    let mut never = pod("side-loaded", SIDE_LOADED);
    never["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    let ran = crossing.node_runs("microk8s", &never);
    assert_eq!(image(&ran, "containers/app"), SIDE_LOADED, "there is nothing to pull: it is left as written");
    // What was pulled from nowhere has no digest of a repository's.
    assert!(image_id(&ran).ends_with(&configurations[SIDE_LOADED]), "{}", image_id(&ran));
    ctr(&["rm", SIDE_LOADED]);
    Ok(())
}

impl Crossing {
    /// Writes what containerd goes by for one upstream, as `MicroK8s`' documentation has it.
    fn tell_nodes(&self, host: &str, mirror: &str, more: &str) {
        let folder = self.folder.join("by-hand").join(host);
        fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "server = \"{mirror}\"\n\n[host.\"{mirror}\"]\ncapabilities = [\"pull\", \"resolve\"]\n{more}",
        );
        fs::write(folder.join("hosts.toml"), text).unwrap();
    }

    /// Creates a Pod that Portolan leaves alone, and waits until the node runs it. It is gone afterwards.
    fn node_runs(&self, namespace: &str, pod: &Value) -> Value {
        let api = self.scene.api();
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        api.create(&path, pod).unwrap();
        let path = format!("{path}/{}", pod["metadata"]["name"].as_str().unwrap());
        let ran = eventually(RUN_LIMIT, || {
            let pod = api.read(&path).unwrap();
            if pod["status"]["phase"] == "Running" { Ok(pod) } else { Err(pod["status"].clone()) }
        });
        api.delete(&path).unwrap();
        ran
    }
}

/// What `export hosts.toml` told the node, which is shared with other tests: it is taken back.
struct Told(Vec<PathBuf>);

impl Told {
    fn by_export(crossing: &Crossing) -> Self {
        let folder = Path::new(crossing.scene.plane.ready["nodeRegistryConfig"].as_str().unwrap());
        crossing.succeed(&["export", "hosts.toml", "--table", "table.yaml", "--dir", "certs.d"], "");
        let mut told = Self(Vec::new());
        for entry in fs::read_dir(crossing.folder.join("certs.d")).unwrap() {
            let entry = entry.unwrap();
            let to = folder.join(entry.file_name());
            // The mirror on loopback the node knows already.
            if to.exists() {
                continue;
            }
            fs::create_dir(&to).unwrap();
            told.0.push(to.clone());
            for file in fs::read_dir(entry.path()).unwrap() {
                let file = file.unwrap();
                fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
        told
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        for folder in &self.0 {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// What the node says that it runs.
fn image_id(pod: &Value) -> &str {
    pod["status"]["containerStatuses"][0]["imageID"].as_str().unwrap()
}

fn pod(name: &str, image: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "nodeName": "real", "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "app", "image": image}],
        },
    })
}

/// An address of the node's that is none of loopback's.
fn node_address(plane: &ControlPlane) -> String {
    let node = plane.api.read("/api/v1/nodes/real").unwrap();
    node["status"]["addresses"][0]["address"].as_str().unwrap().to_owned()
}

/// Where the node has what is in its own `/run`, seen from the machine.
fn node_folder(plane: &ControlPlane) -> PathBuf {
    Path::new(plane.ready["nodeRegistryConfig"].as_str().unwrap()).parent().unwrap().join("node")
}

const WEB: &str = "nginx:1.25";
const TOOL: &str = "quay.io/coreos/etcd:v3.5.9";
const STATIC: &str = "registry.k8s.io/kube-static:v1.29.0";
const SIDE_LOADED: &str = "docker.io/microk8s/side-loaded:v1";

/// Of the official image `library` is spelled out.
const MIRRORS: Mirrors<'_> = &[("docker.io", "library")];

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: microk8s
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {kubernetes.io/hostname: real}
      terminationGracePeriodSeconds: 0
      containers:
        - name: web
          image: nginx:1.25
";

const RUN_LIMIT: Duration = Duration::from_secs(180);
