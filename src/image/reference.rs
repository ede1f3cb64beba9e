//! Image references: the grammar and the normalisation of `distribution/reference` 0.6, which containerd and the
//! kubelet use. Written by hand over bytes: no regular expression, no allocation but the value's own.

use std::{fmt, str::FromStr, sync::Arc};

use super::digest::{Digest, ParseDigestError};

/// The registry that a reference without one means.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// An image reference, normalised, with the text as it was written beside it.
///
/// Normalised means: the registry is spelled out (`docker.io` if there was none), an official image has its
/// `library/`, and a reference without tag and digest has the tag `latest`. Equality and hash are of the normalised
/// text. A copy shares the text.
///
/// ```
/// use portolan::image::Reference;
///
/// let reference: Reference = "nginx".parse()?;
/// assert_eq!(reference.written(), "nginx");
/// assert_eq!(reference.to_string(), "docker.io/library/nginx:latest");
/// assert_eq!(reference.registry(), "docker.io");
/// assert_eq!(reference.repository(), "library/nginx");
/// assert_eq!(reference.tag(), Some("latest"));
/// assert_eq!(reference.digest(), None);
/// # Ok::<(), portolan::image::ParseReferenceError>(())
/// ```
#[derive(Clone)]
pub struct Reference {
    /// The text as written, then (unless it is the same) the normalised text.
    buffer: Arc<str>,
    /// Where the normalised text begins.
    start: usize,
    /// Where the registry ends, the name (registry and repository), and the tag; absolute positions in `buffer`.
    registry_end: usize,
    name_end: usize,
    tag_end: usize,
}

/// Why a text is no image reference.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseReferenceError {
    /// The part after `@` is no digest.
    #[error("the part after `@` is no digest: {0}")]
    BadDigest(ParseDigestError),
    /// The registry is no host, or its port is no number.
    #[error("the registry is no host name or address with an optional port")]
    BadRegistry,
    /// The repository breaks the grammar.
    #[error(
        "the repository is not made of lower-case letters and digits, joined by `.`, `_`, `__`, `-` and `/`"
    )]
    BadRepository,
    /// The tag breaks the grammar.
    #[error("a tag is 1 to 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two")]
    BadTag,
    /// The text is empty.
    #[error("the text is empty")]
    Empty,
    /// 64 hex digits alone: an image identifier of a runtime, not a name.
    #[error("64 hex digits alone are an image's identifier, not its name")]
    Identifier,
    /// The repository is longer than 255 characters.
    #[error("the repository is longer than 255 characters")]
    TooLong,
}

impl Reference {
    /// Reads a reference as a manifest writes it and normalises it.
    ///
    /// # Errors
    /// The first part of the text that breaks the grammar.
    pub fn parse(written: &str) -> Result<Self, ParseReferenceError> {
        let parts = Parts::split(written)?;
        let registry = parts.registry.unwrap_or(DEFAULT_REGISTRY);
        let same = parts.registry == Some(parts.registry_written)
            && !parts.official
            && (parts.tag.is_some() || parts.digest.is_some());
        let tag = parts.tag.or_else(|| parts.digest.is_none().then_some("latest"));
        let start = if same { 0 } else { written.len() };
        let registry_end = start + registry.len();
        let name_end = registry_end + 1 + if parts.official { 8 } else { 0 } + parts.repository.len();
        let tag_end = name_end + tag.map_or(0, |tag| 1 + tag.len());
        let mut buffer = String::with_capacity(tag_end + parts.digest.map_or(0, |digest| 1 + digest.len()));
        buffer.push_str(written);
        if !same {
            buffer.push_str(registry);
            buffer.push('/');
            if parts.official {
                buffer.push_str("library/");
            }
            buffer.push_str(parts.repository);
            if let Some(tag) = tag {
                buffer.push(':');
                buffer.push_str(tag);
            }
            if let Some(digest) = parts.digest {
                buffer.push('@');
                buffer.push_str(digest);
            }
        }
        Ok(Self { buffer: buffer.into(), start, registry_end, name_end, tag_end })
    }

