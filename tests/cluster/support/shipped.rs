//! Portolan as `manifests/base` installs it, but for where it runs: a process on loopback with its account's rights.

use std::{fs, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    ControlPlane, Missing, Plane, Portolan, Registry, Scene,
    authority::authority_pem,
    control_plane::repository,
    folder::folder,
    portolan,
    scene::{wait_called, wait_service_account},
    waiting::eventually,
};

/// A control plane of its own with everything that ships applied to it.
pub struct Shipped {
    /// Its Portolan, which reads the table from the cluster.
    pub portolan: Portolan,
    /// Its registry.
    pub registry: Registry,
    /// Its control plane.
    pub plane: Arc<ControlPlane>,
}

impl Shipped {
    /// Applies `manifests/base` and starts what it describes.
    pub fn install() -> Result<Self, Missing> {
        let registry = Registry::plain()?;
        let plane = ControlPlane::of(Plane::Own)?;
        let base = repository().join("manifests/base");
        plane.kubectl.must(&["apply", "--kustomize", base.to_str().unwrap()], "");
        let portolan = Portolan::start(&portolan::Options {
            arguments: ["--table-configmap", "portolan/portolan-table"].map(str::to_owned).into(),
            variables: vec![
                ("KUBECONFIG", account_kubeconfig(&plane).into()),
                ("POD_NAMESPACE", "portolan".into()),
            ],
            ..Default::default()
        })?;
        let shipped = Self { portolan, registry, plane };
        shipped.point_webhook();
        wait_service_account(&shipped.plane.api, "default");
        wait_called(&shipped.plane.api, &shipped.portolan, "default");
        Ok(shipped)
    }

    /// Nothing of the shipped configuration is changed but where the API server calls.
    fn point_webhook(&self) {
        let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/portolan";
        let mut configuration = self.plane.api.read(path).unwrap();
        for webhook in configuration["webhooks"].as_array_mut().unwrap() {
            let served = webhook["clientConfig"]["service"]["path"].as_str().unwrap();
            let url = format!("https://{}{served}", self.portolan.address);
            webhook["clientConfig"] = json!({"url": url, "caBundle": base64(&authority_pem())});
        }
        self.plane.api.replace(path, &configuration).unwrap();
    }

    /// Edits the table's ConfigMap and waits until Portolan goes by it.
    pub fn set_rules(&self, rules: &str) {
        let table = Scene::table(&self.registry, rules, &[]);
        let patch = json!({"data": {"table.yaml": table}}).to_string();
        let name = "configmap/portolan-table";
        self.plane
            .kubectl
            .must(&["--namespace=portolan", "patch", name, "--type=merge", "--patch", &patch], "");
        let count = rules.matches("- source:").count();
        eventually(Duration::from_secs(5), || {
            let metrics = self.portolan.ops("/metrics").unwrap().1;
            let line = format!("portolan_table_rules {count}");
            if metrics.lines().any(|at| at == line) { Ok(()) } else { Err(self.portolan.process.output()) }
        });
    }

    /// A new namespace with these labels.
    pub fn namespace(&self, name: &str, labels: &Value) {
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        self.plane.api.create("/api/v1/namespaces", &namespace).unwrap();
        wait_service_account(&self.plane.api, name);
    }
}

/// A kubeconfig with the rights of Portolan's own account and no others.
fn account_kubeconfig(plane: &ControlPlane) -> std::path::PathBuf {
    let said = plane.kubectl.must(&["--namespace=portolan", "create", "token", "portolan"], "");
    // The administrator's is JSON.
    let text = fs::read_to_string(&plane.kubectl.kubeconfig).unwrap();
    let mut kubeconfig: Value = serde_json::from_str(&text).unwrap();
    kubeconfig["users"][0]["user"] = json!({"token": said.stdout.trim()});
    let path = folder("account").join("kubeconfig");
    fs::write(&path, kubeconfig.to_string()).unwrap();
    path
}

fn base64(text: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(text)
}
