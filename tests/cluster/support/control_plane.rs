//! Real control planes: etcd, API server, controllers and scheduler, and for some tests a node.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use serde_json::{Value, json};

use super::{Missing, Registry, api::Api, folder::folder, image::Image, kubectl::Kubectl};

/// Which control plane a test wants.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Plane {
    /// One for this test alone.
    Own,
    /// One for this test alone that knows `MutatingAdmissionPolicy`, which are off by default.
    OwnWithMutatingPolicies,
    /// One for this test alone, with a node that runs Pods.
    OwnWithNode,
    /// The one that most tests share. Its one node is an object only: nothing runs.
    Shared,
    /// The one with a node that runs Pods.
    WithNode,
}

/// A running control plane; it ends when its supervisor's stdin closes, so also when the tests are killed.
pub struct ControlPlane {
    /// The API server, as an administrator.
    pub api: Api,
    /// kubectl, likewise.
    pub kubectl: Kubectl,
    /// The line that the supervisor printed.
    pub ready: Value,
    audit_log: PathBuf,
    /// Holds the image that every Pod of a real node begins with.
    _sandbox: Option<Registry>,
    supervisor: Child,
    stdin: Option<ChildStdin>,
}

impl ControlPlane {
    /// Starts it, or takes the one that runs already.
    pub fn of(plane: Plane) -> Result<Arc<Self>, Missing> {
        if matches!(plane, Plane::Own | Plane::OwnWithMutatingPolicies | Plane::OwnWithNode) {
            return Self::start(plane).map(Arc::new);
        }
        // Two tests that ask at once wait for one start.
        let slot = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).entry(plane).or_default().clone();
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert_with(|| Self::start(plane).map(Arc::new)).clone()
    }

    fn start(plane: Plane) -> Result<Self, Missing> {
        let programs = programs()?;
        let folder = folder("control-plane");
        let mut command = Command::new(programs.join("control-plane"));
        // It wants an empty one.
        command.arg("up").arg("--dir").arg(folder.join("run"));
        if plane == Plane::OwnWithMutatingPolicies {
            command.arg("--mutating-policies");
        }
        let has_node = matches!(plane, Plane::OwnWithNode | Plane::WithNode);
        let sandbox = if has_node {
            let registry = Registry::plain()?;
            registry.push_image("pause", "1", &Image::busybox("sandbox")?);
            command.args(["--node", "--sandbox-image", &format!("{}/pause:1", registry.host())]);
            Some(registry)
        } else {
            None
        };
        let log = File::create(folder.join("supervisor.log")).unwrap();
        let mut supervisor =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let stdin = supervisor.stdin.take();
        let mut line = String::new();
        BufReader::new(supervisor.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            let status = supervisor.wait().unwrap();
            let log = fs::read_to_string(folder.join("supervisor.log")).unwrap_or_default();
            if status.code() == Some(CANNOT_BE_DONE_HERE) {
                return Err(Missing(log.lines().next().unwrap_or_default().to_owned()));
            }
            panic!("the control plane did not come up ({status}): {log}");
        };
        let path =
            |key: &str| PathBuf::from(ready[key].as_str().unwrap_or_else(|| panic!("no {key} in {ready}")));
        let kubeconfig = path("kubeconfig");
        let control_plane = Self {
            api: Api::connect(&kubeconfig),
            kubectl: Kubectl { program: path("bin").join("kubectl"), kubeconfig },
            audit_log: path("auditLog"),
            ready,
            _sandbox: sandbox,
            supervisor,
            stdin,
        };
        if !has_node {
            control_plane.add_node();
        }
        Ok(control_plane)
    }

    /// A node that is an object only. It takes no Pods, so that a deleted Pod is gone at once; a DaemonSet still
    /// makes its Pod for it.
    fn add_node(&self) {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": NODE, "labels": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}},
            "spec": {"unschedulable": true},
        });
        self.api.create("/api/v1/nodes", &node).unwrap();
    }

    /// Tells the real node how to reach a registry.
    pub fn let_node_reach(&self, registry: &Registry) {
        let host = registry.host();
        let folder = Path::new(self.ready["nodeRegistryConfig"].as_str().unwrap()).join(&host);
        fs::create_dir_all(&folder).unwrap();
        let hosts = match registry.authority() {
            Some(authority) => {
                let file = folder.join("ca.crt");
                fs::write(&file, authority).unwrap();
                format!("[host.\"https://{host}\"]\nca = \"{}\"\n", file.display())
            }
            None => format!("[host.\"http://{host}\"]\n"),
        };
        fs::write(folder.join("hosts.toml"), hosts).unwrap();
    }

    /// The configuration that ships, as objects.
    pub fn shipped_webhook(&self) -> Value {
        let file = repository().join("manifests/base/webhook.yaml");
        let (objects, _) = self.kubectl.objects(&["--filename", file.to_str().unwrap()]);
        objects
            .into_iter()
            .find(|object| object["kind"] == "MutatingWebhookConfiguration")
            .expect("manifests/base/webhook.yaml has the webhook configuration")
    }

    /// The events of the API server's own audit log about objects of that kind in that namespace.
    pub fn audit_events(&self, namespace: &str, resource: &str) -> Vec<Value> {
        let log = fs::read_to_string(&self.audit_log).unwrap();
        log.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|event| {
                event["objectRef"]["namespace"] == namespace && event["objectRef"]["resource"] == resource
            })
            .collect()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Whatever it ended with: the tests have said what they think of it.
        let _ = self.supervisor.wait();
    }
}

/// Ends those that tests shared.
pub fn stop_all() {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// The folder of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of the control plane's programs; built once, and kept for the next run.
pub fn programs() -> Result<PathBuf, Missing> {
    static BUILT: LazyLock<Result<PathBuf, Missing>> = LazyLock::new(|| {
        let script = repository().join("tests/cluster/control-plane/build");
        let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
        if output.status.code() == Some(CANNOT_BE_DONE_HERE) {
            return Err(Missing("the control plane cannot be built: Go is not installed".to_owned()));
        }
        assert!(output.status.success(), "the control plane cannot be built");
        Ok(String::from_utf8(output.stdout).unwrap().trim().into())
    });
    BUILT.clone()
}

/// A control plane, once somebody asked for it.
type Slot = Arc<Mutex<Option<Result<Arc<ControlPlane>, Missing>>>>;

static RUNNING: LazyLock<Mutex<HashMap<Plane, Slot>>> = LazyLock::new(Mutex::default);

/// The exit code of the supervisor and of the build scripts then; the first line that they say is why.
pub const CANNOT_BE_DONE_HERE: i32 = 2;

const NODE: &str = "paper";
