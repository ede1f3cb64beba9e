//! Registries of different makes, each behind each login that it has: the same is true of all of them.
//!
//! Through the API server for what becomes of Pods, and by the command line for locks and saved images. What a
//! registry holds is asked for by skopeo.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use rcgen::ExtendedKeyUsagePurpose;
use serde_json::{Value, json};

use crate::{
    support::{
        Access, DistributionTokens, Format, Image, Make, Missing, Outcome, Portolan, PortolanOptions,
        Registry, Scene, admit, binary, built, eventually, folder, installed, issue_as, patched,
    },
    trials,
};

trials!["registries";
    distribution_2_for_anyone,
    distribution_2_by_password_over_tls,
    distribution_2_by_token_over_tls,
    distribution_3_for_anyone,
    distribution_3_by_password_over_tls,
    distribution_3_by_token_over_tls,
    distribution_2_by_a_certificate_of_ours,
    distribution_3_by_a_certificate_of_ours,
    distribution_3_at_an_ipv6_address,
    crane_for_anyone,
    a_pull_through_cache_of_distribution_2,
    a_pull_through_cache_of_distribution_3,
];

fn distribution_2_for_anyone() -> Outcome {
    Visit::start(Make::Distribution2, Access::Plain)?.see_all(OUT_OF_REACH_IS_MISSING);
    Ok(())
}

fn distribution_2_by_password_over_tls() -> Outcome {
    let visit = Visit::start(Make::Distribution2, Access::Login)?;
    visit.see_all(OUT_OF_REACH_IS_MISSING);
    visit.see_refusals();
    Ok(())
}

fn distribution_2_by_token_over_tls() -> Outcome {
    by_token(Make::Distribution2)
}

fn distribution_3_for_anyone() -> Outcome {
    Visit::start(distribution_3()?, Access::Plain)?.see_all(OUT_OF_REACH_IS_MISSING);
    Ok(())
}

fn distribution_3_by_password_over_tls() -> Outcome {
    let visit = Visit::start(distribution_3()?, Access::Login)?;
    visit.see_all(OUT_OF_REACH_IS_MISSING);
    visit.see_refusals();
    Ok(())
}

fn distribution_3_by_token_over_tls() -> Outcome {
    by_token(distribution_3()?)
}

fn distribution_2_by_a_certificate_of_ours() -> Outcome {
    by_certificate(Make::Distribution2)
}

fn distribution_3_by_a_certificate_of_ours() -> Outcome {
    by_certificate(distribution_3()?)
}

