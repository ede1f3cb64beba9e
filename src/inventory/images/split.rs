//! Images written in parts, as the values of charts have them: `{registry, repository, tag, digest}`.

use super::guess::{Shape, says_image};
use crate::inventory::{Kind, Value};

/// The image that the parts of a map make which stands under `key`.
pub(super) fn joined(key: &str, map: &Value) -> Option<String> {
    let says = says_image(key);
    if word(map, "image").is_some() {
        return None;
    }
    let name = word(map, "repository").or_else(|| word(map, "name").filter(|_| says))?;
    // Elsewhere, a version beside a repository is more often that of a chart.
    let tag = word(map, "tag").or_else(|| word(map, "version").filter(|_| says));
    let digest = digest(map);
    if !says && tag.is_none() && digest.is_none() {
        return None;
    }
    join(&[word(map, "registry"), Some(name)], tag, digest)
}

/// The image that an `image` without a tag makes with what stands beside it: `{repository, image, version}`,
/// `{image, tag}`.
pub(super) fn beside(map: &Value, image: &str) -> Option<String> {
    let shape = Shape::of(image).filter(|shape| !shape.is_exact())?;
    let before = |key| word(map, key).filter(|_| !shape.has_registry);
    let places = [before("registry"), before("repository"), Some(image)];
    let is_placed = matches!(places, [Some(_), ..] | [_, Some(_), _]);
    let tag = word(map, "tag").or_else(|| word(map, "version").filter(|_| is_placed));
    let digest = digest(map);
    (is_placed || tag.is_some() || digest.is_some()).then(|| join(&places, tag, digest)).flatten()
}

/// Whether a map is built like a container, so that one word in it is an image's name for certain.
pub(super) fn is_container(map: &Value) -> bool {
    ["args", "command", "env", "imagePullPolicy", "script", "volumeMounts"]
        .iter()
        .any(|key| map.get(key).is_some())
}

fn join(places: &[Option<&str>], tag: Option<&str>, digest: Option<String>) -> Option<String> {
    let mut image = String::new();
    for place in places.iter().flatten() {
        let place = place.trim_matches('/');
        if image.is_empty() || place.strip_prefix(image.as_str()).is_some_and(|rest| rest.starts_with('/')) {
            image.clear();
        } else {
            image.push('/');
        }
        image.push_str(place);
    }
    let digest = digest.or_else(|| tag.filter(|tag| tag.starts_with("sha256:")).map(Into::into));
    if let Some(tag) = tag.filter(|tag| !tag.contains(':')) {
        image.extend([":", tag]);
    }
    if let Some(digest) = digest {
        image.extend(["@", &digest]);
    }
    Shape::of(&image).map(|_| image)
}

fn digest(map: &Value) -> Option<String> {
    let digest = word(map, "digest").or_else(|| word(map, "sha"))?;
    Some(if digest.contains(':') { digest.to_owned() } else { format!("sha256:{digest}") })
}

/// A text or number that is not empty. A tag may be written like a number.
fn word<'v>(map: &'v Value, key: &str) -> Option<&'v str> {
    match &map.get(key)?.kind {
        Kind::Number(word) | Kind::Text(word) => Some(word.trim()).filter(|word| !word.is_empty()),
        _ => None,
    }
}
