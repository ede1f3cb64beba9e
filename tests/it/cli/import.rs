//! `portolan import` and what `export` writes for nodes: files in, text, warnings and exit code out.

use std::fs;

use super::Folder;

const HOSTS: &str =
    "server = 'https://m.x'\n[host.'https://m.x']\ncapabilities = ['pull', 'resolve']\nca = 'ca.crt'\n";

const CA: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tables/ca.pem"));

/// A folder as containerd has it.
fn certs_d() -> Folder {
    let folder = Folder::new();
    for name in ["docker.io", "quay.io", "not-a-host"] {
        fs::create_dir_all(folder.path().join("certs.d").join(name)).unwrap();
    }
    folder.write("certs.d/docker.io/hosts.toml", HOSTS);
    folder.write("certs.d/docker.io/ca.crt", CA);
    folder.write("certs.d/quay.io/hosts.toml", "[host.'http://n.x:5000']\nskip_verify = true\n");
    folder
}

#[tokio::test]
async fn a_whole_folder_becomes_one_table_that_explain_reads() {
    let folder = certs_d();
    let ended = folder.run(&["import", "hosts.toml", "certs.d"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("ca: |\n      -----BEGIN CERTIFICATE-----"), "{}", ended.stdout);
    assert_eq!(
        ended.stderr,
        "warning: `certs.d/quay.io/hosts.toml`, line 1, `http://n.x:5000`: `skip_verify` is left out: certificates are \
         always verified; put its `ca` under the registry `n.x:5000`\n"
    );
    folder.write("table.yaml", &ended.stdout);
    for (image, expected) in [("nginx:1", "m.x/library/nginx:1"), ("quay.io/a/b:2", "n.x:5000/a/b:2")] {
        let ended = folder.run(&["explain", "--offline", "--table", "table.yaml", "-o", "json", image]).await;
        let rows: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(rows[0]["result"], expected, "{}", ended.stderr);
    }
    let again = folder.run(&["import", "auto", "certs.d"]).await;
    let (kept, recognised) = (folder.run(&["import", "hosts.toml", "certs.d"]).await, again);
    assert_eq!(kept.stdout, recognised.stdout, "told from the names alike");
    let one = folder.run(&["import", "hosts.toml", "certs.d/docker.io"]).await;
    assert!(one.stdout.contains("docker.io") && !one.stdout.contains("quay.io"), "{}", one.stdout);
}

#[tokio::test]
async fn a_text_comes_from_stdin_and_what_cannot_be_read_is_an_error() {
    let folder = Folder::new();
    let idms = "kind: ImageDigestMirrorSet\nspec: {imageDigestMirrors: [{source: a.io, mirrors: [m.x/a]}]}\n";
    let ended = folder.run_with(&["import", "auto", "-"], idms).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("  - source: a.io\n    mirrors: [m.x/a]"), "{}", ended.stdout);
    assert!(ended.stderr.starts_with("warning: `-`, line 2, `a.io`: holds for images with a digest alone"));
    folder.write("broken.conf", "\n[[registry]]\nlocation = \n");
    folder.write("other.yaml", "kind: Pod\n");
    fs::write(folder.path().join("bytes"), [0xff, 0xfe]).unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    for (kind, file, expected) in [
        ("registries.conf", "broken.conf", "error: cannot import: `broken.conf`, line 3: this is no TOML"),
        (
            "icsp",
            "other.yaml",
            "error: cannot import: `other.yaml` is no icsp: it has no ImageContentSourcePolicy",
        ),
        (
            "auto",
            "other.yaml",
            "error: cannot import: `other.yaml` is of no kind that is known here: name the kind",
        ),
        ("auto", "absent", "error: cannot read `absent`: "),
        ("auto", "bytes", "error: cannot read `bytes`: it is no text (UTF-8)"),
        ("hosts.toml", "empty", "error: cannot import the folder `empty`: it has neither"),
        ("colours", "other.yaml", "error: invalid value 'colours' for '<KIND>'"),
    ] {
        let ended = folder.run(&["import", kind, file]).await;
        assert_eq!((ended.code, &*ended.stdout), (2, ""), "{kind} {file}");
        assert!(ended.stderr.starts_with(expected), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn hosts_toml_is_exported_into_a_folder_that_is_imported_again() {
    let folder = certs_d();
    let table = folder.run(&["import", "hosts.toml", "certs.d"]).await.stdout;
    folder.write("table.yaml", &table);
    let ended = folder.run(&["export", "hosts.toml", "--table", "table.yaml", "--dir", "node"]).await;
    assert_eq!((ended.code, &*ended.stdout), (0, ""), "{}", ended.stderr);
    let hub = fs::read_to_string(folder.path().join("node/docker.io/hosts.toml")).unwrap();
    assert!(hub.contains("server = \"https://m.x\"\nca = \"m.x.crt\"\n"), "{hub}");
    assert_eq!(fs::read_to_string(folder.path().join("node/docker.io/m.x.crt")).unwrap().trim(), CA.trim());
    let again = folder.run(&["import", "hosts.toml", "node"]).await.stdout;
    assert_eq!(
        again.replace("node/", "certs.d/").lines().skip(1).collect::<Vec<_>>(),
        table.lines().skip(1).collect::<Vec<_>>()
    );
    let printed = folder.run(&["export", "hosts.toml", "--table", "table.yaml"]).await;
    assert!(printed.stdout.starts_with("# ---- docker.io/hosts.toml\n# Made by"), "{}", printed.stdout);
    assert!(printed.stdout.contains("\n# ---- docker.io/m.x.crt\n-----BEGIN"), "{}", printed.stdout);
    let ended = folder.run(&["export", "idms", "--table", "table.yaml", "--dir", "node"]).await;
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("`--dir` is for `hosts.toml` alone"), "{}", ended.stderr);
}

#[tokio::test]
async fn other_node_files_go_to_stdout_with_their_warnings() {
    let folder = Folder::new();
    folder.write(
        "table.yaml",
        "apiVersion: portolan.dev/v1\nkind: MappingTable\nrules:\n  - {source: docker.io/a, mirrors: [m.x/a]}\n  \
         - {source: quay.io, mirrors: [m.x/q], namespaces: [b], onUnavailable: keep}\n",
    );
    for (kind, expected) in [
        ("registries.conf", "[[registry.mirror]]\nlocation = \"m.x/a\""),
        ("registries.yaml", "mirrors: {}"),
        ("idms", "kind: ImageDigestMirrorSet\nmetadata: {name: portolan}"),
        ("itms", "    - source: \"docker.io/a\"\n      mirrors:\n        - \"m.x/a\""),
    ] {
        let ended = folder.run(&["export", kind, "--table", "table.yaml"]).await;
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(ended.stdout.contains(expected), "{}", ended.stdout);
        assert!(
            ended.stderr.contains("the rule of line 5: left out: a node knows no namespaces"),
            "{}",
            ended.stderr
        );
        let about_path = "the rule of line 4: `onUnavailable` is as `onMissing`";
        assert!(ended.stderr.contains(about_path), "{}", ended.stderr);
    }
}
