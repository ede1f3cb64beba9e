//! Logins from a dockerconfigjson, matched to registries as the kubelet does it.
//!
//! A credential is used only for a registry (and repository) that its key names: the port is equal, the path is a
//! prefix, and `*` stands for any characters within one label of the host. What [`Credentials::parse`] reads (a Secret's
//! contents above all) never names a program to run; only [`LocalLogins`], the files of this machine's user, may.

mod helper;
mod local;

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::Engine;
use serde::Deserialize;

pub use helper::{HelperError, HelperProblem};
pub use local::{LocalLogins, NamedHelpers, ReadCredentialsError};

use crate::image::DEFAULT_REGISTRY;
use helper::{HelperAsk, Helpers};

/// The logins of one dockerconfigjson document, or of several that are searched in order.
///
/// ```
/// use portolan::registry::Credentials;
///
/// let document = br#"{"auths": {"registry.example.com:32000": {"username": "robot", "password": "s3cret"}}}"#;
/// let credentials = Credentials::parse(document)?;
/// assert!(credentials.covers("registry.example.com:32000"));
/// assert!(!credentials.covers("registry.example.com"), "the port is part of the key");
/// assert_eq!(format!("{credentials:?}"), "<redacted>");
/// # Ok::<(), portolan::registry::ParseCredentialsError>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Credentials {
    /// In the order in which they are searched.
    sources: Vec<Source>,
    origin: Option<Arc<Box<str>>>,
}

/// What one document says.
#[derive(Clone, Eq, PartialEq)]
struct Source {
    /// In descending order of the keys, so that a longer path comes before its prefix (as in the kubelet).
    keyed: Vec<Keyed>,
    /// The programs that are asked instead; `None`: no program is run, whatever the document names.
    helpers: Option<Helpers>,
}

/// Why a document is no dockerconfigjson. No variant holds any of its contents but hosts.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseCredentialsError {
    /// An `auth` field is not the base64 of `user:password`.
    #[error("`auth` of `{host}` is not the base64 of `user:password`")]
    BadAuth {
        /// The host of the key.
        host: String,
    },
    /// There is no `auths`.
    #[error("there is no `auths`")]
    NoAuths,
    /// It is no JSON of that shape.
    #[error("not the JSON of a dockerconfigjson: line {line}, column {column}")]
    NotJson {
        /// Where reading stopped.
        line: usize,
        /// Where reading stopped.
        column: usize,
    },
    /// It is longer than a Secret can be.
    #[error("longer than 1 MiB")]
    TooLong,
}

impl Credentials {
    /// Reads the contents of a Secret of type `kubernetes.io/dockerconfigjson`, or of docker's `config.json`.
    ///
    /// Entries without a login (docker leaves empty ones beside a credential store) are passed over.
    ///
    /// # Errors
    /// What is wrong, without any of the contents.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseCredentialsError> {
        if bytes.len() > MAX_DOCUMENT {
            return Err(ParseCredentialsError::TooLong);
        }
        // The text of serde_json's error quotes values, so only the place is kept.
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| ParseCredentialsError::NotJson { line: error.line(), column: error.column() })?;
        let entries = document.auths.ok_or(ParseCredentialsError::NoAuths)?;
        let source = Source { keyed: keyed(entries, Paths::Prefixes)?, helpers: None };
        Ok(Self { sources: vec![source], origin: None })
    }

    /// The same, and a name for where they are from that says nothing of them: another for other contents, always.
    ///
    /// An answer that outlives the process is used again only where its login has the same origin; without one it
    /// does not outlive it.
    #[must_use]
    pub fn with_origin(self, origin: Option<&str>) -> Self {
        Self { origin: origin.map(|origin| Arc::new(origin.into())), ..self }
    }

    /// What [`Self::with_origin`] said.
    pub(super) fn origin(&self) -> Option<&Arc<Box<str>>> {
        self.origin.as_ref()
    }

    /// Whether there is a login for this registry, or for a part of it.
    pub fn covers(&self, registry: &str) -> bool {
        !self.logins(registry).is_empty()
    }

    /// The logins for a registry that are written down, in the order in which they are to be tried.
    fn logins(&self, registry: &str) -> Vec<ScopedLogin> {
        self.sources.iter().flat_map(|source| source.logins(registry)).collect()
    }

    /// All that may bring a login for a registry, in the order in which it is to be tried.
    pub(super) fn candidates(&self, registry: &str) -> Vec<Candidate> {
        let of = |source: &Source| match source.helpers.as_ref().and_then(|helpers| helpers.ask(registry)) {
            Some(ask) => vec![Candidate::Helper(ask)],
            None => source.logins(registry).into_iter().map(Candidate::Written).collect(),
        };
        self.sources.iter().flat_map(of).collect()
    }
}

