//! The maps of imageswap.

use super::*;

#[test]
fn imageswap_sample_has_maps_exact_references_and_what_is_left_alone() {
    let (table, warnings) = imported(Kind::ImageSwap, "maps.conf", &sample("imageswap/docs-01.conf"));
    for (image, places) in [
        (
            "nginx:1",
            &["my.example.com/mirror-docker.io/nginx:1", "my.example.com/mirror-docker.io/library/nginx:1"][..],
        ),
        ("bitnami/nginx:1", &["my.example.com/mirror-docker.io/bitnami/nginx:1"]),
        ("quay.io/a/b:1", &["quay.example3.com/a/b:1"]),
        ("gitlab.com/a:1", &["registry.example.com/gitlab/a:1"]),
        ("cool.io/a:1", &[]),
        ("gcr.io/a:1", &["default.example.com/a:1"]),
        ("registry.internal.twr.io/a:1", &["registry.example.com/a:1"]),
        ("harbor.geo.pks.twr.io/a:1", &["harbor2.com/a:1"]),
        ("other.twr.io/a:1", &[]),
        ("ghcr.io/fantasy/coolstuff:v1.0", &["my-local-registry.com/patched-coolstuff:latest"]),
    ] {
        assert_eq!(placed(&table, image), places, "{image}");
    }
    assert!(table.starts_with("defaults:\n  onMissing: rewrite\n"), "it asks no registry: {table}");
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[0].contains("`[REPLACE]ghcr.io/public*::my-local-registry.com`: left out"));
    let text = sample("imageswap/install-configmap-1.yaml");
    assert_eq!(
        refused(Kind::ImageSwap, "x", &text),
        "`x` is no imageswap: it is no ConfigMap with `maps`, as `imageswap-maps` is"
    );
}

#[test]
fn imageswap_reads_the_old_separator_configmaps_and_replacements() {
    let old = "default:\ndocker.io:m.x/hub\nquay.io:5000:m.x\n# x\n";
    let (table, warnings) = imported(Kind::ImageSwap, "x", old);
    assert_eq!(placed(&table, "nginx:1"), ["m.x/hub/nginx:1", "m.x/hub/library/nginx:1"]);
    assert_eq!(placed(&table, "gcr.io/a:1"), [""; 0]);
    assert!(warnings[0].contains("line 3, `quay.io:5000:m.x`: left out: it is no map"), "{warnings:?}");
    let map = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: imageswap-maps}\ndata:\n  maps: |\n    default::m.x\n    \
               docker.io/library::m.x/official\n    [EXACT]nginx::m.x/patched\n    [REPLACE]ghcr.io/public/*::m.x/p\n    \
               [REPLACE]ghcr.io/a/b:1::m.x/q\n";
    let (table, warnings) = all_imported(None, &[File { name: "x.yaml", text: map }]);
    assert_eq!(placed(&table, "redis:7"), ["m.x/official/redis:7", "m.x/library/redis:7"]);
    assert_eq!(placed(&table, "nginx"), ["m.x/patched:latest"]);
    assert_eq!(placed(&table, "ghcr.io/public/a:1"), ["m.x/p/a:1"]);
    assert_eq!(placed(&table, "ghcr.io/a/b:1"), ["m.x/q/b:1"]);
    assert_eq!(placed(&table, "ghcr.io/a/b:2"), ["m.x/a/b:2"]);
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("line 8, `[EXACT]nginx::m.x/patched`: imageswap takes the text")),
        "{warnings:?}"
    );
    assert!(
        warnings.iter().any(|text| text.contains("drops the whole path but its last segment")),
        "{warnings:?}"
    );
    let (table, warnings) = imported(Kind::ImageSwap, "x", "quay.io::m.x\n[EXACT]a.io/b:1::m.x/b:1\n");
    assert_eq!(placed(&table, "quay.io/a:1"), [""; 0], "without a default nothing is swapped");
    assert_eq!(placed(&table, "a.io/b:1"), ["m.x/b:1"]);
    assert!(warnings[0].contains("without a `default`"));
    let (table, warnings) = imported(Kind::ImageSwap, "x", "default::m.x/p-\n");
    assert_eq!(placed(&table, "redis:7")[0], "m.x/p-docker.io/redis:7");
    assert!(warnings[0].contains("a default that ends in `-`"), "{warnings:?}");
}
