//! Each format in its own words.

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

fn idms(sets: &str) -> String {
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

#[test]
fn registries_conf_sample_asks_mirrors_then_the_location() {
    let text = sample("registries.conf/man-page-example.conf");
    let (table, warnings) = imported(Kind::RegistriesConf, "registries.conf", &text);
    assert_eq!(
        placed(&table, "example.com/foo/image:latest"),
        [
            "example-mirror-0.local/mirror-for-foo/image:latest",
            "example-mirror-1.local/mirrors/foo/image:latest",
            "internal-registry-for-example.com/bar/image:latest",
        ]
    );
    assert_eq!(placed(&table, "registry.com/a:1"), ["mirror.registry.com/a:1"]);
    assert_eq!(placed(&table, "example.com/foobar:1"), [""; 0]);
    let rules: Vec<_> = table.split("- source:").collect();
    assert!(rules[1].contains("onMissing: rewrite") && rules[2].contains("onMissing: keep"), "{table}");
    assert!(table.ends_with("registries:\n  - host: example-mirror-1.local\n    plainHttp: true"), "{table}");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("`registries.conf`, line 1, `unqualified-search-registries`: left out"));
    assert!(warnings[1].contains("`insecure` of `example-mirror-1.local` is taken for HTTP"));
}

#[test]
fn registries_conf_knows_wildcards_exceptions_blocks_and_the_longest_prefix() {
    let text = r#"
        [[registry]]
        prefix = "*.gcr.io"
        [[registry.mirror]]
        location = "m.x/gcr/"
        [[registry]]
        location = "docker.io"
        blocked = true
        [[registry.mirror]]
        location = "m.x/hub"
        [[registry]]
        location = "docker.io/team/debug"
        [[registry]]
        location = "eu.gcr.io"
        [[registry]]
        location = "elsewhere.io"
        [[registry]]
        location = "refused.io"
        blocked = true
        [[registry]]
        location = "m.x"
        insecure = true
    "#;
    let (table, warnings) = imported(Kind::RegistriesConf, "x.conf", text);
    assert_eq!(placed(&table, "asia.gcr.io/a/b:1"), ["m.x/gcr/a/b:1"]);
    assert_eq!(placed(&table, "eu.gcr.io/a/b:1"), [""; 0], "its own entry says that it stays");
    assert_eq!(placed(&table, "nginx"), ["m.x/hub/library/nginx:latest"]);
    assert_eq!(placed(&table, "team/debug/tool:1"), [""; 0]);
    assert_eq!(placed(&table, "team/debugger:1"), ["m.x/hub/team/debugger:1"], "on a segment boundary");
    assert!(!table.contains("elsewhere.io"), "an exception from nothing is none: {table}");
    assert!(table.contains("plainHttp: true"), "{table}");
    let docker = table.split("- source: docker.io\n").nth(1).unwrap();
    assert!(docker.contains("onMissing: rewrite\n"), "a blocked source is never gone to: {table}");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[1].contains("registries that `*.gcr.io` holds have one place"), "{warnings:?}");
    assert!(warnings[0].contains("`refused.io`: `blocked` without mirrors refuses images"));
}

