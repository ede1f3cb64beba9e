//! All that one test owns: a namespace, a registry, a Portolan and the webhook configuration between them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    ControlPlane, Missing, Plane, Portolan, Registry,
    api::Api,
    delay::DelayProxy,
    kubectl::Said,
    portolan,
    registry::{Access, Make},
    waiting::eventually,
    webhook::{TEST_LABEL, Webhook},
};

/// One test's own corner of a cluster. What it owns ends with it, the webhook configuration first.
pub struct Scene {
    webhook: Webhook,
    /// Its Portolan.
    pub portolan: Portolan,
    /// Its registry.
    pub registry: Registry,
    /// Another, if it asked for one.
    pub second: Option<Registry>,
    /// Its namespace.
    pub namespace: String,
    /// Where Portolan keeps things and reads the registry's login.
    pub own_namespace: String,
    /// What stands before the registry, if it is to be slow.
    front: Option<DelayProxy>,
    /// The control plane, which others use too.
    pub plane: Arc<ControlPlane>,
}

/// What a scene is made of.
pub struct SceneBuilder {
    access: Access,
    make: Make,
    arguments: Vec<String>,
    delay: Option<Duration>,
    fails_closed: bool,
    plane: Plane,
    registry_fields: Vec<&'static str>,
    rules: String,
    second: bool,
    table_in_configmap: bool,
    home: Home,
    timeout: Option<Duration>,
}

/// Where Portolan takes itself to be.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Home {
    Elsewhere,
    InCluster,
}

impl Scene {
    /// A scene on the shared control plane whose table has these rules (`MIRROR` stands for the registry's host).
    pub fn with_rules(rules: &str) -> SceneBuilder {
        SceneBuilder {
            access: Access::Plain,
            make: Make::Distribution2,
            arguments: Vec::new(),
            delay: None,
            fails_closed: false,
            plane: Plane::Shared,
            registry_fields: Vec::new(),
            rules: rules.to_owned(),
            second: false,
            table_in_configmap: false,
            home: Home::Elsewhere,
            timeout: None,
        }
    }

    /// The table's text with these rules, and the registry described.
    pub fn table(registry: &Registry, rules: &str, registry_fields: &[&str]) -> String {
        let rules = rules.replace("MIRROR", &registry.host());
        let entry = registry.entry(registry_fields);
        format!("apiVersion: portolan.dev/v1\nkind: MappingTable\n{rules}registries:\n{entry}")
    }

    /// The API server.
    pub fn api(&self) -> &Api {
        &self.plane.api
    }

