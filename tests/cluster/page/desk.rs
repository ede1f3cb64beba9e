//! The desk of somebody who reads a page: its commands, a shell to run them in, and the files that it speaks of.

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::support::{Missing, Process, Site, binary, eventually, folder, free_port, repository};

/// A folder as readers have it, and the programs that pages call.
pub(super) struct Desk<'a> {
    site: &'a Site,
    folder: PathBuf,
    path: String,
}

/// A `kubectl port-forward`; it ends when it is dropped.
pub(super) struct Forward {
    /// The ports that the page names, and what stands for each here.
    ports: Vec<(String, u16)>,
    _process: Process,
}

/// The text of that page.
pub(super) fn page(name: &str) -> String {
    fs::read_to_string(repository().join("docs").join(format!("{name}.md"))).unwrap()
}

/// What is indented, lines that are continued joined.
pub(super) fn commands(page: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut is_continued = false;
    // Every second part is between fences.
    let lines = page.split("```").step_by(2).flat_map(str::lines);
    for line in lines.filter_map(|line| line.strip_prefix("    ")) {
        match commands.last_mut() {
            Some(command) if is_continued => {
                command.truncate(command.trim_end_matches('\\').len());
                command.push_str(line.trim_start());
            }
            // In a list they are indented further.
            _ => commands.push(line.trim_start().to_owned()),
        }
        is_continued = line.ends_with('\\');
    }
    commands
}

impl<'a> Desk<'a> {
    /// With the repository's folders, the site's table, and the kustomization of docs/install.md.
    pub(super) fn at(site: &'a Site) -> Result<Self, Missing> {
        let helm = site.helm()?;
        let path = [&binary(), &helm.program, &site.plane.kubectl.program]
            .map(|program| program.parent().unwrap().display().to_string())
            .join(":");
        let folder = folder("page");
        for part in ["certs", "manifests"] {
            symlink(repository().join(part), folder.join(part)).unwrap();
        }
        let table = site.table(&[]);
        fs::create_dir(folder.join("portolan")).unwrap();
        for place in [Path::new("table.yaml"), Path::new("portolan/table.yaml")] {
            fs::write(folder.join(place), &table).unwrap();
        }
        let page = page("install");
        let (_, rest) = page.split_once("```yaml\n").unwrap();
        let (kustomization, _) = rest.split_once("```").unwrap();
        let kustomization = kustomization.replace("your.registry", &site.registry.host());
        fs::write(folder.join("portolan/kustomization.yaml"), kustomization).unwrap();
        Ok(Self { site, folder, path })
    }

    /// What the command says; if it fails, all that it said.
    pub(super) fn shell(&self, command: &str) -> Result<String, String> {
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", command]).current_dir(&self.folder).env_clear();
        shell.env("PATH", format!("{}:/usr/bin:/bin", self.path)).env("HOME", &self.folder);
        let output = shell.env("KUBECONFIG", &self.site.plane.kubectl.kubeconfig).output().unwrap();
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() {
            Ok(said.into_owned())
        } else {
            Err(format!("{command}: {said}{errors}"))
        }
    }

    /// Runs a command that has to succeed.
    #[track_caller]
    pub(super) fn run(&self, command: &str) -> String {
        self.shell(command).unwrap_or_else(|said| panic!("{said}"))
    }

    /// Runs a `kubectl port-forward` beside the rest, to free ports of this machine.
    pub(super) fn forward(&self, command: &str) -> Result<Forward, Missing> {
        let mut words: Vec<_> = command.split(' ').skip(1).map(ToOwned::to_owned).collect();
        let mut ports = Vec::new();
        for word in words.iter_mut().filter(|word| word.parse::<u16>().is_ok()) {
            let local = free_port("127.0.0.1");
            ports.push((word.clone(), local));
            *word = format!("{local}:{word}");
        }
        let kubectl = &self.site.plane.kubectl;
        let process = Process::start(
            &kubectl.program,
            |command| {
                command.args(&words).env("KUBECONFIG", &kubectl.kubeconfig);
            },
            folder("port-forward").join("log"),
        )?;
        for (_, local) in &ports {
            eventually(Duration::from_secs(60), || TcpStream::connect(("127.0.0.1", *local)));
        }
        Ok(Forward { ports, _process: process })
    }
}

impl Forward {
    /// Runs a command that asks one of the ports.
    #[track_caller]
    pub(super) fn curl(&self, desk: &Desk<'_>, command: &str) -> String {
        let at_ours = self.ports.iter().fold(command.to_owned(), |command, (named, local)| {
            command.replace(&format!("localhost:{named}"), &format!("localhost:{local}"))
        });
        assert_ne!(at_ours, command, "no port of it is forwarded");
        desk.run(&at_ours)
    }
}
