use std::{
    collections::BTreeSet,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use bytes::Bytes;
use insta::assert_snapshot;
use portolan::image::Digest;
use serde_json::Value;
use tokio::process::Command;

use super::{Ended, Folder};
use crate::support::{
    eventually,
    fake_registry::{FakeRegistry, Fault},
    stand_in::StandIn,
};

impl Folder {
    /// A folder whose table reaches the registry.
    fn beside(registry: &FakeRegistry) -> Self {
        let folder = Self::new();
        let entry = format!("{{host: '{}', plainHttp: true}}", registry.host());
        folder.write("table.yaml", &crate::support::webhook::table(&[], &[&entry]));
        folder
    }

    async fn save(&self, images: &str, arguments: &[&str]) -> Ended {
        self.run_with(&[&SAVE, arguments].concat(), images).await
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.path().join("bundle/blobs").join(digest.as_str().replace(':', "/"))
    }

    /// The names of the images in the layout's index, with their digests.
    fn index(&self) -> Vec<(String, String)> {
        let index: Value =
            serde_json::from_slice(&fs::read(self.path().join("bundle/index.json")).unwrap()).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let entries = index["manifests"].as_array().unwrap().iter();
        entries
            .map(|entry| {
                let annotations = &entry["annotations"];
                assert_eq!(
                    annotations["io.containerd.image.name"],
                    annotations["org.opencontainers.image.ref.name"]
                );
                (text(&annotations["io.containerd.image.name"]), text(&entry["digest"]))
            })
            .collect()
    }

    /// Every blob in the layout, each with its own digest for a name.
    fn blobs(&self) -> BTreeSet<Digest> {
        let entries = fs::read_dir(self.path().join("bundle/blobs/sha256")).unwrap();
        entries
            .map(|entry| {
                let entry = entry.unwrap();
                let digest = Digest::of(&fs::read(entry.path()).unwrap());
                assert_eq!(entry.file_name().to_str().unwrap(), digest.hex());
                digest
            })
            .collect()
    }
}

/// The digests of all that belongs to an image.
fn parts(image: &StandIn) -> BTreeSet<Digest> {
    let manifests = image.manifests.iter().chain([&image.top]).map(|text| Digest::of(text.as_bytes()));
    manifests.chain(image.blobs.iter().map(|blob| Digest::of(blob))).collect()
}

/// Bytes that differ all along, so that a part in the wrong place is noticed.
fn bytes(length: usize) -> Bytes {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[tokio::test]
async fn images_are_saved_byte_for_byte_with_every_platform_and_shared_blobs_once() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let base = bytes(100_000);
    let one = StandIn::index("one", &["linux/amd64", "linux/arm64"], std::slice::from_ref(&base));
    let two = StandIn::single("linux/amd64", std::slice::from_ref(&base));
    let (one_digest, two_digest) =
        (registry.put_image("a/one", "1", &one), registry.put_image("two", "2", &two));
    let folder = Folder::beside(&registry);
    let list = format!("# ours\n{host}/a/one:1\n{host}/two:2\n{host}/a/one:1\n{host}/two@{two_digest}\n");
    let ended = folder.save(&list, &[]).await;
    assert_eq!((ended.code, &*ended.stdout), (0, ""), "{}", ended.stderr);
    let mut expected = vec![
        (format!("{host}/a/one:1"), one_digest.to_string()),
        (format!("{host}/two:2"), two_digest.to_string()),
        (format!("{host}/two@{two_digest}"), two_digest.to_string()),
    ];
    expected.sort();
    assert_eq!(folder.index(), expected);
    assert_eq!(folder.blobs(), parts(&one).union(&parts(&two)).cloned().collect());
    assert_eq!(fs::read_to_string(folder.blob(&one_digest)).unwrap(), one.top);
    let marker = fs::read_to_string(folder.path().join("bundle/oci-layout")).unwrap();
    assert_eq!(marker, r#"{"imageLayoutVersion":"1.0.0"}"#);
    assert!(!folder.path().join("bundle/.portolan").exists(), "nothing of ours is left");
    assert_eq!(registry.count("GET", &format!("/blobs/{}", Digest::of(&base))), 1, "shared, fetched once");
    assert_eq!(registry.count("HEAD", ""), 0);
    for request in registry.requests() {
        let agent = request.header("user-agent").to_owned();
        assert!(agent.starts_with("portolan-transfer/"), "{agent}");
    }

    // Again: tags are asked, nothing is fetched.
    let before = registry.requests().len();
    let ended = folder.save(&list, &[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains(": 0 B fetched"), "{}", ended.stderr);
    let asked: Vec<_> = registry.requests()[before..].iter().map(|request| request.path.clone()).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(folder.index(), expected);
}

#[tokio::test]
async fn a_tag_that_moved_is_saved_anew_and_images_of_earlier_runs_stay() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let image = |content: &'static str| StandIn::single("linux/amd64", &[Bytes::from(content)]);
    registry.put_image("one", "1", &image("old"));
    let two = registry.put_image("two", "2", &image("two"));
    let folder = Folder::beside(&registry);
    assert_eq!(folder.save(&format!("{host}/one:1\n{host}/two:2\n"), &[]).await.code, 0);
    let one = registry.put_image("one", "1", &image("new"));
    assert_eq!(folder.save(&format!("{host}/one:1\n"), &[]).await.code, 0);
    let expected = [(format!("{host}/one:1"), one.to_string()), (format!("{host}/two:2"), two.to_string())];
    assert_eq!(folder.index(), expected);
}

#[tokio::test]
async fn a_blob_that_is_cut_off_goes_on_where_it_was() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let layer = bytes(3_000_000);
    registry.put_image("one", "1", &StandIn::single("linux/amd64", std::slice::from_ref(&layer)));
    let blob = format!("/blobs/{}", Digest::of(&layer));
    registry.fault_at(&blob, Fault::CutOnce(1_000_000));
    let folder = Folder::beside(&registry);
    let ended = folder.save(&format!("{host}/one:1\n"), &[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("trying again in"), "{}", ended.stderr);
    assert_eq!(fs::read(folder.blob(&Digest::of(&layer))).unwrap(), layer);
    let requests = registry.requests();
    let ranges: Vec<_> = requests
        .iter()
        .filter(|request| request.path.contains(&blob))
        .map(|request| request.header("range"))
        .collect();
    assert_eq!(ranges, ["", "bytes=1000000-"]);
}

#[tokio::test]
async fn a_registry_that_cannot_go_on_begins_again_and_so_do_we() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let layer = bytes(3_000_000);
    registry.put_image("one", "1", &StandIn::single("linux/amd64", std::slice::from_ref(&layer)));
    let blob = format!("/blobs/{}", Digest::of(&layer));
    registry.fault_at(&blob, Fault::NoRange);
    registry.fault_at(&blob, Fault::CutOnce(1_000_000));
    let folder = Folder::beside(&registry);
    let ended = folder.save(&format!("{host}/one:1\n"), &[]).await;
    assert_eq!((ended.code, registry.count("GET", &blob)), (0, 2), "{}", ended.stderr);
    assert_eq!(registry.requests().last().unwrap().header("range"), "bytes=1000000-");
    assert_eq!(fs::read(folder.blob(&Digest::of(&layer))).unwrap(), layer);
}

#[tokio::test]
async fn killed_in_the_middle_of_a_blob_the_next_run_goes_on_from_there() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let (small, large) = (bytes(1_000), bytes(3_000_000));
    let image = StandIn::single("linux/amd64", &[small.clone(), large.clone()]);
    registry.put_image("one", "1", &image);
    let blob = format!("/blobs/{}", Digest::of(&large));
    registry.fault_at(&blob, Fault::Hold(2_000_000));
    let folder = Folder::beside(&registry);
    folder.write("images.txt", &format!("{host}/one:1\n"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_portolan"))
        .args(["save", "--table", "table.yaml", "--images", "images.txt", "bundle"])
        .current_dir(folder.path())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let partial = folder.path().join(format!("bundle/.portolan/sha256-{}", Digest::of(&large).hex()));
    let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    eventually("most of it is on the disk", async || {
        length(&partial) >= 1_500_000 && folder.blob(&Digest::of(&small)).exists()
    })
    .await;
    // SIGKILL.
    child.kill().await.unwrap();
    let kept = length(&partial);
    assert!(!folder.blob(&Digest::of(&large)).exists(), "a part has no final name");
    registry.heal();
    let before = registry.requests().len();
    let ended = folder.save(&format!("{host}/one:1\n"), &[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(folder.blobs(), parts(&image));
    let asked: Vec<_> = registry.requests()[before..]
        .iter()
        .map(|request| (request.path.clone(), request.header("range").to_owned()))
        .collect();
    let expected = [
        ("/v2/one/manifests/1".to_owned(), String::new()),
        (format!("/v2/one{blob}"), format!("bytes={kept}-")),
    ];
    assert_eq!(asked, expected, "the tag, and what was missing of one blob");
}

#[tokio::test]
async fn what_an_earlier_run_left_broken_is_fetched_anew() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let (layer, other) = (bytes(500_000), bytes(20_000));
    registry.put_image("one", "1", &StandIn::single("linux/amd64", &[layer.clone(), other.clone()]));
    let folder = Folder::beside(&registry);
    assert_eq!(folder.save(&format!("{host}/one:1\n"), &[]).await.code, 0);
    // A file that lost its content, and a part of the wrong bytes.
    fs::write(folder.blob(&Digest::of(&layer)), vec![0; 500_000]).unwrap();
    fs::remove_file(folder.blob(&Digest::of(&other))).unwrap();
    let ours = folder.path().join("bundle/.portolan");
    fs::create_dir(&ours).unwrap();
    fs::write(ours.join(format!("sha256-{}", Digest::of(&other).hex())), vec![0; 10_000]).unwrap();
    let ended = folder.save(&format!("{host}/one:1\n"), &[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(fs::read(folder.blob(&Digest::of(&layer))).unwrap(), layer);
    assert_eq!(fs::read(folder.blob(&Digest::of(&other))).unwrap(), other);
}

#[tokio::test]
async fn a_limit_is_waited_for_as_long_as_the_registry_wishes() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    registry.put_image("one", "1", &StandIn::single("linux/amd64", &[bytes(10)]));
    registry.fault_at("/manifests/", Fault::LimitOnce(1));
    let begun = std::time::Instant::now();
    let ended = Folder::beside(&registry).save(&format!("{host}/one:1\n"), &[]).await;
    assert_eq!((ended.code, registry.count("GET", "/manifests/")), (0, 2), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("status 429") && ended.stderr.contains("trying again in 1."),
        "{}",
        ended.stderr
    );
    assert!(begun.elapsed().as_secs() >= 1);
}

#[tokio::test]
async fn images_that_fail_are_named_with_a_remedy_and_the_others_are_saved() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let image = |content: &str| StandIn::single("linux/amd64", &[Bytes::from(content.to_owned())]);
    let (good, wrong, lost, long) = (image("good"), image("wrong"), image("lost"), image("long"));
    for (name, image) in
        [("good", &good), ("wrong", &wrong), ("lost", &lost), ("long", &long), ("busy", &good)]
    {
        registry.put_image(name, "1", image);
    }
    let layer = |image: &StandIn| Digest::of(image.blobs.last().unwrap());
    registry.put_blob_at("wrong", &layer(&wrong), "WRONG");
    registry.put_blob_at("long", &layer(&long), "longer than it says");
    registry.remove_blob("lost", &layer(&lost));
    registry.put("old", "1", r#"{"schemaVersion":1,"mediaType":"x"}"#);
    registry.put("odd", "1", r#"{"schemaVersion":2,"mediaType":"x"}"#);
    registry.put_at("lie", "1", &good.top);
    registry.fault_at("lie", Fault::DigestHeader(Digest::of(b"another").to_string()));
    registry.fault_at("secret", Fault::Unauthorized("Basic".into()));
    registry.fault_at("/v2/busy", Fault::Status(503));
    let folder = Folder::beside(&registry);
    let names = ["busy", "lie", "long", "lost", "good", "none", "odd", "old", "secret", "wrong"];
    let list: String = names.map(|name| format!("{host}/{name}:1\n")).concat();
    let ended = folder.save(&format!("{list}no//image:1\n"), &["--retries", "0", "--parallel", "1"]).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert_eq!(folder.index(), [(format!("{host}/good:1"), Digest::of(good.top.as_bytes()).to_string())]);
    let (errors, others): (Vec<_>, Vec<_>) =
        ended.stderr.lines().partition(|line| line.starts_with("error: ") || line.starts_with("hint: "));
    let summary = "1 of 11 images are in `bundle`: 613 B fetched, 0 B were there";
    assert_eq!(
        others,
        [&format!("saved {host}/good:1 {} (155 B)", Digest::of(good.top.as_bytes())), summary]
    );
    // They end in no order.
    let mut shown = errors.join("\n").replace(&host, "HOST");
    for (name, image) in [("GOOD", &good), ("WRONG", &wrong), ("LOST", &lost), ("LONG", &long)] {
        shown = shown.replace(&layer(image).to_string(), name);
    }
    shown = shown
        .replace(Digest::of(b"another").as_str(), "ANOTHER")
        .replace(Digest::of(good.top.as_bytes()).as_str(), "TOP");
    let mut blocks: Vec<_> =
        shown.replace("\nhint:", "\n  hint:").split("\nerror: ").map(str::to_owned).collect();
    blocks.sort();
    assert_snapshot!(blocks.join("\n"), @r"
    `HOST/busy:1` is not saved: cannot get its manifest: the registry answered with status 503
      hint: run the command again: it goes on from here
    `HOST/lie:1` is not saved: cannot get its manifest: the registry's bytes are not those of `ANOTHER`
      hint: something on the way or in the registry changes content: see what stands between
    `HOST/long:1` is not saved: its blob `LONG` has not the 4 bytes that what names it says
    `HOST/lost:1` is not saved: cannot get its blob `LOST`: the registry says that it does not exist
      hint: the registry lacks a part of the image: have it pushed there anew
    `HOST/none:1` is not saved: cannot get its manifest: the registry says that it does not exist
      hint: see whether name and tag are right
    `HOST/odd:1` is not saved: cannot use its manifest: it is neither an index nor the manifest of an image
    `HOST/old:1` is not saved: cannot get its manifest: the registry's answer is no manifest that we can read (schema version 2)
      hint: see whether this is a registry's address; images of schema version 1 must be pushed anew
    `HOST/secret:1` is not saved: cannot get its manifest: the registry refused us with status 401
      hint: log in (`podman login`, `docker login`, or a file named by REGISTRY_AUTH_FILE), or see whether the name is right: many registries say so of what does not exist
    `HOST/wrong:1` is not saved: cannot get its blob `WRONG`: the registry's bytes are not those of `WRONG`
      hint: something on the way or in the registry changes content: see what stands between
    error: `-`, line 11: `no//image:1` is no image: the repository is not made of lower-case letters and digits, joined by `.`, `_`, `__`, `-` and `/`
    ");
}

#[tokio::test]
async fn of_chosen_platforms_the_index_stays_as_it_is_and_the_others_are_left_out() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let image = StandIn::index("one", &["linux/amd64", "linux/arm64", "windows/amd64"], &[]);
    let digest = registry.put_image("one", "1", &image);
    registry.put_image("two", "1", &StandIn::single("linux/s390x", &[bytes(10)]));
    let folder = Folder::beside(&registry);
    let both = ["--platform", "linux/arm64,windows/amd64"];
    let ended = folder.save(&format!("{host}/one:1\n"), &both).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(fs::read_to_string(folder.blob(&digest)).unwrap(), image.top);
    let there: Vec<_> =
        image.manifests.iter().map(|text| folder.blob(&Digest::of(text.as_bytes())).exists()).collect();
    assert_eq!(there, [false, true, true]);
    assert_eq!(folder.blobs().len(), 1 + 2 * 3, "of each a manifest, a configuration, a layer");

    let ended = folder.save(&format!("{host}/one:1\n{host}/two:1\n"), &["--platform", "linux/ppc64le"]).await;
    assert_eq!(ended.code, 1);
    for expected in
        ["it is for `linux/amd64`, `linux/arm64`, `windows/amd64`, and", "it is for `linux/s390x`, and"]
    {
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
    for wrong in ["linux", "all,linux/amd64"] {
        assert_eq!(folder.save(&format!("{host}/one:1\n"), &["--platform", wrong]).await.code, 2, "{wrong}");
    }
}

#[tokio::test]
async fn layers_that_may_not_be_given_to_others_come_along_only_when_asked_for() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let layer = bytes(1_000);
    registry.put_image("windows", "1", &StandIn::foreign(&layer));
    let folder = Folder::beside(&registry);
    let ended = folder.save(&format!("{host}/windows:1\n"), &[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("1 layers left out: not distributable"), "{}", ended.stderr);
    assert!(!folder.blob(&Digest::of(&layer)).exists());
    let ended = folder.save(&format!("{host}/windows:1\n"), &["--nondistributable"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(folder.blob(&Digest::of(&layer)).exists());
}

#[tokio::test]
async fn logins_are_those_of_docker_and_tokens_are_for_pulling() {
    let registry = FakeRegistry::builder().tokens("robot", "s3cret").start().await;
    let host = registry.host();
    registry.put_image("team/one", "1", &StandIn::index("one", &["linux/amd64", "linux/arm64"], &[]));
    let folder = Folder::beside(&registry);
    let refused = folder.save(&format!("{host}/team/one:1\n"), &[]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("hint: log in"), "{}", refused.stderr);
    fs::create_dir(folder.path().join(".docker")).unwrap();
    let login = format!(r#"{{"auths": {{"{host}": {{"username": "robot", "password": "s3cret"}}}}}}"#);
    folder.write(".docker/config.json", &login);
    let before = registry.count("GET", "/token");
    let ended = folder.save(&format!("{host}/team/one:1\n"), &[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(registry.count("GET", "/token") - before, 1, "one token for all of a repository");
    let token =
        registry.requests().into_iter().rev().find(|request| request.path.starts_with("/token")).unwrap();
    assert!(token.path.ends_with("scope=repository%3Ateam%2Fone%3Apull"), "{}", token.path);
}

#[tokio::test]
async fn what_cannot_be_read_or_written_is_said_and_nothing_of_the_users_is_touched() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let digest = registry.put_image("one", "1", &StandIn::single("linux/amd64", &[bytes(10)]));
    let folder = Folder::beside(&registry);
    for (list, arguments) in [("", &[][..]), ("# none\n", &[]), ("x\n", &["--images", "none.txt"])] {
        assert_eq!(folder.save(list, arguments).await.code, 2, "{list} {arguments:?}");
        assert!(!folder.path().join("bundle").exists());
    }
    fs::create_dir(folder.path().join("bundle")).unwrap();
    folder.write("bundle/thesis.txt", "all my work");
    let ended = folder.save(&format!("{host}/one:1\n"), &[]).await;
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("is no OCI image layout: it has no file `oci-layout`"), "{}", ended.stderr);
    assert_eq!(fs::read_dir(folder.path().join("bundle")).unwrap().count(), 1);
    fs::remove_dir_all(folder.path().join("bundle")).unwrap();

    // A broken document is named, the rest is saved.
    let manifests = format!("kind: Pod\nspec: {{containers: [{{image: '{host}/one:1'}}]}}\n---\nkind: [\n");
    let ended = folder.save(&manifests, &[]).await;
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("document 2"), "{}", ended.stderr);
    assert_eq!(folder.index(), [(format!("{host}/one:1"), digest.to_string())]);
}

#[tokio::test]
async fn of_manifests_only_what_is_certain_is_fetched() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let digest = registry.put_image("one", "1", &StandIn::single("linux/amd64", &[bytes(10)]));
    let folder = Folder::beside(&registry);
    let manifests = format!(
        "kind: Pod\nspec: {{containers: [{{image: '{host}/one:1'}}]}}\n---\nkind: ConfigMap\ndata: {{sidecar-image: '{host}/guess:1'}}\n"
    );
    let ended = folder.save(&manifests, &[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(folder.index(), [(format!("{host}/one:1"), digest.to_string())]);
}

#[tokio::test]
async fn two_runs_keep_off_each_other() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    registry.put_image("one", "1", &StandIn::single("linux/amd64", &[bytes(10)]));
    registry.fault(Fault::Stall);
    let folder = Folder::beside(&registry);
    let list = format!("{host}/one:1\n");
    let first = folder.save(&list, &[]);
    let second = async {
        eventually("the first is at work", async || !registry.requests().is_empty()).await;
        let second = folder.save(&list, &[]).await;
        registry.heal();
        second
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.code, second.code), (0, 2), "{}", second.stderr);
    assert!(second.stderr.contains("another run is writing to `bundle`"), "{}", second.stderr);
}

#[tokio::test]
async fn a_tar_file_holds_what_the_index_leads_to_and_is_the_same_each_time() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let image = StandIn::index("one", &["linux/amd64", "linux/arm64"], &[bytes(300_000)]);
    let digest = registry.put_image("one", "1", &image);
    let folder = Folder::beside(&registry);
    let (list, save) =
        (format!("{host}/one:1\n"), ["save", "--table", "table.yaml", "b.tar", "--images", "-"]);
    let mut made = Vec::new();
    for _ in 0..2 {
        let ended = folder.run_with(&save, &list).await;
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        made.push(fs::read(folder.path().join("b.tar")).unwrap());
        assert!(!folder.path().join("b.tar.partial").exists() && !folder.path().join("b.tar.new").exists());
    }
    assert!(made[0] == made[1], "the same images make the same bytes");
    let mut names = Vec::new();
    let mut blobs = BTreeSet::new();
    for entry in tar::Archive::new(&*made[0]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if let Some(hex) = name.strip_prefix("blobs/sha256/").filter(|hex| !hex.is_empty()) {
            assert_eq!(Digest::of(&content).hex(), hex);
            blobs.insert(Digest::of(&content));
        } else if name == "index.json" {
            let index: Value = serde_json::from_slice(&content).unwrap();
            assert_eq!(index["manifests"][0]["digest"], digest.as_str());
        }
        names.push(name);
    }
    assert_eq!(names[..4], ["oci-layout", "index.json", "blobs/", "blobs/sha256/"]);
    assert_eq!(blobs, parts(&image));
}

#[tokio::test]
async fn a_tar_file_is_made_of_what_could_be_saved_and_the_rest_goes_on_later() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let [one, two] = ["one", "two"].map(|name| StandIn::single("linux/amd64", &[Bytes::from(name)]));
    registry.put_image("one", "1", &one);
    let folder = Folder::beside(&registry);
    let list = format!("{host}/one:1\n{host}/two:1\n");
    let save = ["save", "--table", "table.yaml", "b.tar", "--images", "-"];
    assert_eq!(folder.run_with(&save, &list).await.code, 1);
    let first = fs::metadata(folder.path().join("b.tar")).unwrap().len();
    registry.put_image("two", "1", &two);
    let ended = folder.run_with(&save, &list).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(fs::metadata(folder.path().join("b.tar")).unwrap().len() > first);
    assert_eq!(registry.count("GET", "/v2/one/blobs/"), 2, "what was there was not fetched again");
}

const SAVE: [&str; 6] = ["save", "--table", "table.yaml", "bundle", "--images", "-"];
