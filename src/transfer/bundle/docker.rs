//! What `docker save` wrote before it knew layouts, and skopeo's `docker-archive:` and others still write: configurations
//! and layers, and no manifests.
//!
//! A manifest is written for each image, always the same for the same image. Its digest is not the one that the image had
//! in a registry: that got lost when it was pulled.

use std::{
    collections::HashMap,
    io::Read as _,
    path::{Component, Path},
};

use serde::Deserialize;
use serde_json::json;

use super::{
    Bundle, BundleError, MAX_MANIFEST, Packed, Place, Span,
    entries::{self, Entries},
    foreign,
};
use crate::image::{Algorithm, Digest, Hasher, Reference};

/// An image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Vec<String>,
    repo_tags: Option<Vec<String>>,
}

/// What of a configuration matters here.
#[derive(Deserialize)]
struct Configuration {
    rootfs: Layers,
}

#[derive(Deserialize)]
struct Layers {
    /// The digests of the layers, uncompressed.
    diff_ids: Vec<String>,
}

/// Reads `manifest.json`, and writes a manifest for each image.
pub(super) fn open(bundle: Bundle, entries: &Entries) -> Result<Bundle, BundleError> {
    let path = bundle.path.clone();
    let Some(list) = entries.span("manifest.json")? else {
        return Err(foreign(&path, "it has neither `index.json` nor the `manifest.json` of `docker save`"));
    };
    let list: Result<Vec<Saved>, _> = serde_json::from_slice(&bundle.text(list)?);
    let list = list.map_err(|_| foreign(&path, "its `manifest.json` is not that of `docker save`"))?;
    let mut bundle = bundle;
    let mut blobs = HashMap::new();
    for saved in list {
        let digest = bundle.add(entries, &saved, &mut blobs)?;
        let called = saved.repo_tags.unwrap_or_default();
        let names = called.iter().map(|name| Reference::parse(name).map_err(|_| name.clone()));
        let mut names: Vec<_> = names.collect();
        if names.is_empty() {
            names.push(Err(String::new()));
        }
        bundle.images.extend(names.into_iter().map(|name| Packed {
            name,
            digest: digest.clone(),
            media_type: MANIFEST.to_owned(),
            size: None,
        }));
    }
    bundle.place = Place::Archive(blobs);
    Ok(bundle)
}

impl Bundle {
    /// Writes an image's manifest; its digest.
    fn add(
        &mut self,
        entries: &Entries,
        saved: &Saved,
        blobs: &mut HashMap<Digest, Span>,
    ) -> Result<Digest, BundleError> {
        let broken = || foreign(&self.path, "a configuration in it is none of an image");
        let at =
            find(entries, &saved.config)?.filter(|(_, size)| *size <= MAX_MANIFEST).ok_or_else(broken)?;
        let text = self.text(at)?;
        let config = Digest::of(&text);
        let configuration: Configuration = serde_json::from_slice(&text).map_err(|_| broken())?;
        let diff_ids = configuration.rootfs.diff_ids;
        if diff_ids.len() != saved.layers.len() {
            return Err(foreign(
                &self.path,
                "a configuration in it has other layers than `manifest.json` says",
            ));
        }
        let mut layers = Vec::with_capacity(diff_ids.len());
        for (diff_id, name) in diff_ids.into_iter().zip(&saved.layers) {
            let span = find(entries, name)?;
            let span = span.ok_or_else(|| entries.refused(name, "is named and not there"))?;
            let diff_id = diff_id.parse().map_err(|_| broken())?;
            let (digest, media_type) = self.layer(span, diff_id)?;
            layers.push(json!({"mediaType": media_type, "digest": digest.as_str(), "size": span.1}));
            blobs.insert(digest, span);
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": config.as_str(), "size": text.len()},
            "layers": layers,
        });
        blobs.insert(config, at);
        let manifest = manifest.to_string();
        let digest = Digest::of(manifest.as_bytes());
        self.made.insert(digest.clone(), manifest.into());
        Ok(digest)
    }

    /// The digest of a layer as it is, and what it is called. The configuration knows it uncompressed only.
    fn layer(&self, span: Span, diff_id: Digest) -> Result<(Digest, &'static str), BundleError> {
        let (file, size) = self.part(span)?;
        let mut content = file.take(size);
        let mut block = vec![0; 256 * 1024];
        let mut hasher: Option<Hasher> = None;
        loop {
            let read = content.read(&mut block).map_err(|source| self.unreadable(source))?;
            let block = block.get(..read).unwrap_or_default();
            if hasher.is_none() && !block.starts_with(&GZIP) {
                return Ok((diff_id, LAYER));
            }
            if block.is_empty() {
                break;
            }
            hasher.get_or_insert_with(|| Hasher::new(Algorithm::Sha256)).update(block);
        }
        Ok((hasher.map_or(diff_id, Hasher::finish), GZIPPED_LAYER))
    }
}

/// Where a file is that `manifest.json` names, behind a link if it is one.
fn find(entries: &Entries, name: &str) -> Result<Option<Span>, BundleError> {
    let plain = |name: &str| match entries.span(name)? {
        Some(span) => Ok(Some(span)),
        None => Ok(entries::blob(name).and_then(|digest| entries.blobs.get(&digest).copied())),
    };
    if let Some(span) = plain(name)? {
        return Ok(Some(span));
    }
    // Older versions wrote a layer that two images share as a link from one to the other.
    let Some((_, to)) = entries.links.iter().find(|(link, _)| link == name) else { return Ok(None) };
    let to = within(name, to).ok_or_else(|| entries.refused(name, "is a link that leads out of it"))?;
    plain(&to)
}

/// Where a link leads to within the file; `None`: out of it.
fn within(link: &str, to: &str) -> Option<String> {
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    for part in Path::new(to).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir => return None,
        }
    }
    Some(parts.join("/"))
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const GZIPPED_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What every gzip file begins with (RFC 1952 §2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];
