//! Other projects' registries and a token server, built from their sources.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

use super::{
    Missing,
    control_plane::{CANNOT_BE_DONE_HERE, repository},
};

/// The program of that name; all are built once, and kept for the next run.
pub fn built(name: &str) -> Result<PathBuf, Missing> {
    static FOLDER: LazyLock<Result<PathBuf, Missing>> = LazyLock::new(|| {
        let script = repository().join("tests/cluster/registries/build");
        let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
        if output.status.code() == Some(CANNOT_BE_DONE_HERE) {
            return Err(Missing("registries cannot be built: Go is not installed".to_owned()));
        }
        assert!(output.status.success(), "registries cannot be built");
        let folder = String::from_utf8(output.stdout).unwrap();
        Ok(Path::new(folder.trim()).to_owned())
    });
    FOLDER.clone().map(|folder| folder.join(name))
}