#[test]
fn registries_conf_of_a_later_file_replaces_an_entry_and_what_cannot_be_said_is_told() {
    let entry = |mirror: &str| {
        format!(
            "[[registry]]\nprefix = \"s.io\"\nlocation = \"s.io\"\n[[registry.mirror]]\nlocation = \"{mirror}\"\n"
        )
    };
    let (first, second) = (entry("a.x"), entry("b.x"));
    let files =
        [File { name: "registries.conf", text: &first }, File { name: "conf.d/1.conf", text: &second }];
    let (table, warnings) = all_imported(None, &files);
    assert_eq!(placed(&table, "s.io/a:1"), ["b.x/a:1"]);
    assert_eq!(warnings, ["`registries.conf`, line 1, `s.io`: `conf.d/1.conf`, line 1, `s.io` replaces it"]);
    for (text, expected) in [
        (
            "mirror-by-digest-only = true\n[[registry.mirror]]\nlocation = 'm.x'",
            "holds for images with a digest alone",
        ),
        (
            "[[registry.mirror]]\nlocation = 'm.x'\npull-from-mirror = 'digest-only'",
            "holds for images with a digest alone",
        ),
        (
            "[[registry.mirror]]\nlocation = 'm.x'\npull-from-mirror = 'tag-only'",
            "holds for images with a tag alone",
        ),
        (
            "[[registry.mirror]]\nlocation = 's.io'\n[[registry.mirror]]\nlocation = 'm.x'",
            "mirrors behind the source",
        ),
        (
            "colour = 'red'\n[[registry.mirror]]\nlocation = 'm.x'",
            "`colour`: left out: the key is not known here",
        ),
        ("[[registry.mirror]]\nlocation = 'M.X/UP'", "`s.io`: left out: mirror `M.X/UP`"),
    ] {
        let (_, warnings) =
            imported(Kind::RegistriesConf, "x", &format!("[[registry]]\nlocation = 's.io'\n{text}\n"));
        assert!(warnings.iter().any(|warning| warning.contains(expected)), "{text}: {warnings:?}");
    }
}

