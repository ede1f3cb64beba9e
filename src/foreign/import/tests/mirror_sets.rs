//! The mirror sets of `OpenShift`: ICSP, IDMS and ITMS.

use super::*;

#[test]
fn icsp_sample_becomes_a_rule_for_each_source() {
    let (table, warnings) = imported(Kind::Icsp, "rook-ceph.yaml", &sample("icsp/rook-ceph.yaml"));
    let mirror = "airgap-45-lb.airgap-ocp45.ibmcloud.io.cpak:5000";
    for (image, place) in [
        ("ceph/ceph:v16", "ceph/ceph:v16"),
        ("docker.io/rook/ceph:v1.10.0", "rook/ceph:v1.10.0"),
        ("k8s.gcr.io/sig-storage/csi-attacher:v4", "sig-storage/csi-attacher:v4"),
        ("quay.io/cephcsi/cephcsi:v3.7.1", "cephcsi/cephcsi:v3.7.1"),
    ] {
        assert_eq!(placed(&table, image), [format!("{mirror}/{place}")], "{image}");
    }
    assert!(table.starts_with("defaults:\n  onMissing: keep\n  onUnavailable: keep\n"), "{table}");
    assert_eq!(warnings.len(), 4);
    assert_eq!(
        warnings[0],
        "`rook-ceph.yaml`, line 7, `docker.io/ceph`: holds for images with a digest alone; in a table it holds for tags, too"
    );
}

fn mirror_set(kind: &str, list: &str, sets: &str) -> String {
    format!("kind: {kind}\nmetadata: {{name: x}}\nspec:\n  {list}: [{sets}]\n")
}

pub(super) fn idms(sets: &str) -> String {
    mirror_set("ImageDigestMirrorSet", "imageDigestMirrors", sets)
}

#[test]
fn mirrors_of_several_objects_for_one_source_keep_the_order_of_each() {
    for (lists, expected, is_contradictory) in [
        (&["a.x, b.x, c.x", "c.x, d.x, e.x"][..], "a.x b.x c.x d.x e.x", false),
        (&["b.x, c.x", "a.x, b.x"], "a.x b.x c.x", false),
        (&["a.x, b.x", "c.x"], "a.x b.x c.x", false),
        (&["a.x, b.x", "b.x, a.x"], "a.x b.x", true),
        (&["a.x, s.io, b.x"], "a.x", false),
        (&["s.io"], "", false),
    ] {
        let text: Vec<_> =
            lists.iter().map(|list| idms(&format!("{{source: s.io, mirrors: [{list}]}}"))).collect();
        let (table, warnings) = imported(Kind::Idms, "x.yaml", &text.join("---\n"));
        let expected: Vec<_> = expected.split_terminator(' ').map(|host| format!("{host}/a:1")).collect();
        assert_eq!(placed(&table, "s.io/a:1"), expected, "{lists:?}");
        assert_eq!(
            warnings.iter().any(|text| text.contains("different orders")),
            is_contradictory,
            "{warnings:?}"
        );
    }
}

#[test]
fn a_source_that_is_never_contacted_is_not_gone_back_to() {
    let never = "{source: s.io/a, mirrors: [m.x], mirrorSourcePolicy: NeverContactSource}";
    let allow = "{source: s.io/b, mirrors: [m.x/b], mirrorSourcePolicy: AllowContactingSource}";
    let (table, _) = imported(Kind::Idms, "x.yaml", &idms(&format!("{never}, {allow}")));
    let rules: Vec<_> = table.split("- source:").collect();
    assert!(rules[1].contains("onMissing: rewrite\n    onUnavailable: rewrite"), "{table}");
    assert!(rules[2].contains("onMissing: keep\n    onUnavailable: keep"), "{table}");
    // As OpenShift refuses it.
    let conflict = format!("{never}, {}", never.replace("NeverContactSource", "AllowContactingSource"));
    let error = refused(Kind::Idms, "x.yaml", &idms(&conflict));
    assert!(error.starts_with("`x.yaml`, line 4: conflicting `mirrorSourcePolicy` of `s.io/a`"), "{error}");
    let itself = idms("{source: s.io, mirrors: [m.x, s.io], mirrorSourcePolicy: NeverContactSource}");
    assert!(refused(Kind::Idms, "x.yaml", &itself).contains("is one of its mirrors"));
    let other = idms("{source: s.io, mirrors: [m.x], mirrorSourcePolicy: Sometimes}");
    assert!(refused(Kind::Idms, "x.yaml", &other).contains("`mirrorSourcePolicy` is"));
    // An ICSP knows no such key.
    let old = mirror_set("ImageContentSourcePolicy", "repositoryDigestMirrors", never);
    assert!(imported(Kind::Icsp, "x.yaml", &old).0.contains("onMissing: keep"));
}

#[test]
fn digests_alone_and_tags_alone_are_told_unless_both_are_said() {
    let digests = idms("{source: s.io, mirrors: [m.x]}");
    let tags = mirror_set("ImageTagMirrorSet", "imageTagMirrors", "{source: s.io, mirrors: [m.x]}");
    let list = format!("{digests}---\n{tags}");
    let (table, warnings) = all_imported(None, &[File { name: "x.yaml", text: &list }]);
    assert_eq!(placed(&table, "s.io/a:1"), ["m.x/a:1"]);
    assert_eq!(warnings, [""; 0]);
    let (_, warnings) = imported(Kind::Itms, "x.yaml", &list);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("`ImageDigestMirrorSet x`: left out: it is of kind `idms`"));
    assert!(warnings[1].contains("holds for images with a tag alone"));
    assert_eq!(
        refused(Kind::Icsp, "x.yaml", &list),
        "`x.yaml` is no icsp: it has no ImageContentSourcePolicy"
    );
    // As `kubectl get -o yaml` and `-o json` print them.
    let json = r#"{"kind": "List", "apiVersion": "v1", "items": [{"kind": "ImageDigestMirrorSet", "metadata": {"name": "x"},
        "spec": {"imageDigestMirrors": [{"source": "s.io", "mirrors": ["m.x"]}]}}]}"#;
    assert_eq!(placed(&imported(Kind::Idms, "-", json).0, "s.io/a:1"), ["m.x/a:1"]);
}
