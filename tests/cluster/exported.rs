//! What `export` writes for nodes is what their tools go by: skopeo (and so CRI-O) and containerd pull from the mirror that
//! the table names. No cluster is needed for that.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{
    support::{Access, Containerd, Image, Outcome, Registry, binary, folder, installed},
    trials,
};

trials!["exported";
    containerd_goes_by_an_exported_hosts_toml,
    skopeo_goes_by_an_exported_registries_conf,
];

fn skopeo_goes_by_an_exported_registries_conf() -> Outcome {
    let skopeo = installed("skopeo", "skopeo")?;
    let registry = Registry::start(Access::Plain)?;
    let (folder, image) = prepared(&registry, RULES);
    let exported = export(&folder, &["registries.conf"]);
    fs::write(folder.join("registries.conf"), exported.stdout).unwrap();
    let inspect = |image: &str| -> Output {
        let mut command = Command::new(&skopeo);
        command.arg("--registries-conf").arg(folder.join("registries.conf"));
        command.args(["inspect", "--raw", &format!("docker://{image}")]).output().unwrap()
    };
    let found = inspect("docker.io/library/nginx:1.25");
    assert!(found.status.success(), "{found:?}");
    assert_eq!(found.stdout, image.index.bytes);
    assert!(inspect("anything.wild.test/team/app:2").status.success(), "by the wildcard");
    assert!(
        inspect(&format!("{}/hub/library/nginx:1.25", registry.host())).status.success(),
        "the mirror itself"
    );
    // What is not there is not looked for at a source that is never contacted.
    let absent = inspect("docker.io/library/absent:1");
    assert!(!absent.status.success());
    let message = String::from_utf8_lossy(&absent.stderr).into_owned();
    assert!(message.contains("blocked"), "{message}");
    Ok(())
}

fn containerd_goes_by_an_exported_hosts_toml() -> Outcome {
    for access in [Access::Plain, Access::Login] {
        let registry = Registry::start(access)?;
        let (folder, image) =
            prepared(&registry, "  - {source: docker.io, mirrors: [MIRROR/hub], onMissing: rewrite}\n");
        export(&folder, &["hosts.toml", "--dir", "certs.d"]);
        let node = Containerd::start(&folder)?;
        let fetch = |image: &str| {
            let login = format!("{}:{}", crate::support::USER, crate::support::PASSWORD);
            let mut arguments = vec!["content", "fetch", "--all-platforms", "--hosts-dir", "certs.d"];
            if registry.has_login() {
                arguments.extend(["--user", &login]);
            }
            node.ctr(&[&arguments[..], &[image]].concat())
        };
        let fetched = fetch("docker.io/library/nginx:1.25");
        assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
        assert_eq!(node.blob(&image.index.digest).unwrap(), image.index.bytes);
        assert!(registry.requests(&["GET"], "/v2/hub/library/nginx/") > 0, "{:?}", registry.accesses());
        assert!(!fetch("docker.io/library/absent:1").status.success());
    }
    Ok(())
}

/// A folder with a table whose mirror is the registry, and the image that is in it under two names.
fn prepared(registry: &Registry, rules: &str) -> (PathBuf, Image) {
    let folder = folder("exported");
    let rules = rules.replace("MIRROR", &registry.host());
    fs::write(
        folder.join("table.yaml"),
        format!("{HEAD}rules:\n{rules}registries:\n{}", registry.entry(&[])),
    )
    .unwrap();
    let image = Image::of("for a node");
    registry.push_image("hub/library/nginx", "1.25", &image);
    registry.push_image("wild/team/app", "2", &image);
    (folder, image)
}

fn export(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("export").args(arguments).args(["--table", "table.yaml"]).current_dir(folder);
    let exported = command.output().unwrap();
    assert!(exported.status.success(), "{exported:?}");
    exported
}

const HEAD: &str = "apiVersion: portolan.dev/v1\nkind: MappingTable\n";

const RULES: &str = "  - {source: docker.io, mirrors: [MIRROR/hub], onMissing: rewrite}\n  \
                     - {source: '*.wild.test', mirrors: [MIRROR/wild], onMissing: rewrite}\n";