impl Source {
    fn logins(&self, registry: &str) -> Vec<ScopedLogin> {
        let scoped = |keyed: &Keyed| ScopedLogin {
            prefix: keyed.key.path.clone(),
            paths: keyed.paths,
            id: keyed.login.id(),
            login: Arc::clone(&keyed.login),
        };
        let mut logins: Vec<_> =
            self.keyed.iter().filter(|keyed| keyed.key.names(registry)).map(scoped).collect();
        if registry == DEFAULT_REGISTRY {
            // The kubelet's last resort for Docker Hub: `https://index.docker.io/v1/`, as `docker login` writes it.
            let is_hub = |keyed: &&Keyed| &*keyed.key.host == HUB_KEY && keyed.key.path.is_empty();
            logins.extend(self.keyed.iter().filter(is_hub).map(scoped));
        }
        logins
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// How to log in to one registry.
#[derive(Clone, Eq, PartialEq)]
pub(super) enum Login {
    /// A refresh token of OAuth 2, exchanged for access tokens.
    IdentityToken(Box<str>),
    Password {
        user: Box<str>,
        password: Box<str>,
    },
}

/// Which login an answer was got with: what one may see, another may not.
///
/// A digest of the login, so that the same login in a changed Secret keeps its answers.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub(super) struct LoginId([u8; 16]);

/// What may bring a login for a registry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Candidate {
    /// A program that knows it, or does not.
    Helper(HelperAsk),
    /// The login itself.
    Written(ScopedLogin),
}

/// The logins that candidates bring, in the order in which they are to be tried; `None` if a program has to be asked.
pub(super) fn written(candidates: &[Candidate]) -> Option<Vec<ScopedLogin>> {
    candidates
        .iter()
        .map(|candidate| match candidate {
            Candidate::Helper(_) => None,
            Candidate::Written(login) => Some(login.clone()),
        })
        .collect()
}

/// The same with the programs asked, one after the other, but for those behind a login for the whole registry.
pub(super) async fn brought(candidates: &[Candidate]) -> Vec<ScopedLogin> {
    let mut logins = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let login = match candidate {
            Candidate::Helper(ask) => ask.login().await.map(ScopedLogin::of_registry),
            Candidate::Written(login) => Some(login.clone()),
        };
        let is_last = login.as_ref().is_some_and(|login| login.prefix.is_empty());
        logins.extend(login);
        if is_last {
            break;
        }
    }
    logins
}

/// A login and the repositories that it is for.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct ScopedLogin {
    /// What the repository begins with.
    prefix: Box<str>,
    paths: Paths,
    pub(super) id: LoginId,
    pub(super) login: Arc<Login>,
}

impl ScopedLogin {
    fn of_registry(login: Login) -> Self {
        Self { prefix: "".into(), paths: Paths::Prefixes, id: login.id(), login: Arc::new(login) }
    }

    /// Whether this login is for that repository.
    pub(super) fn is_for(&self, repository: &str) -> bool {
        let Some(rest) = repository.strip_prefix(&*self.prefix) else { return false };
        match self.paths {
            Paths::Prefixes => true,
            Paths::Segments => self.prefix.is_empty() || rest.is_empty() || rest.starts_with('/'),
        }
    }
}

impl Login {
    pub(super) fn id(&self) -> LoginId {
        use sha2::Digest;
        let mut hasher = sha2::Sha256::new();
        match self {
            Self::IdentityToken(token) => {
                hasher.update(b"identity\0");
                hasher.update(token.as_bytes());
            }
            Self::Password { user, password } => {
                hasher.update(b"password\0");
                hasher.update(user.as_bytes());
                hasher.update(b"\0");
                hasher.update(password.as_bytes());
            }
        }
        let mut id = LoginId::default();
        for (to, from) in id.0.iter_mut().zip(hasher.finalize()) {
            *to = from;
        }
        id
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl fmt::Debug for LoginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A weak password could be guessed from its digest.
        f.write_str("<redacted>")
    }
}

