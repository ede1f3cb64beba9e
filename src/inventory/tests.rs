use std::fmt::Write as _;

use super::*;

fn inventory(text: &str) -> Inventory {
    read("k8s.yaml", text)
}

/// The documents as JSON, without what could not be read.
fn json(text: &str) -> Vec<String> {
    let of = |document: &Document| match &document.content {
        Content::Object(object) => serde_json::to_string(object).unwrap(),
        Content::Image(image) => format!("image {image}"),
    };
    inventory(text).documents.iter().map(of).collect()
}

fn problems(text: &str) -> Vec<String> {
    inventory(text).problems.iter().map(ToString::to_string).collect()
}

fn found(text: &str) -> Vec<Found> {
    let inventory = inventory(text);
    assert_eq!(inventory.problems, []);
    inventory.documents.iter().flat_map(images).collect()
}

/// Each image and its place, in a text.
fn shown(text: &str) -> Vec<String> {
    found(text)
        .iter()
        .map(|found| format!("{} {}", found.image, found.field.as_deref().unwrap_or_default()))
        .collect()
}

#[test]
fn scalars_are_what_kubectl_takes_them_for() {
    for (written, expected) in [
        ("yes", "true"),
        ("on", "true"),
        ("y", "true"),
        ("NO", "false"),
        ("~", "null"),
        ("0777", "511"),
        ("0x1F", "31"),
        ("1_000", "1000"),
        ("0o17", "15"),
        ("0b101", "5"),
        ("0b102", "\"0b102\""),
        ("+7", "7"),
        (".5", "0.5"),
        ("-1.", "-1.0"),
        ("-.", "\"-.\""),
        ("+.inf", "\"+.inf\""),
        ("-inf", "\"-inf\""),
        ("+nan", "\"+nan\""),
        ("-7", "-7"),
        ("1.10", "1.1"),
        ("1e3", "1000.0"),
        ("1234e567", "\"1234e567\""),
        ("1.25.3", "\"1.25.3\""),
        ("2024-05-01", "\"2024-05-01\""),
        ("18446744073709551616", "1.8446744073709552e+19"),
        (".inf", "\".inf\""),
        ("- ", "[null]"),
        ("089", "89.0"),
        ("'1.10'", "\"1.10\""),
        ("!!str 1.10", "\"1.10\""),
        ("nginx:1.25", "\"nginx:1.25\""),
    ] {
        let lines = if written == "- " { "\n- ".to_owned() } else { format!(" {written}") };
        assert_eq!(json(&format!("a:{lines}\n")), [format!("{{\"a\":{expected}}}")], "{written}");
    }
}

#[test]
fn a_number_stays_as_it_was_written() {
    let Content::Object(object) = &inventory("tag: 1.10").documents[0].content else { panic!() };
    assert_eq!(object.get("tag").unwrap().kind, Kind::Number("1.10".into()));
}

