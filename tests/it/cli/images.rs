use std::{fmt::Write as _, fs, path::Path};

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Ended, Folder};

impl Folder {
    async fn images(&self, arguments: &[&str]) -> Ended {
        self.run(&[&["images"], arguments].concat()).await
    }

    /// The answer as JSON, to a question that leaves nothing unread.
    async fn listed(&self, arguments: &[&str]) -> Value {
        let ended = self.images(&[arguments, &["-o", "json"]].concat()).await;
        assert_eq!((ended.code, &*ended.stderr), (0, ""), "{}", ended.shown());
        serde_json::from_str(&ended.stdout).unwrap()
    }
}

/// Each image, with a question mark if it is a guess.
fn marked(answer: &Value) -> Vec<String> {
    let mark = |row: &Value| if row["certainty"] == "guess" { "? " } else { "" };
    let rows = answer.as_array().unwrap();
    rows.iter().map(|row| format!("{}{}", mark(row), row["image"].as_str().unwrap())).collect()
}

const MANIFESTS: &str = "
kind: List
items:
- kind: Deployment
  metadata: {name: web, namespace: shop}
  spec:
    template:
      spec:
        initContainers: [{name: wait, image: busybox}]
        containers:
        - {name: web, image: nginx:1.25, args: [--sidecar-image, 'quay.io/a/side:1']}
        - {name: injected, image: auto}
- {kind: CronJob, spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: 'redis:7'}]}}}}}}
---
apiVersion: ceph.rook.io/v1
kind: CephCluster
metadata: {name: rook}
spec: {cephVersion: {image: 'quay.io/ceph/ceph:v17'}}
---
kind: ConfigMap
metadata: {name: settings}
data: {CSI_IMAGE: 'quay.io/csi/x:1', copy: 'docker.io/nginx/nginx:1.25', OTHER_IMAGE: 'redis:7'}
";

