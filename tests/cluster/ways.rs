//! Ways to a registry, and registries as they are: projects in a path, IPv6, pull-through caches, certificates of ours,
//! and the manifests of older tools. A Portolan and real registries; no cluster is needed but where Secrets are read.

mod configured;
mod tags_first;

use std::{fs, process::Command, time::Duration};

use portolan::image::Digest;
use rcgen::ExtendedKeyUsagePurpose;
use serde_json::{Value, json};

use crate::{
    support::{
        DelayProxy, Missing, Outcome, Portolan, PortolanOptions, Registry, Scene, admit, authority_pem,
        eventually, folder, installed, issue_as, patched,
    },
    trials,
};
use configured::Configured;
use tags_first::TagsFirst;

trials!["ways";
    a_mirror_may_be_a_project_in_a_registry,
    a_registry_is_reached_by_ipv6,
    a_cache_whose_first_answer_takes_seconds_costs_one_admission_its_digest_and_no_more,
    a_cache_that_knows_a_digest_only_after_its_tag_is_asked_for_the_tag,
    lists_and_manifests_of_docker_are_pinned_by_their_own_digest_and_schema_1_is_refused,
    a_registry_that_wants_a_certificate_gets_the_one_in_the_secret,
];

fn a_mirror_may_be_a_project_in_a_registry() -> Outcome {
    let registry = Registry::plain()?;
    let mirror = format!("{}/harbor/project", registry.host());
    let digest = registry.push("harbor/project/library/nginx", "1.25");
    let portolan = portolan(&mirror, &registry.entry(&[]), &[])?;
    assert_eq!(admitted(&portolan, "nginx:1.25").0, format!("{mirror}/library/nginx:1.25@{digest}"));
    // What is in it already is only pinned there; beside it is another project.
    let inside = format!("{mirror}/library/nginx:1.25");
    assert_eq!(admitted(&portolan, &inside).0, format!("{inside}@{digest}"));
    let beside = format!("{mirror}s/library/nginx:1.25");
    assert_eq!(admitted(&portolan, &beside).1["reason"], "no-rule");
    Ok(())
}

fn a_registry_is_reached_by_ipv6() -> Outcome {
    let registry = Registry::plain()?;
    let digest = registry.push("hub/library/nginx", "1.25");
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return Err(Missing("there is no IPv6 here".to_owned()));
    }
    let configured = Configured::start("::1", &registry.content(), |_| {})?;
    let mirror = format!("{}/hub", configured.host());
    assert!(mirror.starts_with("[::1]:"), "{mirror}");
    let entry = format!("- {{host: '{}', plainHttp: true}}\n", configured.host());
    let portolan = portolan(&mirror, &entry, &[])?;
    assert_eq!(admitted(&portolan, "nginx:1.25").0, format!("{mirror}/library/nginx:1.25@{digest}"));
    Ok(())
}

fn a_cache_whose_first_answer_takes_seconds_costs_one_admission_its_digest_and_no_more() -> Outcome {
    let upstream = Registry::plain()?;
    let digest = upstream.push("library/nginx", "1.25");
    // The cache asks its upstream several times before it answers the first time.
    let far = DelayProxy::start(upstream.host(), Duration::from_millis(1_500));
    let folder = folder("cache");
    let cache = Configured::start("127.0.0.1", &folder, |configuration| {
        configuration["proxy"] = json!({"remoteurl": format!("http://{}", far.address())});
    })?;
    let entry = format!("- {{host: '{}', plainHttp: true}}\n", cache.host());
    let portolan = portolan(&cache.host(), &entry, &[])?;
    let unpinned = format!("{}/library/nginx:1.25", cache.host());

    let (came, line) = admitted(&portolan, "nginx:1.25");
    assert_eq!((&*came, &line["reason"]), (&*unpinned, &json!("unavailable")), "{line}");
    assert!(line["elapsedMicros"].as_u64().unwrap() < 3_000_000, "the API server waits for 3 s: {line}");

    // Its answer comes late and is kept: from then on nobody waits, and the cache is not asked again.
    let pinned = format!("{unpinned}@{digest}");
    eventually(Duration::from_secs(60), || match admitted(&portolan, "nginx:1.25") {
        (came, line) if came == pinned => {
            assert_eq!(line["resolvedFrom"], json!("memory"), "{line}");
            Ok(())
        }
        other => Err(other),
    });
    assert_eq!(cache.requests("/manifests/"), 1, "{}", cache.output());
    Ok(())
}

