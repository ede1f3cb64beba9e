//! Portolan as `manifests/base` installs it, but for where it runs: a process on loopback with its account's rights.

use std::{ffi::OsString, fs, path::PathBuf, process::Command, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    Api, ControlPlane, Missing, Plane, Portolan, Registry, Scene,
    authority::authority_pem,
    control_plane::repository,
    folder::folder,
    portolan,
    process::output_of,
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
    certificate: Certificate,
}

/// Where the certificate of the webhook comes from.
#[derive(Clone, Debug)]
enum Certificate {
    /// The tests' own authority.
    Files,
    /// `--tls-self`, with these flags beside it.
    Itself(Vec<String>),
}

impl Shipped {
    /// Applies `manifests/base` and starts what it describes.
    pub fn install() -> Result<Self, Missing> {
        Self::install_with(Certificate::Files)
    }

    /// The same from `certs/tls-self` with a Portolan that looks after its certificate itself, and has these flags.
    pub fn install_with_tls_self(arguments: &[&str]) -> Result<Self, Missing> {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self::install_with(Certificate::Itself(arguments))
    }

    fn install_with(certificate: Certificate) -> Result<Self, Missing> {
        let registry = Registry::plain()?;
        let plane = ControlPlane::of(Plane::Own)?;
        let base = repository().join(match certificate {
            Certificate::Files => "manifests/base",
            Certificate::Itself(_) => "certs/tls-self",
        });
        plane.kubectl.must(&["apply", "--kustomize", base.to_str().unwrap()], "");
        let portolan = start(&plane, &certificate)?;
        let shipped = Self { portolan, registry, plane, certificate };
        shipped.point_webhooks();
        wait_service_account(&shipped.plane.api, "default");
        wait_called(&shipped.plane.api, &shipped.portolan, "default");
        Ok(shipped)
    }

    /// Has nobody answer from now on, as if all replicas were away.
    pub fn stop(&mut self) {
        self.portolan.terminate();
    }

    /// Runs the command with a kubeconfig: exit code, stdout, stderr.
    pub fn run(&self, arguments: &[&str], input: &str) -> (i32, String, String) {
        run_in(&self.plane, arguments, input)
    }

    /// Starts it again after it was ended, and waits until the API server calls it.
    pub fn start_again(&mut self) -> Result<(), Missing> {
        self.portolan = start(&self.plane, &self.certificate)?;
        self.point_webhooks();
        wait_called(&self.plane.api, &self.portolan, "default");
        Ok(())
    }

    /// Has the API server call another process in its place: this program, with these variables more.
    pub fn start_from(
        &mut self,
        program: PathBuf,
        variables: &[(&'static str, OsString)],
    ) -> Result<(), Missing> {
        self.portolan = self.portolan.start_beside_from(program, variables)?;
        self.point_webhooks();
        wait_called(&self.plane.api, &self.portolan, "default");
        Ok(())
    }

    /// Nothing of the shipped configurations is changed but where the API server calls.
    fn point_webhooks(&self) {
        for kind in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/portolan");
            // Portolan may write into it at the same moment.
            eventually(Duration::from_secs(30), || {
                let mut configuration = self.plane.api.read(&path).unwrap();
                for webhook in configuration["webhooks"].as_array_mut().unwrap() {
                    let client = &webhook["clientConfig"];
                    // One that was pointed before has an address in the place of the Service.
                    let url =
                        client["url"].as_str().and_then(|url| Some(url.splitn(4, '/').nth(3)?.to_owned()));
                    let served = client["service"]["path"]
                        .as_str()
                        .map(|path| path.trim_start_matches('/').to_owned());
                    let url = format!("https://{}/{}", self.portolan.address, served.or(url).unwrap());
                    webhook["clientConfig"] = match self.certificate {
                        Certificate::Files => json!({"url": url, "caBundle": base64(&authority_pem())}),
                        // It is for Portolan to make itself trusted.
                        Certificate::Itself(_) => json!({"url": url}),
                    };
                }
                self.plane.api.replace(&path, &configuration)
            });
        }
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
        eventually(Duration::from_secs(30), || {
            let metrics = self.portolan.ops("/metrics").unwrap().1;
            let line = format!("portolan_table_rules {count}");
            if metrics.lines().any(|at| at == line) { Ok(()) } else { Err(self.portolan.process.output()) }
        });
    }

    /// The API server with the rights of Portolan's account and no others.
    pub fn api_of_account(&self) -> Api {
        Api::connect(&account_kubeconfig(&self.plane))
    }

    /// Waits until the API server has Portolan called for Pods of a namespace whose labels were changed.
    pub fn until_called(&self, namespace: &str) {
        wait_called(&self.plane.api, &self.portolan, namespace);
    }

    /// A new namespace with these labels.
    pub fn namespace(&self, name: &str, labels: &Value) {
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        self.plane.api.create("/api/v1/namespaces", &namespace).unwrap();
        wait_service_account(&self.plane.api, name);
    }
}

/// Runs a command of Portolan's as the administrator of a cluster: exit code, stdout, stderr.
pub fn run_in(plane: &ControlPlane, arguments: &[&str], input: &str) -> (i32, String, String) {
    let kubeconfig = &plane.kubectl.kubeconfig;
    let mut command = Command::new(portolan::binary());
    command
        .args(arguments)
        .env_clear()
        .env("HOME", kubeconfig.parent().unwrap())
        .env("KUBECONFIG", kubeconfig);
    let output = output_of(&mut command, input);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Portolan as a process with the rights of the account that was installed, and a certificate of its own.
pub fn start_as_account(plane: &ControlPlane) -> Result<Portolan, Missing> {
    start(plane, &Certificate::Files)
}

fn start(plane: &ControlPlane, certificate: &Certificate) -> Result<Portolan, Missing> {
    let mut arguments: Vec<_> = ["--table-configmap", "portolan/portolan-table"].map(str::to_owned).into();
    if let Certificate::Itself(more) = certificate {
        arguments.extend_from_slice(more);
    }
    Portolan::start(&portolan::Options {
        arguments,
        tls_self: matches!(certificate, Certificate::Itself(_)),
        variables: vec![
            ("KUBECONFIG", account_kubeconfig(plane).into()),
            ("POD_NAMESPACE", "portolan".into()),
        ],
        ..Default::default()
    })
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
