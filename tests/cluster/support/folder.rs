//! The one temporary folder of a run. Everything that a test writes is below it.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A new, empty folder whose name begins with `purpose`.
pub fn folder(purpose: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let path = ROOT.join(format!("{purpose}-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir_all(&path).unwrap();
    path
}

/// Removes this run's folder.
pub fn remove() {
    if let Err(error) = fs::remove_dir_all(&*ROOT)
        && error.kind() != io::ErrorKind::NotFound
    {
        eprintln!("cannot remove {}: {error}", ROOT.display());
    }
}

/// Removes the folders of runs that were killed before they could.
pub fn sweep() {
    let Ok(entries) = fs::read_dir(env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        if id.parse::<u32>().is_ok() && !Path::new("/proc").join(id).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

static ROOT: LazyLock<PathBuf> = LazyLock::new(|| env::temp_dir().join(format!("{PREFIX}{}", process::id())));

/// After the program: the demo has these folders too.
const PREFIX: &str = concat!("portolan-", env!("CARGO_CRATE_NAME"), "-");
