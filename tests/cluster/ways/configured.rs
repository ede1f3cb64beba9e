//! A docker-registry with a configuration of its own, over content that another one has, or none.

use std::{fs, net::TcpStream, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::support::{Missing, Process, authority_pem, eventually, folder, free_port, installed, issue};

/// A running one.
pub(super) struct Configured {
    process: Process,
    host: String,
}

impl Configured {
    /// Starts it at that address over that folder, with `change` in its configuration, and waits until it listens.
    pub(super) fn start(
        address: &str,
        content: &Path,
        change: impl FnOnce(&mut Value),
    ) -> Result<Self, Missing> {
        let port = free_port(address);
        let host =
            if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
        let mut configuration = json!({
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": false}},
            "storage": {"filesystem": {"rootdirectory": content}},
            "http": {"addr": host, "secret": "of the tests"},
        });
        change(&mut configuration);
        let folder = folder("configured");
        // JSON is YAML.
        fs::write(folder.join("config.yml"), configuration.to_string()).unwrap();
        let program = installed("docker-registry", "docker-registry")?;
        let arrange = |command: &mut std::process::Command| {
            command.arg("serve").arg(folder.join("config.yml"));
        };
        let mut process = Process::start(&program, arrange, folder.join("log"))?;
        eventually(Duration::from_secs(60), || {
            if let Some(status) = process.ended() {
                panic!("docker-registry ended with {status}: {}", process.output());
            }
            TcpStream::connect(&host)
        });
        Ok(Self { process, host })
    }

    /// One that talks by TLS to those alone who show a certificate of the tests' authority.
    pub(super) fn start_guarded(content: &Path) -> Result<Self, Missing> {
        let folder = folder("guarded");
        let pair = issue(&folder, 1);
        fs::write(folder.join("clients.pem"), authority_pem()).unwrap();
        let clients = [folder.join("clients.pem")];
        Self::start("127.0.0.1", content, |configuration| {
            configuration["http"]["tls"] =
                json!({"certificate": pair.certificate, "key": pair.key, "clientcas": clients});
        })
    }

    /// How references and tables name it: host and port.
    pub(super) fn host(&self) -> String {
        self.host.clone()
    }

    /// How many requests were answered whose path has this text in it.
    pub(super) fn requests(&self, part: &str) -> usize {
        self.output().lines().filter(|line| line.contains(" HTTP/1.1\"") && line.contains(part)).count()
    }

    /// All that it logged.
    pub(super) fn output(&self) -> String {
        self.process.output()
    }
}