impl fmt::Debug for ScopedLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// A key of `auths` as the kubelet reads it: without scheme, user, query and the `/v1/` or `/v2/` of the API.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Key {
    /// With its port; labels may hold `*`.
    host: Box<str>,
    /// Without a leading `/`; empty: the whole registry.
    path: Box<str>,
}

#[derive(Clone, Eq, PartialEq)]
struct Keyed {
    key: Key,
    paths: Paths,
    login: Arc<Login>,
}

/// What the path of a key stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Paths {
    /// Every repository that begins so, as in the kubelet.
    Prefixes,
    /// That repository and those below it, as in containers-auth.json(5).
    Segments,
}

/// The entries that hold a login, in the order in which they are tried.
fn keyed(entries: BTreeMap<String, Entry>, paths: Paths) -> Result<Vec<Keyed>, ParseCredentialsError> {
    let mut keyed = Vec::with_capacity(entries.len());
    for (text, entry) in entries {
        let mut key = Key::parse(&text);
        if key.host.is_empty() {
            continue;
        }
        if paths == Paths::Segments {
            key.path = key.path.trim_end_matches('/').into();
        }
        let Some(login) = entry.into_login(&key.host)? else {
            continue;
        };
        keyed.push(Keyed { key, paths, login: Arc::new(login) });
    }
    keyed.sort_by(|a, b| (&b.key.host, &b.key.path).cmp(&(&a.key.host, &a.key.path)));
    Ok(keyed)
}

impl Key {
    fn parse(text: &str) -> Self {
        let text = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let text = text.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = match text.find('/') {
            Some(slash) => text.split_at(slash),
            None => (text, ""),
        };
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let path = if path.starts_with("/v1/") || path.starts_with("/v2/") {
            path.get(3..).unwrap_or_default()
        } else {
            path
        };
        Self { host: host.into(), path: path.strip_prefix('/').unwrap_or(path).into() }
    }

    fn names(&self, registry: &str) -> bool {
        let (pattern, pattern_port) = split_port(&self.host);
        let (host, port) = split_port(registry);
        pattern_port == port
            && pattern.split('.').count() == host.split('.').count()
            && pattern.split('.').zip(host.split('.')).all(|(pattern, label)| label_matches(pattern, label))
    }
}

/// Host and port; a bracketed address keeps its brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// Whether a label is what a pattern stands for; `*` stands for any characters, also none.
fn label_matches(pattern: &str, label: &str) -> bool {
    let Some((head, mut rest)) = pattern.split_once('*') else {
        return pattern == label;
    };
    let Some(mut label) = label.strip_prefix(head) else {
        return false;
    };
    while let Some((middle, after)) = rest.split_once('*') {
        // The leftmost place will do: whatever follows has the more left.
        let Some((_, remaining)) = label.split_once(middle) else {
            return false;
        };
        (label, rest) = (remaining, after);
    }
    label.ends_with(rest)
}

#[derive(Deserialize)]
struct Document {
    auths: Option<BTreeMap<String, Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    username: Option<String>,
}

impl Entry {
    fn into_login(self, host: &str) -> Result<Option<Login>, ParseCredentialsError> {
        if let Some(token) = self.identitytoken.filter(|token| !token.is_empty()) {
            return Ok(Some(Login::IdentityToken(token.into())));
        }
        if let Some(auth) = self.auth.filter(|auth| !auth.is_empty()) {
            return match decode(&auth) {
                Some(login) => Ok(Some(login)),
                None => Err(ParseCredentialsError::BadAuth { host: host.into() }),
            };
        }
        let (user, password) = (self.username.unwrap_or_default(), self.password.unwrap_or_default());
        let empty = user.is_empty() && password.is_empty();
        Ok((!empty).then(|| Login::Password { user: user.into(), password: password.into() }))
    }
}

/// `user:password` out of base64, padded or not.
fn decode(auth: &str) -> Option<Login> {
    let bytes =
        base64::engine::general_purpose::STANDARD_NO_PAD.decode(auth.trim().trim_end_matches('=')).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(Login::Password { user: user.into(), password: password.trim_end_matches('\0').into() })
}

/// The host under which `docker login` files Docker Hub.
const HUB_KEY: &str = "index.docker.io";

/// The most that a Secret holds.
const MAX_DOCUMENT: usize = 1024 * 1024;

#[cfg(test)]
mod tests;
