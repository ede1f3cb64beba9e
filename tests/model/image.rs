//! References as product.md §2 has them, read by plain splitting: the model's own, apart from `portolan::image`.

/// A reference, normalised.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Image {
    pub(crate) registry: String,
    pub(crate) path: String,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<String>,
}

impl Image {
    /// `None`: the text is no reference.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let is_identifier = text.len() == 64 && text.chars().all(|one| "0123456789abcdef".contains(one));
        let (registry, rest) = match text.split_once('/') {
            Some((first, rest)) if is_host(first) => (first, rest),
            _ => ("docker.io", text),
        };
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (rest, None),
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        let is_sound = !is_identifier
            && is_sound_host(registry)
            && path.split('/').all(is_segment)
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_digest);
        let official = registry == "docker.io" && !path.contains('/');
        let path = if official { format!("library/{path}") } else { path.to_owned() };
        let tag = tag.or_else(|| digest.is_none().then_some("latest")).map(str::to_owned);
        (is_sound && path.len() <= 255).then(|| Self {
            registry: registry.to_owned(),
            path,
            tag,
            digest: digest.map(str::to_owned),
        })
    }

    /// Registry and path.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }

    pub(crate) fn text(&self) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}"));
        let digest = self.digest.iter().map(|digest| format!("@{digest}"));
        std::iter::once(self.name()).chain(tag).chain(digest).collect()
    }
}

/// "A segment is a host if it has a `.` or `:`, is `localhost`, or has an upper-case letter."
fn is_host(segment: &str) -> bool {
    segment.contains(['.', ':']) || segment == "localhost" || segment.chars().any(char::is_uppercase)
}

fn is_sound_host(registry: &str) -> bool {
    let (host, port) = split_port(registry);
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|one| one.is_ascii_alphanumeric() || one == '-')
    };
    let is_address = |address: &str| {
        !address.is_empty() && address.chars().all(|one| one.is_ascii_hexdigit() || one == ':')
    };
    port.is_none_or(|port| !port.is_empty() && port.chars().all(|one| one.is_ascii_digit()))
        && bracketed.map_or_else(|| host.split('.').all(is_label), is_address)
}

fn is_segment(segment: &str) -> bool {
    // Runs of separators are not among what is generated.
    let pieces: Vec<_> = segment.split(['.', '_', '-']).collect();
    pieces.iter().all(|piece| {
        !piece.is_empty() && piece.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit())
    })
}

fn is_tag(tag: &str) -> bool {
    !tag.is_empty()
        && tag.len() <= 128
        && !tag.starts_with(['.', '-'])
        && tag.chars().all(|one| one.is_ascii_alphanumeric() || "_.-".contains(one))
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == length && hex.chars().all(|one| "0123456789abcdef".contains(one))
}

/// Host and port of a registry; an address in brackets keeps its colons.
pub(crate) fn split_port(registry: &str) -> (&str, Option<&str>) {
    if let Some((host, port)) = registry.rsplit_once(':')
        && !port.contains(']')
    {
        return (host, Some(port));
    }
    (registry, None)
}
