//! The logins of this machine's user, as podman, skopeo and docker keep them; for commands, and for a service outside a
//! cluster.
//!
//! Files are searched in the order of containers-auth.json(5), and so are the keys in each. A file may also name programs
//! that know logins. Those are run for a command alone ([`LocalLogins::with_helpers`]); a service reads what is written
//! ([`LocalLogins::written`]) and says what it passes over ([`LocalLogins::helpers`]).

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;

use super::{
    Credentials, Entry, Keyed, MAX_DOCUMENT, ParseCredentialsError, Paths, Source,
    helper::{HelperError, Helpers, Runner},
    keyed,
};

/// What the files of this machine's user say about logins.
pub struct LocalLogins {
    /// In the order in which they are searched.
    files: Vec<LocalFile>,
}

/// The programs that a file names for logins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedHelpers {
    /// The file.
    pub file: PathBuf,
    /// The programs' names: those of `credHelpers`, each behind its registry, then that of `credsStore`.
    pub names: Vec<String>,
}

/// Why the logins of this machine's user cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadCredentialsError {
    /// The file is there and is no dockerconfigjson.
    #[error("`{path}` is no dockerconfigjson")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ParseCredentialsError,
    },
    /// The file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl LocalLogins {
    /// Reads `$REGISTRY_AUTH_FILE` alone, if that is set; else what there is of `$XDG_RUNTIME_DIR/containers/auth.json`
    /// (`/run/containers/UID/auth.json`), `$XDG_CONFIG_HOME/containers/auth.json` (`$HOME/.config/containers/auth.json`)
    /// and `$DOCKER_CONFIG/config.json` (`$HOME/.docker/config.json`).
    ///
    /// # Errors
    /// A file cannot be read or understood, or `$REGISTRY_AUTH_FILE` names one that is not there.
    pub fn read() -> Result<Self, ReadCredentialsError> {
        Self::read_from(&places(|name| std::env::var_os(name), user()))
    }

    fn read_from(places: &Places) -> Result<Self, ReadCredentialsError> {
        let (paths, is_required) = match places {
            Places::Named(path) => (std::slice::from_ref(path), true),
            Places::Usual(paths) => (paths.as_slice(), false),
        };
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let unreadable = |source| ReadCredentialsError::Read { path: path.clone(), source };
            let bytes = match read(path) {
                Ok(bytes) => bytes,
                Err(error) if is_absent(&error) && !is_required => continue,
                Err(error) => return Err(unreadable(error)),
            };
            let file = LocalFile::parse(path, &bytes);
            files.push(file.map_err(|source| ReadCredentialsError::Parse { path: path.clone(), source })?);
        }
        Ok(Self { files })
    }

    /// The logins that are written in the files; no program is run. `None`: there are none.
    pub fn written(&self) -> Option<Credentials> {
        self.credentials(|_| None)
    }

    /// The same with those that programs know, which the files name: each is run when its registry is asked for the first
    /// time. What a program knows takes the place of what its file holds for that registry. `report` is told of each
    /// that fails; its registry is asked without that login then.
    pub fn with_helpers(&self, report: impl Fn(&HelperError) + Send + Sync + 'static) -> Option<Credentials> {
        self.with_runner(&Arc::new(Runner::new(report)))
    }

    fn with_runner(&self, runner: &Arc<Runner>) -> Option<Credentials> {
        self.credentials(|file| {
            let LocalFile { path, by_registry, store, .. } = file;
            file.names_helpers().then(|| Helpers {
                file: path.clone(),
                by_registry: by_registry.clone(),
                store: store.clone(),
                runner: Arc::clone(runner),
            })
        })
    }

    /// The programs that the files name.
    pub fn helpers(&self) -> Vec<NamedHelpers> {
        self.files.iter().filter(|file| file.names_helpers()).map(LocalFile::helpers).collect()
    }

    fn credentials(&self, helpers: impl Fn(&LocalFile) -> Option<Helpers>) -> Option<Credentials> {
        let sources: Vec<_> = self
            .files
            .iter()
            .map(|file| Source { keyed: file.keyed.clone(), helpers: helpers(file) })
            .filter(|source| !source.keyed.is_empty() || source.helpers.is_some())
            .collect();
        (!sources.is_empty()).then_some(Credentials { sources, origin: None })
    }
}