fn a_cache_that_knows_a_digest_only_after_its_tag_is_asked_for_the_tag() -> Outcome {
    let registry = Registry::plain()?;
    let digest = registry.push("hub/library/nginx", "1.25");
    let other = registry.push_other("hub/library/nginx", "1.26");
    let cache = TagsFirst::start(registry.host());
    let entry = format!("- {{host: '{}', plainHttp: true}}\n", cache.address());
    let mirror = format!("{}/hub", cache.address());
    let portolan = portolan(&mirror, &entry, &["--negative", "1ms"])?;
    let place = |rest: &str| format!("{mirror}/library/nginx{rest}");

    let alone = format!("@{other}");
    assert_eq!(admitted(&portolan, &format!("nginx{alone}")).1["reason"], "missing", "no tag to ask for");
    // A tag that leads elsewhere is no answer about the digest.
    let wrong = format!(":1.25@{other}");
    let (came, line) = admitted(&portolan, &format!("nginx{wrong}"));
    assert_eq!((&*came, &line["reason"]), (&*format!("nginx{wrong}"), &json!("missing")), "{line}");
    for (rest, asked) in
        [(format!(":1.26@{other}"), "/manifests/1.26"), (format!(":1.25@{digest}"), "/manifests/1.25")]
    {
        let (came, line) = admitted(&portolan, &format!("nginx{rest}"));
        assert_eq!((came, &line["reason"]), (place(&rest), &json!("carried")), "{line}");
        assert!(registry.requests(&["HEAD"], asked) > 0, "{asked}");
    }
    let (came, line) = admitted(&portolan, &format!("nginx{alone}"));
    assert_eq!((came, &line["reason"]), (place(&alone), &json!("carried")), "{line}");
    Ok(())
}

