//! Images carried on: out of layouts, our own and others', and out of registries into a real registry.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    Access, Image, Missing, Outcome, Registry, TokenServer, binary, eventually, folder, installed,
};

/// A registry that has images, an empty one, and a folder with a table from one to the other.
pub(super) struct Gap {
    pub(super) from: Registry,
    pub(super) to: Registry,
    pub(super) folder: PathBuf,
}

impl Gap {
    pub(super) fn between(to: Registry) -> Result<Self, Missing> {
        let from = Registry::plain()?;
        let folder = folder("gap");
        let rule = format!("- source: '{}'\n  mirrors: ['{}/hub']\n", from.host(), to.host());
        let table = format!("{HEAD}rules:\n{rule}registries:\n{}{}", from.entry(&[]), to.entry(&[]));
        fs::write(folder.join("table.yaml"), table).unwrap();
        fs::write(folder.join("auth.json"), to.docker_config()).unwrap();
        fs::write(folder.join("none"), "{}").unwrap();
        Ok(Self { from, to, folder })
    }

    /// Pushes images to where they come from, and writes the list of them.
    pub(super) fn push(&self, images: &[(&str, &Image)]) {
        let mut list = String::new();
        for (repository, image) in images {
            self.from.push_image(repository, "1", image);
            writeln!(list, "{}/{repository}:1", self.from.host()).unwrap();
        }
        fs::write(self.folder.join("images.txt"), list).unwrap();
    }

    pub(super) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments.split(' ')).current_dir(&self.folder);
        command.env("REGISTRY_AUTH_FILE", "auth.json");
        command
    }

    pub(super) fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs what is to end well.
    pub(super) fn succeed(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn skopeo(&self, arguments: &[&str]) -> Result<(), Missing> {
        let skopeo = installed("skopeo", "skopeo")?;
        let output = Command::new(skopeo).args(arguments).current_dir(&self.folder).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        Ok(())
    }

    /// All blobs of a layout, by name.
    fn blobs(&self, layout: &str) -> BTreeMap<String, Vec<u8>> {
        let blobs = fs::read_dir(self.folder.join(layout).join("blobs/sha256")).unwrap();
        let read = |path: &Path| fs::read(path).unwrap();
        blobs
            .map(|blob| blob.unwrap())
            .map(|blob| (blob.file_name().into_string().unwrap(), read(&blob.path())))
            .collect()
    }

    /// Sees to it that the mirror has to the byte what the layout has, by saving it from there.
    fn assert_same(&self, layout: &str, repositories: &[&str]) {
        let place = |repository: &&str| format!("{}/hub/{repository}:1\n", self.to.host());
        fs::write(self.folder.join("loaded.txt"), repositories.iter().map(place).collect::<String>())
            .unwrap();
        self.succeed("save --table table.yaml --images loaded.txt loaded");
        assert_eq!(self.blobs("loaded"), self.blobs(layout));
        fs::remove_dir_all(self.folder.join("loaded")).unwrap();
    }
}

pub fn what_is_loaded_is_what_was_saved_and_check_says_yes() -> Outcome {
    let tokens = TokenServer::start()?;
    for access in [Access::Plain, Access::Login, tokens.access()] {
        let gap = Gap::between(Registry::start(access)?)?;
        let (one, two) = (Image::of("one"), Image::of("two"));
        // The first again under another name: its blobs are mounted there.
        gap.push(&[("library/one", &one), ("team/two", &two), ("team/again", &one)]);
        gap.succeed("save --table table.yaml --images images.txt bundle");
        if gap.to.has_login() {
            let refused =
                gap.command("load bundle --table table.yaml").env("REGISTRY_AUTH_FILE", "none").output();
            let refused = refused.unwrap();
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(1), "{said}");
            assert!(said.contains("hint: log in with an account that may push"), "{said}");
        }
        let written = gap.succeed("load bundle --table table.yaml --lock lock.txt -o json");
        let rows: Value = serde_json::from_str(&written).unwrap();
        let states: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["state"].clone()).collect();
        assert_eq!(states, ["loaded"; 3]);
        for (repository, image) in [("library/one", &one), ("team/two", &two), ("team/again", &one)] {
            assert_eq!(gap.to.digest(&format!("hub/{repository}"), "1"), image.index.digest);
        }
        gap.assert_same("bundle", &["library/one", "team/two", "team/again"]);
        gap.succeed("check --table table.yaml --lock lock.txt images.txt");
        // What `lock` finds there is what `load` wrote.
        let before = fs::read_to_string(gap.folder.join("lock.txt")).unwrap();
        gap.succeed("lock --table table.yaml --lock lock.txt images.txt");
        assert_eq!(fs::read_to_string(gap.folder.join("lock.txt")).unwrap(), before);
        assert_eq!(before.lines().filter(|line| !line.starts_with('#')).count(), 3);

        gap.to.until_idle();
        let mounted = gap.to.requests(&["POST"], "mount=");
        assert_eq!(mounted, one.blobs.len(), "each blob of the image that is there twice");
        let (posts, puts) = (gap.to.requests(&["POST"], ""), gap.to.requests(&["PUT"], "/blobs/"));
        assert_eq!(puts, one.blobs.len() + two.blobs.len(), "each blob once");
        gap.succeed("load bundle --table table.yaml --lock lock.txt");
        gap.to.until_idle();
        let after = (gap.to.requests(&["POST"], ""), gap.to.requests(&["PUT"], "/blobs/"));
        assert_eq!(after, (posts, puts), "the second time nothing is sent");
    }
    Ok(())
}

