//! Kubespray's offline.yml.

use super::*;

#[test]
fn kubespray_sample_maps_five_registries_and_says_what_collides() {
    let text = sample("kubespray/offline-v2.24.0.enabled.yml");
    let (table, warnings) = imported(Kind::Kubespray, "offline.yml", &text);
    for (image, place) in [
        ("registry.k8s.io/pause:3.9", "pause:3.9"),
        ("quay.io/calico/node:v3", "calico/node:v3"),
        ("ghcr.io/a/b:1", "a/b:1"),
        ("gcr.io/a/b:1", "a/b:1"),
        ("nginx:1", "library/nginx:1"),
    ] {
        assert_eq!(placed(&table, image), [format!("myprivateregisry.com/{place}")], "{image}");
    }
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("images with equal paths below `docker.io`, `gcr.io`, `ghcr.io`, "));
    let (table, warnings) = imported(Kind::Kubespray, "x", &sample("kubespray/offline-v2.24.0.yml"));
    assert_eq!(table, "rules: []");
    assert!(warnings[0].contains("remove the `#` before them"), "{warnings:?}");
    // A path in the host, a value of its own, other templates, a template that nobody fills, one that never ends.
    let text = "registry_host: harbor.x/k8s\nkube_image_repo: '{{ registry_host }}'\nquay_image_repo: \"{{registry_host}}/quay\"\n\
                gcr_image_repo: gcr.io\ngithub_image_repo: '{{ elsewhere }}'\ndocker_image_repo: '{{ docker_image_repo }}'\n\
                calico_node_image_repo: '{{ registry_host }}/calico/node'\n";
    let (table, warnings) = imported(Kind::Kubespray, "x", text);
    assert_eq!(placed(&table, "registry.k8s.io/pause:3"), ["harbor.x/k8s/pause:3"]);
    assert_eq!(placed(&table, "quay.io/a:1"), ["harbor.x/k8s/quay/a:1"]);
    assert_eq!(placed(&table, "gcr.io/a:1"), [""; 0]);
    for expected in [
        "nothing says what `elsewhere` is",
        "`docker_image_repo` stands for itself",
        "`calico_node_image_repo`: left out",
    ] {
        assert!(warnings.iter().any(|text| text.contains(expected)), "{expected}: {warnings:?}");
    }
}