#[test]
fn files_that_are_not_what_they_claim_or_broken_are_refused_with_their_place() {
    for (kind, name, text, expected) in [
        (
            Kind::RegistriesConf,
            "x",
            "[registries.search]\nregistries = ['a.io']\n",
            "`x`, line 1: this is version 1",
        ),
        (Kind::RegistriesConf, "x", "\n[[registry]]\nprefix = ", "`x`, line 3: this is no TOML: "),
        (
            Kind::RegistriesConf,
            "x",
            "server = 'https://a.io'",
            "`x` is no registries.conf: its keys are `server`",
        ),
        (Kind::RegistriesConf, "x", "registry = 1", "`x`, line 1: `registry` is an array of tables"),
        (Kind::RegistriesConf, "x", "[[registry]]\n", "`x`, line 1: it has neither `prefix` nor `location`"),
        (
            Kind::RegistriesConf,
            "x",
            "[[registry]]\nprefix = 'a.io'\n",
            "`x`, line 1: it has no `location`, and",
        ),
        (
            Kind::RegistriesConf,
            "x",
            "[[registry]]\nlocation = 'https://a.io'\n",
            "`x`, line 2: `location` has a scheme",
        ),
        (
            Kind::RegistriesConf,
            "x",
            "[[registry]]\nlocation = 'a.io'\n[[registry.mirror]]\n",
            "`x`, line 3: a mirror has no",
        ),
        (
            Kind::RegistriesConf,
            "x",
            "[[registry]]\nlocation = 'a.io'\n[[registry.mirror]]\nlocation = 'b.io'\npull-from-mirror = 'x'\n",
            "`x`, line 3: `pull-from-mirror` is `all`",
        ),
        (
            Kind::HostsToml,
            "hosts.toml",
            "",
            "`hosts.toml` is no hosts.toml: its path is not `HOST/hosts.toml`",
        ),
        (Kind::HostsToml, "a.io/hosts.toml", "mirrors: {}", "`a.io/hosts.toml`, line 1: this is no TOML"),
        (
            Kind::HostsToml,
            "a.io/hosts.toml",
            "registry = []",
            "`a.io/hosts.toml` is no hosts.toml: it has a key `registry`",
        ),
        (Kind::HostsToml, "a.io/hosts.toml", "server = 1", "`a.io/hosts.toml`, line 1: `server` is a text"),
        (Kind::HostsToml, "a.io/hosts.toml", "\nhost.x = 1", "`a.io/hosts.toml`, line 2: `x` is a table"),
        (Kind::RegistriesYaml, "x", "mirrors: [", "`x`, line 1: this is no YAML"),
        (Kind::RegistriesYaml, "x", "rules: []", "`x` is no registries.yaml: it has neither"),
        (
            Kind::RegistriesYaml,
            "x",
            "mirrors:\n  a.io:\n    endpoint: b.io",
            "`x`, line 3: `endpoint` is a list",
        ),
        (
            Kind::RegistriesYaml,
            "x",
            "mirrors: {}\n---\nmirrors: {}",
            "`x`, line 3: a second document begins here",
        ),
        (Kind::Kubespray, "x", "a: b", "`x` is no kubespray: it has no variable of a registry"),
        (Kind::ImageSwap, "x", "", "`x` is no imageswap: it has no maps"),
        (Kind::ImageSwap, "x", "default::a.io\nwhat\n", "`x` is no imageswap: line 2 is no map: `what`"),
        (
            Kind::HarborContainerWebhook,
            "x",
            "port: 1",
            "`x` is no harbor-container-webhook: it has no `rules`",
        ),
        (Kind::HarborContainerWebhook, "x", "rules:\n- matches: []", "`x`, line 2: a rule has no `replace`"),
        (Kind::K8sImageSwapper, "x", "source: {}", "`x` is no k8s-image-swapper: it has no `target`"),
        (Kind::K8sImageSwapper, "x", "target: {type: aws}", "`x`, line 1: `target` has no `aws.region`"),
        (Kind::Idms, "x", "nginx:1.25\n", "`x` is no idms: it has no keys and values"),
        (
            Kind::Idms,
            "x",
            "kind: ImageDigestMirrorSet\nspec: {imageDigestMirrors: {}}",
            "`x`, line 2: `imageDigestMirrors` is a list",
        ),
    ] {
        let error = refused(kind, name, text);
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn hosts_toml_samples_keep_the_order_and_leave_out_who_resolves_nothing() {
    let text = sample("hosts.toml/docs-02/docker.io/hosts.toml");
    let (table, warnings) = imported(Kind::HostsToml, "docker.io/hosts.toml", &text);
    assert_eq!(placed(&table, "nginx:1"), ["docker-mirror.internal/library/nginx:1"]);
    assert!(table.contains("onMissing: keep"), "{table}");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0]
            .contains("line 3, `https://public-mirror.example.com`: left out: containerd takes no tags")
    );
    assert!(warnings[1].contains("no certificate can be read in `docker-mirror.crt`"));
    let (table, warnings) =
        imported(Kind::HostsToml, "docker.io/hosts.toml", &sample("hosts.toml/docs-01/docker.io/hosts.toml"));
    assert_eq!(table, "rules: []");
    assert_eq!(warnings, ["no rule comes of it: nothing would be moved"]);
}

/// The two forms of scenario 2: HTTP without more, and HTTPS with a certificate beside the file.
#[test]
fn hosts_toml_says_how_mirrors_are_reached() {
    let plain = "server = \"http://10.100.100.100:5000\"\n[host.\"http://10.100.100.100:5000\"]\ncapabilities = [\"pull\", \"resolve\"]\n";
    let (table, warnings) = imported(Kind::HostsToml, "docker.io/hosts.toml", plain);
    assert_eq!(placed(&table, "nginx:1"), ["10.100.100.100:5000/library/nginx:1"]);
    assert!(table.contains("onMissing: rewrite\n  onUnavailable: rewrite"), "{table}");
    assert!(table.contains("  - host: \"10.100.100.100:5000\"\n    plainHttp: true"), "{table}");
    assert_eq!(warnings, [""; 0]);
    let pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tables/ca.pem"));
    let text = "server = 'https://m.x'\n[host.'https://m.x']\nca = 'ca.crt'\nclient = 'c.pem'\nskip_verify = true\n[host.'https://m.x'.header]\na = 'b'\n";
    let file = File { name: "docker.io/hosts.toml", text };
    let mut asked = Vec::new();
    let imported = import(Some(Kind::HostsToml), &[file], &mut |file, path| {
        asked.push(format!("{file} {path}"));
        Some(format!("-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n{pem}"))
    });
    let imported = imported.unwrap();
    let table = Table::parse(&imported.text).unwrap().table;
    assert_eq!(table.registries()[0].ca.as_deref().unwrap().trim(), pem.trim());
    assert!(!imported.text.contains("secret"), "only certificates are taken");
    assert_eq!(asked, ["docker.io/hosts.toml ca.crt"]);
    for (warning, expected) in
        imported.warnings.iter().zip(["client certificate", "`skip_verify`", "`header`"])
    {
        assert!(warning.contains(expected), "{warning}");
    }
    assert_eq!(imported.warnings.len(), 3);
}

