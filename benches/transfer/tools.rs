//! The tools, each as its manual says that many images are copied.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    rc::Rc,
};

use tempfile::TempDir;

use crate::{images::Images, registry::Registry};

/// A way to bring all images from one registry into another.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) commands: fn(&Place) -> Vec<Command>,
    /// How many of its commands run at once.
    pub(crate) at_once: usize,
}

/// All that are compared.
pub(crate) fn all() -> Vec<Tool> {
    let tool = |name, at_once, commands| Tool { name, commands, at_once };
    vec![
        tool("`portolan copy`", 1, |place| vec![place.portolan(&["copy", "--images", "images.txt"])]),
        tool("`portolan save` and `load`", 1, |place| {
            let mut save = place.portolan(&["save", "--images", "images.txt"]);
            save.arg("layout");
            vec![save, place.portolan(&["load", "layout"])]
        }),
        tool("`skopeo sync --all`", 1, |place| {
            let mut sync =
                place.skopeo(&["sync", "--all", "--preserve-digests", "--src", "yaml", "--dest", "docker"]);
            sync.arg("images.yaml").arg(format!("{}/team", place.target));
            vec![sync]
        }),
        tool("`skopeo copy --all`, one by one", 1, Place::skopeo_copies),
        tool("`skopeo copy --all`, four at once", 4, Place::skopeo_copies),
        tool("`crane copy`, one by one", 1, Place::crane_copies),
        tool("`crane copy`, four at once", 4, Place::crane_copies),
        tool("`regctl image copy`, one by one", 1, Place::regctl_copies),
        tool("`regctl image copy`, four at once", 4, Place::regctl_copies),
    ]
}

/// The programs, and a folder for everything.
pub(crate) struct Scene {
    programs: Rc<Programs>,
    folder: TempDir,
}

struct Programs {
    portolan: PathBuf,
    crane: PathBuf,
    regctl: PathBuf,
}

impl Scene {
    pub(crate) fn new(portolan: &Path) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let programs = Programs {
            portolan: portolan.to_owned(),
            crane: built(&root.join("tests/cluster/registries/build")).join("crane"),
            regctl: built(&root.join("benches/transfer/build")).join("regctl"),
        };
        Self { programs: Rc::new(programs), folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes down for all tools what goes where.
    pub(crate) fn arrange(&self, source: &Registry, target: &Registry, images: &Images) -> Place {
        let (source, target) = (source.address().to_string(), target.address().to_string());
        let folder = self.folder().join("work");
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir(&folder).unwrap();
        let names: Vec<_> = images.tags.iter().map(|(tag, _)| tag.clone()).collect();
        let list: Vec<_> = names.iter().map(|name| format!("{source}/{name}")).collect();
        fs::write(folder.join("images.txt"), list.join("\n")).unwrap();
        let table = format!(
            "apiVersion: portolan.dev/v1\nkind: MappingTable\nrules:\n- source: '{source}'\n  mirrors: ['{target}']\n\
             registries:\n- host: '{source}'\n  plainHttp: true\n- host: '{target}'\n  plainHttp: true\n"
        );
        fs::write(folder.join("table.yaml"), table).unwrap();
        let mut sync = format!("'{source}':\n  tls-verify: false\n  images:\n");
        for name in &names {
            let (repository, tag) = name.split_once(':').unwrap();
            writeln!(sync, "    {repository}: ['{tag}']").unwrap();
        }
        fs::write(folder.join("images.yaml"), sync).unwrap();
        Place { programs: Rc::clone(&self.programs), source, target, names, folder }
    }
}

/// From where to where.
pub(crate) struct Place {
    programs: Rc<Programs>,
    source: String,
    target: String,
    /// Repositories and tags.
    names: Vec<String>,
    folder: PathBuf,
}

impl Place {
    fn portolan(&self, arguments: &[&str]) -> Command {
        let mut portolan = self.command(&self.programs.portolan);
        portolan.args(arguments).args(["--table", "table.yaml"]);
        portolan
    }

    fn skopeo(&self, arguments: &[&str]) -> Command {
        let mut skopeo = self.command(Path::new("skopeo"));
        skopeo.arg("--insecure-policy").args(arguments);
        skopeo.args(["--src-tls-verify=false", "--dest-tls-verify=false"]);
        skopeo
    }

    fn skopeo_copies(&self) -> Vec<Command> {
        let copy = |name: &String| {
            let mut copy = self.skopeo(&["copy", "--all", "--preserve-digests", "--quiet"]);
            let [source, target] = self.both(name).map(|place| format!("docker://{place}"));
            copy.args([source, target]);
            copy
        };
        self.names.iter().map(copy).collect()
    }

    fn crane_copies(&self) -> Vec<Command> {
        let copy = |name: &String| {
            let mut copy = self.command(&self.programs.crane);
            copy.args(["copy", "--insecure"]).args(self.both(name));
            copy
        };
        self.names.iter().map(copy).collect()
    }

    fn regctl_copies(&self) -> Vec<Command> {
        let copy = |name: &String| {
            let mut copy = self.command(&self.programs.regctl);
            for host in [&self.source, &self.target] {
                copy.arg("--host").arg(format!("reg={host},tls=disabled"));
            }
            copy.args(["image", "copy"]).args(self.both(name));
            copy
        };
        self.names.iter().map(copy).collect()
    }

    fn both(&self, name: &str) -> [String; 2] {
        [&self.source, &self.target].map(|host| format!("{host}/{name}"))
    }

    /// Of nobody's logins and caches, and without a word unless something is wrong.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("HOME", &self.folder).current_dir(&self.folder);
        command.stdout(Stdio::null()).stderr(fs::File::create(self.folder.join("stderr")).unwrap());
        command
    }
}

/// The folder that a script builds programs into.
fn built(script: &Path) -> PathBuf {
    let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{} failed", script.display());
    String::from_utf8(output.stdout).unwrap().trim().into()
}
