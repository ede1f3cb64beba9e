//! registries.yaml of k3s and RKE2.

use super::*;

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