#[test]
fn hosts_toml_paths_defaults_and_servers_are_understood() {
    let files = [
        ("quay.io", "[host.'https://z.x/v2/quay']\noverride_path = true\n[host.'https://a.x']\n"),
        ("ghcr.io_5000_", "server = 'https://m.x/v2'\n"),
        ("_default", "[host.'https://all.x']\n"),
        ("left.io", "server = 'https://left.io'\n"),
        ("below.io", "[host.'https://m.x/below']\n"),
        ("all.x", "server = 'http://all.x'\n"),
    ];
    let names: Vec<_> = files.iter().map(|(folder, _)| format!("certs.d/{folder}/hosts.toml")).collect();
    let files: Vec<_> = files.iter().zip(&names).map(|((_, text), name)| File { name, text }).collect();
    let (table, warnings) = all_imported(None, &files);
    assert_eq!(placed(&table, "quay.io/a/b:1"), ["z.x/quay/a/b:1", "a.x/a/b:1"], "in the order of the file");
    assert_eq!(placed(&table, "ghcr.io:5000/a:1"), ["m.x/a:1"]);
    assert_eq!(placed(&table, "other.io/a:1"), ["all.x/a:1"]);
    assert_eq!(placed(&table, "left.io/a:1"), [""; 0], "it has a folder of its own");
    assert_eq!(placed(&table, "all.x/a:1"), [""; 0]);
    assert!(table.contains("- host: all.x\n    plainHttp: true"), "{table}");
    assert!(
        warnings.iter().any(|text| text.contains("`https://m.x/below`: left out: the registry's API")),
        "{warnings:?}"
    );
    assert!(warnings.iter().any(|text| text.contains("`*`: a mirror of `_default` is told")), "{warnings:?}");
    assert!(warnings.iter().any(|text| text.contains("`all.x/{registry}` keeps them apart")), "{warnings:?}");
}

#[test]
fn registries_yaml_samples_and_rewrites() {
    let (table, warnings) = imported(Kind::RegistriesYaml, "x", &sample("registries.yaml/01-mirror.yaml"));
    assert_eq!(placed(&table, "nginx:1"), ["registry.example.com:5000/library/nginx:1"]);
    assert_eq!(warnings, [""; 0]);
    let (table, _) = imported(Kind::RegistriesYaml, "x", &sample("registries.yaml/02-rewrite.yaml"));
    assert_eq!(
        placed(&table, "rancher/mirrored-pause:3.6"),
        ["registry.example.com:5000/mirrorproject/rancher-images/mirrored-pause:3.6"]
    );
    assert_eq!(placed(&table, "rancherlabs/a:1"), ["registry.example.com:5000/rancherlabs/a:1"]);
    for (rewrite, image, expected) in [
        ("\"(.*)\": hub/$1", "nginx:1", "m.x/hub/library/nginx:1"),
        ("^(.*)$: ${1}", "nginx:1", "m.x/library/nginx:1"),
        ("^library/: official/", "nginx:1", "m.x/official/nginx:1"),
        ("'^library/nginx(/.*)?$': hard/nginx$1", "nginx:1", "m.x/hard/nginx:1"),
        ("'^library(/.*)?$': hard$1", "nginx:1", "m.x/hard/nginx:1"),
    ] {
        let text = format!("mirrors:\n  docker.io:\n    endpoint: [m.x]\n    rewrite:\n      {rewrite}\n");
        let (table, warnings) = imported(Kind::RegistriesYaml, "x", &text);
        assert_eq!(placed(&table, image), [expected], "{rewrite}");
        assert_eq!(warnings, [""; 0], "{rewrite}");
    }
    for rewrite in
        ["'^lib(.*)': x/$1", "'library/': x/", "'^library/(.*)$': '$1/x'", "'^(a|b)/(.*)': 'x/$1'", "'[': x"]
    {
        let text = format!("mirrors:\n  docker.io:\n    endpoint: [m.x]\n    rewrite:\n      {rewrite}\n");
        let (table, warnings) = imported(Kind::RegistriesYaml, "x", &text);
        assert_eq!(placed(&table, "nginx:1"), ["m.x/library/nginx:1"], "{rewrite}");
        assert!(
            warnings[0].contains("left out: a table knows no regular expressions"),
            "{rewrite}: {warnings:?}"
        );
    }
}