#[tokio::test]
async fn it_lists_what_is_certain_sorted_and_once_and_the_guesses_on_request() {
    let folder = Folder::new();
    folder.write("k8s.yaml", MANIFESTS);
    folder.write("images.txt", "# ours\nredis:7\nnginx:1.25 # pinned later\n");
    let ended = folder.images(&["k8s.yaml", "images.txt"]).await;
    assert_snapshot!(ended.shown(), @r"
    exit 0
    --- stdout
    busybox
    nginx:1.25
    quay.io/ceph/ceph:v17
    redis:7
    --- stderr
    3 more texts look like an image: `--guesses` lists them, too
    ");
    let ended = folder.run_with(&["images", "--guesses", "-"], MANIFESTS).await;
    assert_snapshot!(ended.shown(), @r"
    exit 0
    --- stdout
    busybox
    docker.io/nginx/nginx:1.25
    nginx:1.25
    quay.io/a/side:1
    quay.io/ceph/ceph:v17
    quay.io/csi/x:1
    redis:7
    ");
}

#[tokio::test]
async fn its_json_says_of_each_place_which_and_how_sure() {
    let folder = Folder::new();
    folder.write("k8s.yaml", MANIFESTS);
    let answer = folder.listed(&["k8s.yaml"]).await;
    assert_eq!(answer, folder.listed(&["k8s.yaml"]).await);
    assert_eq!(
        marked(&answer),
        [
            "busybox",
            "? docker.io/nginx/nginx:1.25",
            "nginx:1.25",
            "? quay.io/a/side:1",
            "quay.io/ceph/ceph:v17",
            "? quay.io/csi/x:1",
            "redis:7",
        ]
    );
    let redis = json!({
        "image": "redis:7",
        "reference": "docker.io/library/redis:7",
        "certainty": "certain",
        "places": [
            {
                "certainty": "certain", "file": "k8s.yaml", "document": 1, "line": 13,
                "field": "/spec/jobTemplate/spec/template/spec/containers/0/image",
                "kind": "CronJob", "namespace": null, "name": null,
            },
            {
                "certainty": "guess", "file": "k8s.yaml", "document": 3, "line": 22,
                "field": "/data/OTHER_IMAGE", "kind": "ConfigMap", "namespace": null, "name": "settings",
            },
        ],
    });
    assert_eq!(answer[6], redis);
    let side = &answer[3]["places"][0];
    assert_eq!(side["field"], "/spec/template/spec/containers/0/args/1");
    assert_eq!((&side["kind"], &side["namespace"]), (&json!("Deployment"), &json!("shop")));
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_the_rest_is_listed() {
    let folder = Folder::new();
    let pod = |image: &str| format!("kind: Pod\nspec: {{containers: [{{image: '{image}'}}]}}\n");
    fs::create_dir_all(folder.path().join("deploy/deeper")).unwrap();
    folder.write("deploy/a.yaml", &format!("{}---\nkind: {{{{ x }}\n---\n{}", pod("one"), pod("two")));
    folder.write("deploy/deeper/b.json", r#"{"kind": "Pod", "spec": {"containers": [{"image": "three"}]}}"#);
    fs::write(folder.path().join("deploy/c.yaml"), [0xff, 0xfe, 0, 1]).unwrap();
    folder.write("deploy/README.md", "image: four\n");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("..", folder.path().join("deploy/deeper/up")).unwrap();
        std::os::unix::fs::symlink("loop.yaml", folder.path().join("deploy/loop.yaml")).unwrap();
        std::os::unix::fs::symlink("a.yaml", folder.path().join("deploy/link.yaml")).unwrap();
    }
    let ended = folder.images(&["deploy", "absent.yaml"]).await;
    assert_snapshot!(ended.shown(), @r"
    exit 2
    --- stdout
    one
    three
    two
    --- stderr
    error: cannot read a document: `deploy/a.yaml`, document 2, line 4: this is no YAML: unclosed bracket '{': a template must be rendered before it is read
    error: cannot read `deploy/c.yaml`: it is no text (UTF-8): name manifests or lists
    error: cannot read a document: `deploy/link.yaml`, document 2, line 4: this is no YAML: unclosed bracket '{': a template must be rendered before it is read
    error: cannot read `deploy/loop.yaml`: Too many levels of symbolic links (os error 40)
    error: cannot read `absent.yaml`: No such file or directory (os error 2)
    ");
}

#[tokio::test]
async fn exit_1_is_for_what_has_to_be_an_image_and_is_none_and_an_empty_list_is_no_fault() {
    let folder = Folder::new();
    for (text, code, stdout, stderr) in [
        ("", 0, "", ""),
        ("# nothing\n", 0, "", ""),
        ("kind: Service\n", 0, "", ""),
        ("nginx\nNGINX\n", 1, "nginx\n", "warning: `NGINX` is no reference to an image: -:2\n"),
        (
            "kind: Pod\nmetadata: {name: a}\nspec: {containers: [{image: 'Bad:'}, {image: x}]}\n",
            1,
            "x\n",
            "warning: `Bad:` is no reference to an image: Pod a, -:3\n",
        ),
        // What somebody else fills in is no fault.
        (
            "kind: Pod\nspec: {containers: [{image: ''}, {image: auto}, {image: $(X)}, {image: '{{y}}:1'}]}\n",
            0,
            "",
            "",
        ),
        // Without being read there is no answer.
        ("kind: Pod\nspec: {containers: [{image: 'Bad:'}]}\n---\n[\n", 2, "", "error: "),
    ] {
        let ended = folder.run_with(&["images", "-"], text).await;
        assert_eq!((ended.code, &*ended.stdout), (code, stdout), "{text}{}", ended.shown());
        let said = if code == 2 { ended.stderr.starts_with(stderr) } else { ended.stderr == stderr };
        assert!(said, "{text}{}", ended.shown());
    }
    for usage in [&["images"][..], &["images", "x.yaml", "--cluster"]] {
        assert_eq!(folder.run(usage).await.code, 2);
    }
    let ended = folder.images(&["--cluster"]).await;
    assert_eq!((ended.code, &*ended.stdout), (2, ""));
    assert!(ended.stderr.starts_with("error: cannot look into the running cluster"), "{}", ended.stderr);
}

#[tokio::test]
async fn nothing_that_grows_or_never_ends_keeps_it() {
    let folder = Folder::new();
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{items}]").unwrap();
    }
    let pod = "kind: Pod\nspec: {containers: [{image: nginx}]}\n";
    folder.write("bombs.yaml", &vec![bomb; 200].join("---\n"));
    folder.write("deep.yaml", &format!("{pod}---\na: {}", "[".repeat(1_000_000)));
    folder.write("deep.json", &"{\"a\":".repeat(1_000_000));
    let anchors: Vec<_> = (0..200).map(|level| format!("&a{level} [")).collect();
    let nested = format!("a: {}x{}\nb: *a0\n", anchors.concat(), "]".repeat(200));
    folder.write("anchors.yaml", &format!("{nested}{pod}"));
    folder.write("many.yaml", &vec![pod; 5000].join("---\n"));
    let ended = folder.images(&["."]).await;
    assert_eq!((ended.code, &*ended.stdout), (2, "nginx\n"), "{}", ended.shown());
    let named = |file: &str| ended.stderr.lines().filter(|line| line.contains(&format!("./{file}"))).count();
    assert_eq!(
        (named("bombs.yaml"), named("deep.yaml"), named("deep.json")),
        (101, 1, 1),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("cannot read 100 more of `./bombs.yaml`"), "{}", ended.stderr);
    assert!(ended.stderr.contains("its aliases stand for too much: write out"), "{}", ended.stderr);

    let ended = folder.images(&["/dev/zero"]).await;
    assert_eq!(ended.code, 2);
    assert_eq!(ended.stderr, "error: cannot read `/dev/zero`: it has more than 128 MiB: split it\n");
}

/// What is found in other projects' own manifests, compared with what `grep -E 'image:|IMAGE'` shows there to a reader.
#[tokio::test]
async fn of_other_projects_manifests_it_finds_exactly_their_images() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/manifests");
    let lines = |path: &str| -> Vec<String> {
        let text = fs::read_to_string(shared.join(path)).unwrap();
        let mut lines: Vec<_> = text.lines().map(|line| line.trim().to_owned()).collect();
        lines.sort();
        lines
    };
    let folder = Folder::new();
    let found = async |files: &[&str]| {
        let paths: Vec<_> = files.iter().map(|file| shared.join(file).display().to_string()).collect();
        let answer = folder.listed(&paths.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let places: usize =
            answer.as_array().unwrap().iter().map(|row| row["places"].as_array().unwrap().len()).sum();
        (marked(&answer), places)
    };
    // By hand there: six containers; the Mount Pod's image stands in no manifest.
    let (images, places) = found(&["juicefs-csi/k8s.yaml"]).await;
    assert_eq!(
        images,
        [
            "juicedata/juicefs-csi-driver:v0.17.0",
            "quay.io/k8scsi/csi-node-driver-registrar:v2.1.0",
            "quay.io/k8scsi/csi-provisioner:v1.6.0",
            "quay.io/k8scsi/livenessprobe:v1.1.0",
        ]
    );
    assert_eq!(places, 6);
    // Three containers, one argument.
    let (images, places) = found(&["cert-manager/cert-manager.yaml"]).await;
    assert_eq!(
        images,
        [
            "? quay.io/jetstack/cert-manager-acmesolver:v1.19.4",
            "quay.io/jetstack/cert-manager-cainjector:v1.19.4",
            "quay.io/jetstack/cert-manager-controller:v1.19.4",
            "quay.io/jetstack/cert-manager-webhook:v1.19.4",
        ]
    );
    assert_eq!(places, 4);
    // Four containers, seven arguments, six variables: all of the project's own list, and nothing else.
    let (images, places) = found(&["longhorn/longhorn.yaml"]).await;
    let certain: Vec<_> = images.iter().filter(|image| !image.starts_with("? ")).collect();
    assert_eq!(certain, ["longhornio/longhorn-manager:v1.5.0", "longhornio/longhorn-ui:v1.5.0"]);
    let mut plain: Vec<_> = images.iter().map(|image| image.trim_start_matches("? ").to_owned()).collect();
    plain.sort();
    assert_eq!((plain, places), (lines("longhorn/longhorn-images.txt"), 17));
    // A container and a custom resource. The other nine of its list are built into the operator: the manifests have
    // them in comments only, some in other versions.
    let (images, places) = found(&["rook/operator.yaml", "rook/cluster.yaml"]).await;
    assert_eq!((images, places), (vec!["quay.io/ceph/ceph:v17.2.3".into(), "rook/ceph:v1.10.0".into()], 2));
    // The lists themselves.
    for (list, count) in [("rook/images.txt", 11), ("longhorn/longhorn-images.txt", 13)] {
        let (images, places) = found(&[list]).await;
        assert_eq!((images, places), (lines(list), count), "{list}");
    }
}
