//! Registries that are full or gone in the middle, odd indexes, long lists. (A disk that is full is in tests/cluster.)

use std::{collections::BTreeSet, fmt::Write as _};

use bytes::Bytes;
use portolan::image::Digest;
use serde_json::{Value, json};

use super::Folder;
use crate::support::{
    fake_registry::{FakeRegistry, Fault, in_query},
    layout::{Layout, named},
    stand_in::StandIn,
    webhook,
};

/// A folder with a table from one registry to another.
fn between(from: &FakeRegistry, to: &FakeRegistry) -> Folder {
    let folder = Folder::new();
    let rules = [
        format!("{{source: '{}', mirrors: ['{}/hub']}}", from.host(), to.host()),
        format!("{{source: docker.io, mirrors: ['{}/hub']}}", to.host()),
    ];
    let entries = [from, to].map(|registry| format!("{{host: '{}', plainHttp: true}}", registry.host()));
    folder.write("table.yaml", &webhook::table(&[&rules[0], &rules[1]], &[&entries[0], &entries[1]]));
    folder
}

const LOAD: [&str; 8] = ["load", "bundle", "--table", "table.yaml", "--lock", "lock.txt", "--retries", "1"];

#[tokio::test]
async fn a_quota_in_the_middle_is_named_with_image_and_registry_and_what_is_done_stays_done() {
    let (from, to) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let host = to.host();
    let folder = between(&from, &to);
    let base = Bytes::from(vec![4; 5000]);
    let images: Vec<_> = ["blob", "large", "room", "manifest"]
        .iter()
        .map(|name| {
            let own = Bytes::from(format!("{name} of its own"));
            (format!("docker.io/q/{name}:1"), StandIn::single("linux/amd64", &[base.clone(), own]))
        })
        .collect();
    let named: Vec<_> = images.iter().map(|(name, image)| (&**name, image)).collect();
    Layout::of(&named).write(&folder.path().join("bundle"));
    let own = |at: usize| in_query(images[at].1.blobs.last().unwrap());
    for (at, status) in [(0, 403), (1, 413), (2, 507)] {
        to.fault_at(&format!("blobs/uploads/1?_state=a%2Fb%3D&digest={}", own(at)), Fault::Status(status));
    }
    to.fault_at("PUT /v2/hub/q/manifest/manifests/1", Fault::Status(403));
    let ended = folder.run(&LOAD).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    for (name, what, status, hint) in [
        ("blob", "its blob", 403, "see whether the login may push there and whether a quota is used up"),
        ("large", "its blob", 413, "something in front of the registry bounds what is sent"),
        ("room", "its blob", 507, "make room in the registry"),
        ("manifest", "its manifest", 403, "see whether the login may push there and whether a quota"),
    ] {
        let begin = format!(
            "error: `docker.io/q/{name}:1` is not loaded as `{host}/hub/q/{name}:1`: cannot put {what}"
        );
        let mut lines = ended.stderr.lines().skip_while(|line| !line.starts_with(&begin));
        let line = lines.next().unwrap_or_else(|| panic!("{name}: {}", ended.stderr));
        assert!(line.contains(&format!("status {status}")), "{line}");
        assert!(lines.next().unwrap().starts_with(&format!("hint: {hint}")), "{}", ended.stderr);
    }
    // With room again what was refused is sent, and nothing that is there. What was under way when its image failed may
    // be lacking too.
    let blobs_of = |at: usize| images[at].1.blobs.iter().map(move |blob| (at, Digest::of(blob)));
    let name = |at: usize| format!("hub/q/{}", ["blob", "large", "room", "manifest"][at]);
    let lacking: BTreeSet<_> = (0..images.len())
        .flat_map(blobs_of)
        .filter(|(at, digest)| to.stored_blob(&name(*at), digest).is_none())
        .map(|(at, digest)| format!("/v2/{}/blobs {}", name(at), digest.as_str().replace(':', "%3A")))
        .collect();
    for at in 0..3 {
        assert!(lacking.contains(&format!("/v2/{}/blobs {}", name(at), own(at))), "{lacking:?}");
    }
    to.heal();
    let before = to.requests().len();
    let ended = folder.run(&LOAD).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let sent: Vec<_> = to.requests()[before..]
        .iter()
        .filter(|request| request.method == "PUT")
        .map(|request| request.path.clone())
        .collect();
    let (blobs, manifests): (Vec<_>, Vec<_>) = sent.iter().partition(|path| path.contains("/blobs/"));
    let blobs = blobs.iter().map(|path| {
        let (repository, digest) = (path.split("/uploads/").next(), path.split("digest=").nth(1));
        format!("{} {}", repository.unwrap(), digest.unwrap())
    });
    let again: Vec<_> = blobs.filter(|blob| !lacking.contains(blob)).collect();
    assert_eq!(again, Vec::<String>::new(), "of {sent:?}");
    assert_eq!(manifests.len(), 4, "each manifest: {sent:?}");
    for (at, (_, image)) in images.iter().enumerate() {
        assert_eq!(to.stored_manifest(&name(at), "1").unwrap(), image.top);
    }
}