#[test]
fn registries_yaml_logins_are_never_put_into_a_table() {
    let text = "mirrors:\n  '*':\n    endpoint: ['http://m.x:5000']\n  quay.io:\n    endpoint: [https://m.x:5000/v2/quay]\n\
                configs:\n  m.x:5000:\n    auth: {username: u, password: s3cret}\n    tls: {ca_file: /ca, insecure_skip_verify: true, cert_file: c}\n";
    let (table, warnings) = imported(Kind::RegistriesYaml, "x", text);
    assert_eq!(placed(&table, "a.io/b:1"), ["m.x:5000/b:1"]);
    assert_eq!(placed(&table, "quay.io/b:1"), ["m.x:5000/quay/b:1"]);
    assert!(table.contains("plainHttp: true"));
    assert!(!table.contains("s3cret") && !warnings.concat().contains("s3cret"));
    for expected in [
        "name it under `credentials`",
        "no certificate can be read in `/ca`",
        "insecure_skip_verify",
        "client certificate",
    ] {
        assert!(warnings.iter().any(|text| text.contains(expected)), "{expected}: {warnings:?}");
    }
}

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

#[test]
fn harbor_container_webhook_takes_the_first_rule_that_matches_and_does_not_exclude() {
    let text = sample("harbor-container-webhook/config.yaml");
    let (table, warnings) = imported(Kind::HarborContainerWebhook, "config.yaml", &text);
    assert_eq!(placed(&table, "nginx:1"), ["harbor.example.com/dockerhub-proxy/library/nginx:1"]);
    assert_eq!(
        placed(&table, "ubuntu:22.04"),
        ["harbor-v2.awscmhqa2.k8s.indeed.tech/dockerhub-proxy-auth/library/ubuntu:22.04"]
    );
    assert_eq!(placed(&table, "quay.io/a:1"), [""; 0]);
    assert!(warnings.len() == 1 && warnings[0].contains("`authSecretName`"), "{warnings:?}");
    let rule = |matches: &str, more: &str| format!("- {{matches: ['{matches}'], {more}}}\n");
    for (rules, image, expected) in [
        // What an earlier rule takes is not left to a longer source of a later one.
        (
            [rule("^docker.io/", "replace: a.x"), rule("^docker.io/library/", "replace: b.x")],
            "nginx:1",
            &["a.x/library/nginx:1"][..],
        ),
        (
            [rule("^docker.io/library/", "replace: b.x"), rule("^docker.io/", "replace: a.x")],
            "nginx:1",
            &["b.x/library/nginx:1"],
        ),
        (
            [
                rule("^docker.io/", "replace: a.x, excludes: ['^docker.io/library/']"),
                rule("^docker.io/", "replace: b.x"),
            ],
            "nginx:1",
            &["b.x/library/nginx:1"],
        ),
        (
            [
                rule("^docker.io/", "replace: a.x, excludes: ['^docker.io/library/']"),
                rule("^quay.io/", "replace: b.x"),
            ],
            "nginx:1",
            &[],
        ),
        // One that is looked for first leaves the rest to the next.
        (
            [rule("^docker.io/", "replace: a.x, checkUpstream: true"), rule("^docker.io/", "replace: b.x")],
            "nginx:1",
            &["a.x/library/nginx:1", "b.x/library/nginx:1"],
        ),
        ([rule(".*", "replace: a.x"), rule("^quay.io/", "replace: b.x")], "quay.io/a:1", &["a.x/a:1"]),
    ] {
        let (table, _) = imported(Kind::HarborContainerWebhook, "x", &format!("rules:\n{}", rules.concat()));
        assert_eq!(placed(&table, image), expected, "{rules:?}");
    }
    let text = "rules:\n- {matches: ['^(a|b)[0-9]', '^docker.io/lib'], replace: a.x}\n";
    let (_, warnings) = imported(Kind::HarborContainerWebhook, "x", text);
    assert!(
        warnings[0].contains("line 2, `^(a|b)[0-9]`: left out: a table knows no regular expressions"),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("becomes `docker.io/lib`, which ends with a whole segment"), "{warnings:?}");
}

