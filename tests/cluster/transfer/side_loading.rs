//! What `save` wrote, put into a node's containerd by its own `ctr images import`: without a registry, under the names that
//! manifests have.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::support::{Containerd, Image, Outcome, Registry, binary, folder, installed};

pub fn containerd_imports_what_was_saved_by_its_whole_name() -> Outcome {
    let registry = Registry::plain()?;
    let folder = folder("side-loaded");
    let node = Containerd::start(&folder)?;
    let (web, tool) = (Image::busybox("web")?, Image::busybox("tool")?);
    registry.push_image("library/nginx", "1.25", &web);
    registry.push_image("team/tool", "v2", &tool);
    let by_digest = format!("quay.io/team/tool@{}", tool.index.digest);
    // The registries that images come from, under their real names: plain HTTP goes through the proxy of the environment, and
    // that is the registry here. The short name is that of the official image.
    fs::write(folder.join("images.txt"), format!("nginx:1.25\nquay.io/team/tool:v2\n{by_digest}\n")).unwrap();
    let table = format!("{TABLE}{}", registry.entry(&[])).replace("MIRROR", &registry.host());
    fs::write(folder.join("table.yaml"), table).unwrap();
    fs::write(folder.join("none"), "{}").unwrap();
    let run = |arguments: &[&str]| {
        let output = portolan(&folder, &registry, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    let save = ["save", "--table", "table.yaml", "--images", "images.txt"];
    run(&[&save[..], &["all.tar"]].concat());
    // Of one platform, as who has little room carries it: the index names others that are not there.
    run(&[&save[..], &["--platform", "linux/amd64", "sparse.tar"]].concat());

    let names = ["docker.io/library/nginx:1.25", "quay.io/team/tool:v2", &by_digest];
    let digests = [&web, &tool, &tool].map(|image| image.index.digest.as_str());
    for (archive, more) in [("all.tar", &["--all-platforms"][..]), ("all.tar", &[]), ("sparse.tar", &[])] {
        // As a node has it: into the namespace of Kubernetes, unpacked for its own platform.
        let ctr = |arguments: &[&str]| {
            let output = node.ctr(&[&["--namespace", "k8s.io", "images"], arguments].concat());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{archive} {more:?} {arguments:?}: {said}");
            String::from_utf8(output.stdout).unwrap()
        };
        ctr(&[&["import", "--snapshotter", "native"], more, &[archive]].concat());
        let listed = ctr(&["list"]);
        // REF TYPE DIGEST SIZE PLATFORMS LABELS
        let mut rows: Vec<Vec<_>> =
            listed.lines().skip(1).map(|line| line.split_whitespace().take(3).collect()).collect();
        rows.sort_unstable();
        let mut expected: Vec<_> =
            names.iter().zip(digests).map(|(name, digest)| vec![*name, INDEX, digest]).collect();
        expected.sort_unstable();
        assert_eq!(rows, expected, "{archive} {more:?}");
        for image in [&web, &tool] {
            assert_eq!(node.blob(&image.index.digest).unwrap(), image.index.bytes);
        }
        // Complete means that every blob which this node needs is there.
        let checked = ctr(&["check", "--snapshotter", "native"]);
        for name in names {
            let line = checked.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
            assert!(line.contains(" complete ") && line.trim_end().ends_with("true"), "{line}");
        }
        if more == ["--all-platforms"] {
            // And the other way: what a node has is carried on.
            ctr(&["export", "--all-platforms", "exported.tar", names[0]]);
            run(&["load", "exported.tar", "--table", "table.yaml"]);
            assert_eq!(registry.digest("hub/library/nginx", "1.25"), web.index.digest);
        }
        ctr(&[&["rm", "--sync"], &names[..]].concat());
        assert!(node.blob(&web.index.digest).is_err(), "what was imported before must not help the next");
    }
    Ok(())
}

/// Skopeo's `dir:`, in which images are carried by hand: it keeps no names, and it says how they come back.
pub fn a_folder_of_skopeo_without_names_is_refused_with_the_way_out() -> Outcome {
    let skopeo = installed("skopeo", "skopeo")?;
    let registry = Registry::plain()?;
    let folder = folder("side-loaded");
    let image = Image::of("ceph");
    registry.push_image("ceph/ceph", "v17.2.3", &image);
    let table = format!("{TABLE}{}", registry.entry(&[])).replace("MIRROR", &registry.host());
    fs::write(folder.join("table.yaml"), table).unwrap();
    fs::write(folder.join("none"), "{}").unwrap();
    let copy = |from: &str, to: &str| {
        let mut command = Command::new(&skopeo);
        command.args(["copy", "--all", "--preserve-digests", "--src-tls-verify=false", from, to]);
        let output = command.current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    copy(&format!("docker://{}/ceph/ceph:v17.2.3", registry.host()), "dir:ceph");
    let refused = portolan(&folder, &registry, &["load", "ceph", "--table", "table.yaml"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    let why = "error: `ceph` is no OCI image layout: it is what skopeo writes to `dir:`, which keeps no name";
    assert!(said.starts_with(why), "{said}");
    assert!(
        said.contains("hint: `skopeo copy --all --preserve-digests dir:FOLDER oci:LAYOUT:NAME`"),
        "{said}"
    );
    // As it says.
    copy("dir:ceph", "oci:layout:docker.io/ceph/ceph:v17.2.3");
    let loaded = portolan(&folder, &registry, &["load", "layout", "--table", "table.yaml"]);
    assert!(loaded.status.success(), "{loaded:?}");
    assert_eq!(registry.digest("hub/ceph/ceph", "v17.2.3"), image.index.digest);
    Ok(())
}

fn portolan(folder: &Path, registry: &Registry, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(folder).env("REGISTRY_AUTH_FILE", "none");
    command.env("HTTP_PROXY", format!("http://{}", registry.host())).env_remove("NO_PROXY");
    command.output().unwrap()
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

const TABLE: &str = "apiVersion: portolan.dev/v1
kind: MappingTable
rules:
- {source: docker.io, mirrors: [MIRROR/hub]}
registries:
- {host: docker.io, plainHttp: true}
- {host: quay.io, plainHttp: true}
";
