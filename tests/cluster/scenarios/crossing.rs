//! The gap, and both of its sides.

mod connected;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    projects::{Mirrors, expected, mirrored, unknown_kinds},
    support::{
        Access, Image, LOGIN_SECRET, Missing, Plane, Scene, binary, eventually, folder, image, output_of,
    },
};

pub use connected::Connected;

/// A connected side, an air-gapped one, and the folder that is carried from one to the other.
///
/// While there is a connected side, commands run there: they reach the world through its proxy. After
/// [`cut`](Self::cut) they run on the other side, where the mirror is all that answers.
pub struct Crossing {
    connected: Option<Connected>,
    /// The air-gapped side: a mirror, a cluster with a real node, and a Portolan that is called for its Pods. Its
    /// table is empty until there is [another](Self::install).
    pub scene: Scene,
    /// Where commands run.
    pub folder: PathBuf,
    /// The digest of each image, by the name that it was pushed under.
    digests: RefCell<BTreeMap<String, String>>,
    /// The digests of everything that was pushed.
    contents: RefCell<BTreeSet<String>>,
    applied: RefCell<Vec<PathBuf>>,
    made: Vec<PathBuf>,
}

/// What a command said.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// All else.
    pub stderr: String,
}

impl Crossing {
    /// Starts both sides: registries that answer to these names, and a mirror.
    pub fn between(hosts: &[&str], mirror: Access) -> Result<Self, Missing> {
        let connected = Connected::start(hosts)?;
        let scene = Scene::with_rules("rules: []\n")
            .on(Plane::WithNode)
            .access(mirror)
            .with_table_in_configmap()
            .in_own_namespace()
            .start()?;
        let folder = folder("crossing");
        if scene.registry.has_login() {
            // As `docker login` leaves it.
            fs::create_dir(folder.join(".docker")).unwrap();
            fs::write(folder.join(".docker/config.json"), scene.registry.docker_config()).unwrap();
        }
        Ok(Self {
            connected: Some(connected),
            scene,
            folder,
            digests: RefCell::default(),
            contents: RefCell::default(),
            applied: RefCell::default(),
            made: Vec::new(),
        })
    }

    /// The connected side.
    pub fn connected(&self) -> &Connected {
        self.connected.as_ref().expect("the connected side is still there")
    }

    /// Pushes an image where the world has it. The name is written as manifests write it.
    pub fn publish(&self, name: &str, image: &Image) {
        self.publish_all(&[(name, image.clone())]);
    }