    /// Takes a text that is to be a reference in normalised form already, such as one that we put together.
    ///
    /// `None` if it is no reference, if a reader would normalise it to something else (`docker.io/nginx` would be
    /// read as `docker.io/library/nginx`), or if registry and repository have more than 255 characters together.
    pub fn from_normalised(text: &str) -> Option<Self> {
        let reference = Self::parse(text).ok()?;
        (reference.start == 0 && reference.name().len() <= MAX_NAME).then_some(reference)
    }

    /// The same tag and digest under another name, whose first `registry_end` bytes are a registry.
    ///
    /// `None` if [`Self::from_normalised`] takes the text for none: the rest of the name is no repository, a reader
    /// would normalise it to something else, or it is too long.
    pub fn renamed(&self, name: &str, registry_end: usize) -> Option<Self> {
        let (registry, repository) =
            (name.get(..registry_end)?, name.get(registry_end..)?.strip_prefix('/')?);
        let is_official = registry == DEFAULT_REGISTRY && split(repository, b'/').is_none();
        if is_official || name.len() > MAX_NAME || !is_path(repository) {
            return None;
        }
        let version = self.part(self.name_end, self.buffer.len());
        let mut buffer = String::with_capacity(name.len() + version.len());
        buffer.push_str(name);
        buffer.push_str(version);
        let tag_end = name.len() + (self.tag_end - self.name_end);
        Some(Self { buffer: buffer.into(), start: 0, registry_end, name_end: name.len(), tag_end })
    }

    /// The text as it was written.
    pub fn written(&self) -> &str {
        let end = if self.start == 0 { self.buffer.len() } else { self.start };
        self.part(0, end)
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        self.part(self.start, self.buffer.len())
    }

    /// The normalised text without the digest: registry, repository and, if there is one, the tag.
    pub fn without_digest(&self) -> &str {
        self.part(self.start, self.tag_end)
    }

    /// Registry and repository, `docker.io/library/nginx`.
    pub fn name(&self) -> &str {
        self.part(self.start, self.name_end)
    }

    /// The registry: `host`, `host:port` or `[IPv6]:port`.
    pub fn registry(&self) -> &str {
        self.part(self.start, self.registry_end)
    }

    /// The path in the registry, `library/nginx`.
    pub fn repository(&self) -> &str {
        self.part(self.registry_end + 1, self.name_end)
    }

    /// The tag; there is none only beside a digest.
    pub fn tag(&self) -> Option<&str> {
        (self.tag_end > self.name_end).then(|| self.part(self.name_end + 1, self.tag_end))
    }

    /// The digest's text, `sha256:…`.
    pub fn digest(&self) -> Option<&str> {
        (self.tag_end < self.buffer.len()).then(|| self.part(self.tag_end + 1, self.buffer.len()))
    }

    fn part(&self, from: usize, to: usize) -> &str {
        self.buffer.get(from..to).expect("the positions were taken from this text")
    }
}

impl PartialEq for Reference {
    fn eq(&self, other: &Self) -> bool {
        // A clone, as of what a table has found before, is known without reading it.
        Arc::ptr_eq(&self.buffer, &other.buffer) || self.as_str() == other.as_str()
    }
}

impl Eq for Reference {}

