//! Rules as product.md §1 has them: what a source holds, whom a scope admits, where a mirror puts an image. All from
//! the texts that a parsed rule has kept as they were written.

use portolan::table::Rule;

use super::image::{Image, split_port};

/// One rule. `number` is its place in the table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ModelRule {
    pub(crate) number: usize,
    pub(crate) source: String,
    pub(crate) namespaces: Option<Vec<String>>,
    pub(crate) mirrors: Vec<String>,
    pub(crate) keep: bool,
    pub(crate) pin: &'static str,
    pub(crate) on_missing: &'static str,
    pub(crate) on_unavailable: &'static str,
    pub(crate) lock: &'static str,
}

/// What sort of source a rule has, in ascending order of how specific it is. The two wildcards are told apart by
/// their hosts' lengths first, and the two exact ones never hold the same reference.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    Everything,
    Wildcard,
    WildcardPort,
    Host,
    Path,
    ExactTag,
    ExactDigest,
}

/// How a rule admits a namespace, in ascending order of how specific that is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Scope {
    Unscoped,
    Glob,
    Name,
}

/// How specific a rule is about a reference in a namespace; the greater wins, and of equals the first written.
///
/// Rank of the source, its length, whether it has a port; rank of the scope, length of the literal prefix.
pub(crate) type Closeness = (usize, usize, bool, Scope, usize);

impl ModelRule {
    pub(crate) fn of(rule: &Rule) -> Self {
        Self {
            number: rule.id(),
            source: rule.source().to_owned(),
            namespaces: rule.namespaces().map(|all| all.iter().map(ToString::to_string).collect()),
            mirrors: rule.mirrors().iter().map(|mirror| mirror.as_str().to_owned()).collect(),
            keep: rule.keep(),
            pin: rule.pin().as_str(),
            on_missing: rule.on_missing().as_str(),
            on_unavailable: rule.on_unavailable().as_str(),
            lock: rule.lock().as_str(),
        }
    }

    /// What sort of source it has.
    pub(crate) fn kind(&self) -> Kind {
        let (registry, path) = self.split_source();
        match path {
            _ if self.source == "*" => Kind::Everything,
            _ if registry.starts_with("*.") && split_port(&registry).1.is_some() => Kind::WildcardPort,
            _ if registry.starts_with("*.") => Kind::Wildcard,
            None => Kind::Host,
            Some(path) if path.contains('@') => Kind::ExactDigest,
            Some(path) if path.contains(':') => Kind::ExactTag,
            Some(_) => Kind::Path,
        }
    }

    /// "A source begins with its registry in full (`index.docker.io` counts as `docker.io`)."
    fn split_source(&self) -> (String, Option<&str>) {
        let (registry, path) = match self.source.split_once('/') {
            Some((registry, path)) => (registry, Some(path)),
            None => (self.source.as_str(), None),
        };
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        (registry.to_owned(), path)
    }

    /// Whether the source holds the image, and then what of its path remains behind the source.
    pub(crate) fn rest(&self, image: &Image) -> Option<String> {
        let (registry, path) = self.split_source();
        match self.kind() {
            Kind::Everything => Some(image.path.clone()),
            // "At least one label before it, at any depth; any port unless it has one."
            Kind::Wildcard | Kind::WildcardPort => {
                let (host, port) = split_port(registry.strip_prefix("*.")?);
                let (own_host, own_port) = split_port(&image.registry);
                let labels: Vec<&str> = own_host.split('.').collect();
                let is_below = (1..labels.len()).any(|from| labels[from..].join(".") == host);
                (is_below && (port.is_none() || port == own_port)).then(|| image.path.clone())
            }
            Kind::Host => (image.registry == registry).then(|| image.path.clone()),
            // "A prefix on segment boundaries"; "its path is taken as written".
            Kind::Path => {
                let own: Vec<&str> = image.path.split('/').collect();
                let source: Vec<&str> = path?.split('/').collect();
                (image.registry == registry && own.starts_with(&source))
                    .then(|| own[source.len()..].join("/"))
            }
            // "A source with a tag matches that tag written without a digest; with a digest, that digest whatever
            // the tag."
            Kind::ExactTag | Kind::ExactDigest => {
                let source = Image::read(&self.source)?;
                let is_same = source.name() == image.name()
                    && source.digest == image.digest
                    && (source.digest.is_some() || source.tag == image.tag);
                is_same.then(String::new)
            }
        }
    }