    /// kubectl in the scene's namespace; fails unless it succeeds.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Said {
        self.plane.kubectl.must(&[&["--namespace", &self.namespace], arguments].concat(), input)
    }

    /// `kubectl apply` of a manifest.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> Said {
        self.kubectl(&["apply", "--filename", "-"], manifest)
    }

    /// How the table names the scene's registry: host and port.
    pub fn host(&self) -> String {
        self.front.as_ref().map_or_else(|| self.registry.host(), |front| front.address().to_owned())
    }

    /// What a reference in the scene's registry begins with.
    pub fn mirror(&self, path: &str) -> String {
        format!("{}/{path}", self.host())
    }

    /// Pushes a stand-in image; the reference that Pods should come out with.
    pub fn push(&self, repository: &str, tag: &str) -> String {
        self.registry.push(repository, tag);
        self.pinned(repository, tag)
    }

    /// `repository:tag@digest`, the digest being what the registry reports now.
    pub fn pinned(&self, repository: &str, tag: &str) -> String {
        format!("{}:{tag}@{}", self.mirror(repository), self.registry.digest(repository, tag))
    }

    /// One more match condition for each entry of the webhook configuration.
    pub fn add_condition(&self, expression: &str) {
        self.webhook.edit(|webhook| {
            let conditions = webhook["matchConditions"].as_array_mut().unwrap();
            conditions.push(json!({"name": "one-more", "expression": expression}));
        });
    }

    /// Edits each entry of the webhook configuration.
    pub fn edit_webhook(&self, edit: impl FnMut(&mut Value)) {
        self.webhook.edit(edit);
    }

    /// Has the API server call another Portolan from now on, or a moment later.
    pub fn call(&self, portolan: &Portolan) {
        self.webhook.edit(|webhook| {
            let url = webhook["clientConfig"]["url"].as_str().unwrap();
            let path = url.splitn(4, '/').nth(3).unwrap();
            webhook["clientConfig"]["url"] = json!(format!("https://{}/{path}", portolan.address));
        });
    }

    /// A path of the API below the scene's namespace, for core objects: `pods/web`.
    pub fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/{rest}", self.namespace)
    }

    /// The same below Portolan's own namespace.
    pub fn own_path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/{rest}", self.own_namespace)
    }

    /// Has the webhook called for the Pods of that namespace too, which is made if it is not there.
    #[track_caller]
    pub fn take_in(&self, namespace: &str) {
        let path = format!("/api/v1/namespaces/{namespace}");
        if self.api().read(&path).is_err() {
            self.api().create("/api/v1/namespaces", &json!({"metadata": {"name": namespace}})).unwrap();
        }
        let label = format!("{TEST_LABEL}={}", self.namespace);
        self.plane.kubectl.must(&["label", "--overwrite", "namespace", namespace, &label], "");
        wait_service_account(self.api(), namespace);
        wait_called(self.api(), &self.portolan, namespace);
    }

    /// Reads a Pod.
    #[track_caller]
    pub fn pod(&self, name: &str) -> Value {
        self.api().read(&self.path(&format!("pods/{name}"))).unwrap()
    }

    /// Creates a Pod.
    #[track_caller]
    pub fn create(&self, pod: &Value) -> Value {
        self.api().create(&self.path("pods"), pod).unwrap()
    }

    /// The Pods with that label, as soon as there are so many.
    #[track_caller]
    pub fn pods(&self, selector: &str, count: usize) -> Vec<Value> {
        eventually(PODS_LIMIT, || {
            let pods =
                self.api().list(&self.path(&format!("pods?labelSelector={}", selector.replace('=', "%3D"))));
            if pods.len() == count {
                Ok(pods)
            } else {
                Err(format!("{} Pods with {selector}, not {count}", pods.len()))
            }
        })
    }
}

impl SceneBuilder {
    /// Flags for its Portolan.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Who may read its registry.
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Whose registry it has.
    pub fn make(mut self, make: Make) -> Self {
        self.make = make;
        self
    }

    /// With more time for each answer, of Portolan's and of registries, than what ships gives: for what shows
    /// something else, and has much to do at once.
    pub fn patient(mut self) -> Self {
        self.timeout = Some(Duration::from_secs(10));
        self.arguments(&["--resolve-timeout", "8s"])
    }

    /// With a webhook configuration that refuses Pods where Portolan or a condition fails.
    pub fn failing_closed(mut self) -> Self {
        self.fails_closed = true;
        self
    }

    /// With a registry that takes so long for every answer.
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// On another control plane.
    pub fn on(mut self, plane: Plane) -> Self {
        self.plane = plane;
        self
    }