#[test]
fn of_a_doubled_key_the_last_counts_and_merges_bring_what_is_lacking() {
    let text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {z: 0, <<: [*a, {x: 9, w: 4}]}\nd: 1\nd: 2\n";
    assert_eq!(json(text), [r#"{"a":{"x":1,"y":2},"b":{"x":1,"y":3},"c":{"w":4,"x":1,"y":2,"z":0},"d":2}"#]);
}

#[test]
fn aliases_cannot_stand_for_more_than_memory_bears() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{items}]").unwrap();
    }
    let [problem] = &*problems(&text) else { panic!() };
    assert!(problem.contains("its aliases stand for too much: "), "{problem}");
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..800 {
        writeln!(text, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    let [problem] = &*problems(&text) else { panic!() };
    assert!(problem.contains("its aliases stand for too much: "), "{problem}");
}

#[test]
fn aliases_stand_for_as_much_as_is_allowed_and_no_more() {
    // A list of 999 is a thousand values; once it is kept for its anchor, as the one is, and 998 times it is copied.
    let list = format!("a: &a [{}]\nb: &b x\n", vec!["x"; 999].join(", "));
    let aliases = [vec!["*a"; 998], vec!["*b"; 999]].concat().join(", ");
    assert_eq!(problems(&format!("{list}c: [{aliases}]\n")), [""; 0]);
    assert_eq!(problems(&format!("{list}c: [{aliases}, *b]\n")).len(), 1);
    // A map and two lists around the last, and each level one more.
    for (levels, expected) in [(297, 0), (298, 1)] {
        let mut text = "a0: &a0 [x]\n".to_owned();
        for level in 1..=levels {
            writeln!(text, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
        }
        assert_eq!(problems(&text).len(), expected, "{levels}");
    }
}

#[test]
fn a_broken_document_is_named_and_the_others_are_read() {
    let text = "# Source: a.yaml\nkind: Pod\n---\n\n---\na: b\n  c: {{ x }}\n--- # next\nkind: Job\n---\njust a text\n---\n\
                %YAML 1.1\n---\n{kind: Last}\n";
    assert_eq!(json(text), [r#"{"kind":"Pod"}"#, r#"{"kind":"Job"}"#, r#"{"kind":"Last"}"#]);
    let numbers: Vec<_> =
        inventory(text).documents.iter().map(|document| (document.number, document.line)).collect();
    assert_eq!(numbers, [(1, 2), (3, 9), (5, 15)]);
    let [broken, scalar] = &*problems(text) else { panic!("{:?}", problems(text)) };
    assert!(broken.starts_with("`k8s.yaml`, document 2, line 7: this is no YAML: "), "{broken}");
    assert_eq!(scalar, "`k8s.yaml`, document 4, line 11: this is no object: put it right or leave it out");
}

#[test]
fn a_template_that_was_not_rendered_is_told_from_other_mistakes() {
    let [problem] = &*problems("kind: Pod\nimage: {{ .Values.image }}\n") else { panic!() };
    assert_eq!(
        problem,
        "`k8s.yaml`, document 1, line 2: a key is a list or a map: a template must be rendered before it is read"
    );
}

#[test]
fn a_block_scalar_keeps_what_looks_like_a_marker_further_in() {
    let text = "data:\n  x: |\n    a\n    ---\n    b\n---\nkind: Pod\n";
    assert_eq!(json(text), [r#"{"data":{"x":"a\n---\nb\n"}}"#, r#"{"kind":"Pod"}"#]);
}

#[test]
fn json_is_read_one_document_behind_the_other() {
    let text = "{\"a\": \"\\ud83d\\ude00\\/\",\n\t\"b\": 1.50}\n\n{\"kind\": \"Pod\"} [{\"c\": null}, {}]";
    assert_eq!(json(text), ["{\"a\":\"😀/\",\"b\":1.5}", r#"{"kind":"Pod"}"#, r#"{"c":null}"#, "{}"]);
    let places: Vec<_> =
        inventory(text).documents.iter().map(|document| (document.number, document.line)).collect();
    assert_eq!(places, [(1, 1), (2, 4), (3, 4), (3, 4)]);
    // What only begins like JSON is YAML.
    assert_eq!(json("{kind: Pod}\n---\nkind: Job\n"), [r#"{"kind":"Pod"}"#, r#"{"kind":"Job"}"#]);
}

#[test]
fn lists_are_taken_apart_and_their_items_get_the_kind_that_the_list_has() {
    let text = "kind: List\napiVersion: v1\nitems:\n- kind: Pod\n- {kind: List, items: [{kind: Job}]}\n---\n\
                kind: PodList\napiVersion: v1\nmetadata: {}\nitems:\n- metadata: {name: a}\n";
    assert_eq!(
        json(text),
        [
            r#"{"kind":"Pod"}"#,
            r#"{"kind":"Job"}"#,
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#
        ]
    );
    assert_eq!(inventory(text).documents[2].line, 11);
    assert_eq!(json("kind: PodList\nitems: [{kind: Job}]"), [r#"{"kind":"Job"}"#], "has a kind of its own");
    assert_eq!(json("kind: List\nitems: [{a: 1}]"), [r#"{"a":1}"#], "of no one kind");
    assert_eq!(json("kind: AllowList\nspec: {}"), [r#"{"kind":"AllowList","spec":{}}"#], "has no items");
}

#[test]
fn a_text_without_an_object_is_a_list_of_images() {
    let text = "\u{feff}# what we run\nnginx:1.25\n\n  quay.io/a/b@sha256:ab # pinned\nREDIS\r\n# end\n";
    let images = ["image nginx:1.25", "image quay.io/a/b@sha256:ab", "image REDIS"];
    assert_eq!(json(text), images);
    assert_eq!(problems(text), Vec::<String>::new());
    let [first, .., last] = &*found(text) else { panic!() };
    assert_eq!((first.line, last.line, &first.field), (2, 5, &None));
    assert_eq!(json("- nginx\n- redis:7\n"), ["image nginx", "image redis:7"]);
    assert_eq!(json("nginx\n"), ["image nginx"]);
    assert_eq!(json("nginx 1.25\n"), ["image nginx 1.25"], "no reference, but not to be lost");
    for nothing in ["", "[]", "~", "\n# nothing\n", "---\n---\n", "---\n# a\n---\n"] {
        assert_eq!(inventory(nothing), Inventory::default(), "{nothing:?}");
    }
    // A broken manifest is no list.
    assert_eq!(problems("image: [\nb").len(), 1);
    assert_eq!(json("image:\nb: [").len(), 0);
    assert_eq!(problems("just a text\n---\na: [").len(), 2, "nor is one beside a text");
}

#[test]
fn the_images_of_a_pod_are_all_found_with_what_decides_about_them() {
    let text = "
kind: Pod
metadata:
  name: web
  namespace: shop
  labels: {portolan.dev/rewrite: disabled}
  annotations: {kubernetes.io/config.mirror: x}
spec:
  containers:
  - {name: a, image: nginx, imagePullPolicy: Always}
  - {name: b}
  initContainers: [{name: c, image: busybox}]
  ephemeralContainers: [{name: d, image: debug}]
  volumes:
  - {name: e, image: {reference: models, pullPolicy: Never}}
  - {name: f, emptyDir: {}}
  - {name: g, csi: {volumeAttributes: {image: no}}}
status: {containers: [{image: not-this}]}
";
    assert_eq!(
        shown(text),
        [
            "busybox /spec/initContainers/0/image",
            "nginx /spec/containers/0/image",
            "debug /spec/ephemeralContainers/0/image",
            "models /spec/volumes/0/image/reference",
        ]
    );
    let found = found(text);
    assert!(found.iter().all(|found| found.is_opted_out && found.is_mirror_pod));
    assert_eq!(found.iter().map(|found| found.line).collect::<Vec<_>>(), [12, 10, 13, 15]);
    let policies: Vec<_> = found.iter().map(|found| found.pull_policy.as_deref()).collect();
    assert_eq!(policies, [None, Some("Always"), None, Some("Never")]);
    let names = found[0].object.as_deref().unwrap();
    assert_eq!((&*names.kind, &*names.name, names.namespace.as_deref()), ("Pod", "web", Some("shop")));
}

#[test]
fn every_kind_that_makes_pods_is_found_and_its_templates_label_counts() {
    let spec = "spec: {containers: [{image: nginx}]}";
    let template = format!("template: {{metadata: {{labels: {{portolan.dev/rewrite: disabled}}}}, {spec}}}");
    let workload = |kind: &str| format!("kind: {kind}\nmetadata: {{name: x}}\nspec: {{{template}}}\n");
    for kind in ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"] {
        assert_eq!(shown(&workload(kind)), ["nginx /spec/template/spec/containers/0/image"], "{kind}");
        assert!(found(&workload(kind))[0].is_opted_out, "{kind}");
    }
    let cron = format!("kind: CronJob\nspec: {{jobTemplate: {{spec: {{{template}}}}}}}");
    assert_eq!(shown(&cron), ["nginx /spec/jobTemplate/spec/template/spec/containers/0/image"]);
    assert!(found(&cron)[0].is_opted_out);
    assert_eq!(shown(&format!("kind: PodTemplate\n{template}")), ["nginx /template/spec/containers/0/image"]);
    let own_label = "kind: Deployment\nmetadata: {labels: {portolan.dev/rewrite: disabled}}\n\
                     spec: {template: {spec: {containers: [{image: nginx}]}}}";
    assert!(!found(own_label)[0].is_opted_out, "the workload's own label is not its Pods'");
}

#[test]
fn custom_resources_that_embed_containers_are_found_at_any_depth() {
    let text = "apiVersion: ex.com/v1\nkind: Farm\nspec:\n  a/b~c:\n  - pods:\n      containers: [{image: one}]\n      \
                volumes: [{image: {reference: two}}]\n  volumes: [{image: {reference: no-pod}}]\n  containers: 3\n";
    assert_eq!(
        shown(text),
        ["one /spec/a~1b~0c/0/pods/containers/0/image", "two /spec/a~1b~0c/0/pods/volumes/0/image/reference"]
    );
    for (version, kind) in [
        ("kyverno.io/v1", "ClusterPolicy"),
        ("policies.kyverno.io/v1", "ImageValidatingPolicy"),
        ("constraints.gatekeeper.sh/v1beta1", "X"),
        ("policy.sigstore.dev/v1beta1", "ClusterImagePolicy"),
        ("apps/v1", "ControllerRevision"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ] {
        let text = format!("apiVersion: {version}\nkind: {kind}\nspec: {{containers: [{{image: '*'}}]}}");
        assert_eq!(shown(&text), Vec::<String>::new(), "{kind}");
    }
    assert_eq!(shown("apiVersion: notkyverno.io/v1\nkind: X\nspec: {containers: [{image: a}]}").len(), 1);
}

#[test]
fn of_a_pod_that_portolan_changed_the_images_are_as_they_were_written() {
    let sources = r#"{"containers/a":{"written":"nginx","image":"r.corp/nginx@sha256:1"},"containers/b":{"written":"x","image":"y"},"volumes/v":{"written":"model","image":"r.corp/model"}}"#;
    let text = format!(
        "kind: Pod\nmetadata: {{annotations: {{portolan.dev/sources: '{sources}'}}}}\nspec:\n  containers:\n  \
         - {{name: a, image: 'r.corp/nginx@sha256:1'}}\n  - {{name: b, image: edited}}\n  volumes: [{{name: v, image: \
         {{reference: r.corp/model}}}}]\n"
    );
    let images: Vec<_> = found(&text).into_iter().map(|found| found.image.into_string()).collect();
    assert_eq!(images, ["nginx", "edited", "model"]);
    // It speaks for a Pod alone.
    let images: Vec<_> =
        found(&text.replace("kind: Pod", "kind: Farm")).into_iter().map(|found| found.image).collect();
    assert_eq!(&*images[0], "r.corp/nginx@sha256:1");
}

#[test]
fn an_alias_stands_for_what_its_own_document_anchors() {
    assert_eq!(json("{&k a: 1, b: *k, *k : 2}"), [r#"{"a":2,"b":"a"}"#]);
    assert_eq!(json("a: &x 1\n...\nb: *x\n"), [r#"{"a":1}"#]);
    assert_eq!(problems("a: &x 1\n...\nb: *x\n").len(), 1);
}

#[test]
fn what_aliases_stand_for_is_bounded_for_all_documents_together_by_weight_and_for_anchors_in_anchors() {
    let refused =
        |text: &str| problems(text).iter().filter(|problem| problem.contains("stand for too much")).count();
    let items = vec!["x"; 10_000].join(", ");
    let one = format!("kind: A\na: &a [{items}]\nb: [{}]\n", vec!["*a"; 60].join(", "));
    assert_eq!((refused(&one), refused(&format!("{one}---\n{one}"))), (0, 1));
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1_000_000), vec!["*a"; 40].join(", "));
    assert_eq!(refused(&long), 1);
    let mut anchors = String::new();
    for level in 0..200 {
        write!(anchors, "&a{level} [").unwrap();
    }
    let nested = format!("a: {anchors}{items}{}\n", "]".repeat(200));
    assert_eq!((refused(&nested), refused(&format!("{nested}b: *a0\n"))), (0, 1));
}
