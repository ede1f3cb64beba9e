//! Images carried: out of a real registry into a layout that other tools read. No cluster is needed for that.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::{
    support::{Access, Image, Outcome, Registry, binary, folder, installed},
    trials,
};

trials!["transfer"; what_is_saved_from_a_registry_behind_a_login_is_read_by_skopeo_to_the_byte];

fn what_is_saved_from_a_registry_behind_a_login_is_read_by_skopeo_to_the_byte() -> Outcome {
    let skopeo = installed("skopeo", "skopeo")?;
    let registry = Registry::start(Access::Login)?;
    let folder = folder("transfer");
    let table = format!("{HEAD}registries:\n{}", registry.entry(&[]));
    fs::write(folder.join("table.yaml"), table).unwrap();
    fs::write(folder.join("auth.json"), registry.docker_config()).unwrap();
    let image = Image::of("carried");
    registry.push_image("team/app", "1.0", &image);
    let name = format!("{}/team/app:1.0", registry.host());
    fs::write(folder.join("images.txt"), &name).unwrap();

    let refused = save(&folder, "none", "bundle");
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    for destination in ["bundle", "bundle.tar"] {
        let saved = save(&folder, "auth.json", destination);
        assert!(saved.status.success(), "{saved:?}");
    }
    for place in ["oci:bundle", "oci-archive:bundle.tar"] {
        let place = format!("{place}:{name}");
        let run = |arguments: &[&str]| {
            let output = Command::new(&skopeo).args(arguments).current_dir(&folder).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {output:?}");
            output.stdout
        };
        assert_eq!(run(&["inspect", "--raw", &place]), image.index.bytes);
        // It looks at every blob of every platform then.
        run(&["copy", "--all", "--preserve-digests", &place, "oci:copied:app"]);
        for blob in image.blobs.iter().chain(&image.manifests).chain([&image.index]) {
            let path = folder.join("copied/blobs").join(blob.digest.replace(':', "/"));
            assert_eq!(fs::read(path).unwrap(), blob.bytes);
        }
        fs::remove_dir_all(folder.join("copied")).unwrap();
    }
    Ok(())
}

fn save(folder: &Path, logins: &str, destination: &str) -> Output {
    Command::new(binary())
        .args(["save", "--table", "table.yaml", "--images", "images.txt", destination])
        .current_dir(folder)
        .env("REGISTRY_AUTH_FILE", logins)
        .output()
        .unwrap()
}

const HEAD: &str = "apiVersion: portolan.dev/v1\nkind: MappingTable\nrules: []\n";
