//! Only what is new is carried: `save --since`, and loading that.

use std::fs;

use bytes::Bytes;
use portolan::image::Digest;
use serde_json::Value;

use super::{Ended, Folder};
use crate::support::{
    fake_registry::{FakeRegistry, Fault, in_query},
    stand_in::StandIn,
    webhook,
};

/// A registry with images, an empty one, and a folder with a table from one to the other.
struct Gap {
    from: FakeRegistry,
    to: FakeRegistry,
    folder: Folder,
}

impl Gap {
    async fn new() -> Self {
        let (from, to) = (FakeRegistry::start().await, FakeRegistry::start().await);
        let folder = Folder::new();
        let rule = format!("{{source: '{}', mirrors: ['{}/hub']}}", from.host(), to.host());
        let entries =
            [&from, &to].map(|registry| format!("{{host: '{}', plainHttp: true}}", registry.host()));
        folder.write("table.yaml", &webhook::table(&[&rule], &[&entries[0], &entries[1]]));
        folder.write("plain.yaml", &webhook::table(&[], &[&entries[0]]));
        Self { from, to, folder }
    }

    fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.from.host())
    }

    async fn save(&self, images: &[&str], to: &str, arguments: &[&str]) -> Ended {
        let list: String = images.iter().map(|image| self.name(image) + "\n").collect();
        let given = ["save", "--images", "-", to];
        let table = if arguments.contains(&"--table") { &[][..] } else { &["--table", "table.yaml"] };
        self.folder.run_with(&[&given, table, arguments].concat(), &list).await
    }

    async fn load(&self, from: &str) -> Ended {
        self.folder
            .run(&["load", from, "--table", "table.yaml", "--lock", "lock.txt", "--retries", "0"])
            .await
    }

    fn has(&self, layout: &str, bytes: &[u8]) -> bool {
        self.folder.path().join(layout).join("blobs/sha256").join(Digest::of(bytes).hex()).exists()
    }

    /// The names in a layout's index.
    fn names(&self, layout: &str) -> Vec<String> {
        let index = fs::read(self.folder.path().join(layout).join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let name = |entry: &Value| {
            let name = entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap();
            name.strip_prefix(&format!("{}/", self.from.host())).unwrap().to_owned()
        };
        index["manifests"].as_array().unwrap().iter().map(name).collect()
    }

    fn assert_loaded(&self, repository: &str, tag: &str, image: &StandIn) {
        let there = self.to.stored_manifest(&format!("hub/{repository}"), tag);
        assert_eq!(there.unwrap(), image.top, "{repository}:{tag}");
    }
}

fn image(name: &str, base: &Bytes) -> StandIn {
    StandIn::index(name, &["linux/amd64", "linux/arm64"], std::slice::from_ref(base))
}

