use std::{fs, process::Stdio};

use bytes::Bytes;
use portolan::image::Digest;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Ended, Folder};
use crate::support::{
    eventually,
    fake_registry::{FakeRegistry, Fault, in_query},
    layout::{Layout, named},
    stand_in::StandIn,
    webhook,
};

impl Folder {
    /// A folder whose table has these rules, and reaches the registries.
    fn ruled(rules: &[&str], registries: &[&FakeRegistry]) -> Self {
        let folder = Self::new();
        let entry = |registry: &&FakeRegistry| format!("{{host: '{}', plainHttp: true}}", registry.host());
        let entries: Vec<_> = registries.iter().map(entry).collect();
        let entries: Vec<_> = entries.iter().map(String::as_str).collect();
        folder.write("table.yaml", &webhook::table(rules, &entries));
        folder
    }

    /// The same with one rule: all of docker.io is in one place of the registry.
    fn mirrored(registry: &FakeRegistry) -> Self {
        Self::ruled(&[&format!("{{source: docker.io, mirrors: ['{}/hub']}}", registry.host())], &[registry])
    }

    async fn load(&self, arguments: &[&str]) -> Ended {
        let given = ["load", "bundle", "--table", "table.yaml"];
        self.run(&[&given, arguments].concat()).await
    }

    fn bundle(&self, images: &[(&str, &StandIn)]) {
        Layout::of(images).write(&self.path().join("bundle"));
    }

    fn written(&self) -> String {
        let lock = fs::read_to_string(self.path().join("lock.txt")).unwrap();
        lock.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect()
    }
}

/// What makes a layout a damaged one.
type Damage<'d> = &'d dyn Fn(&mut Layout);

fn two_platforms(name: &str, shared: &[Bytes]) -> StandIn {
    StandIn::index(name, &["linux/amd64", "linux/arm64"], shared)
}

fn digest(image: &StandIn) -> Digest {
    Digest::of(image.top.as_bytes())
}

/// Sees to it that all of an image is there to the byte.
fn assert_there(registry: &FakeRegistry, repository: &str, tag: &str, image: &StandIn) {
    assert_eq!(registry.stored_manifest(repository, tag).unwrap(), image.top);
    for manifest in &image.manifests {
        let digest = Digest::of(manifest.as_bytes());
        assert_eq!(registry.stored_manifest(repository, digest.as_str()).unwrap(), *manifest);
    }
    for blob in &image.blobs {
        assert_eq!(registry.stored_blob(repository, &Digest::of(blob)).unwrap(), *blob);
    }
}

