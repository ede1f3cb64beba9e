//! Helm, as users run it, and what it makes of the chart.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

use serde_json::Value;

use super::{
    ControlPlane, Missing,
    control_plane::{CANNOT_BE_DONE_HERE, repository},
    folder::folder,
    kubectl::Said,
};

/// Helm, with or without a cluster, and nothing of what the person who runs the tests has set up.
#[derive(Clone, Debug)]
pub struct Helm {
    /// The program.
    pub program: PathBuf,
    home: PathBuf,
    kubeconfig: Option<PathBuf>,
}

impl Helm {
    /// One that knows no cluster; it is built once, and kept for the next run.
    pub fn alone() -> Result<Self, Missing> {
        Ok(Self { program: program()?, home: folder("helm"), kubeconfig: None })
    }

    /// One that talks to that cluster, as its administrator.
    pub fn to(plane: &ControlPlane) -> Result<Self, Missing> {
        Ok(Self { kubeconfig: Some(plane.kubectl.kubeconfig.clone()), ..Self::alone()? })
    }

    /// Runs it.
    pub fn run(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear().env("HOME", &self.home).stdin(Stdio::null());
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        let output = command.output().unwrap();
        Said {
            ok: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs it and fails unless it succeeds.
    #[track_caller]
    pub fn must(&self, arguments: &[&str]) -> Said {
        let said = self.run(arguments);
        assert!(said.ok, "helm {}: {}{}", arguments.join(" "), said.stdout, said.stderr);
        said
    }

    /// The objects that the chart is rendered to, hooks among them, with these flags.
    #[track_caller]
    pub fn template(&self, flags: &[&str]) -> Vec<Value> {
        let chart = chart();
        let all =
            [&["template", "portolan", chart.to_str().unwrap(), "--namespace=portolan"], flags].concat();
        objects(&self.must(&all).stdout)
    }
}

/// Where the chart is.
pub fn chart() -> PathBuf {
    repository().join("manifests/chart")
}

/// The objects of a manifest.
#[track_caller]
pub fn objects(manifest: &str) -> Vec<Value> {
    let objects: Vec<Value> =
        serde_saphyr::from_multiple(manifest).unwrap_or_else(|error| panic!("{error} in\n{manifest}"));
    // A document of comments alone is none.
    objects.into_iter().filter(|object| !object.is_null()).collect()
}

fn program() -> Result<PathBuf, Missing> {
    static BUILT: LazyLock<Result<PathBuf, Missing>> = LazyLock::new(|| {
        let script = repository().join("tests/cluster/helm/build");
        let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
        if output.status.code() == Some(CANNOT_BE_DONE_HERE) {
            return Err(Missing("Helm cannot be built: Go is not installed".to_owned()));
        }
        assert!(output.status.success(), "Helm cannot be built");
        let folder = String::from_utf8(output.stdout).unwrap();
        Ok(Path::new(folder.trim()).join("helm"))
    });
    BUILT.clone()
}