pub fn killed_in_the_middle_a_load_is_completed_and_nothing_is_sent_twice() -> Outcome {
    let gap = Gap::between(Registry::plain()?)?;
    let mut images = Vec::new();
    for number in 0..6_u8 {
        // Larger than what sockets hold, so that it takes a while.
        let program = gap.folder.join(format!("program-{number}"));
        fs::write(&program, vec![number; 4 << 20]).unwrap();
        images.push((format!("app-{number}"), Image::program("app", &program)));
    }
    let images: Vec<_> = images.iter().map(|(name, image)| (&**name, image)).collect();
    gap.push(&images);
    gap.succeed("save --table table.yaml --images images.txt bundle.tar");
    let begin = "load bundle.tar --table table.yaml --parallel 1 --lock lock.txt";
    let mut child = gap.command(begin).stderr(Stdio::null()).spawn().unwrap();
    eventually(LIMIT, || {
        let puts = gap.to.requests(&["PUT"], "/blobs/");
        if puts >= 3 { Ok(()) } else { Err(puts) }
    });
    // SIGKILL.
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(!gap.folder.join("lock.txt").exists(), "it was in the middle");
    // What was on its way has come to its end, one or the other.
    gap.to.until_idle();
    let sent =
        |line: &&String| line.contains("\"PUT /v2/") && line.contains("digest=") && line.contains("\" 201 ");
    let first = gap.to.accesses().iter().filter(sent).count();
    gap.succeed("load bundle.tar --table table.yaml --lock lock.txt");
    gap.to.until_idle();
    let lines = gap.to.accesses();
    let mut digests: Vec<_> = lines
        .iter()
        .filter(sent)
        .map(|line| {
            line.split_once("digest=").unwrap().1.split(' ').next().unwrap().split('&').next().unwrap()
        })
        .collect();
    assert!(first > 0 && first < digests.len(), "{first} of {}", digests.len());
    digests.sort_unstable();
    let all = digests.len();
    digests.dedup();
    assert_eq!(digests.len(), all, "nothing that was there was sent again");
    for (name, image) in &images {
        assert_eq!(gap.to.digest(&format!("hub/{name}"), "1"), image.index.digest);
    }
    gap.succeed("check --table table.yaml --lock lock.txt images.txt");
    Ok(())
}

pub fn layouts_and_archives_of_skopeo_are_loaded() -> Outcome {
    let gap = Gap::between(Registry::plain()?)?;
    let image = Image::of("skopeo's");
    gap.push(&[("library/app", &image)]);
    let name = format!("{}/library/app:1", gap.from.host());
    let source = format!("docker://{name}");
    for kind in ["oci", "oci-archive"] {
        let place = format!("{kind}:{kind}:{name}");
        gap.skopeo(&["copy", "--all", "--preserve-digests", "--src-tls-verify=false", &source, &place])?;
        gap.succeed(&format!("load {kind} --table table.yaml --lock lock.txt"));
        assert_eq!(gap.to.digest("hub/library/app", "1"), image.index.digest);
    }
    gap.assert_same("oci", &["library/app"]);
    // As `docker save` writes it: one platform, no manifests, links from one layer to another.
    let place = format!("docker-archive:docker.tar:{name}");
    gap.skopeo(&["copy", "--src-tls-verify=false", &source, &place])?;
    let warned = gap.run("load docker.tar --table table.yaml --lock lock.txt");
    assert!(warned.status.success(), "{warned:?}");
    assert!(String::from_utf8_lossy(&warned.stderr).contains("they are written anew"), "{warned:?}");
    let made = gap.to.digest("hub/library/app", "1");
    assert_ne!(made, image.index.digest);
    gap.skopeo(&[
        "copy",
        "--src-tls-verify=false",
        &format!("docker://{}/hub/library/app:1", gap.to.host()),
        "oci:back:x",
    ])?;
    // The layer as it was, under its own digest.
    let layer = image.blobs.iter().find(|blob| blob.media.contains("layer")).unwrap();
    let place = format!("{}/hub/library/app@{made}", gap.to.host());
    fs::write(gap.folder.join("made.txt"), place).unwrap();
    gap.succeed("save --table table.yaml --images made.txt made");
    assert_eq!(gap.blobs("made")[layer.digest.trim_start_matches("sha256:")], layer.bytes);
    Ok(())
}

pub fn copied_from_registry_to_registry_everything_is_the_same() -> Outcome {
    let gap = Gap::between(Registry::start(Access::Login)?)?;
    let (one, two) = (Image::of("one"), Image::of("two"));
    gap.push(&[("library/one", &one), ("team/two", &two)]);
    let copy = "copy --images images.txt --table table.yaml --lock lock.txt";
    let sparse = gap.run(&format!("{copy} --platform linux/amd64"));
    let said = String::from_utf8_lossy(&sparse.stderr).into_owned();
    assert_eq!(sparse.status.code(), Some(1), "{said}");
    assert!(said.contains("hint: bring it with every platform"), "{said}");
    gap.succeed(copy);
    gap.succeed("save --table table.yaml --images images.txt bundle");
    gap.assert_same("bundle", &["library/one", "team/two"]);
    gap.succeed("check --table table.yaml --lock lock.txt images.txt");
    let sent = || {
        gap.to.until_idle();
        gap.from.until_idle();
        (gap.to.requests(&["POST", "PUT"], ""), gap.from.requests(&["GET"], "/blobs/"))
    };
    let before = sent();
    let rows: Value = serde_json::from_str(&gap.succeed(&format!("{copy} -o json"))).unwrap();
    assert_eq!((&rows[0]["state"], &rows[0]["sent"]), (&json!("there"), &json!(0)));
    assert_eq!(sent(), before, "the second time nothing is fetched or sent");
    Ok(())
}

const HEAD: &str = "apiVersion: portolan.dev/v1\nkind: MappingTable\n";
const LIMIT: Duration = Duration::from_secs(180);
