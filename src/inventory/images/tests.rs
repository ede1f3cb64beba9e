use std::fmt::Write as _;

use crate::inventory::{Certainty, Found, images, read};

fn found(text: &str) -> Vec<Found> {
    let inventory = read("k8s.yaml", text);
    assert_eq!(inventory.problems, []);
    inventory.documents.iter().flat_map(images).collect()
}

/// Each image with its place; a guess has a question mark.
fn shown(text: &str) -> Vec<String> {
    found(text)
        .iter()
        .map(|found| {
            let mark = if found.certainty == Certainty::Guess { "? " } else { "" };
            format!("{mark}{} {}", found.image, found.field.as_deref().unwrap_or_default())
        })
        .collect()
}

/// What is found in a custom resource with this specification.
fn custom(spec: &str) -> Vec<String> {
    shown(&format!("apiVersion: ex.com/v1\nkind: Farm\nspec: {spec}\n"))
}

/// What is found in a ConfigMap with this text under this key.
fn config_map(key: &str, text: &str) -> Vec<String> {
    let data = serde_json::json!({"kind": "ConfigMap", "data": {key: text}}).to_string();
    let field = format!(" /data/{key}");
    shown(&data).into_iter().map(|line| line.strip_suffix(&field).unwrap_or(&line).to_owned()).collect()
}

#[test]
fn what_a_custom_resource_has_under_image_is_certain_at_any_depth() {
    for (spec, expected) in [
        (
            "{cephVersion: {image: 'quay.io/ceph/ceph:v17.2.3'}}",
            vec!["quay.io/ceph/ceph:v17.2.3 /spec/cephVersion/image"],
        ),
        ("{a: [{b: [{image: 'x/y'}]}]}", vec!["x/y /spec/a/0/b/0/image"]),
        ("{image: 'redis:7', imagePullPolicy: Never}", vec!["redis:7 /spec/image"]),
        // One word may be the name of a machine's disk; where a container is described it is an image.
        ("{image: ubuntu-22.04}", vec!["? ubuntu-22.04 /spec/image"]),
        ("{steps: [{image: ubuntu, script: ls}]}", vec!["ubuntu /spec/steps/0/image"]),
        ("{containers: [{image: ubuntu}]}", vec!["ubuntu /spec/containers/0/image"]),
        ("{image: auto}", vec![]),
        ("{image: ''}", vec![]),
        ("{image: $(IMAGE)}", vec![]),
        ("{image: '{{workflow.image}}:1'}", vec![]),
        ("{image: 'r.corp/{{name}}:1'}", vec![]),
        ("{image: disk.qcow2, logo: {image: 'https://example.com/x.png'}}", vec![]),
        ("{image: 7}", vec![]),
        ("{rbd: {image: 'pool/x:1'}}", vec![]),
        (
            "{relatedImages: [{name: a, image: 'r.corp/a@sha256:0000000000000000000000000000000000000000000000000000000000000007'}]}",
            vec![
                "r.corp/a@sha256:0000000000000000000000000000000000000000000000000000000000000007 /spec/relatedImages/0/image",
            ],
        ),
    ] {
        assert_eq!(custom(spec), expected, "{spec}");
    }
    assert_eq!(
        found("apiVersion: a.b/v1\nspec: {image: 'a/b:1', imagePullPolicy: Never}")[0].pull_policy.as_deref(),
        Some("Never")
    );
    // Elsewhere it is a guess: in what has no kind, such as the values of a chart, or is Kubernetes' own.
    let spec = "spec: {image: 'a/b:1'}";
    for version in [
        "v1",
        "apps/v1",
        "infrastructure.cluster.x-k8s.io/v1beta1",
        "image.toolkit.fluxcd.io/v1",
        "storage.k8s.io/v1",
    ] {
        assert_eq!(
            shown(&format!("apiVersion: {version}\nkind: X\n{spec}")),
            ["? a/b:1 /spec/image"],
            "{version}"
        );
    }
    assert_eq!(shown(spec), ["? a/b:1 /spec/image"]);
    for (version, kind) in [
        ("operator.openshift.io/v1alpha1", "ImageContentSourcePolicy"),
        ("portolan.dev/v1", "MappingTable"),
        ("kyverno.io/v1", "ClusterPolicy"),
        ("v1", "Secret"),
    ] {
        assert_eq!(
            shown(&format!("apiVersion: {version}\nkind: {kind}\n{spec}")),
            Vec::<String>::new(),
            "{kind}"
        );
    }
}

