//! A disk that fills up, and how much of a large blob is in memory.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::loading::Gap;
use crate::support::{Image, Missing, Outcome, Registry, binary};

pub fn a_disk_that_fills_up_is_named_and_what_is_there_is_not_fetched_again() -> Outcome {
    let gap = Gap::between(Registry::plain()?)?;
    let program = gap.folder.join("program");
    fs::write(&program, vec![7; 6 << 20]).unwrap();
    gap.push(&[("library/small", &Image::of("small")), ("library/large", &Image::program("app", &program))]);
    fs::create_dir(gap.folder.join("disk")).unwrap();
    // A file system of its own for this process and its children: it goes with them.
    let ended = Command::new("unshare")
        .args(["--mount", "--", "sh", "-c", STEPS, "steps"])
        .arg(binary())
        .current_dir(&gap.folder)
        .env("REGISTRY_AUTH_FILE", "auth.json")
        .output();
    let ended = ended.map_err(|_| Missing("unshare is not installed (Debian: util-linux)".to_owned()))?;
    let failed = String::from_utf8_lossy(&ended.stderr).into_owned();
    if ended.status.code() == Some(77) || failed.starts_with("unshare: ") {
        return Err(Missing(format!("no file system can be mounted here: {}", failed.trim())));
    }
    assert!(ended.status.success(), "{failed}");
    let read = |name: &str| fs::read_to_string(gap.folder.join(name)).unwrap();
    for (run, what) in [("folder", "disk/bundle/"), ("archive", "disk/bundle.tar.new")] {
        let said = read(&format!("{run}.full"));
        assert!(said.ends_with("exit 2\n"), "{said}");
        let line = said
            .lines()
            .find(|line| line.starts_with("error: cannot write `"))
            .unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains(what) && line.contains("No space left on device"), "{said}");
        assert!(
            said.contains("hint: make room and run the command again: what is there is not fetched again"),
            "{said}"
        );
        let said = read(&format!("{run}.room"));
        assert!(said.ends_with("exit 0\n"), "{said}");
    }
    assert_eq!(read("archive.left"), "bundle.tar.partial\n", "half a tar file takes no room");
    let said = read("archive.room");
    assert!(said.contains("2 of 2 images are in `disk/bundle.tar`: 0 B fetched"), "{said}");
    gap.from.until_idle();
    // Two platforms, a configuration and a layer each, for both kinds; one may have been in the middle.
    let of_small = gap.from.requests(&["GET"], "/v2/library/small/blobs/");
    assert!((8..=9).contains(&of_small), "{of_small}");
    assert!(
        gap.from.accesses().iter().any(|line| line.contains("\" 206 ")),
        "the large one goes on where it was"
    );
    Ok(())
}

/// Both kinds on a file system that is too small, and again when it has grown.
const STEPS: &str = "
    save() { \"$portolan\" save --table table.yaml --images images.txt --parallel 1 \"$1\" 2>\"$2\"; echo \"exit $?\" >>\"$2\"; }
    portolan=$1
    mount -t tmpfs -o size=4m tests disk || exit 77
    save disk/bundle folder.full
    mount -o remount,size=64m disk
    save disk/bundle folder.room
    umount disk
    mount -t tmpfs -o size=9m tests disk
    save disk/bundle.tar archive.full
    ls disk >archive.left
    mount -o remount,size=64m disk
    save disk/bundle.tar archive.room
";

pub fn of_a_blob_of_256_mib_little_is_ever_in_memory() -> Outcome {
    let gap = Gap::between(Registry::plain()?)?;
    let name = format!("{}/library/large:1", gap.from.host());
    write_large(&gap.folder.join("bundle"), &name);
    let load = peak(gap.command("load bundle --table table.yaml --lock lock.txt"));
    // What was sent is fetched from there.
    fs::write(gap.folder.join("images.txt"), format!("{}/hub/library/large:1\n", gap.to.host())).unwrap();
    let save = peak(gap.command("save --table table.yaml --images images.txt saved"));
    fs::remove_dir_all(gap.folder.join("bundle")).unwrap();
    let archive = peak(gap.command("save --table table.yaml --images images.txt saved.tar"));
    println!(
        "of {} MiB in memory at most: load {load} KiB, save {save} KiB, as a tar file {archive} KiB",
        SIZE >> 20
    );
    for (what, peak) in [("load", load), ("save", save), ("save as a tar file", archive)] {
        assert!(peak > 0 && peak < MOST, "{what}: {peak} KiB");
    }
    assert!(fs::metadata(gap.folder.join("saved.tar")).unwrap().len() > SIZE);
    Ok(())
}

/// Runs a command that is to end well; the most that it had in memory, in KiB.
fn peak(mut command: Command) -> u64 {
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        // It only grows, so that the last look is what counts.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap()));
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success(), "{command:?}");
            return peak;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Writes a layout with an image of one large layer, never whole in memory here either.
fn write_large(layout: &Path, name: &str) {
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let adopt = |path: &Path, media: &str| -> Value {
        let output = Command::new("sha256sum").arg(path).output().unwrap();
        let hex = String::from_utf8(output.stdout).unwrap()[..64].to_owned();
        let size = fs::metadata(path).unwrap().len();
        fs::rename(path, blobs.join(&hex)).unwrap();
        json!({"mediaType": media, "digest": format!("sha256:{hex}"), "size": size})
    };
    let write = |value: &Value, media: &str| {
        let path = layout.join("new");
        fs::write(&path, value.to_string()).unwrap();
        adopt(&path, media)
    };
    let path = layout.join("layer");
    let mut file = fs::File::create(&path).unwrap();
    for number in 0..SIZE >> 20 {
        file.write_all(&vec![u8::try_from(number % 251).unwrap(); 1 << 20]).unwrap();
    }
    let layer = adopt(&path, "application/vnd.oci.image.layer.v1.tar");
    let config = json!({
        "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    });
    let config = write(&config, "application/vnd.oci.image.config.v1+json");
    let media = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": media, "config": config, "layers": [layer]});
    let mut entry = write(&manifest, media);
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    fs::write(layout.join("index.json"), json!({"schemaVersion": 2, "manifests": [entry]}).to_string())
        .unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

const SIZE: u64 = 256 << 20;

/// In KiB.
const MOST: u64 = 64 << 10;
