//! Sources: which references a rule speaks of.
//!
//! A source is `*`, `*.` and a host, a registry with or without a path, or a whole reference. It holds a reference
//! by its normalised text, on segment boundaries.

use crate::image::{DEFAULT_REGISTRY, Reference, is_registry};

use super::problem::{Fault, quoted};

/// What a rule's `source` says.
#[derive(Debug)]
pub(super) struct Source {
    written: Box<str>,
    /// The text to compare with, where it is not the written one (or its end).
    normalised: Option<Box<str>>,
    shape: Shape,
}

/// The four kinds of sources.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    /// `*`.
    Everything,
    /// A whole reference; where its name (registry and repository) ends in the key.
    Exact { name_end: usize },
    /// A registry, or a registry and a path.
    Prefix,
    /// `*.` and a host with or without a port.
    Wildcard,
}

/// How closely a source describes what it holds; the greater wins.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Closeness {
    // In ascending order: product.md §1, "Which rule".
    Everything,
    /// The host's length; then one with a port before one without.
    Wildcard(usize, bool),
    /// The length of registry and path. Two prefixes of one name are of different lengths, and a registry alone is
    /// the shortest.
    Prefix(usize),
    Exact,
}

impl Source {
    /// Reads a source as written.
    pub(super) fn read(written: &str, scratch: &mut String) -> Result<Self, Fault> {
        let source = |normalised: Option<&str>, shape| Self {
            written: written.into(),
            normalised: normalised.map(Into::into),
            shape,
        };
        let refused =
            |why: &str, remedy: String| Err(Fault::new(format!("source {} {why}", quoted(written)), remedy));
        if written == "*" {
            return Ok(source(None, Shape::Everything));
        }
        if let Some(remedy) = no_reference_at_all(written) {
            return refused("is no registry, path or reference", remedy);
        }
        if let Some(host) = written.strip_prefix("*.") {
            if let Some((wildcard, _)) = written.split_once('/') {
                return refused("has a path after its wildcard host", format!("write {}", quoted(wildcard)));
            }
            if !is_registry(host) || host.starts_with('[') {
                return refused(
                    "has no host after `*.`",
                    "write a host with or without a port, as in `*.gcr.io`".into(),
                );
            }
            return Ok(source(None, Shape::Wildcard));
        }
        if let Some(before) = written.strip_suffix("/*").filter(|before| !before.contains('*')) {
            return refused(
                "ends in `/*`",
                format!("write {}: a source holds all that is below it", quoted(before)),
            );
        }
        if written.contains('*') {
            return refused(
                "has a `*` where none can be",
                "`*` stands alone, or as `*.` before a host".into(),
            );
        }
        let (registry, path) = match written.split_once('/') {
            Some((registry, path)) => (registry, Some(path)),
            None => (written, None),
        };
        let exact = path.is_some_and(|path| path.contains([':', '@']));
        scratch.clear();
        scratch.push_str(written);
        if path.is_none() {
            scratch.push_str("/x/x");
        }
        let reference = match Reference::parse(scratch) {
            Ok(reference) => reference,
            Err(error) => return refused(&format!("is no reference: {error}"), EXAMPLE.into()),
        };
        let legacy = reference.registry() == DEFAULT_REGISTRY && registry != DEFAULT_REGISTRY;
        if legacy && registry != "index.docker.io" {
            let repository = if exact { reference.as_str() } else { reference.name() };
            let remedy = match path {
                None => EXAMPLE.to_owned(),
                Some(_) => format!("write {}", quoted(repository)),
            };
            return refused("does not begin with a registry", remedy);
        }
        if exact {
            let key = match (reference.tag(), reference.digest()) {
                // A digest is matched whatever the tag, so a tag beside it says nothing.
                (Some(_), Some(digest)) => format!("{}@{digest}", reference.name()),
                _ => reference.as_str().to_owned(),
            };
            let name_end = reference.name().len();
            return Ok(source((key != written).then_some(&key), Shape::Exact { name_end }));
        }
        let normalised = legacy.then(|| written.replacen(registry, DEFAULT_REGISTRY, 1));
        Ok(source(normalised.as_deref(), Shape::Prefix))
    }

    /// Stands in for a source that could not be read, in a table that is going to be refused.
    pub(super) fn unread() -> Self {
        Self { written: "".into(), normalised: None, shape: Shape::Prefix }
    }