#[tokio::test]
async fn images_go_where_the_table_says_to_the_byte_and_again_nothing_is_sent() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let base = Bytes::from(vec![3; 700_000]);
    let (one, two) = (
        two_platforms("one", std::slice::from_ref(&base)),
        two_platforms("two", std::slice::from_ref(&base)),
    );
    let folder = Folder::mirrored(&registry);
    folder.bundle(&[("docker.io/library/one:1", &one), ("docker.io/team/two:2", &two)]);
    folder.write("lock.txt", "# by hand\nr.corp/other:1 sha256:");
    let refused = folder.load(&["--lock", "lock.txt"]).await;
    assert_eq!((refused.code, registry.requests().len()), (2, 0), "{}", refused.stderr);
    let other = format!("# by hand\nr.corp/other:1 {}\n", digest(&one));
    folder.write("lock.txt", &other);

    let ended = folder.load(&["--lock", "lock.txt"]).await;
    assert_eq!((ended.code, &*ended.stdout), (0, ""), "{}", ended.stderr);
    assert_there(&registry, "hub/library/one", "1", &one);
    assert_there(&registry, "hub/team/two", "2", &two);
    let lock = [
        format!("{host}/hub/library/one:1 {}\n", digest(&one)),
        format!("{host}/hub/team/two:2 {}\n", digest(&two)),
        other.lines().nth(1).unwrap().to_owned() + "\n",
    ];
    assert_eq!(folder.written(), lock.concat());
    assert!(fs::read_to_string(folder.path().join("lock.txt")).unwrap().starts_with("# by hand\n"));
    // The base is sent once; the other repository takes it over.
    let base_of = |query: &str| format!("{query}{}", in_query(&base));
    assert_eq!(registry.count("PUT", &base_of("digest=")), 1);
    assert_eq!(registry.count("POST", &base_of("mount=")), 1);
    assert_eq!(registry.count("HEAD", Digest::of(&base).as_str()), 1, "who mounts need not ask");
    assert_eq!(registry.asked_of_itself(), 0, "two images are too few to try it");
    for request in registry.requests().iter().filter(|request| request.path.contains("manifests")) {
        if request.method == "PUT" {
            assert!(request.header("content-type").starts_with("application/vnd.oci.image."));
        }
    }
    let checked = folder.run_with(
        &["check", "--table", "table.yaml", "--lock", "lock.txt", "-"],
        "docker.io/library/one:1\nteam/two:2\n",
    );
    let checked = checked.await;
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);

    let before = registry.requests().len();
    let ended = folder.load(&["--lock", "lock.txt", "-o", "json"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains(": 0 B sent"), "{}", ended.stderr);
    let again: Vec<_> = registry.requests()[before..].iter().map(|request| request.method.clone()).collect();
    assert_eq!(again, ["HEAD"; 6], "each tag and each platform, and no more");
    let rows: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(rows[0]["reference"], format!("{host}/hub/library/one:1"));
    assert_eq!((&rows[0]["state"], &rows[0]["sent"]), (&json!("there"), &json!(0)));
    assert_eq!(rows[1]["digest"], digest(&two).as_str());
    assert_eq!(folder.written(), lock.concat());

    // What came with an earlier load is mounted for a later image.
    let three = two_platforms("three", std::slice::from_ref(&base));
    folder.bundle(&[("docker.io/a/three:3", &three), ("docker.io/library/one:1", &one)]);
    assert_eq!(folder.load(&[]).await.code, 0);
    assert_there(&registry, "hub/a/three", "3", &three);
    assert_eq!(
        (registry.count("PUT", &base_of("digest=")), registry.count("POST", &base_of("mount="))),
        (1, 2)
    );
}