#[test]
fn an_image_in_parts_is_joined() {
    let digest = "sha256:0000000000000000000000000000000000000000000000000000000000000007";
    for (spec, expected) in [
        ("{image: {repository: 'quay.io/a/b', tag: 1.10}}", "quay.io/a/b:1.10 /spec/image"),
        ("{image: {repository: a/b, version: v2, pullPolicy: Never}}", "a/b:v2 /spec/image"),
        (
            "{image: {registry: quay.io, repository: a/b, tag: v1, digest: DIGEST}}",
            "quay.io/a/b:v1@DIGEST /spec/image",
        ),
        ("{image: {registry: quay.io, repository: quay.io/a/b, tag: v1}}", "quay.io/a/b:v1 /spec/image"),
        (
            "{image: {repository: a/b, sha: '0000000000000000000000000000000000000000000000000000000000000007', tag: ''}}",
            "a/b@DIGEST /spec/image",
        ),
        ("{image: {repository: a/b, tag: DIGEST}}", "a/b@DIGEST /spec/image"),
        ("{image: {name: 'a/b:1'}}", "a/b:1 /spec/image"),
        ("{image: {repository: a/b, tag: ''}}", "? a/b /spec/image"),
        ("{image: {repository: a/b}}", "? a/b /spec/image"),
        ("{sidecarImage: {repository: a/b, tag: v1}}", "? a/b:v1 /spec/sidecarImage"),
        ("{sidecar: {repository: a/b, tag: v1}}", "? a/b:v1 /spec/sidecar"),
        (
            "{driver: {repository: nvcr.io/nvidia, image: driver, version: 525.60.13}}",
            "nvcr.io/nvidia/driver:525.60.13 /spec/driver/image",
        ),
        (
            "{driver: {repository: nvcr.io/nvidia, image: driver}}",
            "? nvcr.io/nvidia/driver /spec/driver/image",
        ),
        ("{image: a/b, tag: v1}", "a/b:v1 /spec/image"),
        // It says all by itself, or what stands beside it is of something else.
        ("{image: 'quay.io/a/b:1', repository: backups, tag: v9}", "quay.io/a/b:1 /spec/image"),
        ("{image: quay.io/a/b, repository: backups, version: v9}", "quay.io/a/b /spec/image"),
        ("{image: quay.io/a/b, version: v9}", "quay.io/a/b /spec/image"),
    ] {
        assert_eq!(custom(&spec.replace("DIGEST", digest)), [expected.replace("DIGEST", digest)], "{spec}");
    }
    // A chart is no image.
    for spec in [
        "{chart: {repository: bitnami, name: redis, version: 1.2.3}}",
        "{source: {repository: 'https://x.y/z', tag: v1}}",
    ] {
        assert_eq!(custom(spec), Vec::<String>::new(), "{spec}");
    }
}

#[test]
fn variables_and_arguments_that_look_like_images_are_guesses() {
    let pod = |container: &str| {
        let found =
            shown(&format!("kind: Pod\nspec: {{containers: [{{name: a, image: own, {container}}}]}}"));
        assert_eq!(found[0], "own /spec/containers/0/image");
        found[1..].iter().map(|line| line.replace("/spec/containers/0", "")).collect::<Vec<_>>()
    };
    for (container, expected) in [
        ("env: [{name: CSI_IMAGE, value: 'a/b:1'}]", vec!["? a/b:1 /env/0/value"]),
        ("env: [{name: RELATED_IMAGE_PROXY, value: haproxy}]", vec!["? haproxy /env/0/value"]),
        (
            "env: [{name: PROXY, value: 'quay.io/x/y:v1'}, {name: B_IMAGES, value: 'a:1,b:2'}]",
            vec!["? quay.io/x/y:v1 /env/0/value", "? a:1 /env/1/value", "? b:2 /env/1/value"],
        ),
        (
            "env: [{name: USE_IMAGE, value: 'true'}, {name: IMAGE_PULL_POLICY, value: always}, {name: X_IMAGE, value: $(Y)}]",
            vec![],
        ),
        (
            "env: [{name: REDIS, value: 'redis:6379'}, {name: URL, value: 'http://a/b:1'}, {name: HUB, value: quay.io/x}]",
            vec![],
        ),
        ("env: [{name: A_IMAGE, valueFrom: {configMapKeyRef: {name: x, key: y}}}]", vec![]),
        ("args: [--image=nginx, '--v=2', --proxy=a/b:1]", vec!["? nginx /args/0", "? a/b:1 /args/2"]),
        (
            "command: [x, --engine-image, 'a/b:1', -d, --web-image, --other, nginx]",
            vec!["? a/b:1 /command/2"],
        ),
        ("args: [-shell-image, busybox, nginx]", vec!["? busybox /args/1"]),
        // Among words an image begins with its registry.
        (
            "args: ['sh', '-c', 'ctr pull quay.io/a/b:1; chown a/b:c x; curl http://h:80/v1']",
            vec!["? quay.io/a/b:1 /args/2"],
        ),
        (
            "args: [\"set -e\\ncurl a/b:1\\nX_IMAGE=redis:7\\n# quay.io/no/no:1\\nctr pull ghcr.io/c/d:2\"]",
            vec!["? redis:7 /args/0", "? ghcr.io/c/d:2 /args/0"],
        ),
    ] {
        assert_eq!(pod(container), expected, "{container}");
    }
    let annotated = "kind: Deployment\nspec: {template: {metadata: {annotations: {sidecar.istio.io/proxyImage: 'a/b:1', x: 'c/d:1'}}}}";
    assert_eq!(
        shown(annotated),
        ["? a/b:1 /spec/template/metadata/annotations/sidecar.istio.io~1proxyImage"]
    );
    assert_eq!(
        custom("{imageName: 'ghcr.io/a/b', engineImage: e, x: 'c/d:1', version: 'v1:2'}"),
        ["? e /spec/engineImage", "? ghcr.io/a/b /spec/imageName", "? c/d:1 /spec/x"]
    );
}