    /// The text as written.
    pub(super) fn as_str(&self) -> &str {
        &self.written
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// The normalised text, of a wildcard what follows the `*.`. Two sources of one shape are equal if this is.
    pub(super) fn key(&self) -> &str {
        match (&self.normalised, self.shape) {
            (Some(normalised), _) => normalised,
            (None, Shape::Wildcard) => self.written.strip_prefix("*.").unwrap_or(&self.written),
            (None, _) => &self.written,
        }
    }

    /// Registry and path of the source; nothing for `*` and `*.x`, which name none.
    pub(super) fn name(&self) -> Option<&str> {
        match self.shape {
            Shape::Everything | Shape::Wildcard => None,
            Shape::Exact { name_end } => self.key().get(..name_end),
            Shape::Prefix => Some(self.key()),
        }
    }

    /// Of a whole reference, its tag or its digest.
    pub(super) fn version(&self) -> Option<&str> {
        match self.shape {
            Shape::Exact { name_end } => self.key().get(name_end + 1..),
            _ => None,
        }
    }

    /// How closely it describes `reference`; `None`: it does not hold it.
    pub(super) fn closeness(&self, reference: &Reference) -> Option<Closeness> {
        match self.shape {
            Shape::Everything => Some(Closeness::Everything),
            Shape::Wildcard => {
                let (host, port) = split_port(reference.registry());
                let (suffix, own_port) = split_port(self.key());
                let labels = host.strip_suffix(suffix)?.strip_suffix('.')?;
                let holds = !labels.is_empty() && (own_port.is_none() || own_port == port);
                holds.then_some(Closeness::Wildcard(suffix.len(), own_port.is_some()))
            }
            Shape::Prefix => {
                self.rest(reference)?;
                Some(Closeness::Prefix(self.key().len()))
            }
            Shape::Exact { .. } => {
                let same = self.name() == Some(reference.name()) && self.version() == version(reference);
                same.then_some(Closeness::Exact)
            }
        }
    }

    /// What remains of the name of `reference` behind the source: empty, or `/` and a path. `None`: it does not hold
    /// it.
    pub(super) fn rest<'r>(&self, reference: &'r Reference) -> Option<&'r str> {
        match self.shape {
            Shape::Prefix => {
                let rest = reference.name().strip_prefix(self.key())?;
                (rest.is_empty() || rest.starts_with('/')).then_some(rest)
            }
            Shape::Exact { .. } => self.closeness(reference).map(|_| ""),
            Shape::Everything | Shape::Wildcard => {
                self.closeness(reference)?;
                reference.name().get(reference.registry().len()..)
            }
        }
    }
}

/// What an exact source compares: the digest if there is one, else the tag.
pub(super) fn version(reference: &Reference) -> Option<&str> {
    reference.digest().or_else(|| reference.tag())
}

/// Host and port of a registry. Addresses in brackets keep their colons.
pub(super) fn split_port(registry: &str) -> (&str, Option<&str>) {
    match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    }
}

/// Whether wildcards pass a registry by because it can only be this machine or this cluster (product.md §1):
/// `localhost`, loopback addresses, `*.svc`, `*.svc.cluster.local`, with any port.
pub(super) fn is_local(registry: &str) -> bool {
    let (host, _) = split_port(registry);
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address
            .parse::<std::net::Ipv6Addr>()
            .is_ok_and(|address| address.to_canonical().is_loopback());
    }
    host.eq_ignore_ascii_case("localhost")
        || is_in_cluster(host)
        || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// Whether every host that ends in `.` and `suffix` is one of this cluster.
pub(super) fn is_local_suffix(suffix: &str) -> bool {
    let (host, _) = split_port(suffix);
    is_in_cluster(host) || ["svc", "svc.cluster.local"].iter().any(|name| host.eq_ignore_ascii_case(name))
}

fn is_in_cluster(host: &str) -> bool {
    [".svc", ".svc.cluster.local"].iter().any(|suffix| {
        let start = host.len().checked_sub(suffix.len());
        start.and_then(|start| host.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    })
}

/// Checks that a text is a registry as references have it, and normalises it.
pub(super) fn check_host(written: &str, scratch: &mut String) -> Result<Box<str>, Fault> {
    let refused = |remedy: String| Err(Fault::new(format!("{} is no registry", quoted(written)), remedy));
    if let Some(remedy) = no_reference_at_all(written) {
        return refused(remedy);
    }
    if let Some((registry, _)) = written.split_once('/') {
        return refused(format!("write {}, without a path", quoted(registry)));
    }
    match Source::read(written, scratch) {
        Ok(source) if source.shape == Shape::Prefix => Ok(source.key().into()),
        _ => refused("write a host with a `.`, a port or both, as in `registry.example.com:5000`".into()),
    }
}

/// Common mistakes in what should be a registry, a path or a reference, with the remedy.
pub(super) fn no_reference_at_all(written: &str) -> Option<String> {
    if let Some((scheme @ ("http" | "https" | "docker" | "oci"), rest)) = written.split_once("://") {
        return Some(format!("leave out `{scheme}://`: write {}", quoted(rest.trim_end_matches('/'))));
    }
    if written.is_empty() {
        return Some(EXAMPLE.into());
    }
    if written.trim() != written {
        return Some(format!("write {}, without blanks around it", quoted(written.trim())));
    }
    if written.len() > 1 && written.ends_with('/') {
        return Some(format!("write {}, without the `/` at its end", quoted(written.trim_end_matches('/'))));
    }
    None
}

const EXAMPLE: &str = "write a registry and perhaps a path, as in `docker.io/library`";