#[tokio::test]
async fn where_nothing_is_mounted_what_is_there_is_not_sent_all_the_same() {
    let registry = FakeRegistry::start().await;
    registry.fault_at("mount=", Fault::NoMount);
    let base = Bytes::from(vec![3; 700_000]);
    let one = StandIn::single("linux/amd64", std::slice::from_ref(&base));
    let two = two_platforms("two", std::slice::from_ref(&base));
    // As a load leaves it that was ended in the middle.
    registry.put_blob("hub/team/two", base.clone());
    let folder = Folder::mirrored(&registry);
    folder.bundle(&[("docker.io/library/one:1", &one), ("docker.io/team/two:2", &two)]);
    let ended = folder.load(&[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_there(&registry, "hub/library/one", "1", &one);
    assert_there(&registry, "hub/team/two", "2", &two);
    let base_of = |query: &str| format!("{query}{}", in_query(&base));
    assert_eq!(registry.count("POST", &base_of("mount=")), 1);
    assert_eq!(registry.count("PUT", &base_of("digest=")), 1, "the other repository had it");
}

/// Loads images into repositories of their own, `hub/team/app-0` and so on, and looks that they are there.
async fn load_all(registry: &FakeRegistry, images: &[StandIn]) {
    let names: Vec<_> = (0..images.len()).map(|number| format!("docker.io/team/app-{number}:1")).collect();
    let folder = Folder::mirrored(registry);
    let bundle: Vec<_> = names.iter().map(String::as_str).zip(images).collect();
    folder.bundle(&bundle);
    let ended = folder.load(&[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for (number, image) in images.iter().enumerate() {
        assert_there(registry, &format!("hub/team/app-{number}"), "1", image);
    }
}

#[tokio::test]
async fn among_many_images_what_is_there_is_asked_where_it_would_be_sent() {
    const IMAGES: usize = 60;
    let images: Vec<_> = (0..IMAGES)
        .map(|number| StandIn::single("linux/amd64", &[Bytes::from(format!("layer of {number}"))]))
        .collect();
    let layer = |number: usize| images[number].blobs.last().unwrap().clone();
    let query = |key: &str, number: usize| format!("{key}={}", in_query(&layer(number)));
    for ways in ["says so", "mounts nothing", "errs where nothing is"] {
        let registry = FakeRegistry::start().await;
        match ways {
            "mounts nothing" => registry.fault_at("mount=", Fault::NoMount),
            "errs where nothing is" => (1..IMAGES)
                .step_by(2)
                .for_each(|number| registry.fault_at(&query("mount", number), Fault::Status(500))),
            _ => {}
        }
        // As a load leaves it that was ended in the middle.
        for number in (0..IMAGES).step_by(2) {
            registry.put_blob(&format!("hub/team/app-{number}"), layer(number));
        }
        load_all(&registry, &images).await;
        for number in 0..IMAGES {
            let sent = registry.count("PUT", &query("digest", number));
            assert_eq!(sent, number % 2, "{ways}: sent where it is not there, {number}");
        }
        let (heads, own) = (registry.count("HEAD", "/blobs/"), registry.asked_of_itself());
        match ways {
            "says so" => {
                assert_eq!(heads + own, 2 * IMAGES + 1, "each is asked about once");
                assert!(heads < IMAGES, "{heads} of {} were asked about by HEAD", 2 * IMAGES);
            }
            "mounts nothing" => assert_eq!((heads, own), (2 * IMAGES, 1), "asked once, then by HEAD"),
            // Those that were on their way when the first one failed.
            _ => assert!(own < IMAGES && heads > IMAGES, "{own} were asked so and {heads} by HEAD"),
        }
    }
}

#[tokio::test]
async fn a_mount_that_was_refused_once_does_not_have_a_shared_layer_sent_to_all() {
    let base = Bytes::from(vec![3; 100_000]);
    let images: Vec<_> = (0..40)
        .map(|number| {
            StandIn::single("linux/amd64", &[base.clone(), Bytes::from(format!("layer of {number}"))])
        })
        .collect();
    let registry = FakeRegistry::start().await;
    registry.fault_at("/app-3/blobs/uploads/?mount=", Fault::NoMount);
    load_all(&registry, &images).await;
    let sent = registry.count("PUT", &format!("digest={}", in_query(&base)));
    // Who comes first gets it; the one that gets it by no mount, if that is another.
    assert!((1..=2).contains(&sent), "sent {sent} times");
}

#[tokio::test]
async fn every_rule_that_could_match_gets_its_image_and_those_of_no_rule_are_named() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let folder = Folder::ruled(
        &[
            &format!("{{source: docker.io, mirrors: ['{host}/hub', 'never.corp/x']}}"),
            &format!(
                "{{source: docker.io/library, mirrors: ['{host}/team'], namespaces: [team-*], pin: 'off'}}"
            ),
            &format!("{{source: docker.io/library/app:1, mirrors: ['{host}/named/app:fips']}}"),
            "{source: ghcr.io, keep: true}",
        ],
        &[&registry],
    );
    let image = StandIn::single("linux/amd64", &[Bytes::from("x")]);
    let other = StandIn::single("linux/amd64", &[Bytes::from("y")]);
    folder.bundle(&[
        ("docker.io/library/nginx:1", &image),
        ("ghcr.io/a/b:1", &image),
        ("quay.io/c:1", &image),
    ]);
    let ended = folder.load(&["--lock", "lock.txt"]).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("`quay.io/c:1` goes nowhere: no rule"), "{}", ended.stderr);
    assert!(ended.stderr.contains("kept: ghcr.io/a/b:1"), "{}", ended.stderr);
    assert_there(&registry, "hub/library/nginx", "1", &image);
    assert_there(&registry, "team/nginx", "1", &image);
    assert_eq!(
        folder.written(),
        format!("{host}/hub/library/nginx:1 {}\n", digest(&image)),
        "`pin: off` has none"
    );

    // What a rule names itself is chosen by hand.
    folder.bundle(&[("docker.io/library/app:1", &image)]);
    assert_eq!(folder.load(&[]).await.code, 0);
    assert_there(&registry, "named/app", "fips", &image);
    folder.bundle(&[("docker.io/library/app:1", &other)]);
    let ended = folder.load(&[]).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains(&format!("another image (`{}`) is there", digest(&image))),
        "{}",
        ended.stderr
    );
    assert_there(&registry, "named/app", "fips", &image);
    // Another tag moves.
    folder.bundle(&[("docker.io/library/nginx:1", &other)]);
    assert_eq!(folder.load(&["--lock", "lock.txt"]).await.code, 0);
    assert_there(&registry, "hub/library/nginx", "1", &other);
    assert_eq!(folder.written(), format!("{host}/hub/library/nginx:1 {}\n", digest(&other)));
}

#[tokio::test]
async fn two_images_of_one_place_are_an_error_and_a_digest_beside_a_tag_leaves_the_tag_alone() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let rule = |source: &str| format!("{{source: {source}, mirrors: ['{host}/all']}}");
    let folder = Folder::ruled(&[&rule("docker.io/library"), &rule("quay.io")], &[&registry]);
    let image = |content: &'static str| StandIn::single("linux/amd64", &[Bytes::from(content)]);
    let (one, other) = (image("one"), image("other"));
    folder.bundle(&[("docker.io/library/x:1", &one), ("quay.io/x:1", &other)]);
    let ended = folder.load(&[]).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("goes there too, and is another image"), "{}", ended.stderr);

    let by_digest = format!("docker.io/library/y:1@{}", digest(&one));
    let untagged = format!("docker.io/library/z:1@{}", digest(&one));
    folder.bundle(&[(&by_digest, &one), ("docker.io/library/y:1", &other), (&untagged, &one)]);
    let ended = folder.load(&["--lock", "lock.txt"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_there(&registry, "all/y", digest(&one).as_str(), &one);
    assert_there(&registry, "all/y", "1", &other);
    assert_there(&registry, "all/z", "1", &one);
    assert_eq!(registry.count("PUT", "all/y/manifests/1"), 1, "the tag was never another image's");
    let mut lines = [
        format!("{host}/all/y:1 {}\n", digest(&other)),
        format!("{host}/all/y@{0} {0}\n", digest(&one)),
        format!("{host}/all/z@{0} {0}\n", digest(&one)),
    ];
    lines.sort();
    assert_eq!(folder.written(), lines.concat());
}

#[tokio::test]
async fn refusals_name_image_mirror_and_remedy_and_the_others_go_on() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let folder = Folder::mirrored(&registry);
    let image = |content: &'static str| StandIn::single("linux/amd64", &[Bytes::from(content)]);
    let names = ["full", "large", "nowhere", "readonly", "lost", "fine"];
    let names: Vec<_> = names.iter().map(|name| (format!("docker.io/a/{name}:1"), image(name))).collect();
    let images: Vec<_> = names.iter().map(|(name, image)| (&**name, image)).collect();
    folder.bundle(&images);
    registry.fault_at("POST /v2/hub/a/full/", Fault::Status(403));
    registry.fault_at("PUT /v2/hub/a/large/blobs", Fault::Early(413));
    registry.fault_at("POST /v2/hub/a/nowhere/", Fault::Status(404));
    registry.fault_at("POST /v2/hub/a/readonly/", Fault::Status(405));
    registry.fault_at("POST /v2/hub/a/lost/", Fault::NoLocation);
    let ended = folder.load(&["--lock", "lock.txt", "--retries", "0"]).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    for (name, error, hint) in [
        (
            "full",
            "the registry refused us with status 403: as the test wanted it",
            "hint: see whether the login may push there and whether a quota",
        ),
        ("large", "status 413", "hint: something in front of the registry bounds what is sent"),
        ("nowhere", "does not exist", "hint: many registries want the project or repository made first"),
        ("readonly", "status 405", "hint: it takes no pushes"),
        ("lost", "the registry's answer to an upload has no `Location`", ""),
    ] {
        let begin = format!(
            "error: `docker.io/a/{name}:1` is not loaded as `{host}/hub/a/{name}:1`: cannot put its blob"
        );
        let mut lines = ended.stderr.lines().skip_while(|line| !line.starts_with(&begin));
        let line = lines.next().unwrap_or_else(|| panic!("{name}: {}", ended.stderr));
        assert!(line.contains(error), "{line}");
        assert!(lines.next().unwrap().starts_with(hint), "{}", ended.stderr);
    }
    let fine = names.last().unwrap();
    assert_there(&registry, "hub/a/fine", "1", &fine.1);
    assert_eq!(folder.written(), format!("{host}/hub/a/fine:1 {}\n", digest(&fine.1)));
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_a_broken_upload_is_sent_anew() {
    let registry = FakeRegistry::start().await;
    let folder = Folder::mirrored(&registry);
    let layer = Bytes::from(vec![1; 3_000_000]);
    let image = StandIn::single("linux/amd64", std::slice::from_ref(&layer));
    folder.bundle(&[("docker.io/a/x:1", &image)]);
    let of_layer = format!("digest={}", in_query(&layer));
    registry.fault_at(&of_layer, Fault::CutOnce(1_000_000));
    registry.fault_at("HEAD /v2/hub/a/x/manifests", Fault::LimitOnce(1));
    let ended = folder.load(&[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("status 429; trying again in 1."), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("trying again in").count(), 2, "{}", ended.stderr);
    assert_there(&registry, "hub/a/x", "1", &image);
}

#[tokio::test]
async fn killed_in_the_middle_the_next_run_sends_what_is_missing_and_nothing_else() {
    let registry = FakeRegistry::start().await;
    let folder = Folder::mirrored(&registry);
    let (small, large) = (Bytes::from(vec![1; 1000]), Bytes::from(vec![2; 3_000_000]));
    let first = StandIn::single("linux/amd64", std::slice::from_ref(&small));
    let second = StandIn::single("linux/amd64", std::slice::from_ref(&large));
    folder.bundle(&[("docker.io/a/first:1", &first), ("docker.io/a/second:1", &second)]);
    let of_large = format!("digest={}", in_query(&large));
    registry.fault_at(&of_large, Fault::Hold(1_000_000));
    let mut child = Command::new(env!("CARGO_BIN_EXE_portolan"))
        .args(["load", "bundle", "--table", "table.yaml", "--lock", "lock.txt"])
        .current_dir(folder.path())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually("one is there and the other is on its way", async || {
        registry.stored_manifest("hub/a/first", "1").is_some()
            && registry.count("POST", "hub/a/second") == 2
            && registry.stored_blob("hub/a/second", &Digest::of(&second.blobs[0])).is_some()
    })
    .await;
    // SIGKILL.
    child.kill().await.unwrap();
    registry.heal();
    assert!(!folder.path().join("lock.txt").exists());
    let before = registry.requests().len();
    let ended = folder.load(&["--lock", "lock.txt"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_there(&registry, "hub/a/second", "1", &second);
    assert_eq!(folder.written().lines().count(), 2, "also the line of what was there");
    let puts: Vec<_> = registry.requests()[before..]
        .iter()
        .filter(|request| request.method == "PUT" && !request.header("content-length").is_empty())
        .filter(|request| !request.body.is_empty())
        .map(|request| request.path.clone())
        .collect();
    assert_eq!(puts.len(), 2, "{puts:?}");
    assert!(puts[0].contains(&of_large), "{puts:?}");
    assert_eq!(puts[1], "/v2/hub/a/second/manifests/1");
}

#[tokio::test]
async fn a_sparse_index_that_is_refused_is_named_with_the_remedy_and_completed_later() {
    let registry = FakeRegistry::start().await;
    let folder = Folder::mirrored(&registry);
    let image = two_platforms("x", &[]);
    let mut layout = Layout::of(&[("docker.io/a/x:1", &image)]);
    layout.remove(image.manifests[1].as_bytes());
    layout.write(&folder.path().join("bundle"));
    let ended = folder.load(&[]).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("of which only some platforms came along"), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: bring it with every platform"), "{}", ended.stderr);
    // One that took it all the same is completed when all of it comes.
    registry.put("hub/a/x", "1", &image.top);
    assert_eq!(folder.load(&[]).await.code, 0);
    fs::remove_dir_all(folder.path().join("bundle")).unwrap();
    folder.bundle(&[("docker.io/a/x:1", &image)]);
    assert_eq!(folder.load(&[]).await.code, 0);
    assert_there(&registry, "hub/a/x", "1", &image);
}

#[tokio::test]
async fn what_is_damaged_is_never_put_anywhere() {
    let registry = FakeRegistry::start().await;
    let folder = Folder::mirrored(&registry);
    let layer = Bytes::from(vec![5; 600_000]);
    let image = StandIn::single("linux/amd64", std::slice::from_ref(&layer));
    let fine = StandIn::single("linux/amd64", &[Bytes::from("fine")]);
    let damages: [(&str, &str, Damage); 4] = [
        ("other bytes", "has another digest", &|layout| {
            layout.replace(&layer, vec![6; 600_000]);
        }),
        ("another size", "has not the 600000 bytes", &|layout| {
            layout.replace(&layer, vec![5; 599_999]);
        }),
        ("no blob", "the layout lacks its blob", &|layout| layout.remove(&layer)),
        ("another manifest", "has another digest", &|layout| {
            layout.replace(image.top.as_bytes(), image.top.replace(':', ": "));
        }),
    ];
    for (what, expected, damage) in damages {
        let mut layout = Layout::of(&[("docker.io/a/x:1", &image), ("docker.io/a/fine:1", &fine)]);
        damage(&mut layout);
        for is_archive in [false, true] {
            let _ = fs::remove_dir_all(folder.path().join("bundle"));
            let _ = fs::remove_file(folder.path().join("bundle"));
            let place = folder.path().join("bundle");
            if is_archive {
                layout.write_archive(&place);
            } else {
                layout.write(&place);
            }
            let ended = folder.load(&["--retries", "1"]).await;
            assert_eq!(ended.code, 1, "{what}: {}", ended.stderr);
            assert!(ended.stderr.contains(expected), "{what}: {}", ended.stderr);
            assert!(!ended.stderr.contains("trying again"), "{what}: {}", ended.stderr);
            assert_there(&registry, "hub/a/fine", "1", &fine);
            assert!(registry.stored_manifest("hub/a/x", "1").is_none(), "{what}");
            assert!(registry.stored_blob("hub/a/x", &Digest::of(&layer)).is_none(), "{what}");
        }
    }
}

#[tokio::test]
async fn what_is_no_layout_is_said_and_nothing_is_asked() {
    let registry = FakeRegistry::start().await;
    let folder = Folder::mirrored(&registry);
    let image = StandIn::single("linux/amd64", &[Bytes::from("x")]);
    let layout = Layout::of(&[("docker.io/a/x:1", &image)]);
    let whole = layout.archive(&[]);
    let text = |text: &str| text.as_bytes().to_vec();
    for (bytes, expected) in [
        (text("no tar at all"), "is neither a folder nor a tar file"),
        (Vec::new(), "it is empty"),
        // In a header, and where the content of the last entry begins.
        (whole[..whole.len() - 2000].to_vec(), "is cut off"),
        (whole[..whole.len() - 1024 - 512].to_vec(), "is cut off"),
        (layout.archive(&[("../x", b'0', "")]), "`../x` that has a name that leads out of it"),
        (layout.archive(&[("blobs/../../x", b'0', "")]), "that has a name that leads out of it"),
        (layout.archive(&[("/etc/passwd", b'0', "")]), "`/etc/passwd` that has an absolute name"),
        (layout.archive(&[("blobs/sha256/x", b'2', "/etc/passwd")]), "that is a link"),
        (layout.archive(&[("blobs/sha256/x", b'1', "index.json")]), "that is a link"),
        (layout.archive(&[("blobs/sha256/x", b'0', "")]), "that has no place in a layout"),
        (layout.archive(&[("pipe", b'6', "")]), "that is no plain file"),
        (layout.archive(&[("index.json", b'0', "")]), "that is there twice"),
    ] {
        fs::write(folder.path().join("bundle"), bytes).unwrap();
        let ended = folder.load(&[]).await;
        assert_eq!(ended.code, 2, "{expected}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{expected}: {}", ended.stderr);
    }
    assert_eq!(registry.requests().len(), 0);
    fs::write(folder.path().join("bundle"), whole).unwrap();
    assert_eq!(folder.load(&[]).await.code, 0);
    assert_there(&registry, "hub/a/x", "1", &image);
}

#[tokio::test]
async fn an_index_of_indexes_goes_along_whole() {
    let registry = FakeRegistry::start().await;
    let folder = Folder::mirrored(&registry);
    let inner = two_platforms("inner", &[]);
    let media = "application/vnd.oci.image.index.v1+json";
    let top =
        json!({"schemaVersion": 2, "mediaType": media, "manifests": [named(media, inner.top.as_bytes())]});
    let manifests = [&inner.manifests[..], std::slice::from_ref(&inner.top)].concat();
    let outer = StandIn { top: top.to_string(), manifests, blobs: inner.blobs.clone() };
    folder.bundle(&[("docker.io/a/x:1", &outer)]);
    let ended = folder.load(&[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_there(&registry, "hub/a/x", "1", &outer);
}

#[tokio::test]
async fn an_image_without_a_whole_name_is_named_and_can_be_given_one() {
    let registry = FakeRegistry::start().await;
    let folder = Folder::mirrored(&registry);
    let image = StandIn::single("linux/amd64", &[Bytes::from("x")]);
    // As `skopeo copy … oci:bundle:1.0` names it.
    folder.bundle(&[("1.0", &image)]);
    let ended = folder.load(&[]).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("has no whole name, only `1.0`"), "{}", ended.stderr);
    let ended = folder.load(&["--name", "nginx:1.0"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_there(&registry, "hub/library/nginx", "1.0", &image);
}

#[tokio::test]
async fn what_docker_save_wrote_before_it_knew_layouts_is_read_as_well() {
    let registry = FakeRegistry::start().await;
    let folder = Folder::mirrored(&registry);
    let layer = Bytes::from(vec![9; 1000]);
    let image = StandIn::single("linux/amd64", std::slice::from_ref(&layer));
    let config = format!("{}.json", Digest::of(&image.blobs[0]).hex());
    let list = json!([{
        "Config": config, "RepoTags": ["nginx:1.25", "docker.io/a/b:1"], "Layers": ["one/layer.tar"],
    }]);
    let mut archive = crate::support::layout::Tar::default();
    archive.add("two/layer.tar", b'0', "", &layer);
    archive.add("one/layer.tar", b'2', "../two/layer.tar", b"");
    archive.add(&config, b'0', "", &image.blobs[0]);
    archive.add("manifest.json", b'0', "", list.to_string().as_bytes());
    fs::write(folder.path().join("bundle"), archive.finish()).unwrap();
    let ended = folder.load(&[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("they are written anew"), "{}", ended.stderr);
    for repository in ["hub/library/nginx", "hub/a/b"] {
        for blob in &image.blobs {
            assert_eq!(registry.stored_blob(repository, &Digest::of(blob)).unwrap(), *blob);
        }
    }
    assert_eq!(
        registry.stored_manifest("hub/library/nginx", "1.25").unwrap(),
        registry.stored_manifest("hub/a/b", "1").unwrap()
    );
}