    /// How the rule admits the namespace: by its best pattern; `None`: it does not.
    pub(crate) fn scope(&self, namespace: Option<&str>) -> Option<(Scope, usize)> {
        let Some(patterns) = &self.namespaces else { return Some((Scope::Unscoped, 0)) };
        let namespace = namespace?;
        patterns
            .iter()
            .filter(|pattern| matches(pattern.as_bytes(), namespace.as_bytes()))
            .map(|pattern| match pattern.find('*') {
                None => (Scope::Name, 0),
                Some(literal) => (Scope::Glob, literal),
            })
            .max()
    }

    /// How specific it is; `None`: it does not hold the image or does not admit the namespace.
    pub(crate) fn closeness(&self, image: &Image, namespace: Option<&str>) -> Option<Closeness> {
        self.rest(image)?;
        let (scope, literal) = self.scope(namespace)?;
        let (registry, path) = self.split_source();
        let kind = self.kind();
        let rank = match kind {
            Kind::Everything => 0,
            Kind::Wildcard | Kind::WildcardPort => 1,
            Kind::Host => 2,
            Kind::Path => 3,
            Kind::ExactTag | Kind::ExactDigest => 4,
        };
        let length = match kind {
            Kind::Wildcard | Kind::WildcardPort => split_port(&registry).0.len(),
            Kind::Path => path?.len(),
            _ => 0,
        };
        Some((rank, length, kind == Kind::WildcardPort, scope, literal))
    }

    /// Where the mirror with that number has the image, without regard to whether that is a reference.
    pub(crate) fn place(&self, mirror: usize, image: &Image) -> Option<Image> {
        let rest = self.rest(image)?;
        let mirror = self.mirrors[mirror].replace("{registry}", &image.registry.replace(':', "_"));
        let (registry, path) = mirror.split_once('/').unwrap_or((mirror.as_str(), ""));
        if path.contains([':', '@']) {
            // "Of an exact source nothing is carried over: the mirror's own tag or digest takes its place."
            let (path, digest) = match path.split_once('@') {
                Some((path, digest)) => (path, Some(digest.to_owned())),
                None => (path, None),
            };
            let (path, tag) = match path.split_once(':') {
                Some((path, tag)) => (path, Some(tag.to_owned())),
                None => (path, None),
            };
            return Some(Image { registry: registry.to_owned(), path: path.to_owned(), tag, digest });
        }
        let path: Vec<&str> = [path, &rest].into_iter().filter(|part| !part.is_empty()).collect();
        Some(Image {
            registry: registry.to_owned(),
            path: path.join("/"),
            tag: image.tag.clone(),
            digest: image.digest.clone(),
        })
    }
}

/// The registry that a mirror is in.
pub(crate) fn registry_of(mirror: &str) -> &str {
    mirror.split('/').next().unwrap_or_default()
}

/// If the image is inside the mirror, the length of the mirror's text before its first `{`: "a prefix of it on a
/// segment boundary"; "a mirror with a tag or digest stands for its repository here".
pub(crate) fn holds(mirror: &str, image: &Image) -> Option<usize> {
    let before = mirror.split('{').next().unwrap_or_default();
    let (registry, path) = before.split_once('/').unwrap_or((before, ""));
    let path = path.split([':', '@']).next().unwrap_or_default();
    let prefix = format!("{registry}/{path}");
    let prefix = prefix.trim_end_matches('/');
    let name = image.name();
    let is_inside = name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    is_inside.then_some(prefix.len())
}

/// "`*` in a pattern stands for any characters, nothing else is special": by trying every split.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|at| matches(rest, &text[at..])),
        [byte, rest @ ..] => text.first() == Some(byte) && matches(rest, &text[1..]),
    }
}
