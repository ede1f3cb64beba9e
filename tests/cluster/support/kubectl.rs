//! kubectl, as users run it.

use std::{path::PathBuf, process::Command};

use serde_json::Value;

use super::process::output_of;

/// The kubectl of a control plane, with that control plane's kubeconfig.
#[derive(Clone, Debug)]
pub struct Kubectl {
    /// The program.
    pub program: PathBuf,
    /// Whom it talks to, and as whom.
    pub kubeconfig: PathBuf,
}

/// What kubectl said.
#[derive(Debug)]
pub struct Said {
    /// Whether it succeeded.
    pub ok: bool,
    /// Data.
    pub stdout: String,
    /// Warnings and errors.
    pub stderr: String,
}

impl Kubectl {
    /// Runs it, with `input` on its stdin.
    pub fn run(&self, arguments: &[&str], input: &str) -> Said {
        let folder = self.kubeconfig.parent().unwrap();
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env_clear()
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", folder.join("kubectl-cache"))
            .env("HOME", folder)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let output = output_of(&mut command, input);
        Said {
            ok: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs it and fails unless it succeeds.
    #[track_caller]
    pub fn must(&self, arguments: &[&str], input: &str) -> Said {
        let said = self.run(arguments, input);
        assert!(said.ok, "kubectl {}: {}{}", arguments.join(" "), said.stdout, said.stderr);
        said
    }

    /// The objects of a manifest as kubectl reads it, none of them sent; second, what it said of those that the
    /// API server does not know.
    pub fn objects(&self, arguments: &[&str]) -> (Vec<Value>, String) {
        let mut all = vec!["create", "--dry-run=client", "--validate=false", "--output=json"];
        all.extend(arguments);
        let said = self.run(&all, "");
        let objects =
            serde_json::Deserializer::from_str(&said.stdout).into_iter().collect::<Result<_, _>>().unwrap();
        (objects, said.stderr)
    }
}
