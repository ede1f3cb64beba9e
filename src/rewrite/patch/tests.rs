use json_patch::jsonptr::PointerBuf;
use serde_json::{Value, json};

use super::*;
use crate::rewrite::{Decision, List, Outcome, Place, Reason, Scope, fields, same_name, standing};

const TABLE: &str = "apiVersion: portolan.dev/v1\nkind: MappingTable\nrules:\n\
    - {source: docker.io, mirrors: [r.corp/hub]}\n\
    registries:\n- {host: r.corp, pullSecret: pull}\n";

/// What comes of `pod` when each image's text is looked up in `results`, and the operations.
struct Patched {
    operations: Vec<Value>,
    pod: Value,
}

impl Patched {
    fn annotation(&self) -> Value {
        self.pod["metadata"]["annotations"][SOURCES]
            .as_str()
            .map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
    }

    fn paths(&self) -> Vec<&str> {
        self.operations.iter().map(|operation| operation["path"].as_str().unwrap()).collect()
    }
}

fn pinned(to: &str) -> Decision {
    Decision { outcome: Outcome::Rewritten { to: to.into() }, ..Decision::kept(Reason::Pinned) }
}

fn unpinned(to: &str) -> Decision {
    Decision { reason: Reason::Missing, ..pinned(to) }
}

fn patched(pod: &Value, old: Option<&Value>, decide: impl Fn(&str) -> Decision) -> Patched {
    patched_with(TABLE, pod, old, decide)
}

fn patched_with(table: &str, pod: &Value, old: Option<&Value>, decide: impl Fn(&str) -> Decision) -> Patched {
    let table = Table::parse(table).unwrap().table;
    let (text, old_text) = (pod.to_string(), old.map(Value::to_string));
    let read: Pod<'_> = serde_json::from_str(&text).unwrap();
    let old: Option<Pod<'_>> = old_text.as_deref().map(|text| serde_json::from_str(text).unwrap());
    let old_sources = old.as_ref().map(Sources::of).unwrap_or_default();
    let images: Vec<_> = fields(&read, Scope::Pod)
        .map(|field| {
            let old_image = old.as_ref().and_then(|old| same_name(old, field.place.list, field.name));
            let decision = standing(&field, old_image, &old_sources).unwrap_or_else(|| decide(field.image));
            Judged { field, decision }
        })
        .collect();
    let extent = if old.is_some() { Extent::Update(&old_sources) } else { Extent::Create };
    let change = Change { pod: &read, images: &images, extent, table: &table, namespace: "shop" };
    let mut result = pod.clone();
    let operations = match change.to_patch() {
        None => Vec::new(),
        Some(patch) => {
            let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
            json_patch::patch(&mut result, &patch).expect("the patch applies to its object");
            patch.0.iter().map(|operation| serde_json::to_value(operation).unwrap()).collect()
        }
    };
    Patched { operations, pod: result }
}

fn to_hub(written: &str) -> Decision {
    match written {
        "sidecar" | "kept" => Decision::kept(Reason::NoRule),
        written if written.starts_with("r.corp/") => Decision::kept(Reason::Mirrored),
        written => pinned(&hub(written)),
    }
}

/// Where `docker.io/library/name` is pinned.
fn hub(name: &str) -> String {
    format!("r.corp/hub/library/{name}@sha256:{}", "1".repeat(64))
}

fn pod(image: &str) -> Value {
    json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "app", "image": image}]}})
}

#[test]
fn a_path_is_the_pointer_that_its_tokens_make() {
    assert_eq!(SOURCES_PATH, PointerBuf::from_tokens(["metadata", "annotations", SOURCES]).as_str());
    for list in [List::Containers, List::EphemeralContainers, List::InitContainers, List::Volumes] {
        let tail: &[&str] = if list == List::Volumes { &["image", "reference"] } else { &["image"] };
        let tokens = [&["spec", list.word(), "12"], tail].concat();
        assert_eq!(Place { list, index: 12 }.to_string(), PointerBuf::from_tokens(tokens).as_str());
    }
}

