//! Portolan as Pods on the real node, behind its Service: kubelet, probes and endpoints are Kubernetes' own.

use std::{fmt::Write as _, fs, path::PathBuf, process::Command, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::load::Load;
use crate::support::{ControlPlane, Missing, Registry, Scene, Site, ask, eventually, repository, runtime};

/// `certs/tls-self` on a control plane of its own, called by its API server.
pub struct Installation {
    /// The control plane.
    pub plane: Arc<ControlPlane>,
    /// The registry that mirrors.
    pub registry: Registry,
    /// Pods that Portolan makes something of.
    pub load: Load,
}

/// A Pod of Portolan's.
#[derive(Debug)]
pub struct Replica {
    /// Its name.
    pub name: String,
    address: String,
    uid: String,
    restarts: u64,
}

impl Installation {
    /// Installs two replicas with these flags more and these lines of the rule, and waits until they are called.
    pub fn start(flags: &[&str], rule: &str) -> Result<Self, Missing> {
        let site = Site::plain()?;
        let expected = site.rewritten();
        let Site { plane, registry, .. } = site;
        let load = Load {
            api: plane.api.clone(),
            namespace: "default".to_owned(),
            written: "nginx:1.25".to_owned(),
            expected,
        };

        let kustomization = repository().join("certs/tls-self");
        let rendered = plane.kubectl.must(&["kustomize", kustomization.to_str().unwrap()], "").stdout;
        let image = format!("{}/portolan/", registry.host());
        let mut arguments = "- serve\n".to_owned();
        for flag in flags {
            writeln!(arguments, "        - {flag}").unwrap();
        }
        let manifest =
            rendered.replace("registry.example.com/portolan/", &image).replacen("- serve\n", &arguments, 1);
        assert!(manifest.contains(&image) && manifest.contains(&arguments), "{manifest}");
        plane.kubectl.must(&["apply", "--filename", "-"], &manifest);
        let rules = format!("rules:\n  - source: docker.io\n    mirrors: [MIRROR/hub]\n{rule}");
        let table = json!({"data": {"table.yaml": Scene::table(&registry, &rules, &[])}}).to_string();
        let installation = Self { plane, registry, load };
        installation.kubectl(&["patch", "configmap/portolan-table", "--type=merge", "--patch", &table]);
        installation.rolled_out(2);
        Ok(installation)
    }

    /// kubectl in Portolan's namespace; what it printed.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.plane.kubectl.must(&[&["--namespace=portolan"], arguments].concat(), "").stdout
    }

    /// Edits the Pods' template by a strategic merge patch.
    pub fn patch_template(&self, template: &Value) {
        let patch = json!({"spec": {"template": template}}).to_string();
        self.kubectl(&["patch", "deployment/portolan", "--patch", &patch]);
    }

    /// Waits until there are so many replicas, all ready and of the last edit, and no others.
    pub fn rolled_out(&self, count: u64) {
        eventually(LIMIT, || {
            let path = "/apis/apps/v1/namespaces/portolan/deployments/portolan";
            let deployment = self.plane.api.read(path).map_err(|refusal| refusal.message)?;
            let status = &deployment["status"];
            let is_seen = status["observedGeneration"] == deployment["metadata"]["generation"];
            let all = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"];
            let pods = self.plane.api.list("/api/v1/namespaces/portolan/pods").len() as u64;
            if is_seen && all.iter().all(|key| status[key] == count) && pods == count {
                Ok(())
            } else {
                Err(format!("{pods} Pods: {status}"))
            }
        });
        self.wait_endpoints(count);
        self.load.wait_rewritten();
    }

    /// Waits until the endpoints that are called are so many.
    pub fn wait_endpoints(&self, count: u64) {
        eventually(LIMIT, || {
            let ready = self.endpoints().len() as u64;
            if ready == count { Ok(()) } else { Err(format!("{ready} endpoints are ready")) }
        });
    }

    /// Waits until none of these, who have died, is called any more: its endpoint is out, or it has begun anew and is
    /// ready again, as may come too soon to be seen.
    pub fn wait_out(&self, replicas: &[Replica]) {
        eventually(LIMIT, || {
            let endpoints = self.endpoints();
            let pods = self.plane.api.list("/api/v1/namespaces/portolan/pods");
            let is_back = |replica: &Replica| {
                pods.iter().any(|pod| {
                    pod["metadata"]["uid"] == *replica.uid
                        && restarts(pod) > replica.restarts
                        && pod["status"]["containerStatuses"][0]["ready"] == true
                })
            };
            match replicas.iter().find(|replica| endpoints.contains(&replica.name) && !is_back(replica)) {
                Some(replica) => Err(format!("{} is an endpoint still", replica.name)),
                None => Ok(()),
            }
        });
    }

    /// Whether none of these is an endpoint that is called.
    pub fn are_out(&self, replicas: &[Replica]) -> bool {
        let endpoints = self.endpoints();
        replicas.iter().all(|replica| !endpoints.contains(&replica.name))
    }

    /// The Pods that are called.
    fn endpoints(&self) -> Vec<String> {
        let slices = self.plane.api.list("/apis/discovery.k8s.io/v1/namespaces/portolan/endpointslices");
        let endpoints = slices.iter().flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
        ready.map(|endpoint| endpoint["targetRef"]["name"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The replicas, the one that holds the Lease first.
    pub fn replicas(&self) -> Vec<Replica> {
        let path = "/apis/coordination.k8s.io/v1/namespaces/portolan/leases/portolan";
        // It goes round: for a moment nobody holds it.
        eventually(LIMIT, || {
            let lease = self.plane.api.read(path).map_err(|refusal| refusal.message)?;
            let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let mut replicas: Vec<_> = self
                .plane
                .api
                .list("/api/v1/namespaces/portolan/pods")
                .iter()
                .map(|pod| Replica {
                    name: text(&pod["metadata"]["name"]),
                    address: text(&pod["status"]["podIP"]),
                    uid: text(&pod["metadata"]["uid"]),
                    restarts: restarts(pod),
                })
                .collect();
            replicas.sort_by_key(|replica| !holder.starts_with(&replica.name));
            match replicas.first() {
                Some(first) if holder.starts_with(&first.name) => Ok(replicas),
                _ => Err(format!("`{holder}` holds the Lease")),
            }
        })
    }

    /// Waits until the API server has connections to each of these, so that each will be missed.
    pub fn wait_connected(&self, replicas: &[Replica]) {
        let mut at_once = 10;
        eventually(LIMIT, || {
            // Open connections are used again; only more Pods at once than those make new ones.
            let many = (0..at_once)
                .map(|number| async move { self.load.make_one(&format!("connected-{number}")).await });
            runtime().block_on(futures::future::join_all(many));
            at_once = (at_once + 10).min(100);
            match replicas.iter().find(|replica| replica.metric("portolan_connections") < 1.0) {
                Some(replica) => Err(format!("{} is not called", replica.name)),
                None => Ok(()),
            }
        });
    }

    /// Has new Pods in the place of these.
    pub fn renew(&self) {
        for replica in self.replicas() {
            self.plane.api.delete(&format!("/api/v1/namespaces/portolan/pods/{}", replica.name)).unwrap();
        }
        self.rolled_out(2);
    }
}

impl Replica {
    /// The number of its process on this machine.
    pub fn process(&self) -> u32 {
        eventually(LIMIT, || self.find_process().ok_or("no process"))
    }

    fn find_process(&self) -> Option<u32> {
        fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let id: u32 = entry.file_name().to_str()?.parse().ok()?;
            let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            (read("comm").trim() == "portolan" && read("cgroup").contains(&self.uid)).then_some(id)
        })
    }

    /// Sends its process a signal by its name.
    pub fn signal(&self, signal: &str) {
        let id = self.process().to_string();
        let status = Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap();
        assert!(status.success(), "cannot send {signal} to {}", self.name);
    }

    /// What it says of its readiness; status and text.
    pub fn readiness(&self) -> std::io::Result<(u16, String)> {
        ask(&format!("{}:9441", self.address), "/readyz?verbose")
    }

    /// A metric, by its name with its labels.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = ask(&format!("{}:9441", self.address), "/metrics").unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no metric {name} in {text}")).parse().unwrap()
    }

    /// The folder of its container's control group under a controller of version 1.
    pub fn control_group(&self, controller: &str) -> Result<PathBuf, Missing> {
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", self.process())).unwrap();
        let path = groups.lines().find_map(|line| line.split_once(&format!(":{controller}:")));
        let path = path.ok_or_else(|| Missing("control groups are not of version 1".to_owned()))?.1;
        Ok(PathBuf::from("/sys/fs/cgroup").join(controller).join(path.trim_start_matches('/')))
    }
}

/// How often the container of a Pod was started again.
pub fn restarts(pod: &Value) -> u64 {
    pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default()
}

/// A Pod starts within seconds; its process may first drain for five. On a machine that may have other things to do.
pub const LIMIT: Duration = Duration::from_secs(180);

/// What is seen in endpoints the API server's own watch has brought it by then.
pub const WATCHED: Duration = Duration::from_secs(1);
