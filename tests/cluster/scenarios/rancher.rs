//! Scenario 4: Rancher from a private registry. docs/scenarios/rancher.md tells it to people.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Stdio,
    time::Duration,
};

use serde_json::json;

use super::crossing::Crossing;
use crate::{
    projects::{Mirrors, manifest},
    support::{Access, Format, Image, Missing, Outcome, Scene, eventually},
};

pub fn rancher_and_what_it_needs_cross_in_one_bundle_for_linux_and_windows() -> Outcome {
    let lists = [manifest("longhorn/longhorn-images.txt")?];
    let (longhorn, cert_manager) =
        (manifest("longhorn/longhorn.yaml")?, manifest("cert-manager/cert-manager.yaml")?);
    let mut crossing = Crossing::between(&["docker.io", "mcr.microsoft.com", "quay.io"], Access::Login)?;
    crossing.makes(&["/var/lib/longhorn"]);

    // Two plain lists, of which the second has an image of the first, and a rendered chart.
    let list = fs::read_to_string(&lists[0]).unwrap();
    let mut names: Vec<_> = list.lines().map(ToOwned::to_owned).collect();
    names.extend((0..STAND_INS).map(|number| format!("rancher/stand-in-{number:02}:v1")));
    let chart = fs::read_to_string(&cert_manager).unwrap();
    let rendered = crossing.succeed(&["images", "--guesses", "-"], &chart).stdout;
    assert_eq!(rendered.lines().count(), 4, "one of them is named in an argument alone: {rendered}");
    crossing.write("rancher-images.txt", &format!("# for Linux\n{}\n{AGENT}\n", names.join("\n")));
    crossing.write("rancher-windows-images.txt", &format!("{AGENT}\n"));
    crossing.write("cert-manager-images.txt", &rendered);
    let lists = ["rancher-images.txt", "rancher-windows-images.txt", "cert-manager-images.txt"];
    let all = crossing.succeed(&[&["images"], &lists[..]].concat(), "").stdout;
    assert_eq!(all.lines().count(), names.len() + 1 + 4);
    crossing.write("images.txt", &all);
    let windows = publish(&crossing, &names, &rendered)?;

    // Ended in the middle by SIGKILL and begun again.
    let save = ["save", "--images", "images.txt", "--nondistributable", "bundle"];
    let mut first = crossing.command(&save).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let blobs = crossing.folder.join("bundle/blobs/sha256");
    eventually(Duration::from_secs(180), || {
        let count = fs::read_dir(&blobs).map_or(0, Iterator::count);
        if count >= 40 { Ok(()) } else { Err(count) }
    });
    first.kill().unwrap();
    assert!(!first.wait().unwrap().success(), "it was in the middle");
    let before = fetched(&crossing).len();
    crossing.succeed(&save, "");
    let saved: BTreeSet<_> = fs::read_dir(&blobs)
        .unwrap()
        .map(|entry| format!("sha256:{}", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    assert_eq!(saved, crossing.contents(), "everything once, and nothing else");
    // What was on its way when it was killed may have come twice; nothing else has.
    let fetched = fetched(&crossing);
    let again: Vec<_> = fetched.iter().filter(|(_, times)| **times > 1).collect();
    assert!(before < fetched.len(), "it was killed too late");
    assert!(again.len() <= ON_THEIR_WAY && again.iter().all(|(_, times)| **times == 2), "{again:?}");

    crossing.cut();
    let fields = ["credentials: harbor-pull", "pullSecret: harbor-pull"];
    let table = Scene::table(&crossing.scene.registry, RULES, &fields);
    crossing.write("table.yaml", &table);
    let check = ["check", "--table", "table.yaml", "images.txt"];
    let lacking = crossing.run(&check, "");
    assert_eq!(lacking.code, 1, "{}", lacking.stderr);
    let missing = lacking.stdout.lines().filter(|line| line.contains("missing")).count();
    assert!(missing >= all.lines().count(), "{}", lacking.stdout);
    crossing.succeed(&["load", "bundle", "--table", "table.yaml", "--lock", "lock.txt"], "");
    crossing.succeed(&check, "");
    let hex = windows.trim_start_matches("sha256:");
    let layer = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    assert!(crossing.scene.registry.content().join(layer).is_file(), "Windows has its base layer from here");

    crossing.install(&table, &crossing.read("lock.txt"));
    crossing.take_in("cert-manager");
    crossing.take_in("longhorn-system");
    crossing.apply(MIRRORS, &cert_manager, &[]);
    crossing.apply(MIRRORS, &longhorn, &[]);
    // As cert-manager's controller makes it, from its own argument.
    let solver = rendered.lines().find(|name| name.contains("acmesolver")).unwrap();
    let pod = json!({
        "metadata": {"name": "cm-acme-http-solver-x7k2p"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "acmesolver", "image": solver, "args": ["--listen-port=8089"]}],
        },
    });
    crossing.create("cert-manager", &pod, &crossing.pinned(MIRRORS, solver));
    crossing.scene.password_is_nowhere();
    Ok(())
}

/// Pushes everything: what runs can run, the rest has layers that it shares. The digest of the layer that is only at
/// Microsoft's.
fn publish(crossing: &Crossing, names: &[String], rendered: &str) -> Result<String, Missing> {
    let names = names.iter().map(String::as_str).chain(rendered.lines());
    let images: Result<Vec<_>, _> = names
        .map(|name| {
            let is_run = !name.starts_with("rancher/");
            let image =
                if is_run { Image::standing(name, &["longhorn-manager"])? } else { Image::on_a_base(name) };
            Ok((name, image))
        })
        .collect();
    crossing.publish_all(&images?);
    let base = Image::of_format("nanoserver", Format::Docker);
    crossing.connected().push("mcr.microsoft.com/windows/nanoserver:ltsc2022", &base);
    let layer = base.digests().next().unwrap().to_owned();
    let url = format!("https://mcr.microsoft.com/v2/windows/nanoserver/blobs/{layer}");
    let agent = Image::of_format("agent", Format::Docker).and_windows(&base, &url);
    crossing.publish(AGENT, &agent);
    crossing.also_contains(&layer);
    Ok(layer)
}

/// How often each blob was given out on the connected side, to whoever has ended.
fn fetched(crossing: &Crossing) -> BTreeMap<String, usize> {
    let mut fetched = BTreeMap::new();
    for host in ["docker.io", "mcr.microsoft.com", "quay.io"] {
        let registry = crossing.connected().registry(host);
        registry.until_idle();
        for line in registry.accesses() {
            let given = line.contains("\" 200 ") || line.contains("\" 206 ");
            let Some((_, rest)) = line.split_once("\"GET /v2/") else { continue };
            let Some((_, rest)) = rest.split_once("/blobs/") else { continue };
            if given {
                *fetched.entry(rest.split(' ').next().unwrap().to_owned()).or_default() += 1;
            }
        }
    }
    fetched
}

/// An image for both systems.
const AGENT: &str = "rancher/rancher-agent:v2.8.0";

/// How many images there are beside those of the charts.
const STAND_INS: usize = 40;

/// `save --parallel`, as it is by default.
const ON_THEIR_WAY: usize = 6;

const MIRRORS: Mirrors<'_> = &[("docker.io", "rancher-mirror"), ("quay.io", "rancher-mirror/quay.io")];

const RULES: &str = "rules:
  - source: docker.io
    mirrors: [MIRROR/rancher-mirror]
  - source: quay.io
    mirrors: [MIRROR/rancher-mirror/quay.io]
";
