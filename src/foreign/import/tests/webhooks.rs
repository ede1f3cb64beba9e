//! The configurations of harbor-container-webhook and k8s-image-swapper.

use super::*;

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