#[tokio::test]
async fn a_network_that_is_lost_in_the_middle_is_named_and_both_ways_go_on_from_there_later() {
    let (from, to) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let folder = between(&from, &to);
    let layer = Bytes::from((0..3_000_000_u32).map(|number| number.to_be_bytes()[2]).collect::<Vec<_>>());
    let image = StandIn::single("linux/amd64", std::slice::from_ref(&layer));
    let small = StandIn::single("linux/amd64", &[Bytes::from("small")]);
    from.put_image("a/large", "1", &image);
    from.put_image("a/small", "1", &small);
    let blob = format!("GET /v2/a/large/blobs/{}", Digest::of(&layer));
    from.fault_at(&blob, Fault::Close);
    from.fault_at(&blob, Fault::CutOnce(1_000_000));
    let list = format!("{0}/a/large:1\n{0}/a/small:1\n", from.host());
    let save = ["save", "--images", "-", "--table", "table.yaml", "bundle", "--retries", "1"];
    let ended = folder.run_with(&save, &list).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let begin = format!(
        "error: `{}/a/large:1` is not saved: cannot get its blob `{}`: ",
        from.host(),
        Digest::of(&layer)
    );
    let mut lines = ended.stderr.lines().skip_while(|line| !line.starts_with(&begin));
    assert!(lines.next().is_some(), "{}", ended.stderr);
    assert!(lines.next().unwrap().starts_with("hint: see name, network, proxy"), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("saved {}/a/small:1", from.host())), "{}", ended.stderr);
    from.heal();
    let before = from.requests().len();
    let ended = folder.run_with(&save, &list).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let blobs: Vec<_> = from.requests()[before..]
        .iter()
        .filter(|request| request.path.contains("/blobs/"))
        .map(|request| request.header("range").to_owned())
        .collect();
    assert_eq!(blobs, ["bytes=1000000-"], "what had come is not fetched again");

    let of_layer = format!("digest={}", in_query(&layer));
    to.fault_at(&of_layer, Fault::Close);
    to.fault_at(&of_layer, Fault::CutOnce(1_000_000));
    let ended = folder.run(&LOAD).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let begin = format!(
        "error: `{}/a/large:1` is not loaded as `{}/hub/a/large:1`: cannot put its blob `{}` there: ",
        from.host(),
        to.host(),
        Digest::of(&layer)
    );
    let mut lines = ended.stderr.lines().skip_while(|line| !line.starts_with(&begin));
    assert!(lines.next().is_some(), "{}", ended.stderr);
    assert!(lines.next().unwrap().starts_with("hint: see registry, network and proxy"), "{}", ended.stderr);
    assert_eq!(to.stored_manifest("hub/a/small", "1").unwrap(), small.top);
    to.heal();
    let before = to.count("PUT", "/blobs/");
    assert_eq!(folder.run(&LOAD).await.code, 0);
    assert_eq!(to.count("PUT", "/blobs/"), before + 1, "the one blob that was lost");
    assert_eq!(to.stored_blob("hub/a/large", &Digest::of(&layer)).unwrap(), layer);
}

#[tokio::test]
async fn an_index_of_indexes_is_saved_whole() {
    let (from, to) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let folder = between(&from, &to);
    let inner = StandIn::index("inner", &["linux/amd64", "linux/arm64"], &[]);
    let media = "application/vnd.oci.image.index.v1+json";
    let top =
        json!({"schemaVersion": 2, "mediaType": media, "manifests": [named(media, inner.top.as_bytes())]});
    let manifests = [&inner.manifests[..], std::slice::from_ref(&inner.top)].concat();
    let outer = StandIn { top: top.to_string(), manifests, blobs: inner.blobs.clone() };
    from.put_image("a/x", "1", &outer);
    let save = ["save", "--images", "-", "--table", "table.yaml", "bundle"];
    let ended = folder.run_with(&save, &format!("{}/a/x:1\n", from.host())).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let blob = |bytes: &[u8]| folder.path().join("bundle/blobs/sha256").join(Digest::of(bytes).hex());
    for bytes in outer.manifests.iter().chain([&outer.top]).map(String::as_bytes) {
        assert_eq!(std::fs::read(blob(bytes)).unwrap(), bytes);
    }
    assert!(outer.blobs.iter().all(|bytes| blob(bytes).exists()));
}

#[tokio::test]
async fn of_ten_thousand_lines_each_image_is_asked_for_once_and_each_blob_moved_once() {
    let (from, to) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let folder = between(&from, &to);
    let image = StandIn::single("linux/amd64", &[Bytes::from("shared by all")]);
    let (mut list, mut names) = (String::new(), Vec::new());
    for number in 0..500 {
        let (repository, tag) = (format!("team-{}/app", number % 10), format!("v{}", number / 10));
        from.put_image(&repository, &tag, &image);
        names.push(format!("{}/{repository}:{tag}", from.host()));
    }
    for line in 0..10_000 {
        writeln!(list, "{} # line {line}", names[line % names.len()]).unwrap();
    }
    folder.write("images.txt", &list);
    let listed = folder.run(&["images", "images.txt"]).await;
    assert_eq!((listed.code, listed.stdout.lines().count()), (0, 500));
    let save = ["save", "--images", "images.txt", "--table", "table.yaml", "bundle.tar"];
    let ended = folder.run(&save).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!((from.count("GET", "/manifests/"), from.count("GET", "/blobs/")), (500, 2));
    let load = ["load", "bundle.tar", "--table", "table.yaml", "--lock", "lock.txt", "-o", "json"];
    let ended = folder.run(&load).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let rows: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 500);
    let mounts = to.count("POST", "mount=") - to.asked_of_itself();
    assert_eq!((to.count("PUT", "/blobs/"), mounts), (2, 2 * 9), "once, then mounted");
    let lock = std::fs::read_to_string(folder.path().join("lock.txt")).unwrap();
    assert_eq!(lock.lines().filter(|line| !line.starts_with('#')).count(), 500);
}
