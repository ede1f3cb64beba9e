//! What is on the other side already: a lock that `load` wrote, or layouts that earlier runs of `save` made.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};

use crate::{
    image::{Digest, Reference},
    lock::Lock,
    table::Table,
    transfer::{Bundle, Earlier, Since},
};

/// What is there.
pub(super) struct Known {
    earlier: Arc<Earlier>,
    locks: Vec<Lock>,
    /// The lines of the locks, by digest: for images of which no rule speaks.
    lines: HashMap<Digest, Vec<Reference>>,
}

impl Known {
    /// Reads locks and layouts; `None`: none was named. Those that are written now are refused.
    pub(super) fn read(paths: &[PathBuf], written: &[&Path]) -> anyhow::Result<Option<Self>> {
        if paths.is_empty() {
            return Ok(None);
        }
        let written: Vec<_> = written.iter().filter_map(|path| path.canonicalize().ok()).collect();
        let (mut earlier, mut locks) = (Earlier::default(), Vec::new());
        let mut lines: HashMap<_, Vec<_>> = HashMap::new();
        for path in paths {
            let shown = path.display();
            if path.canonicalize().is_ok_and(|path| written.contains(&path)) {
                bail!("`{shown}` cannot be what `--since` names and what is written: name another place");
            }
            if is_text(path).with_context(|| format!("cannot read `{shown}`"))? {
                let text = fs::read_to_string(path).with_context(|| format!("cannot read `{shown}`"))?;
                let lock = Lock::parse(&text).with_context(|| {
                    format!("`{shown}` is neither a layout (a folder or a tar file) nor a lock")
                })?;
                for line in lock.lines() {
                    let digest = lock.digest(line).cloned();
                    lines.entry(digest).or_default().push(line.reference().clone());
                }
                locks.push(lock);
            } else {
                let bundle = Bundle::open(path)?;
                earlier.add(bundle).with_context(|| format!("cannot look through `{shown}`"))?;
            }
        }
        let lines = lines.into_iter().filter_map(|(digest, lines)| Some((digest?, lines))).collect();
        Ok(Some(Self { earlier: Arc::new(earlier), locks, lines }))
    }

    /// Hands over what is known, images looked up in the table where that speaks of them.
    pub(super) fn with<T>(&self, table: Option<&Table>, act: impl FnOnce(&Since<'_>) -> T) -> T {
        let is_there = |image: &Reference, digest: &Digest| self.is_locked(table, image, digest);
        act(&Since { earlier: Arc::clone(&self.earlier), is_there: &is_there })
    }

    /// Whether the lock has an image with this digest in every place that it goes to.
    fn is_locked(&self, table: Option<&Table>, image: &Reference, digest: &Digest) -> bool {
        if self.locks.is_empty() {
            return false;
        }
        let places = table.map(|table| table.destinations(image)).unwrap_or_default();
        if places.is_empty() {
            // Nobody says where it goes: a line has to look as if it were this image's.
            let lines = self.lines.get(digest).map(Vec::as_slice).unwrap_or_default();
            return lines.iter().any(|line| is_alike(line, image));
        }
        places.iter().all(|place| {
            let mut found = self.locks.iter().filter_map(|lock| lock.find(&place.place));
            found.any(|locked| locked.digest == digest)
        })
    }
}

/// Whether a mirror's reference ends as an image's does: its path, and its tag, if it has no digest.
fn is_alike(line: &Reference, image: &Reference) -> bool {
    let path = line.repository().strip_suffix(image.repository());
    path.is_some_and(|before| before.is_empty() || before.ends_with('/'))
        && (image.digest().is_some() || line.tag() == image.tag())
}

/// Whether a file is a text, as a lock is and no tar file.
fn is_text(path: &Path) -> std::io::Result<bool> {
    if path.is_dir() {
        return Ok(false);
    }
    let mut begin = Vec::new();
    File::open(path)?.take(512).read_to_end(&mut begin)?;
    Ok(!begin.contains(&0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_like_an_image_if_path_and_tag_are_its_own() {
        let digest = Digest::of(b"").to_string();
        for (line, image, expected) in [
            ("r.corp/hub/library/nginx:1", "nginx:1", true),
            ("r.corp/library/nginx:1", "nginx:1", true),
            ("r.corp/hub/library/nginx:2", "nginx:1", false),
            ("r.corp/hub/mylibrary/nginx:1", "nginx:1", false),
            ("r.corp/hub/nginx:1", "nginx:1", false),
            ("r.corp/hub/library/nginx:2", &format!("nginx:1@{digest}"), true),
        ] {
            let (line, image) = (Reference::parse(line).unwrap(), Reference::parse(image).unwrap());
            assert_eq!(is_alike(&line, &image), expected, "{line} {image}");
        }
    }
}
