//! Where layers are that may not be given to others: at the addresses which their manifest says (`urls`).
//!
//! Only addresses of another registry's blobs are followed, over HTTPS, as that registry is reached otherwise: with
//! its certificate, its login and its limits. Windows base layers are at such ones (`https://mcr.microsoft.com/v2/…`).

use crate::image::{Digest, Reference};

use super::manifest::Descriptor;

/// The places of a layer beside the image's own repository. Of what may be given to others there are none.
pub(super) fn homes(blob: &Descriptor) -> impl Iterator<Item = Reference> {
    let urls = if blob.is_nondistributable() { &*blob.urls } else { &[] };
    urls.iter().take(MAX_URLS).filter_map(|url| home(url, &blob.digest))
}

/// The blob of that digest in another registry which a URL names (distribution-spec §pulling-blobs).
fn home(url: &str, digest: &Digest) -> Option<Reference> {
    let (host, path) = url.strip_prefix("https://")?.split_once("/v2/")?;
    let (repository, named) = path.rsplit_once("/blobs/")?;
    let reference = Reference::parse(&format!("{host}/{repository}@{digest}")).ok()?;
    // What is no host would be the beginning of a path.
    (named == digest.as_str() && reference.registry() == host).then_some(reference)
}

/// Manifests come from anywhere: so many addresses are tried at most.
const MAX_URLS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_blob_of_another_registry_is_followed_and_only_over_https() {
        let (digest, other) = (Digest::of(b"layer"), Digest::of(b"another"));
        let at = |url: String| home(&url, &digest).map(|home| home.to_string());
        for host in ["mcr.microsoft.com", "mirror.corp:5000"] {
            let url = format!("{host}/v2/windows/nanoserver/blobs/{digest}");
            assert_eq!(at(format!("https://{url}")), Some(format!("{host}/windows/nanoserver@{digest}")));
            assert_eq!(at(format!("http://{url}")), None);
        }
        for url in [
            format!("https://go.microsoft.com/fwlink/?linkid={digest}"),
            format!("https://mcr.microsoft.com/v2/windows/nanoserver/blobs/{other}"),
            format!("https://mcr.microsoft.com/v2/windows/nanoserver/manifests/{digest}"),
            format!("https://user:word@mcr.microsoft.com/v2/windows/nanoserver/blobs/{digest}"),
            format!("https://windows/v2/nanoserver/blobs/{digest}"),
            format!("https://mcr.microsoft.com/x/v2/nanoserver/blobs/{digest}"),
        ] {
            assert_eq!(at(url.clone()), None, "{url}");
        }
    }
}
