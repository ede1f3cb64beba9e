//! containerd's hosts.toml.

use super::*;

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
