//! Credential helpers: programs `docker-credential-NAME` that know logins (the protocol of docker-credential-helpers).
//!
//! For commands that a person runs, never for the service. A program is asked with `get`, the registry on its stdin, and
//! answers with JSON on its stdout. It gets a limited time, its answer is read up to a bound, and what it says is quoted
//! nowhere: it may hold the secret. A program that fails is reported, and costs no more than its login.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
};

use super::{HUB_KEY, Key, Login};
use crate::image::{DEFAULT_REGISTRY, excerpt};

/// Why a credential helper brought no login. No variant holds anything that the program said.
#[derive(Debug, thiserror::Error)]
#[error("no login to `{registry}` came from the credential helper `{}`, which `{}` names", self.program(), file.display())]
pub struct HelperError {
    /// The registry, as references name it.
    pub registry: String,
    /// The helper's name, as it is written.
    pub name: String,
    /// The file that names it.
    pub file: PathBuf,
    /// What is wrong.
    #[source]
    pub problem: HelperProblem,
}

/// What is wrong with a credential helper.
#[derive(Debug, thiserror::Error)]
pub enum HelperProblem {
    /// There is no such program.
    #[error("there is no such program on the PATH")]
    Absent,
    /// Its name might lead elsewhere than to a program on the PATH.
    #[error(
        "a helper's name is made of letters, digits, `-`, `_` and `.`, and begins with a letter or digit"
    )]
    BadName,
    /// It said that it failed.
    #[error("it ended with {0}")]
    Failed(ExitStatus),
    /// It took too long, and was ended.
    #[error("it did not answer within {} s", .0.as_secs())]
    Late(Duration),
    /// Its answer is none.
    #[error("its answer is not the JSON of a login")]
    NotLogin,
    /// It could not be started, or talked to.
    #[error("it cannot be run")]
    NotRun(#[source] std::io::Error),
    /// It says too much, and was ended.
    #[error("its answer is longer than 64 KiB")]
    TooLong,
}

impl HelperError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        let Self { registry, file, .. } = self;
        let (file, program) = (file.display(), self.program());
        match &self.problem {
            HelperProblem::Absent => format!(
                "install `{program}`, or take it out of `credHelpers` and `credsStore` in `{file}` and log in again"
            ),
            HelperProblem::BadName => {
                format!(
                    "mend `credHelpers` and `credsStore` in `{file}`: `NAME` stands for `docker-credential-NAME`"
                )
            }
            _ => {
                let address = addresses(registry).first().copied().unwrap_or_default();
                format!(
                    "see what `printf {address} | {program} get` says; without a login `{registry}` is asked anonymously"
                )
            }
        }
    }

    fn program(&self) -> String {
        format!("docker-credential-{}", excerpt(&self.name, MAX_SHOWN))
    }
}

/// The programs that a file names.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct Helpers {
    /// The file.
    pub(super) file: PathBuf,
    /// By the registry that each is for. An empty name: the file itself, whatever `store` says.
    pub(super) by_registry: BTreeMap<Box<str>, Box<str>>,
    /// The one for all other registries.
    pub(super) store: Option<Box<str>>,
    pub(super) runner: Arc<Runner>,
}

impl Helpers {
    /// The programs named, by registry, keys brought into the form in which references name registries.
    pub(super) fn by_registry(written: BTreeMap<String, String>) -> BTreeMap<Box<str>, Box<str>> {
        let registry = |key: &str| match Key::parse(key).host {
            host if &*host == HUB_KEY => DEFAULT_REGISTRY.into(),
            host => host,
        };
        written.into_iter().map(|(key, name)| (registry(&key), name.into())).collect()
    }

    /// The question for the program that is asked about this registry, if one is.
    pub(super) fn ask(&self, registry: &str) -> Option<HelperAsk> {
        let name = self.by_registry.get(registry).or(self.store.as_ref()).filter(|name| !name.is_empty())?;
        Some(HelperAsk {
            file: self.file.clone(),
            name: name.clone(),
            registry: registry.into(),
            runner: Arc::clone(&self.runner),
        })
    }
}

/// A question for a program: is there a login for this registry?
#[derive(Clone, Eq, PartialEq)]
pub(in crate::registry) struct HelperAsk {
    file: PathBuf,
    name: Box<str>,
    registry: Box<str>,
    runner: Arc<Runner>,
}

