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

mod killed;
mod limits;
mod loading;
mod side_loading;
mod since;

use killed::{
    killed_at_ten_random_byte_counts_a_copy_fetches_and_sends_nothing_twice,
    killed_at_ten_random_byte_counts_a_load_sends_nothing_twice,
    killed_at_ten_random_byte_counts_a_save_goes_on_behind_the_last_byte_kept,
};
use limits::{
    a_disk_that_fills_up_is_named_and_what_is_there_is_not_fetched_again,
    of_a_blob_of_256_mib_little_is_ever_in_memory,
};
use loading::{
    copied_from_registry_to_registry_everything_is_the_same,
    killed_in_the_middle_a_load_is_completed_and_nothing_is_sent_twice,
    layouts_and_archives_of_skopeo_are_loaded, what_is_loaded_is_what_was_saved_and_check_says_yes,
};
use side_loading::{
    a_folder_of_skopeo_without_names_is_refused_with_the_way_out,
    containerd_imports_what_was_saved_by_its_whole_name,
};
use since::{
    a_delta_in_an_empty_registry_names_what_is_to_be_loaded_first,
    what_is_saved_since_is_small_and_loads_to_the_same_digests,
};

trials!["transfer";
    what_is_saved_from_a_registry_behind_a_login_is_read_by_skopeo_to_the_byte,
    what_is_loaded_is_what_was_saved_and_check_says_yes,
    killed_in_the_middle_a_load_is_completed_and_nothing_is_sent_twice,
    killed_at_ten_random_byte_counts_a_load_sends_nothing_twice,
    killed_at_ten_random_byte_counts_a_copy_fetches_and_sends_nothing_twice,
    killed_at_ten_random_byte_counts_a_save_goes_on_behind_the_last_byte_kept,
    layouts_and_archives_of_skopeo_are_loaded,
    copied_from_registry_to_registry_everything_is_the_same,
    what_is_saved_since_is_small_and_loads_to_the_same_digests,
    a_delta_in_an_empty_registry_names_what_is_to_be_loaded_first,
    a_disk_that_fills_up_is_named_and_what_is_there_is_not_fetched_again,
    of_a_blob_of_256_mib_little_is_ever_in_memory,
    containerd_imports_what_was_saved_by_its_whole_name,
    a_folder_of_skopeo_without_names_is_refused_with_the_way_out,
];

fn what_is_saved_from_a_registry_behind_a_login_is_read_by_skopeo_to_the_byte() -> Outcome {
    let skopeo = installed("skopeo", "skopeo")?;
    let registry = Registry::start(Access::Login)?;
    let folder = folder("transfer");
    let table = format!("{HEAD}rules: []\nregistries:\n{}", registry.entry(&[]));
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

const HEAD: &str = "apiVersion: portolan.dev/v1\nkind: MappingTable\n";
