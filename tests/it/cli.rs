//! The command as people and scripts run it: arguments in, text and exit code out.

use std::{fs, path::Path, process::Stdio};

use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::support::LIMIT;

mod certs;
mod check;
mod copy;
mod events;
mod explain;
mod explain_mirrors;
mod explain_pods;
mod export;
mod images;
mod import;
mod limits;
mod load;
mod lock;
mod manual;
mod same_as_webhook;
mod save;
mod serve;
mod since;
mod terminal;

/// A folder to run the command in, with files to name; nothing of the user's own environment reaches it.
struct Folder(TempDir);

/// How a command ended.
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path().join(name), content).unwrap();
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, "").await
    }

    /// Runs the command with this on its stdin.
    async fn run_with(&self, arguments: &[&str], stdin: &str) -> Ended {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portolan"))
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("XDG_RUNTIME_DIR", self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // One that does not read it may be gone already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes()).await;
        let output = tokio::time::timeout(LIMIT, child.wait_with_output());
        let output = output.await.unwrap_or_else(|_| panic!("{arguments:?} does not end")).unwrap();
        Ended {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// What was said, without how long it took.
fn timeless(shown: &str) -> String {
    let mut text = String::new();
    for line in shown.lines() {
        let took = line.rsplit_once(" (").filter(|(_, end)| end.ends_with(" ms)"));
        text.push_str(&took.map_or_else(|| line.to_owned(), |(before, _)| format!("{before} (… ms)")));
        text.push('\n');
    }
    text
}

impl Ended {
    /// All that the command said, for snapshots.
    fn shown(&self) -> String {
        let mut shown = format!("exit {}\n", self.code);
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                shown.extend(["--- ", name, "\n", text]);
            }
        }
        shown
    }
}
