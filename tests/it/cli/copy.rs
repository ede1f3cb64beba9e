use std::fs;

use bytes::Bytes;
use portolan::image::Digest;

use super::{Ended, Folder};
use crate::support::{
    authority::Authority,
    fake_registry::{FakeRegistry, Fault},
    stand_in::StandIn,
    webhook,
};

impl Folder {
    /// A folder whose table brings all of one registry into another.
    pub(super) fn across(from: &FakeRegistry, to: &FakeRegistry) -> Self {
        let folder = Self::new();
        let rule = format!("{{source: '{}', mirrors: ['{}/hub']}}", from.host(), to.host());
        let entries = [from, to].map(|registry| format!("{{host: '{}', plainHttp: true}}", registry.host()));
        folder.write("table.yaml", &webhook::table(&[&rule], &[&entries[0], &entries[1]]));
        folder
    }

    async fn copy(&self, images: &str, arguments: &[&str]) -> Ended {
        let given = ["copy", "--images", "-", "--table", "table.yaml", "--lock", "lock.txt"];
        self.run_with(&[&given, arguments].concat(), images).await
    }
}

#[tokio::test]
async fn a_blob_goes_on_where_its_registry_hung_up_and_is_sent_once() {
    let (from, to) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let layer = Bytes::from((0..3_000_000_u32).map(|number| number.to_be_bytes()[2]).collect::<Vec<_>>());
    let image = StandIn::index("x", &["linux/amd64", "linux/arm64"], std::slice::from_ref(&layer));
    let digest = from.put_image("a/x", "1", &image);
    let of_layer = format!("GET /v2/a/x/blobs/{}", Digest::of(&layer));
    for faults in [&[Fault::CutOnce(1_000_000)][..], &[Fault::NoRange, Fault::CutOnce(1_000_000)]] {
        let folder = Folder::across(&from, &to);
        for fault in faults {
            from.fault_at(&of_layer, fault.clone());
        }
        let (before, puts) = (from.count("GET", "/blobs/"), to.count("PUT", "/blobs/"));
        let ended = folder.copy(&format!("{}/a/x:1\nbad image\n", from.host()), &[]).await;
        assert_eq!(ended.code, 1, "the list has what is no image: {}", ended.stderr);
        assert_eq!(
            from.count("GET", "/blobs/"),
            before + image.blobs.len(),
            "one twice, one for both platforms"
        );
        assert_eq!(to.count("PUT", "/blobs/"), puts + image.blobs.len() - 1);
        assert_eq!(to.stored_blob("hub/a/x", &Digest::of(&layer)).unwrap(), layer);
        assert_eq!(to.stored_manifest("hub/a/x", "1").unwrap(), image.top);
        let lock = fs::read_to_string(folder.path().join("lock.txt")).unwrap();
        assert!(lock.ends_with(&format!("{}/hub/a/x:1 {digest}\n", to.host())), "{lock}");
        from.heal();
        to.clear();
        for blob in &image.blobs {
            to.remove_blob("hub/a/x", &Digest::of(blob));
        }
    }
}

#[tokio::test]
async fn what_changes_on_the_way_is_not_put_anywhere() {
    let (from, to) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let layer = Bytes::from(vec![1; 500_000]);
    from.put_image("a/x", "1", &StandIn::single("linux/amd64", std::slice::from_ref(&layer)));
    from.put_blob_at("a/x", &Digest::of(&layer), vec![2; 500_000]);
    let folder = Folder::across(&from, &to);
    let ended = folder.copy(&format!("{0}/a/x:1\n{0}/a/none:1\n", from.host()), &[]).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("the registry's bytes are not those of"), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot get its manifest: the registry says that it does not exist"));
    assert!(to.stored_blob("hub/a/x", &Digest::of(&layer)).is_none());
    assert!(to.stored_manifest("hub/a/x", "1").is_none());
}