    /// More fields of the registry's row in the table.
    pub fn registry_fields(mut self, fields: &[&'static str]) -> Self {
        self.registry_fields.extend(fields);
        self
    }

    /// With a second plain registry, which is `SECOND` in the rules.
    pub fn with_second_registry(mut self) -> Self {
        self.second = true;
        self
    }

    /// With the table in the ConfigMap `portolan-table` of the scene's namespace instead of a file.
    pub fn with_table_in_configmap(mut self) -> Self {
        self.table_in_configmap = true;
        self
    }

    /// With Portolan in a namespace of its own, as in a cluster: what it keeps and the registry's login are there.
    pub fn in_own_namespace(mut self) -> Self {
        self.home = Home::InCluster;
        self
    }

    /// Starts everything, and waits until the API server calls the webhook.
    pub fn start(self) -> Result<Scene, Missing> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let plane = ControlPlane::of(self.plane)?;
        let registry = Registry::start_make(self.make, "127.0.0.1", self.access)?;
        let second = self.second.then(Registry::plain).transpose()?;
        let mut table = Scene::table(&registry, &self.rules, &self.registry_fields);
        if let Some(second) = &second {
            table = table.replace("SECOND", &second.host()) + &second.entry(&[]);
        }
        let front = self.delay.map(|delay| DelayProxy::start(registry.host(), delay));
        if let Some(front) = &front {
            table = table.replace(&registry.host(), front.address());
        }
        let namespace = format!("scene-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        make_namespace(&plane.api, &namespace, &namespace);
        let own_namespace = if self.home == Home::InCluster {
            let name = format!("{namespace}-own");
            make_namespace(&plane.api, &name, &name);
            name
        } else {
            namespace.clone()
        };
        if registry.has_login() {
            let secret = json!({
                "metadata": {"name": LOGIN_SECRET}, "type": "kubernetes.io/dockerconfigjson",
                "stringData": {".dockerconfigjson": registry.docker_config()},
            });
            plane.api.create(&format!("/api/v1/namespaces/{own_namespace}/secrets"), &secret).unwrap();
        }
        if self.plane == Plane::WithNode {
            plane.let_node_reach(&registry);
        }
        let mut options = portolan::Options { arguments: self.arguments, ..Default::default() };
        if self.table_in_configmap {
            let map = json!({"metadata": {"name": "portolan-table"}, "data": {"table.yaml": table}});
            plane.api.create(&format!("/api/v1/namespaces/{namespace}/configmaps"), &map).unwrap();
            options.arguments.extend(["--table-configmap".to_owned(), format!("{namespace}/portolan-table")]);
            options.variables.push(("KUBECONFIG", plane.kubectl.kubeconfig.clone().into()));
        } else {
            options.table = Some(table);
        }
        if self.home == Home::InCluster {
            options.variables.push(("POD_NAMESPACE", own_namespace.clone().into()));
        }
        let portolan = Portolan::start(&options)?;
        let mut configuration = plane.shipped_webhook();
        if let Some(timeout) = self.timeout {
            for webhook in configuration["webhooks"].as_array_mut().unwrap() {
                webhook["timeoutSeconds"] = json!(timeout.as_secs());
            }
        }
        if self.fails_closed {
            for webhook in configuration["webhooks"].as_array_mut().unwrap() {
                webhook["failurePolicy"] = json!("Fail");
            }
        }
        let webhook = Webhook::register(&plane.api, &namespace, &namespace, configuration, &portolan.address);
        wait_called(&plane.api, &portolan, &namespace);
        Ok(Scene { webhook, portolan, registry, second, namespace, own_namespace, front, plane })
    }
}

/// Waits until Pods of that namespace come to Portolan: the API server learns of a new configuration a moment after
/// it was written.
pub(super) fn wait_called(api: &Api, portolan: &Portolan, namespace: &str) {
    let probe = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": PROBE},
        // A placeholder: no rule applies to it and no registry is asked.
        "spec": {"containers": [{"name": "probe", "image": "auto"}]},
    });
    let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
    eventually(CALLED_LIMIT, || {
        api.create(&path, &probe).map_err(|refusal| refusal.message)?;
        // The audit log is written a moment after the answer.
        for _ in 0..20 {
            let is_it = |line: &Value| line["pod"] == PROBE && line["namespace"] == namespace;
            if portolan.audit().iter().any(is_it) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("the API server does not call the webhook".to_owned())
    });
}

fn make_namespace(api: &Api, name: &str, label: &str) {
    let labels = json!({TEST_LABEL: label});
    let namespace = json!({"metadata": {"name": name, "labels": labels}});
    api.create("/api/v1/namespaces", &namespace).unwrap();
    wait_service_account(api, name);
}

/// Without it the API server takes no Pods in a new namespace.
pub(super) fn wait_service_account(api: &Api, namespace: &str) {
    eventually(PODS_LIMIT, || api.read(&format!("/api/v1/namespaces/{namespace}/serviceaccounts/default")));
}

/// The Secret with the registry's login, in a scene whose registry has one.
pub const LOGIN_SECRET: &str = "harbor-pull";

const PROBE: &str = "webhook-probe";
const PODS_LIMIT: Duration = Duration::from_secs(60);
const CALLED_LIMIT: Duration = Duration::from_secs(60);