/// Without the Secret nobody is let in; with it, and without a restart, we are.
fn by_certificate(make: Make) -> Outcome {
    let client = issue_as(&folder("client"), 7, &["portolan"], |parameters| {
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let scene = Scene::with_rules(RULES)
        .make(make)
        .access(Access::Certificate { client: client.clone() })
        .registry_fields(&["clientCertificate: harbor-client"])
        .with_table_in_configmap()
        .start()?;
    let image = Image::of("behind a certificate");
    scene.registry.push_image(REPOSITORY, "1.25", &image);
    let (came, line) = scene.dry_run("without", "nginx:1.25");
    assert_eq!(line["reason"], "unavailable", "{line}");
    assert_eq!(came, scene.mirror(&format!("{REPOSITORY}:1.25")));

    let [certificate, key] = [client.certificate, client.key].map(|path| fs::read_to_string(path).unwrap());
    let secret = json!({
        "metadata": {"name": "harbor-client"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate, "tls.key": key},
    });
    scene.api().create(&scene.path("secrets"), &secret).unwrap();
    let expected = scene.mirror(&format!("{REPOSITORY}:1.25@{}", image.index.digest));
    eventually(FRESH_LIMIT, || {
        let (came, line) = scene.dry_run("with", "nginx:1.25");
        if came == expected { Ok(()) } else { Err(line) }
    });
    Ok(())
}

fn distribution_3_at_an_ipv6_address() -> Outcome {
    if TcpListener::bind(("::1", 0)).is_err() {
        // Containers, in which CI runs, often have none, and nothing can be installed to have it.
        eprintln!("skipped: this machine has no IPv6");
        return Ok(());
    }
    let registry = Registry::start_make(distribution_3()?, "::1", Access::Login)?;
    let digest = registry.push(REPOSITORY, "1.25");
    let logins = folder("ipv6").join("login.json");
    fs::write(&logins, registry.docker_config()).unwrap();
    let portolan = Portolan::start(&PortolanOptions {
        table: Some(Scene::table(&registry, RULES, &[])),
        variables: vec![("REGISTRY_AUTH_FILE", logins.into())],
        ..PortolanOptions::default()
    })?;
    let answer = admit(&mut None, &portolan.address, "one", "nginx:1.25").expect("an answer");
    let expected = format!("{}/{REPOSITORY}:1.25@{digest}", registry.host());
    assert!(expected.starts_with("[::1]:"), "{expected}");
    assert_eq!(patched(&answer), Some(expected), "{}", portolan.process.output());
    Ok(())
}

fn crane_for_anyone() -> Outcome {
    Visit::start(Make::Crane(built("crane")?), Access::Plain)?.see_all(OUT_OF_REACH_IS_MISSING);
    Ok(())
}

fn a_pull_through_cache_of_distribution_2() -> Outcome {
    through_a_cache(Make::Distribution3(built("distribution")?), None)
}

fn a_pull_through_cache_of_distribution_3() -> Outcome {
    through_a_cache(Make::Distribution2, Some(built("distribution")?))
}

/// What was never asked for through the cache, and so is not in it, is found by tag and by digest; and a tag that
/// moves behind it has moved.
fn through_a_cache(make: Make, cache: Option<PathBuf>) -> Outcome {
    let origin = Registry::start_make(make, "127.0.0.1", Access::Plain)?;
    let scene = Scene::with_rules("rules:\n  - source: docker.io\n    mirrors: ['MIRROR']\n")
        .make(Make::Cache(origin.host(), cache))
        .arguments(&["--fresh", "1s"])
        .patient()
        .start()?;
    let by_tag = origin.push("library/nginx", "1.25");
    let (came, line) = scene.dry_run("tag", "nginx:1.25");
    assert_eq!(came, scene.mirror(&format!("library/nginx:1.25@{by_tag}")), "{line}");

    let by_digest = origin.push("library/redis", "7");
    for (name, written) in [("digest", "redis@"), ("both", "redis:7@")] {
        let (came, line) = scene.dry_run(name, &format!("{written}{by_digest}"));
        assert_eq!(came, scene.mirror(&format!("library/{written}{by_digest}")), "{line}");
        assert_eq!(line["reason"], "carried", "{line}");
    }
    for (name, written) in [("no-tag", "nginx:absent"), ("no-repository", "postgres:16")] {
        assert_eq!(scene.dry_run(name, written).1["reason"], "missing");
    }

    let moved = origin.push_other("library/nginx", "1.25");
    let expected = scene.mirror(&format!("library/nginx:1.25@{moved}"));
    eventually(FRESH_LIMIT, || {
        let (came, line) = scene.dry_run("moved", "nginx:1.25");
        if came == expected { Ok(()) } else { Err(line) }
    });
    Ok(())
}

/// Tokens of the distribution project's own server, got with a name and a password and with an identity token.
fn by_token(make: Make) -> Outcome {
    let tokens = DistributionTokens::start()?;
    let visit = Visit::start(make, tokens.access())?;
    let before = tokens.given().0;
    visit.see_all(OUT_OF_REACH_IS_UNAUTHORIZED);
    assert!(tokens.given().0 > before, "the registry was read without a token");
    visit.see_refusals();

    let identity = json!({"auths": {visit.scene.host(): {"identitytoken": tokens.identity_token()}}});
    fs::write(visit.folder.join("identity.json"), identity.to_string()).unwrap();
    let explained = visit.explain("nginx:oci-index", "identity.json");
    let expected = visit.scene.mirror(&format!("{REPOSITORY}:oci-index@{}", visit.digest("oci-index")));
    assert_eq!(explained["result"], expected, "{explained}");
    assert_eq!(tokens.given().1, 1, "one identity token was exchanged");
    Ok(())
}

fn distribution_3() -> Result<Make, Missing> {
    Ok(Make::Distribution3(built("distribution")?))
}

/// A registry with an image of each kind, and a cluster whose images come from it.
struct Visit {
    scene: Scene,
    images: Vec<(&'static str, Image)>,
    /// Where commands run: the table, logins, and what they write.
    folder: PathBuf,
    skopeo: PathBuf,
}

impl Visit {
    fn start(make: Make, access: Access) -> Result<Self, Missing> {
        let skopeo = installed("skopeo", "skopeo")?;
        let fields: &[&str] = if access == Access::Plain { &[] } else { &["credentials: harbor-pull"] };
        let scene = Scene::with_rules(RULES)
            .make(make)
            .access(access)
            .registry_fields(fields)
            .arguments(&["--fresh", "1s"])
            .with_table_in_configmap()
            .patient()
            .start()?;
        let folder = folder("registries");
        fs::write(folder.join("table.yaml"), Scene::table(&scene.registry, RULES, &[])).unwrap();
        fs::write(folder.join("login.json"), scene.registry.docker_config()).unwrap();
        fs::write(folder.join("none.json"), "{}").unwrap();
        fs::write(folder.join("wrong.json"), scene.registry.docker_config_with("wrong")).unwrap();
        fs::write(folder.join("ca.crt"), scene.registry.authority().unwrap_or_default()).unwrap();
        let images = vec![
            ("oci-image", Image::of("one platform").without_index()),
            ("oci-index", Image::of("two platforms")),
            ("docker-image", Image::of_format("one platform", Format::Docker).without_index()),
            ("docker-list", Image::of_format("two platforms", Format::Docker)),
        ];
        for (tag, image) in &images {
            scene.registry.push_image(REPOSITORY, tag, image);
        }
        Ok(Self { scene, images, folder, skopeo })
    }

    /// All that is true of every registry; what lies out of the login's reach is `unauthorized` where the registry
    /// says so, and `missing` where it makes no difference between its users.
    fn see_all(&self, out_of_reach: &str) {
        self.see_every_kind_of_manifest();
        self.see_what_is_missing(out_of_reach);
        self.see_lock_and_layout();
        self.see_a_tag_move();
        if self.scene.registry.has_login() {
            self.scene.password_is_nowhere();
        }
    }

    fn see_every_kind_of_manifest(&self) {
        for (tag, image) in &self.images {
            assert_eq!(self.raw(tag), image.index.bytes, "{tag}: the registry has what was pushed");
            let digest = &image.index.digest;
            let (came, line) = self.scene.dry_run(tag, &format!("nginx:{tag}"));
            assert_eq!(came, self.scene.mirror(&format!("{REPOSITORY}:{tag}@{digest}")), "{line}");
            assert_eq!((&line["reason"], &line["resolvedFrom"]), (&json!("pinned"), &json!("registry")));

            // By its digest, and so each of its platforms.
            for digest in image.manifests.iter().map(|manifest| &manifest.digest).chain([digest]) {
                let (came, line) =
                    self.scene.dry_run(&format!("{tag}-{}", &digest[7..19]), &format!("nginx@{digest}"));
                assert_eq!(came, self.scene.mirror(&format!("{REPOSITORY}@{digest}")), "{line}");
                assert_eq!(line["reason"], "carried", "{line}");
            }
        }
    }

    fn see_what_is_missing(&self, out_of_reach: &str) {
        let nobodys = format!("nginx@sha256:{}", "0".repeat(64));
        for (name, written, reason) in [
            ("tag", "nginx:absent", "missing"),
            ("digest", nobodys.as_str(), "missing"),
            ("repository", "redis:7", "missing"),
            ("out-of-reach", "quay.io/team/app:1", out_of_reach),
        ] {
            let (came, line) = self.scene.dry_run(name, written);
            assert_eq!(line["reason"], reason, "{line}");
            // By policy: kept where it is missing, rewritten unpinned where nobody may say.
            let kept = reason == "missing";
            let expected =
                if kept { written.to_owned() } else { self.scene.mirror("elsewhere/quay.io/team/app:1") };
            assert_eq!(came, expected, "{line}");
        }
    }

    /// Locks, checks and saves with the login that the command line reads.
    fn see_lock_and_layout(&self) {
        let place = |tag: &str| self.scene.mirror(&format!("{REPOSITORY}:{tag}"));
        let list = |name: &str, line: &dyn Fn(&str) -> String| {
            let lines: Vec<_> = self.images.iter().map(|(tag, _)| line(tag) + "\n").collect();
            fs::write(self.folder.join(name), lines.concat()).unwrap();
        };
        list("written.txt", &|tag| format!("nginx:{tag}"));
        list("places.txt", &|tag| place(tag));

        let locked = self.must(&["lock", "--table", "table.yaml", "written.txt"]);
        let lines: Vec<_> = locked.lines().filter(|line| !line.starts_with('#')).collect();
        let mut expected: Vec<_> =
            self.images.iter().map(|(tag, image)| format!("{} {}", place(tag), image.index.digest)).collect();
        expected.sort();
        assert_eq!(lines, expected);

        let checked = self.must(&["check", "--table", "table.yaml", "-o", "json", "written.txt"]);
        let checked: Value = serde_json::from_str(&checked).unwrap();
        let states: Vec<_> = checked["images"].as_array().unwrap().iter().map(|row| &row["state"]).collect();
        assert_eq!(states, [&json!("ok"); 4], "{checked}");

        self.must(&["save", "--table", "table.yaml", "--images", "places.txt", "bundle"]);
        for (_, image) in &self.images {
            for blob in image.blobs.iter().take(2).chain(&image.manifests).chain([&image.index]) {
                let path = self.folder.join("bundle/blobs").join(blob.digest.replace(':', "/"));
                assert_eq!(fs::read(path).unwrap(), blob.bytes, "{}", blob.media);
            }
        }
    }

    fn see_a_tag_move(&self) {
        let moved = Image::of("another");
        self.scene.registry.push_image(REPOSITORY, "oci-index", &moved);
        let expected = self.scene.mirror(&format!("{REPOSITORY}:oci-index@{}", moved.index.digest));
        eventually(FRESH_LIMIT, || {
            let (came, line) = self.scene.dry_run("moved", "nginx:oci-index");
            if came == expected { Ok(()) } else { Err(line) }
        });
    }

    /// Without a login and with a wrong one, what is there and what is not look alike.
    fn see_refusals(&self) {
        for logins in ["none.json", "wrong.json"] {
            for written in ["nginx:docker-image", "nginx:absent"] {
                let explained = self.explain(written, logins);
                assert_eq!(explained["reason"], "unauthorized", "{logins}: {explained}");
                assert_eq!(explained["digest"], Value::Null, "{logins}: {explained}");
            }
        }
    }

    /// The digest that the registry has for a tag now.
    fn digest(&self, tag: &str) -> String {
        self.scene.registry.digest(REPOSITORY, tag)
    }

    /// The manifest that skopeo gets for a tag.
    fn raw(&self, tag: &str) -> Vec<u8> {
        let mut command = Command::new(&self.skopeo);
        command.args(["inspect", "--raw"]).current_dir(&self.folder);
        if self.scene.registry.has_login() {
            command.args(["--cert-dir", ".", "--authfile", "login.json"]);
        } else {
            command.args(["--tls-verify=false", "--no-creds"]);
        }
        let place = self.scene.mirror(&format!("{REPOSITORY}:{tag}"));
        let output = command.arg(format!("docker://{place}")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    /// What `explain` says of one image, with the logins in that file.
    fn explain(&self, written: &str, logins: &str) -> Value {
        let output = run(&self.folder, logins, &["explain", "--table", "table.yaml", "-o", "json", written]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()[0].take()
    }

    /// What a command writes, with the right login.
    fn must(&self, arguments: &[&str]) -> String {
        let output = run(&self.folder, "login.json", arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn run(folder: &Path, logins: &str, arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("REGISTRY_AUTH_FILE", logins)
        .output()
        .unwrap()
}

/// Where `nginx` is, within reach of the one user: the token server gives what begins with their name.
const REPOSITORY: &str = "puller/docker.io/library/nginx";

const RULES: &str = "rules:
  - source: docker.io
    mirrors: ['MIRROR/puller/{registry}']
  - source: quay.io
    mirrors: ['MIRROR/elsewhere/{registry}']
";

const OUT_OF_REACH_IS_MISSING: &str = "missing";
const OUT_OF_REACH_IS_UNAUTHORIZED: &str = "unauthorized";

/// For an answer to age, on a machine that may have other things to do.
const FRESH_LIMIT: Duration = Duration::from_secs(60);
