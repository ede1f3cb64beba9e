//! A layout as one tar file: written when everything is there, its marker and index first, the same bytes for the same
//! images.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, File},
    io::{self, BufWriter, Read},
    path::{Path, PathBuf},
};

use tar::{Builder, EntryType, Header};

use crate::image::Digest;

use super::{
    failure::StoreError,
    layout::{Layout, failed},
    manifest::{Contents, Named},
};

impl Layout {
    /// Writes all that the index leads to into a tar file, which takes its name when it is whole.
    ///
    /// # Errors
    /// The system says no. A file that had the name is still there then.
    pub fn write_archive(&self, to: &Path) -> Result<(), StoreError> {
        let mut new = to.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        let written = self.write_entries(&new);
        if written.is_err() {
            // Half an archive is of no use and takes the room that the next try needs.
            let _ = fs::remove_file(&new);
        }
        written?;
        fs::rename(&new, to).map_err(failed("write", to))
    }

    fn write_entries(&self, to: &Path) -> Result<(), StoreError> {
        let unwritable = failed("write", to);
        let file = File::create(to).map_err(&unwritable)?;
        let mut tar = Builder::new(BufWriter::with_capacity(BUFFER, file));
        for name in ["oci-layout", "index.json"] {
            let path = self.folder().join(name);
            let text = fs::read(&path).map_err(failed("read", &path))?;
            append(&mut tar, name, text.len() as u64, &*text).map_err(&unwritable)?;
        }
        let mut folders = HashSet::new();
        for digest in self.reachable()? {
            let path = self.blob(&digest);
            let unreadable = failed("read", &path);
            let blob = File::open(&path).map_err(&unreadable)?;
            let size = blob.metadata().map_err(&unreadable)?.len();
            let algorithm = digest.algorithm().name();
            if folders.insert(algorithm) {
                for folder in ["blobs/".to_owned(), format!("blobs/{algorithm}/")] {
                    append_folder(&mut tar, &folder).map_err(&unwritable)?;
                }
            }
            let name = format!("blobs/{algorithm}/{}", digest.hex());
            append(&mut tar, &name, size, blob.take(size)).map_err(&unwritable)?;
        }
        let file =
            tar.into_inner().and_then(|writer| writer.into_inner().map_err(io::IntoInnerError::into_error));
        // What is carried away must not still be in memory alone.
        file.and_then(|file| file.sync_all()).map_err(&unwritable)
    }

    /// All blobs that the index leads to and that are there, sorted.
    fn reachable(&self) -> Result<Vec<Digest>, StoreError> {
        let mut found = BTreeSet::new();
        let mut ahead: Vec<(Digest, bool)> = self.index()?.digests().map(|digest| (digest, true)).collect();
        while let Some((digest, is_manifest)) = ahead.pop() {
            if found.contains(&digest) || !self.blob(&digest).exists() {
                continue;
            }
            let contents = is_manifest.then(|| self.manifest(&digest)).flatten();
            let contents = contents.and_then(|bytes| Contents::read(&bytes, "").ok());
            match contents.map(|contents| contents.named) {
                Some(Named::Index(children)) => {
                    ahead.extend(children.into_iter().map(|child| (child.digest, true)));
                }
                Some(Named::Image { config, layers }) => {
                    ahead.extend(config.into_iter().chain(layers).map(|blob| (blob.digest, false)));
                }
                None => {}
            }
            found.insert(digest);
        }
        Ok(found.into_iter().collect())
    }
}

fn append(tar: &mut Builder<impl io::Write>, name: &str, size: u64, content: impl Read) -> io::Result<()> {
    let mut header = header(EntryType::Regular, 0o644);
    header.set_size(size);
    tar.append_data(&mut header, name, content)
}

fn append_folder(tar: &mut Builder<impl io::Write>, name: &str) -> io::Result<()> {
    let mut header = header(EntryType::Directory, 0o755);
    header.set_size(0);
    tar.append_data(&mut header, name, io::empty())
}

/// Of nobody and no time, so that the same images make the same file.
fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

const BUFFER: usize = 1024 * 1024;