#[test]
fn values_of_config_maps_are_looked_into_also_where_they_are_yaml_or_json() {
    for (key, text, expected) in [
        ("ROOK_CSI_CEPH_IMAGE", "quay.io/cephcsi/cephcsi:v3.7.0", vec!["? quay.io/cephcsi/cephcsi:v3.7.0"]),
        ("ROOK_CSI_ENABLE", "true", vec![]),
        ("queue-sidecar-image", "queue", vec!["? queue"]),
        ("config.yaml", "a: {image: 'x/y:1'}\nsidecarImage: z\n---\nfoo: bar\n", vec!["? x/y:1", "? z"]),
        (
            "values",
            r#"{"hub": "docker.io/istio", "proxy": {"image": {"repository": "a/b", "tag": "1"}}}"#,
            vec!["? a/b:1"],
        ),
        (
            "pod.yaml",
            "kind: Pod\nspec:\n  containers:\n  - {name: a, image: busybox}\n  - {name: b, image: auto}\n",
            vec!["? busybox"],
        ),
        ("policy", "kind: ClusterPolicy\napiVersion: kyverno.io/v1\nspec: {image: 'a/b:1'}\n", vec![]),
        ("images.txt", "a/b:1\nredis\n# c/d:1\n", vec!["? a/b:1"]),
        (
            "config.toml",
            "[plugins]\n  sandbox_image = \"registry.k8s.io/pause:3.9\"\n",
            vec!["? registry.k8s.io/pause:3.9"],
        ),
        (
            "template",
            "containers:\n{{- if x }}\n- image: \"docker.io/linkerd/proxy:stable\" # ours\n  other: {{ y }}\n{{- end }}\n",
            vec!["? docker.io/linkerd/proxy:stable"],
        ),
        // A text in a text in a text.
        ("deep", "a: |\n  b: |\n    image: x/y:1\n", vec!["? x/y:1"]),
        ("licence", "Some words, and a URL: http://example.com/a/b:1.\nMore of them.\n", vec![]),
    ] {
        assert_eq!(config_map(key, text), expected, "{key}");
    }
    let lock = "kind: ConfigMap\nmetadata: {labels: {portolan.dev/lock: 'true'}}\ndata: {image: 'a/b:1'}";
    assert_eq!(shown(lock), Vec::<String>::new());
    let block = "kind: ConfigMap\ndata:\n  other: x\n  x: |\n    a: b\n    image: c/d:1\n";
    assert_eq!(found(block)[0].line, 5, "the line on which the text begins");
}

#[test]
fn many_embedded_texts_that_grow_cost_no_more_than_they_are_long() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{items}]").unwrap();
    }
    bomb.push_str("image: a/b:1\n");
    let data: serde_json::Map<_, _> =
        (0..500).map(|number| (format!("k{number}"), serde_json::json!(bomb))).collect();
    let text = serde_json::json!({"kind": "ConfigMap", "data": data}).to_string();
    // Each is too much to be YAML, and is read line by line.
    assert_eq!(found(&text).len(), 500);
}