#[test]
fn k8s_image_swapper_puts_everything_below_its_registry_but_what_filters_leave() {
    let text = sample("k8s-image-swapper/k8s-image-swapper.yml");
    let (table, warnings) = imported(Kind::K8sImageSwapper, "x", &text);
    assert_eq!(
        placed(&table, "nginx:1"),
        ["123456789.dkr.ecr.ap-southeast-2.amazonaws.com/docker.io/library/nginx:1"]
    );
    let parsed =
        Table::parse(&format!("apiVersion: portolan.dev/v1\nkind: MappingTable\n{table}\n")).unwrap().table;
    let nginx = Reference::parse("nginx:1").unwrap();
    assert!(matches!(parsed.lookup(&nginx, Some("kube-system")), Lookup::Exception(_)), "{table}");
    assert!(table.contains("onMissing: keep"), "`exists`: {table}");
    assert!(warnings.iter().any(|text| text.contains("nothing is copied")), "{warnings:?}");
    assert!(warnings.iter().any(|text| text.contains("no dry run")), "{warnings:?}");
    for (target, expected) in [
        (
            "{type: gcp, gcp: {location: europe-west1, projectId: p, repositoryId: r}}",
            "europe-west1-docker.pkg.dev/p/r",
        ),
        ("{type: generic, generic: {repository: m.x/all/}}", "m.x/all"),
        ("{aws: {accountId: '1', region: cn-north-1}}", "1.dkr.ecr.cn-north-1.amazonaws.com.cn"),
    ] {
        let text = format!(
            "imageSwapPolicy: always\nimageCopyPolicy: none\ntarget: {target}\nsource: {{filters: [{{jmespath: \"obj.metadata.namespace != 'default'\"}}, {{jmespath: x}}]}}"
        );
        let (table, warnings) = imported(Kind::K8sImageSwapper, "x", &text);
        assert_eq!(placed(&table, "quay.io/a:1"), [format!("{expected}/quay.io/a:1")]);
        assert!(
            table.contains("onMissing: rewrite") && table.contains("namespaces: [\"default\"]"),
            "{table}"
        );
        assert!(
            warnings.len() == 1 && warnings[0].contains("`x`: left out: a table knows namespaces"),
            "{warnings:?}"
        );
    }
}

