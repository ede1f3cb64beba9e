//! What holds for every format: files that are not what they claim, rules that do not go together.

use super::{mirror_sets::idms, *};

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
