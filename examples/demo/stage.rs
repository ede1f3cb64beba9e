//! What the demo sets up: a control plane, a registry with the images, Portolan, and the webhook between them.

use std::{collections::BTreeSet, fs, process::Command, sync::Arc, time::Duration};

use anyhow::{Context as _, Error, anyhow, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use portolan::{image::Reference, table::Table};
use serde_json::{Value, json};

use crate::{
    stop::Stop,
    support::{
        ControlPlane, Options, Plane, Portolan, Registry, authority_pem, binary, eventually, repository,
    },
};

/// Where the driver lives.
pub(crate) const NAMESPACE: &str = "kube-system";

/// What the driver makes its own Pods from: no manifest names it.
pub(crate) const MOUNT_IMAGE: &str = "juicedata/mount:v1.0.2-4.8.2";

/// The Pod that the driver makes here.
pub(crate) const MOUNT_POD: &str = "juicefs-paper-pvc-1";

/// Everything that runs; it ends when this is dropped, Portolan first.
pub(crate) struct Stage {
    /// `portolan serve`.
    pub(crate) portolan: Portolan,
    /// The private registry.
    pub(crate) registry: Registry,
    /// Kubernetes.
    pub(crate) plane: Arc<ControlPlane>,
    /// The objects of the manifest.
    pub(crate) objects: Vec<Value>,
}

impl Stage {
    /// Starts everything, step by step.
    pub(crate) fn set(stop: &Stop) -> anyhow::Result<Self> {
        stop.step("A Kubernetes control plane");
        let plane = ControlPlane::of(Plane::Own).map_err(Error::msg)?;
        let version = read(&plane, "/version")?;
        println!(
            "    {} at {}: etcd, API server, controllers, scheduler.",
            text(&version["gitVersion"]),
            server(&plane)
        );
        println!("    Its one node is an object only: Pods are admitted and stored, nothing runs.");
        stop.check()?;

        stop.step("A private registry");
        let registry = Registry::plain().map_err(Error::msg)?;
        println!("    docker-registry at {}, plain HTTP, empty.", registry.host());
        stop.check()?;

        stop.step("Portolan, with the mapping table examples/table.yaml");
        let table = fs::read_to_string(repository().join(TABLE)).context("cannot read the table")?;
        let table = table.replace(EXAMPLE_HOST, &registry.host());
        let rules = Table::parse(&table).context("cannot read the table")?.table;
        let portolan =
            Portolan::start(&Options { table: Some(table), ..Options::default() }).map_err(Error::msg)?;
        println!("    The host {EXAMPLE_HOST} in it is replaced by that registry:");
        for rule in rules.rules() {
            for mirror in rule.mirrors() {
                println!("      {:<21} →  {}", rule.source(), mirror.as_str());
            }
        }
        println!(
            "    portolan serve --table … --tls-cert … --tls-key … --audit-log … --listen {}",
            portolan.address
        );
        stop.check()?;

        let (objects, said) = plane.kubectl.objects(&["--filename", &manifest()]);
        if !said.is_empty() {
            bail!("cannot read {MANIFEST}: {said}");
        }
        let stage = Self { portolan, registry, plane, objects };
        stage.carry(stop)?;
        stage.register(stop)?;
        Ok(stage)
    }

    /// Pushes what the manifest names, and the one image that it does not name.
    fn carry(&self, stop: &Stop) -> anyhow::Result<()> {
        stop.step("The images, carried into the registry");
        println!("    Stand-ins of the right names, for two platforms each, with next to nothing in them,");
        println!("    pushed to where `portolan explain --offline` says that they belong:");
        let mut images: BTreeSet<&str> =
            self.objects.iter().flat_map(containers).map(|(_, image)| image).collect();
        images.insert(MOUNT_IMAGE);
        for row in self.explained(&images)? {
            let reference = Reference::parse(text(&row["result"]))?;
            if reference.registry() != self.registry.host() {
                bail!("no rule of {TABLE} brings {} into the registry", row["written"]);
            }
            let tag = reference.tag().context("an image without a tag")?;
            self.registry.push(reference.repository(), tag);
            let digest = self.registry.digest(reference.repository(), tag);
            let name = format!("{}:{tag}", reference.repository());
            println!("      {name:<44} {}…", digest.get(..19).unwrap_or(&digest));
            stop.check()?;
        }
        Ok(())
    }

    /// Registers what ships, pointed at a process on this machine instead of a Service.
    fn register(&self, stop: &Stop) -> anyhow::Result<()> {
        stop.step("The webhook configuration manifests/base/webhook.yaml");
        let mut configuration = self.plane.shipped_webhook();
        for webhook in configuration["webhooks"].as_array_mut().into_iter().flatten() {
            let path = text(&webhook["clientConfig"]["service"]["path"]).to_owned();
            let url = format!("https://{}{path}", self.portolan.address);
            println!("      {:<27} →  {url}", text(&webhook["name"]));
            webhook["clientConfig"] = json!({"url": url, "caBundle": STANDARD.encode(authority_pem())});
        }
        let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
        self.plane.api.create(path, &configuration).map_err(|refusal| anyhow!(refusal.message))?;
        println!("    System namespaces are left alone unless they ask; the driver lives in one:");
        self.kubectl(&["label", "namespace", NAMESPACE, "portolan.dev/rewrite=enabled"], "")?;
        self.wait_called();
        stop.check()?;
        Ok(())
    }

    /// Waits until Pods come to Portolan: the API server learns of a configuration a moment after it was written.
    fn wait_called(&self) {
        let probe = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": PROBE},
            // A placeholder: no rule applies to it and no registry is asked.
            "spec": {"containers": [{"name": "probe", "image": "auto"}]},
        });
        eventually(CALLED_LIMIT, || {
            let path = format!("/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All");
            self.plane.api.create(&path, &probe).map_err(|refusal| refusal.message)?;
            let is_called = self.portolan.audit().iter().any(|line| line["pod"] == PROBE);
            if is_called { Ok(()) } else { Err("the API server does not call the webhook".to_owned()) }
        });
    }

    /// Applies the manifest as it is.
    pub(crate) fn apply(&self, stop: &Stop) -> anyhow::Result<()> {
        stop.step("The manifest, unedited");
        println!("    $ kubectl apply --filename {MANIFEST}");
        let said = self.plane.kubectl.run(&["apply", "--filename", &manifest()], "");
        print_said(&said.stdout);
        if !said.ok {
            bail!("the API server refused the manifest: {}", said.stderr);
        }
        stop.check()?;
        Ok(())
    }

    /// Creates a Pod as the driver does when a volume is mounted: by the API, with its own account.
    pub(crate) fn mount(&self, stop: &Stop) -> anyhow::Result<()> {
        stop.step("A Pod that no manifest names, made as the driver makes one for each volume");
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": MOUNT_POD, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/name": "juicefs-mount"},
            },
            "spec": {
                "nodeName": "paper", "priorityClassName": "system-node-critical", "serviceAccountName": "juicefs-csi",
                "containers": [{
                    "name": "jfs-mount", "image": MOUNT_IMAGE, "securityContext": {"privileged": true},
                    "command": ["sh", "-c", "/bin/mount.juicefs redis://redis:6379/0 /jfs/pvc-1"],
                }],
            },
        });
        let account = format!("--as=system:serviceaccount:{NAMESPACE}:juicefs-csi");
        self.kubectl(&["create", "--filename", "-", &account], &pod.to_string())?;
        stop.check()?;
        Ok(())
    }

    /// Shows `portolan explain` of an image.
    pub(crate) fn explain(&self, image: &str) -> anyhow::Result<()> {
        println!("    $ portolan explain {image} --table …");
        let output =
            Command::new(binary()).args(["explain", image, "--table"]).arg(&self.portolan.table).output()?;
        if !output.status.success() {
            bail!("portolan explain: {}", String::from_utf8_lossy(&output.stderr));
        }
        print_said(&String::from_utf8_lossy(&output.stdout));
        Ok(())
    }

    /// What `portolan explain --offline` says of these images.
    fn explained(&self, images: &BTreeSet<&str>) -> anyhow::Result<Vec<Value>> {
        let output = Command::new(binary())
            .args(["explain", "--offline", "--output", "json", "--table"])
            .arg(&self.portolan.table)
            .args(images)
            .output()
            .context("cannot run portolan")?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("portolan explain: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Shows a kubectl command and what it says.
    fn kubectl(&self, arguments: &[&str], input: &str) -> anyhow::Result<()> {
        println!("    $ kubectl {}", arguments.join(" "));
        let said = self.plane.kubectl.run(arguments, input);
        print_said(&said.stdout);
        if !said.ok {
            bail!("kubectl {}: {}", arguments.join(" "), said.stderr);
        }
        Ok(())
    }

    /// What to try while it keeps running.
    pub(crate) fn print_how_to_go_on(&self) {
        let kubectl = &self.plane.kubectl;
        let binaries =
            kubectl.program.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
        let table = self.portolan.table.display();
        let audit = self.portolan.table.with_file_name("audit.jsonl");
        println!("\nIt keeps running until you press Enter or Ctrl-C. To look around, in another terminal:");
        println!();
        println!("  export KUBECONFIG={}", kubectl.kubeconfig.display());
        println!("  export PATH={binaries}:{}:$PATH", binary().parent().unwrap_or(&binary()).display());
        println!("  kubectl --namespace {NAMESPACE} get pods --output yaml | grep image:");
        println!("  kubectl run hello --image={MOUNT_IMAGE}      # any Pod of your own");
        println!("  kubectl get pod hello --output yaml");
        println!("  portolan explain nginx {MOUNT_IMAGE} --table {table}");
        println!("  tail -f {}", audit.display());
        println!("  curl --silent http://{}/metrics", self.portolan.ops);
        println!("  curl --silent http://{}/v2/_catalog", self.registry.host());
        println!();
        println!("The table is {table}: an edit takes effect within seconds.");
    }
}

/// Name and image of each container in a workload's template; none for other objects.
pub(crate) fn containers(workload: &Value) -> impl Iterator<Item = (&str, &str)> {
    workload["spec"]["template"]["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|container| (text(&container["name"]), text(&container["image"])))
}

/// A text of an object; nothing where there is none.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Reads an object or a list from the API server.
pub(crate) fn read(plane: &ControlPlane, path: &str) -> anyhow::Result<Value> {
    plane.api.read(path).map_err(|refusal| anyhow!("cannot read {path}: {}", refusal.message))
}

fn server(plane: &ControlPlane) -> &str {
    text(&plane.ready["server"])
}

fn manifest() -> String {
    repository().join(MANIFEST).display().to_string()
}

fn print_said(said: &str) {
    for line in said.lines() {
        println!("      {line}");
    }
}

const CALLED_LIMIT: Duration = Duration::from_secs(60);
const EXAMPLE_HOST: &str = "registry.example.com:32000";
const MANIFEST: &str = "examples/juicefs-csi.yaml";
const PROBE: &str = "webhook-probe";
const TABLE: &str = "examples/table.yaml";
