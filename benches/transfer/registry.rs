//! A registry of the distribution project, and what it wrote into its access log.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::measured::own_cpu;

/// A running registry. It goes with its folder.
pub(crate) struct Registry {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Registry {
    /// Starts one that is empty, at a port of its own: what a tool remembers of another is of no use to it.
    pub(crate) fn start(folder: PathBuf) -> Self {
        fs::create_dir(&folder).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let configuration = json!({
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": false}},
            "storage": {"filesystem": {"rootdirectory": folder.join("data")}},
            "http": {"addr": address, "secret": "of the bench"},
        });
        // JSON is YAML.
        fs::write(folder.join("config.yml"), configuration.to_string()).unwrap();
        let log = File::create(folder.join("log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(folder.join("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("docker-registry is installed (make packages)");
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < START_LIMIT, "the registry does not start");
            thread::sleep(Duration::from_millis(10));
        }
        Self { child, address, folder }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU that it has used so far.
    pub(crate) fn cpu(&self) -> Duration {
        own_cpu(self.child.id())
    }

    /// How long its log is, when nothing more is written.
    pub(crate) fn logged(&self) -> usize {
        let length = || fs::metadata(self.folder.join("log")).unwrap().len();
        let mut before = length();
        loop {
            // A request is written down a moment after its answer.
            thread::sleep(QUIET);
            let now = length();
            if now == before {
                return usize::try_from(now).unwrap();
            }
            before = now;
        }
    }

    /// What it has logged from there on.
    pub(crate) fn log_from(&self, from: usize) -> String {
        self.logged();
        fs::read_to_string(self.folder.join("log")).unwrap()[from..].to_owned()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
        let _removed_already = fs::remove_dir_all(&self.folder);
    }
}

/// What went through a registry, by its access log.
#[derive(Default)]
pub(crate) struct Traffic {
    pub(crate) requests: usize,
    /// Bytes of answers.
    pub(crate) answered: u64,
    /// Bytes of the blobs and manifests that were put and taken.
    pub(crate) taken: u64,
    kinds: BTreeMap<String, usize>,
}

impl Traffic {
    /// `sizes` is how long blobs and manifests are, by digest, and those with a tag by `repository:tag`.
    pub(crate) fn of(log: &str, sizes: &HashMap<String, u64>) -> Self {
        let mut traffic = Self::default();
        for line in log.lines() {
            // 127.0.0.1 - - [22/Nov/2026:02:57:19 +0000] "GET /v2/… HTTP/1.1" 200 1024 "" "its User-Agent"
            let mut parts = line.split('"');
            let (Some(_), Some(request), Some(answer)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let [method, path, "HTTP/1.1"] = request.split(' ').collect::<Vec<_>>()[..] else { continue };
            let [status, size] = answer.split_whitespace().collect::<Vec<_>>()[..] else { continue };
            traffic.requests += 1;
            traffic.answered += size.parse::<u64>().unwrap();
            let what = ["uploads", "blobs", "manifests"]
                .into_iter()
                .find(|part| path.contains(&format!("/{part}/")));
            let mount = if path.contains("mount=") { " mount" } else { "" };
            *traffic
                .kinds
                .entry(format!("{method} {}{mount} {status}", what.unwrap_or("/v2/")))
                .or_default() += 1;
            if method == "PUT" && status == "201" {
                traffic.taken += taken(path, sizes).unwrap_or_else(|| panic!("what is {path}?"));
            }
        }
        traffic
    }

    /// How many requests of which kind.
    pub(crate) fn kinds(&self) -> String {
        let mut text = String::new();
        for (kind, count) in &self.kinds {
            write!(text, "{}{count} × {kind}", if text.is_empty() { "" } else { ", " }).unwrap();
        }
        text
    }
}

/// How long that is which was put there.
fn taken(path: &str, sizes: &HashMap<String, u64>) -> Option<u64> {
    if let Some((_, query)) = path.split_once("digest=") {
        return sizes.get(&query.split('&').next()?.replace("%3A", ":")).copied();
    }
    let (repository, under) = path.strip_prefix("/v2/")?.split_once("/manifests/")?;
    sizes.get(under).or_else(|| sizes.get(&format!("{repository}:{under}"))).copied()
}

const START_LIMIT: Duration = Duration::from_secs(20);
const QUIET: Duration = Duration::from_millis(300);
