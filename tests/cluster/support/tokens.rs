//! A server that hands out bearer tokens for a registry.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
};

use serde_json::Value;

use super::{
    Missing,
    control_plane::programs,
    folder::folder,
    registry::{Access, PASSWORD, TOKEN_ISSUER, TOKEN_SERVICE, USER},
};

/// A running token server with one user. It ends when its stdin closes, so also when the tests are killed.
pub struct TokenServer {
    address: String,
    folder: PathBuf,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl TokenServer {
    /// Starts it.
    pub fn start() -> Result<Self, Missing> {
        Self::start_with("5m")
    }

    /// The same with tokens that it says are good for so long.
    pub fn start_with(life: &str) -> Result<Self, Missing> {
        let folder = folder("tokens");
        let mut child = Command::new(programs()?.join("token-server"))
            .args(["--issuer", TOKEN_ISSUER, "--service", TOKEN_SERVICE])
            .args(["--user", &format!("{USER}:{PASSWORD}")])
            .args(["--expires", life])
            .arg("--certificate")
            .arg(folder.join("signer.pem"))
            .arg("--access-log")
            .arg(folder.join("access.jsonl"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let stdin = child.stdin.take();
        Ok(Self { address: line["address"].as_str().unwrap().to_owned(), folder, child, stdin })
    }

    /// How a registry is told to want its tokens.
    pub fn access(&self) -> Access {
        Access::Token {
            realm: format!("http://{}/token", self.address),
            certificate: self.folder.join("signer.pem"),
            keys: None,
        }
    }

    /// The requests until now.
    pub fn requests(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.join("access.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}