impl std::hash::Hash for Reference {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({})", self.as_str())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Whether `text` can stand for a registry before the first `/` of a reference: a host with an optional port.
///
/// The shape alone is judged; whether a reader takes a first segment for a registry at all is another question (it
/// needs a `.`, a `:`, an upper-case letter or the name `localhost`).
pub fn is_registry(text: &str) -> bool {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((address, rest)) = split(rest, b']') else {
            return false;
        };
        if address.is_empty() || !address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':') {
            return false;
        }
        (None, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').unwrap_or("")) })
    } else {
        match split(text, b':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        }
    };
    port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
        && host.is_none_or(|host| host.as_bytes().split(|byte| *byte == b'.').all(is_label))
}

/// Whether `text` is a tag.
pub fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// What the text of a reference consists of, as slices of it.
struct Parts<'a> {
    /// The registry, normalised; `None`: not written, or a spelling of the default.
    registry: Option<&'a str>,
    /// The registry's text as written; empty if there is none.
    registry_written: &'a str,
    /// Whether `library/` is to be put before the repository.
    official: bool,
    repository: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self, ParseReferenceError> {
        if text.is_empty() {
            return Err(ParseReferenceError::Empty);
        }
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ParseReferenceError::Identifier);
        }
        let (registry_written, rest) = match split(text, b'/') {
            Some((first, rest)) if names_registry(first) => (first, rest),
            _ => ("", text),
        };
        let registry = match registry_written {
            "" | LEGACY_REGISTRY => None,
            written => Some(written),
        };
        let (rest, digest) = match split(rest, b'@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (rest, None),
        };
        let (repository, tag) = match split_last(rest, b':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        // `foo_bar.com/x` is no host by the grammar but a path of two segments, and so it is let through there;
        // containerd then takes what stands before the first `/` for the host all the same.
        if registry.is_some_and(|registry| !is_registry(registry) && !is_segment(registry)) {
            return Err(ParseReferenceError::BadRegistry);
        }
        if !is_path(repository) {
            return Err(ParseReferenceError::BadRepository);
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ParseReferenceError::BadTag);
        }
        if let Some(digest) = digest {
            Digest::check(digest).map_err(ParseReferenceError::BadDigest)?;
        }
        let official =
            registry.is_none_or(|registry| registry == DEFAULT_REGISTRY) && split(repository, b'/').is_none();
        if repository.len() + if official { 8 } else { 0 } > MAX_NAME {
            return Err(ParseReferenceError::TooLong);
        }
        Ok(Self { registry, registry_written, official, repository, tag, digest })
    }
}

/// What stands before the first `sign`, an ASCII character, and what behind. References are so short that looking at
/// one byte after the other is faster than what the standard library does for texts of any length.
fn split(text: &str, sign: u8) -> Option<(&str, &str)> {
    let position = text.bytes().position(|byte| byte == sign)?;
    Some((text.get(..position)?, text.get(position + 1..)?))
}

/// What stands before the last `sign`, an ASCII character, and what behind.
fn split_last(text: &str, sign: u8) -> Option<(&str, &str)> {
    let position = text.bytes().rposition(|byte| byte == sign)?;
    Some((text.get(..position)?, text.get(position + 1..)?))
}

/// Whether the first of several segments is a registry (`splitDockerDomain`).
fn names_registry(segment: &str) -> bool {
    let is_upper = |character: char| character.to_lowercase().ne(std::iter::once(character));
    segment == "localhost"
        || segment.bytes().any(|byte| matches!(byte, b'.' | b':' | b'A'..=b'Z'))
        || (!segment.is_ascii() && segment.chars().any(is_upper))
}

/// A segment of a repository: lower-case letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_segment(text: &str) -> bool {
    split(text, b'/').is_none() && is_path(text)
}

/// Segments joined by `/`.
fn is_path(text: &str) -> bool {
    let mut rest = text.as_bytes();
    loop {
        let behind = behind_run(rest, is_lower_alphanumeric);
        if behind.len() == rest.len() {
            return false;
        }
        rest = match behind {
            [] => return true,
            [b'_', b'_', behind @ ..] | [b'.' | b'/' | b'_', behind @ ..] => behind,
            [b'-', behind @ ..] => behind_run(behind, |byte| byte == b'-'),
            _ => return false,
        };
    }
}

/// What follows the bytes at the beginning that are as they should be.
fn behind_run(bytes: &[u8], is_in: impl Fn(u8) -> bool) -> &[u8] {
    let end = bytes.iter().position(|byte| !is_in(*byte)).unwrap_or(bytes.len());
    bytes.get(end..).unwrap_or_default()
}

/// A label of a host name: letters, digits and `-`, the last neither first nor last.
fn is_label(text: &[u8]) -> bool {
    let (Some(first), Some(last)) = (text.first(), text.last()) else { return false };
    *first != b'-' && *last != b'-' && text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

fn is_lower_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// An older name of the default registry.
const LEGACY_REGISTRY: &str = "index.docker.io";

/// The most characters of a name (`RepositoryNameTotalLengthMax`).
const MAX_NAME: usize = 255;

#[cfg(test)]
mod tests;
