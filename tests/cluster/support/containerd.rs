//! A containerd without Kubernetes: a process for each test, all that it keeps in the test's folder.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use super::{
    Missing,
    process::{Process, installed},
    waiting::eventually,
};

/// A running containerd that only its test uses.
#[derive(Debug)]
pub struct Containerd {
    ctr: PathBuf,
    folder: PathBuf,
    _process: Process,
}

impl Containerd {
    /// Starts one whose content is below `folder`, and waits until it listens.
    pub fn start(folder: &Path) -> Result<Self, Missing> {
        let (containerd, ctr) = (installed("containerd", "containerd")?, installed("ctr", "containerd")?);
        let user = Command::new("id").arg("-u").output().unwrap();
        if user.stdout.trim_ascii() != b"0" {
            return Err(Missing("containerd needs root".to_owned()));
        }
        let configuration = format!(
            "version = 2\nroot = '{0}/root'\nstate = '{0}/state'\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n[grpc]\n\
             address = '{0}/containerd.sock'\n[ttrpc]\naddress = ''\n",
            folder.display(),
        );
        let file = folder.join("containerd.toml");
        fs::write(&file, configuration).unwrap();
        let arrange = |command: &mut Command| {
            command.arg("--config").arg(file);
        };
        let process = Process::start(&containerd, arrange, folder.join("containerd.log"))?;
        let started = Self { ctr, folder: folder.to_owned(), _process: process };
        eventually(START_LIMIT, || UnixStream::connect(started.socket()).map(drop));
        Ok(started)
    }

    /// Runs `ctr` with these arguments in the test's folder.
    pub fn ctr(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.ctr);
        command.arg("--address").arg(self.socket()).args(arguments).current_dir(&self.folder);
        command.output().unwrap()
    }

    /// The bytes that it has under a digest.
    pub fn blob(&self, digest: &str) -> std::io::Result<Vec<u8>> {
        let blobs = self.folder.join("root/io.containerd.content.v1.content/blobs");
        fs::read(blobs.join(digest.replace(':', "/")))
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("containerd.sock")
    }
}

const START_LIMIT: Duration = Duration::from_secs(60);
