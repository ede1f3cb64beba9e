//! What a manifest or an index names. Its bytes are only looked at, never written anew.

use serde::Deserialize;

use crate::image::{Digest, Platform};

/// Why a manifest cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ManifestError {
    /// It is an index and an image's manifest at once, so that two readers would see two images.
    #[error("it is an index and a manifest at once")]
    Ambiguous,
    /// It names something by what is no digest.
    #[error("it names something by what is no digest")]
    BadDigest,
    /// It holds more indexes in each other, or more manifests, than any image has.
    #[error("it has more than {MAX_MANIFESTS} manifests, or indexes more than {MAX_DEPTH} deep")]
    TooMany,
    /// It is of neither form.
    #[error("it is neither an index nor the manifest of an image")]
    Unknown,
}

/// What something is called and how long it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) platform: Option<Platform>,
    /// Where else it is said to be.
    pub(super) urls: Vec<String>,
}

/// What a manifest names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Named {
    /// Manifests, and indexes.
    Index(Vec<Descriptor>),
    /// A configuration and layers.
    Image { config: Option<Descriptor>, layers: Vec<Descriptor> },
}

/// What a manifest is and names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Contents {
    /// As it says itself, else as it was called by who gave it.
    pub(super) media_type: String,
    pub(super) named: Named,
}

impl Contents {
    /// Looks into a manifest. `called` is what it was called by who gave it; it may be empty.
    pub(super) fn read(bytes: &[u8], called: &str) -> Result<Self, ManifestError> {
        let document: Document = serde_json::from_slice(bytes).map_err(|_| ManifestError::Unknown)?;
        let read = |descriptors: Vec<Written>| {
            descriptors.into_iter().map(Written::read).collect::<Result<Vec<_>, _>>()
        };
        let has_layers = document.config.is_some() || document.layers.is_some();
        let (usual, named) = match (document.manifests, has_layers || document.blobs.is_some()) {
            (Some(_), true) => return Err(ManifestError::Ambiguous),
            (Some(manifests), false) => (INDEX, Named::Index(read(manifests)?)),
            (None, true) => {
                let config = document.config.map(Written::read).transpose()?;
                let mut layers = read(document.layers.unwrap_or_default())?;
                layers.extend(read(document.blobs.unwrap_or_default())?);
                (IMAGE, Named::Image { config, layers })
            }
            (None, false) => return Err(ManifestError::Unknown),
        };
        let media_type = [document.media_type.as_deref().unwrap_or_default(), called]
            .into_iter()
            .find(|name| KNOWN.contains(name) || name.starts_with("application/vnd."))
            .unwrap_or(usual);
        if (matches!(named, Named::Index(_)) && IMAGES.contains(&media_type))
            || (matches!(named, Named::Image { .. }) && INDEXES.contains(&media_type))
        {
            return Err(ManifestError::Ambiguous);
        }
        Ok(Self { media_type: media_type.to_owned(), named })
    }
}

impl Descriptor {
    /// Whether it may not be given to others (image-spec §non-distributable-layers; Docker's foreign layers).
    pub(super) fn is_nondistributable(&self) -> bool {
        self.media_type.contains(".nondistributable.") || self.media_type.contains(".rootfs.foreign.")
    }

    /// Whether it is another index.
    pub(super) fn is_index(&self) -> bool {
        INDEXES.contains(&&*self.media_type)
    }

    /// Whether it is the configuration of an image, which says what platform that is for.
    pub(super) fn is_configuration(&self) -> bool {
        CONFIGURATIONS.contains(&&*self.media_type)
    }
}

/// The children of an index that are for one of these platforms; without any, all.
pub(super) fn wanted<'d>(children: &'d [Descriptor], platforms: &[Platform]) -> Vec<&'d Descriptor> {
    let is_wanted = |child: &&Descriptor| {
        let there = child.platform.as_ref();
        platforms.is_empty()
            || there.is_some_and(|there| platforms.iter().any(|platform| platform.admits(there)))
    };
    children.iter().filter(is_wanted).collect()
}

/// The platform that a configuration is for.
pub(super) fn platform_of(configuration: &[u8]) -> Option<Platform> {
    let platform: WrittenPlatform = serde_json::from_slice(configuration).ok()?;
    platform.read()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: Option<String>,
    manifests: Option<Vec<Written>>,
    config: Option<Written>,
    layers: Option<Vec<Written>>,
    /// Of the artifact manifest, which was dropped from the specification before its release.
    blobs: Option<Vec<Written>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<WrittenPlatform>,
    urls: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct WrittenPlatform {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

impl Written {
    fn read(self) -> Result<Descriptor, ManifestError> {
        Ok(Descriptor {
            media_type: self.media_type,
            digest: self.digest.parse().map_err(|_| ManifestError::BadDigest)?,
            size: self.size,
            platform: self.platform.and_then(|platform| platform.read()),
            urls: self.urls.unwrap_or_default(),
        })
    }
}

impl WrittenPlatform {
    fn read(&self) -> Option<Platform> {
        Some(Platform::new(self.os.as_deref()?, self.architecture.as_deref()?, self.variant.as_deref()))
    }
}

/// How many indexes may be in each other, and how many manifests behind one name.
pub(super) const MAX_DEPTH: usize = 4;
pub(super) const MAX_MANIFESTS: usize = 1000;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEXES: [&str; 2] = [INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"];
const IMAGES: [&str; 2] = [IMAGE, "application/vnd.docker.distribution.manifest.v2+json"];
const KNOWN: [&str; 4] = [INDEXES[0], INDEXES[1], IMAGES[0], IMAGES[1]];
const CONFIGURATIONS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_manifest_is_known_by_what_it_has_and_called_what_it_says() {
        let blob = json!({"mediaType": "x", "digest": Digest::of(b"").as_str(), "size": 0});
        let bad = json!({"mediaType": "x", "digest": "sha256:no", "size": 0});
        for (document, called, expected) in [
            (json!({"manifests": []}), "", Ok(INDEX)),
            (json!({"manifests": [blob]}), INDEXES[1], Ok(INDEXES[1])),
            (json!({"mediaType": INDEX, "manifests": [blob]}), "text/plain", Ok(INDEX)),
            (json!({"config": blob, "layers": [blob]}), "text/plain", Ok(IMAGE)),
            (json!({"config": blob, "layers": []}), IMAGES[1], Ok(IMAGES[1])),
            (json!({"config": blob, "layers": [], "manifests": []}), "", Err(ManifestError::Ambiguous)),
            (json!({"mediaType": IMAGE, "manifests": []}), "", Err(ManifestError::Ambiguous)),
            (json!({"mediaType": INDEX, "config": blob, "layers": []}), "", Err(ManifestError::Ambiguous)),
            (json!({"manifests": [bad]}), "", Err(ManifestError::BadDigest)),
            (json!({"config": blob, "layers": [bad]}), "", Err(ManifestError::BadDigest)),
            (json!({"schemaVersion": 2}), "", Err(ManifestError::Unknown)),
            (json!([]), "", Err(ManifestError::Unknown)),
        ] {
            let read = Contents::read(document.to_string().as_bytes(), called);
            assert_eq!(
                read.as_ref().map(|contents| &*contents.media_type).map_err(Clone::clone),
                expected,
                "{document}"
            );
        }
    }
}
