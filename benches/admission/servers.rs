//! The servers under test: made alike, one process each.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use json_patch::Patch;
use portolan::tls::{Authority, wall_clock};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Plan,
    client::{Client, metric},
    floor, free_address,
    process::Process,
    registry, tables,
};

/// What all servers share: a folder with the certificate, a registry, the command.
pub(crate) struct Setup {
    pub(crate) folder: TempDir,
    pub(crate) registry: SocketAddr,
    portolan: PathBuf,
}

/// A server that listens.
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    authority: PathBuf,
    audit: Option<Audit>,
}

/// Portolan's audit log.
struct Audit {
    path: PathBuf,
    ops: SocketAddr,
}

impl Setup {
    pub(crate) fn new(plan: &Plan) -> Self {
        // The audit log goes to memory if it can: what a disk's file system costs is not Portolan's.
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let authority = Authority::new(wall_clock()).unwrap();
        let issued = authority.issue(&Authority::local_names(&[]), wall_clock()).unwrap();
        issued.write_files(folder.path()).unwrap();
        Self { folder, registry: registry::start(), portolan: plan.portolan.clone() }
    }

    /// Starts `bare` or `scan`, which answer with `answer` bytes.
    pub(crate) fn floor(&self, name: &str, answer: usize) -> Server {
        let address = free_address();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(name).args(["--listen", &address.to_string(), "--answer", &answer.to_string()]);
        command.arg("--tls-dir").arg(self.folder.path());
        self.server(name, &command, address, None)
    }

    /// Starts Portolan with that many rules.
    pub(crate) fn portolan(&self, rules: usize) -> Server {
        self.portolan_with(rules, None)
    }

    /// Starts Portolan with that many rules and a lock that has as many other lines and these, each an image in its
    /// mirror and its digest.
    pub(crate) fn locked_portolan(&self, rules: usize, lines: &[(String, String)]) -> Server {
        let lock = self.folder.path().join("lock");
        std::fs::write(&lock, tables::lock(rules, &self.registry.to_string(), lines)).unwrap();
        self.portolan_with(rules, Some(&lock))
    }

    fn portolan_with(&self, rules: usize, lock: Option<&Path>) -> Server {
        let (address, ops) = (free_address(), free_address());
        let table = self.folder.path().join(format!("table-{rules}.yaml"));
        std::fs::write(&table, tables::text(rules, &self.registry.to_string())).unwrap();
        let path = self.folder.path().join(format!("audit-{}.jsonl", address.port()));
        let mut command = Command::new(&self.portolan);
        command.args(["serve", "--listen", &address.to_string(), "--ops-listen", &ops.to_string()]);
        command.args(["--status-listen", "127.0.0.1:0"]);
        command.arg("--tls-dir").arg(self.folder.path()).arg("--table").arg(table);
        command.arg("--audit-log").arg(&path).args(["--fresh", "10h"]);
        let mut name = format!("Portolan, {rules} rules");
        if let Some(lock) = lock {
            command.arg("--lock").arg(lock);
            name.push_str(" and a lock");
        }
        self.server(&name, &command, address, Some(Audit { path, ops }))
    }

    fn server(&self, name: &str, command: &Command, address: SocketAddr, audit: Option<Audit>) -> Server {
        let process = Process::start(command);
        let authority = self.folder.path().join("ca.crt");
        let server = Server { name: name.to_owned(), process, address, authority, audit };
        server.connect();
        server
    }
}

impl Server {
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address, &self.authority)
    }

    /// Empties the audit log, to whose end the server writes, over and over until what is given back is dropped.
    ///
    /// It would grow by gigabytes, and always take memory that was not used before. For a virtual machine that is memory
    /// which its host must find first, at ten times the price of writing to it. It is emptied on the server's own core:
    /// what is freed there is what the next record is written to, and never goes back to the host.
    pub(crate) fn tidied(&self) -> Option<Process> {
        let audit = self.audit.as_ref()?;
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("tidy").arg(&audit.path);
        Some(Process::start(&command))
    }

    /// The value of one of Portolan's metrics.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        metric(self.audit.as_ref().expect("this is Portolan").ops, name)
    }

    /// Posts `body` until every image is known; gives the answer. Then checks many answers: on several connections
    /// each must be the same, byte by byte.
    pub(crate) fn checked_answer(&self, body: &[u8], setup: &Setup) -> Vec<u8> {
        let mut clients: Vec<_> = (0..4).map(|_| self.connect()).collect();
        let answer = clients[0].post(body);
        if self.audit.is_some() {
            check(body, &answer, setup);
        } else {
            assert_eq!(answer, floor::constant(answer.len()));
        }
        for _ in 0..CHECKED {
            for client in &mut clients {
                assert!(client.post(body) == answer, "{}: two answers to one body differ", self.name);
            }
        }
        answer
    }
}

/// Runs this program itself on core 0 with other arguments, to its end.
pub(crate) fn run_pinned(args: &[&str]) {
    let status =
        Command::new("taskset").args(["-c", "0"]).arg(std::env::current_exe().unwrap()).args(args).status();
    assert!(status.expect("taskset (util-linux) is installed").success());
}

/// Whether Portolan's answer is right: the patch applies, and then every image is in the registry and pinned to the
/// digest that the registry gives.
fn check(body: &[u8], answer: &[u8], setup: &Setup) {
    for (place, digest) in pinned(body, answer) {
        let (name, tag) = place.rsplit_once(':').unwrap();
        let repository = name.strip_prefix(&format!("{}/", setup.registry)).unwrap();
        let path = format!("/v2/{repository}/manifests/{tag} HTTP/1.1");
        assert_eq!(digest, portolan::image::Digest::of(path.as_bytes()).as_str(), "{place}");
    }
}

/// The images of the Pod after the patch, each with its digest.
pub(crate) fn pinned(body: &[u8], answer: &[u8]) -> Vec<(String, String)> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let review: Value = serde_json::from_slice(body).unwrap();
    let answer: Value = serde_json::from_slice(answer).unwrap();
    let response = &answer["response"];
    assert_eq!(response["uid"], review["request"]["uid"]);
    assert_eq!(response["allowed"], true);
    assert_eq!(response["warnings"], Value::Null);
    assert_eq!(response["patchType"], "JSONPatch");
    let patch = STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    let patch: Patch = serde_json::from_slice(&patch).unwrap();
    let mut pod = review["request"]["object"].clone();
    json_patch::patch(&mut pod, &patch).unwrap();
    let lists = ["initContainers", "containers"];
    let containers = lists.iter().filter_map(|list| pod["spec"][list].as_array()).flatten();
    let images: Vec<_> = containers
        .map(|container| {
            let image = container["image"].as_str().unwrap();
            let (place, digest) = image.split_once('@').unwrap_or_else(|| panic!("`{image}` is not pinned"));
            (place.to_owned(), digest.to_owned())
        })
        .collect();
    assert!(!images.is_empty());
    images
}

/// How many answers are checked on each connection.
const CHECKED: usize = 50;
