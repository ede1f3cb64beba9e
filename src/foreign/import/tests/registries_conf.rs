//! registries.conf of podman and CRI-O.

use super::*;

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