#[test]
fn what_is_of_two_kinds_or_of_none_is_said() {
    let error = |name: &str, text: &str| recognise(&File { name, text }).unwrap_err().to_string();
    assert_eq!(error("x", "kind: Pod\n"), "`x` is of no kind that is known here: name the kind");
    assert_eq!(
        error("x", "server = 'https://a.io'\n[[registry]]\nlocation = 'a.io'\n"),
        "`x` may be registries.conf, hosts.toml: name the kind"
    );
    assert_eq!(
        error("x", "registry_host: a\nmirrors: {}\n"),
        "`x` may be kubespray, registries.yaml: name the kind"
    );
    assert!(error("x", "a: [").starts_with("`x`, line 1: this is no YAML"));
    assert!(error("x.toml", "a =").starts_with("`x.toml`, line 1: this is no TOML"));
    let files = [File { name: "a", text: "mirrors: {}" }, File { name: "b", text: "default::a.io" }];
    let mixed = import(None, &files, &mut |_, _| None).unwrap_err();
    assert_eq!(
        mixed.to_string(),
        "the files are of different kinds (imageswap, registries.yaml): import them one kind at a time"
    );
}

#[test]
fn rules_that_do_not_go_together_are_left_out_and_told() {
    let text = idms(
        "{source: a.io, mirrors: [b.io/a]}, {source: b.io/a/x, mirrors: [c.io]}, {source: index.docker.io/x, mirrors: [d.io]}, {source: docker.io/x, mirrors: [e.io]}",
    );
    let (table, warnings) = imported(Kind::Idms, "x", &text);
    assert_eq!(placed(&table, "b.io/a/x/y:1"), [""; 0]);
    assert_eq!(placed(&table, "x/y:1"), ["e.io/y:1"], "by the alphabet `docker.io` is first");
    assert!(
        warnings.iter().any(|text| text.contains("`b.io/a/x` is inside the mirror `b.io/a`")),
        "{warnings:?}"
    );
    assert!(warnings.iter().any(|text| text.contains("has `docker.io/x` already")), "{warnings:?}");
}

#[test]
fn what_is_exported_to_k3s_has_rewrites_where_they_can_be_said() {
    let table = |rules: &str| {
        let defaults = "defaults: {onMissing: keep, onUnavailable: keep}";
        let text = format!("apiVersion: portolan.dev/v1\nkind: MappingTable\n{defaults}\nrules:\n{rules}");
        Table::parse(&text).unwrap().table
    };
    let sayable = table(
        "  - {source: docker.io, mirrors: [m.x]}\n  - {source: docker.io/library/nginx, mirrors: [m.x/hard/nginx]}\n  - {source: docker.io/a.b, mirrors: [m.x]}\n",
    );
    let Exported { text, warnings } = registries_yaml(&sayable);
    assert!(text.contains("    rewrite:\n      \"^library/nginx(/.*)?$\": \"hard/nginx$1\"\n      \"^a\\\\.b/(.*)\": \"$1\"\n"), "{text}");
    assert!(warnings.iter().all(|text| !text.starts_with("the rule")), "{warnings:?}");
    let (again, _) = imported(Kind::RegistriesYaml, "x", &text);
    assert_eq!(placed(&again, "nginx:1"), ["m.x/hard/nginx:1"]);
    assert_eq!(placed(&again, "docker.io/a.b/c:1"), ["m.x/c:1"]);
    assert_eq!(placed(&again, "redis:1"), ["m.x/library/redis:1"]);
    // With a path for the rest, without a rule for the rest, or nested, a rewrite would say something else.
    for rules in [
        "  - {source: docker.io, mirrors: [m.x/hub]}\n  - {source: docker.io/a, mirrors: [m.x/a]}\n",
        "  - {source: docker.io/b, mirrors: [m.x/b]}\n  - {source: docker.io/a, mirrors: [m.x/a]}\n",
        "  - {source: docker.io, mirrors: [m.x]}\n  - {source: docker.io/a, mirrors: [n.x/a]}\n",
    ] {
        let Exported { text, warnings } = registries_yaml(&table(rules));
        assert!(!text.contains("rewrite"), "{text}");
        assert!(warnings[0].contains("a path can be said by `rewrite` alone"), "{warnings:?}");
    }
}