    /// The same of many, side by side.
    pub fn publish_all(&self, images: &[(&str, Image)]) {
        let connected = self.connected();
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..PUSHED_AT_ONCE {
                scope.spawn(|| {
                    while let Some((name, image)) = images.get(next.fetch_add(1, Ordering::Relaxed)) {
                        connected.push(name, image);
                    }
                });
            }
        });
        for (name, image) in images {
            self.digests.borrow_mut().insert((*name).to_owned(), image.index.digest.clone());
            self.contents.borrow_mut().extend(image.digests().map(ToOwned::to_owned));
        }
    }

    /// The digests of everything that was published: manifests, configurations, layers.
    pub fn contents(&self) -> BTreeSet<String> {
        self.contents.borrow().clone()
    }

    /// Says that a layer of theirs is elsewhere.
    pub fn also_contains(&self, digest: &str) {
        self.contents.borrow_mut().insert(digest.to_owned());
    }

    /// Ends the connected side: from here on nothing leads there.
    pub fn cut(&mut self) {
        self.connected = None;
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    /// Reads a file in the folder.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap()
    }

    /// A `portolan` command on the side where we are.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(&self.folder).env_clear();
        // What the person who runs the tests has set up must not matter.
        command.env("HOME", &self.folder).env("NO_COLOR", "1").env("PATH", std::env::var_os("PATH").unwrap());
        if let Some(connected) = &self.connected {
            command.envs(connected.environment());
        }
        command
    }

    /// Runs it, with `input` on its stdin.
    pub fn run(&self, arguments: &[&str], input: &str) -> Ran {
        let output = output_of(&mut self.command(arguments), input);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs what is to end well.
    #[track_caller]
    pub fn succeed(&self, arguments: &[&str], input: &str) -> Ran {
        let ran = self.run(arguments, input);
        assert_eq!(ran.code, 0, "portolan {}: {}{}", arguments.join(" "), ran.stdout, ran.stderr);
        ran
    }

    /// Puts table and lock into the cluster and waits until they are in force.
    pub fn install(&self, table: &str, lock: &str) {
        let scene = &self.scene;
        let path = scene.path("configmaps/portolan-table");
        let map = json!({"metadata": {"name": "portolan-table"}, "data": {"table.yaml": table}});
        scene.api().replace(&path, &map).unwrap();
        let map = json!({
            "metadata": {"name": "portolan-lock-1", "labels": {"portolan.dev/lock": "true"}},
            "data": {"lock.txt": lock},
        });
        scene.api().create(&scene.own_path("configmaps"), &map).unwrap();
        let rules = table.lines().filter(|line| line.trim_start().starts_with("- source:")).count();
        let lines = lock.lines().filter(|line| line.contains(" sha256:")).count();
        assert!(rules > 0 && lines > 0, "{table}{lock}");
        eventually(INSTALL_LIMIT, || {
            let metrics = scene.portolan.ops("/metrics").unwrap().1;
            let is = |line: &str| metrics.lines().any(|at| at == line);
            let both =
                is(&format!("portolan_table_rules {rules}")) && is(&format!("portolan_lock_lines {lines}"));
            if both { Ok(()) } else { Err(scene.portolan.process.output()) }
        });
    }

    /// What a Pod must run in place of `name`: in the mirror, with the digest that was published.
    pub fn pinned(&self, mirrors: Mirrors<'_>, name: &str) -> String {
        let (repository, tag) = mirrored(mirrors, name);
        let digests = self.digests.borrow();
        let digest = digests.get(name).unwrap_or_else(|| panic!("{name} was never published"));
        format!("{}/{repository}:{tag}@{digest}", self.scene.registry.host())
    }

    /// Takes a namespace in, made if it is not there, with the Secret by which its Pods may pull.
    pub fn take_in(&self, namespace: &str) {
        self.scene.take_in(namespace);
        let secret = json!({
            "metadata": {"name": LOGIN_SECRET}, "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": self.scene.registry.docker_config()},
        });
        self.scene.api().create(&format!("/api/v1/namespaces/{namespace}/secrets"), &secret).unwrap();
    }

    /// Takes note of a folder of the machine that a Pod's `hostPath` makes, to remove it in the end.
    pub fn makes(&mut self, folders: &[&str]) {
        self.made.extend(folders.iter().map(PathBuf::from).filter(|folder| !folder.exists()));
    }

    /// Applies the file, of which the API server knows all kinds but `unknown`, and waits until each of its
    /// containers runs on the node what it must.
    pub fn apply(&self, mirrors: Mirrors<'_>, file: &Path, unknown: &[&str]) {
        let path = file.to_str().unwrap();
        let kubectl = &self.scene.plane.kubectl;
        let (objects, _) = kubectl.objects(&["--filename", path]);
        let workloads: Vec<_> = objects.iter().filter_map(expected).collect();
        assert!(!workloads.is_empty(), "{path} makes no Pods");
        self.applied.borrow_mut().push(file.to_owned());
        let said = kubectl.run(&["apply", "--filename", path], "");
        assert_eq!(unknown_kinds(&said.stderr), unknown.iter().copied().collect(), "{}", said.stderr);
        assert_eq!(said.stdout.lines().count(), objects.len(), "{}{}", said.stdout, said.stderr);

        let mut containers = 0;
        for workload in &workloads {
            let selector = workload.selector.replace('=', "%3D").replace(',', "%2C").replace('/', "%2F");
            let path = format!("/api/v1/namespaces/{}/pods?labelSelector={selector}", workload.namespace);
            let count = eventually(RUN_LIMIT, || {
                let pods = self.scene.api().list(&path);
                if pods.len() != workload.pods {
                    return Err(format!("{path}: {} Pods, not {}", pods.len(), workload.pods));
                }
                for (pod, (key, name)) in
                    pods.iter().flat_map(|pod| workload.images.iter().map(move |image| (pod, image)))
                {
                    runs(pod, key, &self.pinned(mirrors, name))?;
                }
                Ok(pods.len() * workload.images.len())
            });
            containers += count;
        }
        println!("{path}: {} workloads, {containers} containers ran from the mirror", workloads.len());
    }

    /// Applies a file of which no Pods come: what has to be there before others.
    pub fn prepare(&self, file: &Path) {
        self.applied.borrow_mut().push(file.to_owned());
        self.scene.plane.kubectl.must(&["apply", "--filename", file.to_str().unwrap()], "");
    }

    /// Creates a Pod straight through the API, as controllers do, and waits until it runs.
    pub fn create(&self, namespace: &str, pod: &Value, image: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let pod = self.scene.api().create(&path, pod).unwrap();
        let path = format!("{path}/{}", pod["metadata"]["name"].as_str().unwrap());
        let container = pod["spec"]["containers"][0]["name"].as_str().unwrap();
        eventually(RUN_LIMIT, || {
            runs(&self.scene.api().read(&path).unwrap(), &format!("containers/{container}"), image)
        });
        self.scene.api().delete(&path).unwrap();
    }
}

/// Whether a container runs this reference, and nothing else under its name.
///
/// An init container may have ended, and well. That a Pod becomes *ready* is not asked for: a stand-in answers no
/// probe.
pub fn runs(pod: &Value, key: &str, pinned: &str) -> Result<(), String> {
    // It never changes again: no use in waiting.
    assert_eq!(image(pod, key), pinned, "{key}");
    let (list, name) = key.split_once('/').unwrap();
    let statuses =
        &pod["status"][if list == "initContainers" { "initContainerStatuses" } else { "containerStatuses" }];
    let status = statuses.as_array().into_iter().flatten().find(|status| status["name"] == name);
    let Some(status) = status else { return Err(format!("{key} of {}: {}", pinned, pod["status"])) };
    let is_over = list == "initContainers" && status["state"]["terminated"]["exitCode"] == 0;
    if !(status["state"]["running"].is_object() || is_over) {
        return Err(format!("{key} of {pinned}: {status}"));
    }
    let (_, digest) = pinned.split_once('@').unwrap();
    let id = status["imageID"].as_str().unwrap();
    if id.ends_with(digest) { Ok(()) } else { Err(format!("the node runs {id}, not {pinned}")) }
}

impl Drop for Crossing {
    fn drop(&mut self) {
        // The cluster is shared: nothing of it goes on running there.
        for file in self.applied.get_mut().drain(..) {
            let path = file.to_str().unwrap();
            let what = ["delete", "--ignore-not-found", "--wait=false", "--filename", path];
            self.scene.plane.kubectl.run(&what, "");
        }
        // Only what is empty.
        for folder in self.made.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

const PUSHED_AT_ONCE: usize = 8;

const INSTALL_LIMIT: Duration = Duration::from_secs(60);

const RUN_LIMIT: Duration = Duration::from_secs(180);