#[tokio::test]
async fn since_a_layout_what_it_has_is_neither_fetched_nor_carried_and_load_puts_the_new_images_there() {
    let gap = Gap::new().await;
    let base = Bytes::from(vec![3; 300_000]);
    let (one, old, new, other) =
        (image("one", &base), image("old", &base), image("new", &base), image("other", &base));
    gap.from.put_image("a/one", "1", &one);
    gap.from.put_image("a/moving", "1", &old);
    assert_eq!(gap.save(&["a/one:1", "a/moving:1"], "first", &[]).await.code, 0);
    assert_eq!(gap.load("first").await.code, 0);

    gap.from.put_image("a/moving", "1", &new);
    gap.from.put_image("b/other", "1", &other);
    gap.from.put_image("b/again", "1", &one);
    let images = ["a/one:1", "a/moving:1", "b/other:1", "b/again:1"];
    for (to, tar) in [("delta", "first"), ("delta.tar", "first.tar")] {
        if tar == "first.tar" {
            assert_eq!(gap.save(&[], "first.tar", &[]).await.code, 2, "an empty list");
            let files = gap.folder.path();
            gap.from.put_image("a/moving", "1", &old);
            assert_eq!(gap.save(&["a/one:1", "a/moving:1"], "first.tar", &[]).await.code, 0);
            gap.from.put_image("a/moving", "1", &new);
            assert!(files.join("first.tar").exists());
        }
        let before = gap.from.requests().len();
        let ended = gap.save(&images, to, &["--since", tar]).await;
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(
            ended.stderr.contains(&format!("carried before: {}", gap.name("a/one:1"))),
            "{}",
            ended.stderr
        );
        assert!(ended.stderr.contains("3 of 4 images are in"), "{}", ended.stderr);
        assert!(ended.stderr.contains("; 1 were carried before, and of the others "), "{}", ended.stderr);
        let asked: Vec<_> =
            gap.from.requests()[before..].iter().map(|request| request.path.clone()).collect();
        let of_base = Digest::of(&base).to_string();
        assert!(!asked.iter().any(|path| path.contains(&of_base)), "the base is not fetched: {asked:?}");
        let of_again = |path: &&String| path.contains("/b/again/");
        assert_eq!(asked.iter().filter(of_again).count(), 1, "what it has under another name is not fetched");
    }
    assert_eq!(gap.names("delta"), ["a/moving:1", "b/again:1", "b/other:1"]);
    assert!(!gap.has("delta", &base) && gap.has("delta", &other.blobs[0]));
    for manifest in [&new.top, &new.manifests[1], &one.top, &one.manifests[0]] {
        assert!(gap.has("delta", manifest.as_bytes()), "manifests come along");
    }
    let size = fs::metadata(gap.folder.path().join("delta.tar")).unwrap().len();
    assert!(size < 60_000, "{size}");

    let puts = gap.to.count("PUT", &in_query(&base));
    let ended = gap.load("delta.tar").await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    gap.assert_loaded("a/moving", "1", &new);
    gap.assert_loaded("b/other", "1", &other);
    gap.assert_loaded("b/again", "1", &one);
    let again = gap.to.count("PUT", &in_query(&base));
    assert_eq!(again, puts, "the base is mounted");
    let list: String = images.iter().map(|image| gap.name(image) + "\n").collect();
    let check = ["check", "--table", "table.yaml", "--lock", "lock.txt", "-"];
    assert_eq!(gap.folder.run_with(&check, &list).await.code, 0);

    // Since both nothing is new, and that is no error.
    let ended = gap.save(&images, "nothing", &["--since", "first", "--since", "delta"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(gap.names("nothing").is_empty());
    let ended = gap.load("nothing").await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("there is nothing new in `nothing`"), "{}", ended.stderr);

    // A delta stands for what it relies on, too.
    let third = image("third", &base);
    gap.from.put_image("c/third", "1", &third);
    assert_eq!(gap.save(&["c/third:1"], "third", &["--since", "delta"]).await.code, 0);
    assert!(!gap.has("third", &base));
    let ended = gap.load("third").await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    gap.assert_loaded("c/third", "1", &third);
}

#[tokio::test]
async fn a_delta_without_what_came_before_names_image_blob_and_remedy_and_does_the_rest() {
    let gap = Gap::new().await;
    let base = Bytes::from(vec![3; 1000]);
    let (one, new) = (image("one", &base), image("new", &base));
    let fine = StandIn::single("linux/amd64", &[Bytes::from("fine")]);
    gap.from.put_image("a/one", "1", &one);
    assert_eq!(gap.save(&["a/one:1"], "first", &[]).await.code, 0);
    gap.from.put_image("b/new", "1", &new);
    gap.from.put_image("b/fine", "1", &fine);
    assert_eq!(gap.save(&["b/new:1", "b/fine:1"], "delta", &["--since", "first"]).await.code, 0);

    let ended = gap.load("delta").await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let expected = format!(
        "error: `{}` is not loaded as `{}/hub/b/new:1`: its blob `{}` was left to an earlier layout, which had it of `{}`, \
         and no mirror has it",
        gap.name("b/new:1"),
        gap.to.host(),
        Digest::of(&base),
        gap.name("a/one:1")
    );
    let mut lines = ended.stderr.lines().skip_while(|line| *line != expected);
    assert!(lines.next().is_some(), "{expected}\n{}", ended.stderr);
    assert!(lines.next().unwrap().starts_with("hint: load the layout that `save --since` was given"));
    gap.assert_loaded("b/fine", "1", &fine);
    assert_eq!(gap.to.count("POST", "hub/b/new"), 0, "nothing is sent for what cannot be whole");
    let lock = fs::read_to_string(gap.folder.path().join("lock.txt")).unwrap();
    assert!(lock.contains("hub/b/fine:1") && !lock.contains("hub/b/new:1"), "{lock}");

    // As the remedy says; the registry mounts nothing here.
    gap.to.fault_at("mount=", Fault::NoMount);
    for layout in ["first", "delta"] {
        let ended = gap.load(layout).await;
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    gap.assert_loaded("b/new", "1", &new);
    assert_eq!(gap.to.stored_blob("hub/b/new", &Digest::of(&base)).unwrap(), base);
}

#[tokio::test]
async fn since_a_lock_images_are_left_out_whose_every_place_has_that_digest() {
    let gap = Gap::new().await;
    let [one, two, moved] = ["one", "two", "moved"].map(|text| image(text, &Bytes::from("base")));
    gap.from.put_image("a/one", "1", &one);
    gap.from.put_image("a/two", "1", &two);
    assert_eq!(gap.save(&["a/one:1", "a/two:1"], "first", &[]).await.code, 0);
    assert_eq!(gap.load("first").await.code, 0);
    gap.from.put_image("a/two", "1", &moved);
    gap.from.put_image("a/one", "2", &one);
    let images = ["a/one:1", "a/one:2", "a/two:1"];
    for table in ["table.yaml", "plain.yaml"] {
        let to = format!("since-{table}");
        let ended = gap.save(&images, &to, &["--since", "lock.txt", "--table", table]).await;
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_eq!(gap.names(&to), ["a/one:2", "a/two:1"], "the other tag is in no line");
        assert!(gap.has(&to, b"base"), "a lock has no blobs");
    }
    // Another place of the same image, which the lock does not have.
    let table = fs::read_to_string(gap.folder.path().join("table.yaml")).unwrap();
    let (from, to) = (gap.from.host(), gap.to.host());
    let more = format!("rules: [{{source: '{from}/a', mirrors: ['{to}/team'], namespaces: [x]}}, ");
    gap.folder.write("more.yaml", &table.replacen("rules: [", &more, 1));
    let ended = gap.save(&["a/one:1"], "more", &["--since", "lock.txt", "--table", "more.yaml"]).await;
    assert_eq!((ended.code, gap.names("more")), (0, vec!["a/one:1".to_owned()]), "{}", ended.stderr);
}

#[tokio::test]
async fn what_an_earlier_layout_has_of_other_platforms_or_damaged_is_carried() {
    let gap = Gap::new().await;
    let one = image("one", &Bytes::from("base"));
    gap.from.put_image("a/one", "1", &one);
    assert_eq!(gap.save(&["a/one:1"], "first", &["--platform", "linux/amd64"]).await.code, 0);
    assert_eq!(
        gap.save(&["a/one:1"], "same", &["--platform", "linux/amd64", "--since", "first"]).await.code,
        0
    );
    assert!(gap.names("same").is_empty());
    assert_eq!(gap.save(&["a/one:1"], "delta", &["--since", "first"]).await.code, 0);
    assert_eq!(gap.names("delta"), ["a/one:1"]);
    assert!(gap.has("delta", b"one for linux/arm64") && !gap.has("delta", b"one for linux/amd64"));
    // Shorter than it was.
    let blob = gap.folder.path().join("first/blobs/sha256").join(Digest::of(b"one for linux/amd64").hex());
    fs::write(blob, "cut").unwrap();
    assert_eq!(
        gap.save(&["a/one:1"], "again", &["--platform", "linux/amd64", "--since", "first"]).await.code,
        0
    );
    assert!(gap.has("again", b"one for linux/amd64") && !gap.has("again", b"base"));
}

#[tokio::test]
async fn what_is_neither_lock_nor_layout_or_is_written_itself_is_refused() {
    let gap = Gap::new().await;
    gap.from.put_image("a/one", "1", &image("one", &Bytes::from("base")));
    assert_eq!(gap.save(&["a/one:1"], "first.tar", &[]).await.code, 0);
    gap.folder.write("text", "no lock at all");
    let whole = fs::read(gap.folder.path().join("first.tar")).unwrap();
    let requests = gap.from.requests().len();
    for (since, to, expected) in [
        ("text", "x", "`text` is neither a layout (a folder or a tar file) nor a lock"),
        ("none", "x", "cannot read `none`"),
        ("first.tar", "first.tar", "cannot be what `--since` names and what is written"),
    ] {
        let ended = gap.save(&["a/one:1"], to, &["--since", since]).await;
        assert_eq!(ended.code, 2, "{since}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{since}: {}", ended.stderr);
    }
    assert!(!gap.folder.path().join("x").exists());
    assert_eq!(gap.from.requests().len(), requests);
    assert!(fs::read(gap.folder.path().join("first.tar")).unwrap() == whole);
}