#[tokio::test]
async fn within_one_registry_blobs_are_mounted_and_not_fetched() {
    let registry = FakeRegistry::start().await;
    let image = StandIn::single("linux/amd64", &[Bytes::from("x")]);
    registry.put_image("up/x", "1", &image);
    let folder = Folder::new();
    let host = registry.host();
    folder.write(
        "table.yaml",
        &webhook::table(
            &[&format!("{{source: '{host}/up', mirrors: ['{host}/hub']}}")],
            &[&format!("{{host: '{host}', plainHttp: true}}")],
        ),
    );
    let ended = folder.copy(&format!("{host}/up/x:1\n"), &[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let of_blobs = |method: &str| registry.count(method, "/blobs/");
    assert_eq!((of_blobs("GET"), of_blobs("PUT"), of_blobs("HEAD"), of_blobs("POST")), (0, 0, 0, 2));
    assert_eq!(registry.stored_manifest("hub/x", "1").unwrap(), image.top);
}

#[tokio::test]
async fn of_chosen_platforms_the_others_stay_behind() {
    let (from, to) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let image = StandIn::index("x", &["linux/amd64", "linux/arm64"], &[]);
    from.put_image("a/x", "1", &image);
    from.put_image("a/single", "1", &StandIn::single("linux/arm64", &[]));
    let folder = Folder::across(&from, &to);
    let list = format!("{0}/a/x:1\n{0}/a/single:1\n", from.host());
    let ended = folder.copy(&list, &["--platform", "linux/amd64"]).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("of which only some platforms came along"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("it is for `linux/arm64`, and for none of those asked for"),
        "{}",
        ended.stderr
    );
    let has =
        |manifest: &str| to.stored_manifest("hub/a/x", Digest::of(manifest.as_bytes()).as_str()).is_some();
    assert_eq!((has(&image.manifests[0]), has(&image.manifests[1]), has(&image.top)), (true, false, false));
}

#[tokio::test]
async fn layers_that_may_not_be_given_to_others_are_fetched_where_their_manifest_says_when_asked_for() {
    let authority = Authority::new();
    let (from, to) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let home = FakeRegistry::builder().tls(&authority).start().await;
    let layer = Bytes::from((0..300_000_u32).map(|number| number.to_be_bytes()[2]).collect::<Vec<_>>());
    let digest = Digest::of(&layer);
    // Of the addresses the first does not have it either.
    let urls = ["none", "windows/nanoserver"]
        .map(|repository| format!("https://{}/v2/{repository}/blobs/{digest}", home.host()));
    let image = StandIn::foreign_at(&layer, &urls);
    from.put_image("a/windows", "1", &image);
    home.put_blob("windows/nanoserver", layer.clone());
    let folder = Folder::across(&from, &to);
    let rule = format!("{{source: '{}', mirrors: ['{}/hub']}}", from.host(), to.host());
    let [one, other] =
        [&from, &to].map(|registry| format!("{{host: '{}', plainHttp: true}}", registry.host()));
    let trusted = format!("{{host: '{}', ca: {}}}", home.host(), serde_json::json!(authority.pem()));
    folder.write("table.yaml", &webhook::table(&[&rule], &[&one, &other, &trusted]));
    let list = format!("{}/a/windows:1\n", from.host());

    let ended = folder.copy(&list, &[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!((home.requests().len(), to.stored_blob("hub/a/windows", &digest)), (0, None));
    to.clear();

    // It hangs up in the middle and is asked to go on.
    home.fault_at(&format!("windows/nanoserver/blobs/{digest}"), Fault::CutOnce(100_000));
    let ended = folder.copy(&list, &["--nondistributable"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(to.stored_blob("hub/a/windows", &digest), Some(layer.clone()));
    assert_eq!(to.stored_manifest("hub/a/windows", "1").unwrap(), image.top);
    let asked =
        |registry: &FakeRegistry, path: &str| registry.count("GET", &format!("{path}/blobs/{digest}"));
    assert_eq!((asked(&from, ""), asked(&home, "none"), asked(&home, "nanoserver")), (1, 1, 2));
    // What `save` fetches is the same.
    let save = ["save", "--images", "-", "--table", "table.yaml", "--nondistributable", "bundle"];
    let ended = folder.run_with(&save, &list).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let saved = folder.path().join("bundle/blobs/sha256").join(digest.hex());
    assert_eq!(fs::read(saved).unwrap(), layer);

    // Nowhere to be had, it is named.
    to.clear();
    to.remove_blob("hub/a/windows", &digest);
    home.remove_blob("windows/nanoserver", &digest);
    let ended = folder.copy(&list, &["--nondistributable"]).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("`{digest}`")), "{}", ended.stderr);
    assert_eq!(to.stored_manifest("hub/a/windows", "1"), None);
}