fn lists_and_manifests_of_docker_are_pinned_by_their_own_digest_and_schema_1_is_refused() -> Outcome {
    let skopeo = installed("skopeo", "skopeo")?;
    let registry = Registry::plain()?;
    registry.push("hub/library/nginx", "oci");
    let configured = Configured::start("127.0.0.1", &registry.content(), |configuration| {
        configuration["compatibility"] = json!({"schema1": {"enabled": true}});
    })?;
    let place = |tag: &str| format!("docker://{}/hub/library/nginx:{tag}", configured.host());
    for (tag, format, all) in [("list", "v2s2", true), ("single", "v2s2", false), ("old", "v2s1", false)] {
        let mut command = Command::new(&skopeo);
        command.args(["copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", format]);
        let output = command.args(all.then_some("--all")).args([place("oci"), place(tag)]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let mirror = format!("{}/hub", configured.host());
    let entry = format!("- {{host: '{}', plainHttp: true}}\n", configured.host());
    let portolan = portolan(&mirror, &entry, &[])?;
    let mut digests = Vec::new();
    for (tag, media) in [
        ("oci", "application/vnd.oci.image.index.v1+json"),
        ("list", "application/vnd.docker.distribution.manifest.list.v2+json"),
        ("single", "application/vnd.docker.distribution.manifest.v2+json"),
    ] {
        let raw = Command::new(&skopeo)
            .args(["inspect", "--raw", "--tls-verify=false", &place(tag)])
            .output()
            .unwrap()
            .stdout;
        let called: Value = serde_json::from_slice(&raw).unwrap();
        assert_eq!(called["mediaType"], media, "{tag}");
        let digest = Digest::of(&raw);
        assert_eq!(
            admitted(&portolan, &format!("nginx:{tag}")).0,
            format!("{mirror}/library/nginx:{tag}@{digest}")
        );
        digests.push(digest);
    }
    digests.dedup();
    assert_eq!(digests.len(), 3, "three manifests indeed");

    let (came, line) = admitted(&portolan, "nginx:old");
    assert_eq!(
        (came, &line["reason"]),
        (format!("{mirror}/library/nginx:old"), &json!("unavailable")),
        "{line}"
    );
    assert!(configured.requests("/manifests/old") > 0, "{}", configured.output());
    Ok(())
}

fn a_registry_that_wants_a_certificate_gets_the_one_in_the_secret() -> Outcome {
    let scene = Scene::with_rules(HUB).with_table_in_configmap().in_own_namespace().start()?;
    let digest = scene.registry.push("hub/library/nginx", "1.25");
    let for_clients = |parameters: &mut rcgen::CertificateParams| {
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    let client = issue_as(&folder("client"), 1, &["portolan"], for_clients);
    let guarded = Configured::start_guarded(&scene.registry.content())?;
    let authority = authority_pem().lines().collect::<Vec<_>>().join("\n    ");
    let entry = format!("- host: {}\n  ca: |\n    {authority}\n", guarded.host());
    let secret = json!({
        "metadata": {"name": "harbor-client"}, "type": "kubernetes.io/tls",
        "stringData": {
            "tls.crt": fs::read_to_string(&client.certificate).unwrap(),
            "tls.key": fs::read_to_string(&client.key).unwrap(),
        },
    });
    scene.api().create(&scene.own_path("secrets"), &secret).unwrap();
    let mirror = format!("{}/hub", guarded.host());
    let edit = |fields: &str| {
        let table = table(&mirror, &format!("{entry}{fields}"));
        let patch = json!({"data": {"table.yaml": table}}).to_string();
        scene.kubectl(&["patch", "configmap/portolan-table", "--type=merge", "--patch", &patch], "");
    };
    let until = |expected: &str| {
        eventually(Duration::from_secs(60), || {
            let (came, line) = admitted(&scene.portolan, "nginx:1.25");
            let reason = line["reason"].as_str().unwrap().to_owned();
            if reason == expected { Ok(came) } else { Err((came, reason)) }
        })
    };
    edit("");
    assert_eq!(until("unavailable"), format!("{mirror}/library/nginx:1.25"), "who shows none is nobody");
    edit("  clientCertificate: harbor-client\n");
    assert_eq!(until("pinned"), format!("{mirror}/library/nginx:1.25@{digest}"));
    Ok(())
}

/// A Portolan whose table has one rule: Docker Hub is there.
fn portolan(mirror: &str, entry: &str, arguments: &[&str]) -> Result<Portolan, Missing> {
    Portolan::start(&PortolanOptions {
        table: Some(table(mirror, entry)),
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        ..PortolanOptions::default()
    })
}

fn table(mirror: &str, entry: &str) -> String {
    format!(
        "apiVersion: portolan.dev/v1\nkind: MappingTable\nrules:\n  - {{source: docker.io, mirrors: ['{mirror}']}}\n\
         registries:\n{entry}"
    )
}

/// What an image comes out as, and the audit line about it.
fn admitted(portolan: &Portolan, written: &str) -> (String, Value) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let uid = format!("way-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let answer = admit(&mut None, &portolan.address, &uid, written).expect("an answer");
    let came = patched(&answer).unwrap_or_else(|| written.to_owned());
    (came, portolan.audited(|line| line["uid"] == uid.as_str()).remove(0))
}

const HUB: &str = "rules:\n  - source: docker.io\n    mirrors: [MIRROR/hub]\n";
