//! What looks like an image.
//!
//! A text that is a reference is not yet an image: `true` is one, `redis:6379` is an address and `app/v1` a version. A
//! guess needs a digest, or a path with a tag, or a key that says `image`; in running text, among words, it begins with a
//! registry as well.

use crate::image::Reference;

/// What a reference was written with.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a part of the text that may be there")]
pub(super) struct Shape {
    pub(super) has_digest: bool,
    pub(super) has_path: bool,
    pub(super) has_registry: bool,
    pub(super) has_tag: bool,
}

impl Shape {
    /// `None`: this is no reference, or a word that stands for none, or for a file.
    pub(super) fn of(text: &str) -> Option<Self> {
        if text.len() > LONGEST || FILES.iter().any(|ending| text.ends_with(ending)) {
            return None;
        }
        let reference = Reference::parse(text).ok()?;
        let (name, has_digest) = text.split_once('@').map_or((text, false), |(name, _)| (name, true));
        let (before, last) = name.rsplit_once('/').unwrap_or(("", name));
        let shape = Self {
            has_digest,
            has_path: !before.is_empty(),
            has_registry: name.strip_prefix(reference.registry()).is_some_and(|rest| rest.starts_with('/')),
            has_tag: last.contains(':'),
        };
        (!shape.is_bare() || is_name(text)).then_some(shape)
    }

    /// Whether it is one word, which may be anything.
    pub(super) fn is_bare(self) -> bool {
        !self.has_digest && !self.has_path && !self.has_tag
    }

    /// Whether it says which image: by tag or digest.
    pub(super) fn is_exact(self) -> bool {
        self.has_digest || self.has_tag
    }
}

/// Whether a key says that an image stands under it: `image`, `SIDECAR_IMAGE`, `--pause-image`, `RELATED_IMAGE_X`.
pub(super) fn says_image(key: &str) -> bool {
    if key.len() > LONGEST {
        return false;
    }
    let word: String =
        key.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    word.contains("relatedimage") || SAYING.iter().any(|ending| word.ends_with(ending))
}

/// The images in one line that stands under a key.
pub(super) fn in_line<'t>(key: &str, line: &'t str) -> Vec<&'t str> {
    if line.contains(char::is_whitespace) {
        let words = line.split(|sign: char| sign.is_whitespace() || "'\"`,;|()<>[]{}=".contains(sign));
        return words.filter(|word| is_named(word)).collect();
    }
    let (key, value) = line.split_once('=').unwrap_or((key, line));
    without_quotes(value).split(',').filter(|part| is_image(key, part)).collect()
}

/// The images in a line of a script, of a template or of any other text that is no YAML.
pub(super) fn in_loose_line(line: &str) -> Vec<&str> {
    let line = line.trim();
    let line = line.strip_prefix("- ").unwrap_or(line).trim_end_matches(',');
    if line.starts_with('#') || line.starts_with("//") {
        return Vec::new();
    }
    let pair = line.split_once(": ").or_else(|| line.split_once('='));
    let pair = pair.map(|(key, value)| (key, value.split(" #").next().unwrap_or(value)));
    match pair.map(|(key, value)| (without_quotes(key), without_quotes(value))) {
        Some((key, value)) if !value.contains(char::is_whitespace) => in_line(key, value),
        _ => in_line("", line),
    }
}

/// Whether a text that stands under a key is taken for an image.
pub(super) fn is_image(key: &str, text: &str) -> bool {
    Shape::of(text)
        .is_some_and(|shape| shape.has_digest || (shape.has_path && shape.has_tag) || says_image(key))
}

/// Whether a word among others is taken for an image.
fn is_named(word: &str) -> bool {
    // Most words have no `/`: they need no closer look.
    word.contains('/') && Shape::of(word).is_some_and(|shape| shape.has_registry && shape.is_exact())
}

/// Whether one word alone can be the name of an image, and is not a switch's position.
fn is_name(text: &str) -> bool {
    !SWITCHES.contains(&text) && text.starts_with(|first: char| first.is_ascii_lowercase())
}

fn without_quotes(text: &str) -> &str {
    text.trim().trim_matches(['"', '\'', '`'])
}

/// product.md §7: an image's text has at most 4,096 bytes.
const LONGEST: usize = 4096;

/// What keys that say `image` end with, without signs and capital letters.
const SAYING: [&str; 7] =
    ["image", "images", "imagename", "imageref", "imagereference", "imageuri", "imageurl"];

/// Words that stand where an image would, and mean none. `auto` is left to whoever injects the container.
const SWITCHES: [&str; 16] = [
    "always", "auto", "default", "disabled", "enabled", "false", "latest", "never", "nil", "no", "none",
    "null", "off", "on", "true", "yes",
];

/// Endings of files: pictures, and disks of machines.
const FILES: [&str; 13] = [
    ".gif", ".gz", ".ico", ".img", ".iso", ".jpeg", ".jpg", ".ova", ".png", ".qcow2", ".svg", ".vmdk",
    ".webp",
];