impl fmt::Debug for LocalLogins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// One file.
struct LocalFile {
    path: PathBuf,
    keyed: Vec<Keyed>,
    by_registry: BTreeMap<Box<str>, Box<str>>,
    store: Option<Box<str>>,
}

impl LocalFile {
    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ParseCredentialsError> {
        if bytes.len() > MAX_DOCUMENT {
            return Err(ParseCredentialsError::TooLong);
        }
        // Also `/dev/null`, by which some say that they want no logins.
        let document: LocalDocument = if bytes.trim_ascii().is_empty() {
            LocalDocument::default()
        } else {
            // As with a Secret, no value is quoted.
            serde_json::from_slice(bytes).map_err(|error| ParseCredentialsError::NotJson {
                line: error.line(),
                column: error.column(),
            })?
        };
        Ok(Self {
            path: path.to_owned(),
            keyed: keyed(document.auths.unwrap_or_default(), Paths::Segments)?,
            by_registry: Helpers::by_registry(document.helpers.unwrap_or_default()),
            store: document.store.filter(|name| !name.is_empty()).map(Into::into),
        })
    }

    fn names_helpers(&self) -> bool {
        self.store.is_some() || self.by_registry.values().any(|name| !name.is_empty())
    }

    fn helpers(&self) -> NamedHelpers {
        let of_registries = self.by_registry.iter().filter(|(_, name)| !name.is_empty());
        let of_registries = of_registries.map(|(registry, name)| format!("{registry}: {name}"));
        let names = of_registries.chain(self.store.as_deref().map(str::to_owned)).collect();
        NamedHelpers { file: self.path.clone(), names }
    }
}

/// A file of logins, of which only this counts.
#[derive(Default, Deserialize)]
struct LocalDocument {
    auths: Option<BTreeMap<String, Entry>>,
    #[serde(rename = "credHelpers")]
    helpers: Option<BTreeMap<String, String>>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

/// Where logins are.
#[derive(Debug, Eq, PartialEq)]
enum Places {
    /// In the one file that was named: it has to be there.
    Named(PathBuf),
    /// In those of these that are there, in this order.
    Usual(Vec<PathBuf>),
}

/// Where logins are, for the user of this number.
fn places(variable: impl Fn(&str) -> Option<OsString>, user: Option<u32>) -> Places {
    let variable = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = variable("REGISTRY_AUTH_FILE") {
        return Places::Named(path);
    }
    let home = variable("HOME");
    let at_home = |folder: &str| home.as_ref().map(|home| home.join(folder));
    // Podman keeps them where they are gone after a restart, also where no session has made a folder for that.
    let session = || user.map(|user| PathBuf::from(format!("/run/containers/{user}")));
    let folders = [
        variable("XDG_RUNTIME_DIR").map(|folder| folder.join("containers")).or_else(session),
        variable("XDG_CONFIG_HOME").or_else(|| at_home(".config")).map(|folder| folder.join("containers")),
    ];
    let docker = variable("DOCKER_CONFIG").or_else(|| at_home(".docker"));
    let of_podman = folders.into_iter().flatten().map(|folder| folder.join("auth.json"));
    Places::Usual(of_podman.chain(docker.map(|folder| folder.join("config.json"))).collect())
}

/// The number of this process's user.
fn user() -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    // The standard library tells the owner of files alone.
    std::fs::metadata("/proc/self").ok().map(|metadata| metadata.uid())
}

/// Reads a file, and of one that is too long no more than shows that.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_DOCUMENT).unwrap_or(u64::MAX);
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests;