#[test]
fn every_place_that_names_an_image_is_replaced_and_said_in_the_annotation() {
    let whole = json!({
        "metadata": {"annotations": {"a": "b"}},
        "spec": {
            "containers": [{"name": "app", "image": "nginx"}, {"name": "other", "image": "kept"}],
            "initContainers": [{"name": "app~/1", "image": "init"}],
            "volumes": [{"name": "none", "emptyDir": {}}, {"name": "model", "image": {"reference": "vol"}}],
            "imagePullSecrets": [{"name": "own"}],
        },
    });
    let after = patched(&whole, None, to_hub);
    assert_eq!(
        after.paths(),
        [
            "/spec/containers/0/image",
            "/spec/initContainers/0/image",
            "/spec/volumes/1/image/reference",
            "/metadata/annotations/portolan.dev~1sources",
            "/spec/imagePullSecrets/-",
        ]
    );
    assert_eq!(after.pod["spec"]["volumes"][1]["image"]["reference"], hub("vol"));
    assert_eq!(after.pod["spec"]["imagePullSecrets"], json!([{"name": "own"}, {"name": "pull"}]));
    assert_eq!(
        after.annotation(),
        json!({
            "containers/app": {"written": "nginx", "image": hub("nginx")},
            "initContainers/app~/1": {"written": "init", "image": hub("init")},
            "volumes/model": {"written": "vol", "image": hub("vol")},
        })
    );
    assert!(after.operations.iter().all(|operation| operation["op"] != "test"));
}

