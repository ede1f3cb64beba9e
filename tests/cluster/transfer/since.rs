//! Only what is new is carried, between real registries.

use std::{fmt::Write as _, fs, path::PathBuf};

use super::loading::Gap;
use crate::support::{Image, Outcome, Registry};

/// Two images of one base, a program of 4 MiB: both saved and loaded; then a tag moves and an image comes.
fn first(gap: &Gap) -> [Image; 3] {
    let base = gap.folder.join("base");
    fs::write(&base, vec![7; 4 << 20]).unwrap();
    let images = ["one", "moved", "new"].map(|text| Image::above(text, &base));
    gap.push(&[("library/one", &images[0]), ("team/two", &Image::above("two", &base))]);
    gap.succeed("save --table table.yaml --images images.txt bundle.tar");
    images
}

/// Moves a tag and adds an image; the list has all three.
fn second(gap: &Gap, [one, moved, new]: &[Image; 3]) {
    gap.push(&[("library/one", one), ("team/two", moved), ("other/new", new)]);
}

pub fn what_is_saved_since_is_small_and_loads_to_the_same_digests() -> Outcome {
    let gap = Gap::between(Registry::plain()?)?;
    let images = first(&gap);
    gap.succeed("load bundle.tar --table table.yaml --lock lock.txt");
    second(&gap, &images);
    let length = |name: &str| fs::metadata(gap.folder.join(name)).unwrap().len();
    gap.from.until_idle();
    let fetched = gap.from.requests(&["GET"], "/blobs/");
    gap.succeed("save --table table.yaml --images images.txt --since bundle.tar delta.tar");
    gap.from.until_idle();
    let fetched = gap.from.requests(&["GET"], "/blobs/") - fetched;
    assert_eq!(fetched, 8, "of two images, for two platforms each, a configuration and a layer of their own");
    assert!(length("bundle.tar") > 4 << 20 && length("delta.tar") < 64 << 10, "{}", length("delta.tar"));
    // A lock leaves out what has not moved, and no blobs.
    gap.succeed("save --table table.yaml --images images.txt --since lock.txt locked");
    let index = fs::read_to_string(gap.folder.join("locked/index.json")).unwrap();
    assert!(!index.contains("library/one") && index.contains("team/two"), "{index}");

    let bytes = gap.to.requests(&["PUT"], "/blobs/");
    gap.succeed("load delta.tar --table table.yaml --lock lock.txt");
    gap.to.until_idle();
    assert_eq!(gap.to.requests(&["PUT"], "/blobs/") - bytes, 8, "the base is mounted");
    for (repository, image) in ["library/one", "team/two", "other/new"].iter().zip(&images) {
        assert_eq!(gap.to.digest(&format!("hub/{repository}"), "1"), image.index.digest);
    }
    gap.succeed("check --table table.yaml --lock lock.txt images.txt");
    // To the byte, out of the mirror.
    let mut list = String::new();
    writeln!(list, "{}/hub/other/new:1", gap.to.host()).unwrap();
    fs::write(gap.folder.join("loaded.txt"), list).unwrap();
    gap.succeed("save --table table.yaml --images loaded.txt loaded");
    for blob in &images[2].blobs {
        let path: PathBuf = gap.folder.join("loaded/blobs").join(blob.digest.replace(':', "/"));
        assert_eq!(fs::read(path).unwrap(), blob.bytes);
    }
    Ok(())
}

pub fn a_delta_in_an_empty_registry_names_what_is_to_be_loaded_first() -> Outcome {
    let gap = Gap::between(Registry::plain()?)?;
    let images = first(&gap);
    second(&gap, &images);
    let alone = Image::of("alone");
    gap.from.push_image("other/alone", "1", &alone);
    let list = fs::read_to_string(gap.folder.join("images.txt")).unwrap();
    fs::write(gap.folder.join("images.txt"), format!("{list}{}/other/alone:1\n", gap.from.host())).unwrap();
    gap.succeed("save --table table.yaml --images images.txt --since bundle.tar delta.tar");

    let ended = gap.run("load delta.tar --table table.yaml --lock lock.txt");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let base = &images[0].blobs[0].digest;
    let (from, to) = (gap.from.host(), gap.to.host());
    for repository in ["team/two", "other/new"] {
        let expected = format!(
            "error: `{from}/{repository}:1` is not loaded as `{to}/hub/{repository}:1`: its blob `{base}` was left to an \
             earlier layout, which had it of `{from}/library/one:1`, `{from}/team/two:1`, and no mirror has it\n\
             hint: load the layout that `save --since` was given"
        );
        assert!(said.contains(&expected), "{expected}\n{said}");
    }
    assert_eq!(gap.to.digest("hub/other/alone", "1"), alone.index.digest, "what can be done is done");
    gap.succeed("load bundle.tar --table table.yaml --lock lock.txt");
    gap.succeed("load delta.tar --table table.yaml --lock lock.txt");
    gap.succeed("check --table table.yaml --lock lock.txt images.txt");
    Ok(())
}