impl HelperAsk {
    /// The login; `None` also where the program fails, which is reported.
    pub(super) async fn login(&self) -> Option<Login> {
        for address in addresses(&self.registry) {
            match self.runner.run(&self.name, address).await {
                Ok(None) => {}
                Ok(login) => return login,
                Err(problem) => {
                    (self.runner.report)(&HelperError {
                        registry: self.registry.to_string(),
                        name: self.name.to_string(),
                        file: self.file.clone(),
                        problem,
                    });
                    return None;
                }
            }
        }
        None
    }
}

impl fmt::Debug for HelperAsk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HelperAsk")
            .field("name", &self.name)
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

/// How programs are run.
pub(super) struct Runner {
    /// How long one may take; a person may have to unlock a key ring.
    pub(super) limit: Duration,
    /// Where programs are looked for; `None`: as the environment says.
    pub(super) path: Option<OsString>,
    /// Is told of each that fails.
    pub(super) report: Box<dyn Fn(&HelperError) + Send + Sync>,
}

impl Runner {
    pub(super) fn new(report: impl Fn(&HelperError) + Send + Sync + 'static) -> Self {
        Self { limit: LIMIT, path: None, report: Box::new(report) }
    }

    /// Asks one program.
    async fn run(&self, name: &str, address: &str) -> Result<Option<Login>, HelperProblem> {
        if !is_safe(name) {
            return Err(HelperProblem::BadName);
        }
        let mut command = Command::new(format!("docker-credential-{name}"));
        command
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        let mut child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => HelperProblem::Absent,
            _ => HelperProblem::NotRun(error),
        })?;
        let answer = tokio::time::timeout(self.limit, answer(&mut child, address)).await;
        if !matches!(answer, Ok(Ok(_))) {
            // One that has ended already is not an error.
            let _ = child.kill().await;
        }
        let (status, said) = answer.map_err(|_| HelperProblem::Late(self.limit))??;
        if !status.success() {
            return if said.trim_ascii() == NOT_FOUND {
                Ok(None)
            } else {
                Err(HelperProblem::Failed(status))
            };
        }
        let said: Said = serde_json::from_slice(&said).map_err(|_| HelperProblem::NotLogin)?;
        Ok(said.into_login())
    }
}

impl Eq for Runner {}

impl PartialEq for Runner {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// How a program ended, and what it said.
async fn answer(child: &mut Child, address: &str) -> Result<(ExitStatus, Vec<u8>), HelperProblem> {
    if let Some(mut stdin) = child.stdin.take() {
        // Whoever needs no address need not read it.
        let _ = stdin.write_all(address.as_bytes()).await;
    }
    let mut said = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_ANSWER + 1).read_to_end(&mut said).await.map_err(HelperProblem::NotRun)?;
    }
    if u64::try_from(said.len()).is_ok_and(|length| length > MAX_ANSWER) {
        return Err(HelperProblem::TooLong);
    }
    Ok((child.wait().await.map_err(HelperProblem::NotRun)?, said))
}

/// What a program says.
#[derive(Deserialize)]
struct Said {
    #[serde(default, rename = "Username", alias = "username")]
    user: String,
    #[serde(default, rename = "Secret", alias = "secret")]
    secret: String,
}

impl Said {
    fn into_login(self) -> Option<Login> {
        match &*self.user {
            "<token>" => Some(Login::IdentityToken(self.secret.into())),
            "" if self.secret.is_empty() => None,
            _ => Some(Login::Password { user: self.user.into(), password: self.secret.into() }),
        }
    }
}

/// Under which names a program may know a registry: docker and podman file Docker Hub differently.
fn addresses(registry: &str) -> Vec<&str> {
    if registry == DEFAULT_REGISTRY {
        vec!["https://index.docker.io/v1/", DEFAULT_REGISTRY]
    } else {
        vec![registry]
    }
}

/// Whether a name leads to a program on the PATH and nowhere else.
fn is_safe(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.len() <= MAX_NAME
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(is_allowed)
}

/// What a program says, beside a status that is not 0, if it knows no login.
const NOT_FOUND: &[u8] = b"credentials not found in native keychain";

/// How long a program may take: long enough to type a passphrase.
const LIMIT: Duration = Duration::from_secs(30);

/// The longest answer of a program.
const MAX_ANSWER: u64 = 64 * 1024;

/// The longest name of a program, and how much of another is shown.
const MAX_NAME: usize = 64;
const MAX_SHOWN: usize = 64;

#[cfg(test)]
mod tests;