#[test]
fn missing_parents_are_added_first() {
    let after = patched(&json!({"spec": {"containers": [{"name": "app", "image": "nginx"}]}}), None, to_hub);
    assert_eq!(
        after.paths(),
        [
            "/spec/containers/0/image",
            "/metadata",
            "/metadata/annotations",
            "/metadata/annotations/portolan.dev~1sources",
            "/spec/imagePullSecrets",
            "/spec/imagePullSecrets/-",
        ]
    );
    let null = json!({"metadata": {"annotations": null},
        "spec": {"containers": [{"name": "app", "image": "nginx"}], "imagePullSecrets": null}});
    assert_eq!(patched(&null, None, to_hub).pod["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
}

#[test]
fn nothing_to_change_is_no_patch() {
    assert!(patched(&pod("kept"), None, to_hub).operations.is_empty());
    let old = patched(&pod("nginx"), None, to_hub).pod;
    let mut labelled = old.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    assert!(patched(&labelled, Some(&old), |_| panic!("not asked")).operations.is_empty());
    // A reinvocation sees what the first call made.
    assert!(patched(&old, None, to_hub).operations.is_empty());
}

#[test]
fn an_image_in_the_registry_already_gets_the_pull_secret_once() {
    let after = patched(&pod("r.corp/own:1"), None, to_hub);
    assert_eq!(after.paths(), ["/spec/imagePullSecrets", "/spec/imagePullSecrets/-"]);
    let mut has = pod("r.corp/own:1");
    has["spec"]["imagePullSecrets"] = json!([{"name": "pull"}]);
    assert!(patched(&has, None, to_hub).operations.is_empty());
    assert!(
        patched(&pod("r.corp.evil/own:1"), None, |_| Decision::kept(Reason::NoRule)).operations.is_empty()
    );
}

#[test]
fn a_manifest_applied_again_is_restored_from_the_old_annotation() {
    let old = patched(&pod("nginx"), None, to_hub).pod;
    let mut again = old.clone();
    again["spec"]["containers"][0]["image"] = json!("nginx");
    let after = patched(&again, Some(&old), |_| panic!("not asked"));
    assert_eq!(after.paths(), ["/spec/containers/0/image"]);
    assert_eq!(after.pod, old);
    // `kubectl replace` leaves no annotation behind.
    let replaced = pod("nginx");
    let after = patched(&replaced, Some(&old), |_| panic!("not asked"));
    assert_eq!(after.annotation(), patched(&old, None, to_hub).annotation());
    assert_eq!(after.pod["spec"]["containers"], old["spec"]["containers"]);
}

#[test]
fn what_is_restored_is_what_was_there_with_its_digest() {
    let entry = json!({"containers/app": {"written": "nginx", "image": hub("nginx")}});
    let old = json!({"metadata": {"annotations": {SOURCES: entry.to_string()}}}).to_string();
    let old = Sources::of(&serde_json::from_str(&old).unwrap());
    let again = pod("nginx").to_string();
    let again: Pod<'_> = serde_json::from_str(&again).unwrap();
    let field = fields(&again, Scope::Pod).next().unwrap();
    let restored = standing(&field, Some(&hub("nginx")), &old).unwrap();
    assert_eq!((restored.reason, restored.result()), (Reason::Restored, Some(&*hub("nginx"))));
    assert_eq!(restored.digest.unwrap().hex(), "1".repeat(64));
    for other in ["nginx", "r.corp/hub/library/nginx:2"] {
        let standing = standing(&field, Some(other), &old).map(|decision| decision.reason);
        assert_eq!(standing, (other == "nginx").then_some(Reason::Unchanged));
    }
    assert!(standing(&field, None, &old).is_none());
}

#[test]
fn an_edit_to_another_image_replaces_the_entry_and_one_left_alone_removes_it() {
    let old = patched(&pod("a"), None, to_hub).pod;
    let mut edited = old.clone();
    edited["spec"]["containers"][0]["image"] = json!("b");
    let to_b = patched(&edited, Some(&old), to_hub);
    assert_eq!(
        to_b.annotation(),
        json!({
        "containers/app": {"written": "b", "image": hub("b")}})
    );
    // A → B → A ends with A, newly decided.
    let mut back = to_b.pod.clone();
    back["spec"]["containers"][0]["image"] = json!("a");
    assert_eq!(
        patched(&back, Some(&to_b.pod), to_hub).annotation(),
        json!({
        "containers/app": {"written": "a", "image": hub("a")}})
    );
    let mut kept = old.clone();
    kept["spec"]["containers"][0]["image"] = json!("kept");
    let after = patched(&kept, Some(&old), to_hub);
    assert_eq!(after.paths(), ["/metadata/annotations/portolan.dev~1sources"]);
    assert_eq!(after.annotation(), Value::Null);
}

#[test]
fn a_forged_annotation_is_dropped_and_a_true_one_of_a_reinvocation_stays() {
    let with = |image: &str, entry: Value| {
        let mut pod = pod(image);
        pod["metadata"]["annotations"] =
            json!({SOURCES: json!({"containers/app": entry, "containers/none": entry}).to_string()});
        pod
    };
    let forged = with("kept", json!({"written": "evil", "image": "kept"}));
    assert_eq!(patched(&forged, None, to_hub).annotation(), Value::Null);
    let elsewhere = with("r.corp/other/x:1", json!({"written": "nginx", "image": "r.corp/other/x:1"}));
    assert_eq!(patched(&elsewhere, None, to_hub).annotation(), Value::Null);
    let garbage = {
        let mut pod = pod("nginx");
        pod["metadata"]["annotations"] = json!({SOURCES: "][", "x": "y"});
        pod
    };
    assert_eq!(
        patched(&garbage, None, to_hub).annotation(),
        json!({
        "containers/app": {"written": "nginx", "image": hub("nginx")}})
    );
    let image = "r.corp/hub/library/nginx:latest";
    let healed = with(image, json!({"written": "nginx", "image": image, "reason": "missing"}));
    let after = patched(&healed, None, |_| pinned(&hub("nginx:latest")));
    assert_eq!(
        after.annotation(),
        json!({"containers/app": {
        "written": "nginx", "image": hub("nginx:latest")}}),
        "its `written` stays"
    );
    let kept = patched(&healed, None, to_hub);
    assert_eq!(
        kept.annotation(),
        json!({"containers/app": {"written": "nginx", "image": image, "reason": "missing"}})
    );
}

#[test]
fn of_an_image_inside_a_mirror_an_entry_about_the_same_repository_stays() {
    for (written, stays) in [("r.corp/hub/x:1", true), ("r.corp/hub/y:1", false), ("quay.io/x:1", false)] {
        let image = format!("r.corp/hub/x:1@sha256:{}", "1".repeat(64));
        let entry = json!({"containers/app": {"written": written, "image": image}});
        let mut pod = pod(&image);
        pod["metadata"]["annotations"] = json!({SOURCES: entry.to_string()});
        let expected = if stays { entry } else { Value::Null };
        assert_eq!(patched(&pod, None, to_hub).annotation(), expected, "{written}");
    }
}

#[test]
fn sources_are_empty_if_there_is_no_entry_that_can_be_read() {
    let is_empty = |annotation: &str| {
        let text = json!({"metadata": {"annotations": {SOURCES: annotation}}}).to_string();
        Sources::of(&serde_json::from_str(&text).unwrap()).is_empty()
    };
    assert!(is_empty("][") && is_empty("{}"));
    assert!(!is_empty(r#"{"containers/app":{"written":"a","image":"b"}}"#));
}

#[test]
fn an_image_rewritten_without_a_digest_says_why() {
    let after = patched(&pod("nginx"), None, |_| unpinned("r.corp/hub/library/nginx:latest"));
    assert_eq!(after.annotation()["containers/app"]["reason"], "missing");
    let carried =
        Decision { digest: Some(crate::image::Digest::of(b"")), ..unpinned("r.corp/hub/x@sha256:2") };
    let after = patched(&pod("nginx"), None, |_| carried.clone());
    assert_eq!(after.annotation()["containers/app"].get("reason"), None);
}

#[test]
fn past_the_limit_of_annotations_the_annotation_is_left_out() {
    let mut full = pod("nginx");
    full["metadata"]["annotations"] = json!({"a": "x".repeat(255 * 1024)});
    assert!(patched(&full, None, to_hub).annotation().is_object(), "a KiB is room enough");
    // What it takes the place of counts no more.
    full["metadata"]["annotations"] = json!({"a": "x".repeat(100 * 1024), SOURCES: "][".repeat(75 * 1024)});
    assert!(patched(&full, None, to_hub).annotation().is_object());
    // To the byte, as the API server counts: not as it stands in the patch, with its quotes escaped.
    let length = patched(&pod("nginx"), None, to_hub).annotation().to_string().len();
    let room = MAX_ANNOTATIONS - "a".len() - SOURCES.len() - length;
    for (others, is_there) in [(room, true), (room + 1, false)] {
        full["metadata"]["annotations"] = json!({"a": "x".repeat(others)});
        assert_eq!(patched(&full, None, to_hub).annotation().is_object(), is_there);
    }
    full["metadata"]["annotations"] = json!({"a": "x".repeat(MAX_ANNOTATIONS - 50)});
    let after = patched(&full, None, to_hub);
    assert_eq!(after.annotation(), Value::Null);
    assert_eq!(after.paths()[0], "/spec/containers/0/image");
    full["metadata"]["annotations"][SOURCES] = json!("{\"containers/app\":1}");
    assert_eq!(patched(&full, None, to_hub).annotation(), Value::Null);
}

#[test]
fn a_table_without_pull_secrets_adds_none() {
    let table = TABLE.split("registries:").next().unwrap();
    let after = patched_with(table, &pod("nginx"), None, to_hub);
    assert!(after.paths().iter().all(|path| !path.contains("imagePullSecrets")));
}
