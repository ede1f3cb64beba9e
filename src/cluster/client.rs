//! How the API server is found and asked.
//!
//! Every call has a time limit of its own: kube's would retry for a quarter of an hour, or wait forever.

use std::{error::Error, fmt, path::Path, time::Duration};

use kube::config::{KubeConfigOptions, Kubeconfig};

/// A client of one cluster's API server; a clone shares its connections.
///
/// The process must have installed rustls' default provider before one is made.
#[derive(Clone)]
pub struct Client {
    pub(super) kube: kube::Client,
    pub(super) policy: WatchPolicy,
}

impl Client {
    /// Finds the cluster as kubectl does: by `$KUBECONFIG` or `~/.kube/config`, else by the Pod's service account.
    ///
    /// No request is made yet. A kubeconfig may name a program that logs in; it is run then.
    pub async fn connect(policy: WatchPolicy) -> Result<Self, ConnectError> {
        let config = kube::Config::infer()
            .await
            .map_err(|source| ConnectError::NoCluster { source: source.into() })?;
        Self::new(config, policy)
    }

    /// The cluster of the current context of the kubeconfig at `path`.
    pub async fn from_kubeconfig(path: &Path, policy: WatchPolicy) -> Result<Self, ConnectError> {
        let unreadable = |source: kube::config::KubeconfigError| ConnectError::Kubeconfig {
            path: path.into(),
            source: source.into(),
        };
        let kubeconfig = Kubeconfig::read_from(path).map_err(unreadable)?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(unreadable)?;
        Self::new(config, policy)
    }

    fn new(mut config: kube::Config, policy: WatchPolicy) -> Result<Self, ConnectError> {
        config.default_retry = false;
        config.connect_timeout = Some(policy.call_timeout);
        let kube = kube::Client::try_from(config)
            .map_err(|source| ConnectError::Client { source: source.into() })?;
        Ok(Self { kube, policy })
    }

    /// Waits for `call` as long as one call may take.
    pub(super) async fn within_limit<T>(
        &self,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, CallError> {
        let limit = self.policy.call_timeout;
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map_err(CallError::from),
            Err(_) => Err(CallError::Timeout { limit }),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// How long the API server may take, and how often it is asked.
#[derive(Clone, Debug)]
pub struct WatchPolicy {
    /// Longest time that one call may take, connecting included.
    pub call_timeout: Duration,
    /// A watch is renewed after this; so long, and a few seconds, an edit goes unseen if its connection died without
    /// a word.
    pub watch_timeout: Duration,
    /// The pause after a first failure. Later ones double.
    pub first_pause: Duration,
    /// The longest pause between two attempts: an edit made meanwhile is seen after it.
    pub longest_pause: Duration,
    /// How often the Secrets are read.
    pub secrets_every: Duration,
    /// With many Secrets they are read less often, so that each has this time on average.
    pub secret_pace: Duration,
}

impl Default for WatchPolicy {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(10),
            watch_timeout: Duration::from_secs(30),
            first_pause: Duration::from_millis(200),
            // An edit is to take effect within 5 s, also just after the API server came back.
            longest_pause: Duration::from_secs(3),
            secrets_every: Duration::from_secs(10),
            secret_pace: Duration::from_millis(200),
        }
    }
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// kube made no client of what was found.
    #[error("cannot make a client for the API server")]
    Client {
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The kubeconfig that was named is of no use.
    #[error("cannot use the kubeconfig `{}`", path.display())]
    Kubeconfig {
        /// The file.
        path: Box<Path>,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Neither a kubeconfig nor a service account.
    #[error("cannot find a cluster")]
    NoCluster {
        /// What was tried.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Why a call to the API server gave no answer to use.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The call could not be made.
    #[error("cannot call the API server: {message}")]
    NoCall {
        /// Why, cut to a bound.
        message: Box<str>,
    },
    /// There is no such object: said by an API server, not by something else that knows no such path.
    #[error("not found")]
    NotFound,
    /// The API server said no.
    #[error("the API server answered {code}: {message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// Its words, cut to a bound.
        message: Box<str>,
    },
    /// Nothing came in time.
    #[error("the API server did not answer within {limit:?}")]
    Timeout {
        /// The time limit.
        limit: Duration,
    },
    /// What came is not what was asked for. It may hold secrets, so that nothing of it is kept.
    #[error("the API server's answer cannot be read")]
    Unreadable,
}

impl CallError {
    /// The API server said no, in these words.
    pub(super) fn refused(code: u16, message: String) -> Self {
        Self::Refused { code, message: cut(message).into_boxed_str() }
    }
}

/// Whether a write of what was read before was done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Written {
    /// It was.
    Done,
    /// Somebody else was faster: read again.
    Outrun,
}

impl Written {
    /// By what the API server said: it knows when what was read has changed since, or is gone.
    pub(super) fn of<T>(said: Result<T, CallError>) -> Result<Self, CallError> {
        match said {
            Ok(_) => Ok(Self::Done),
            Err(CallError::Refused { code: CONFLICT, .. } | CallError::NotFound) => Ok(Self::Outrun),
            Err(error) => Err(error),
        }
    }
}

impl From<kube::Error> for CallError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.is_not_found() => Self::NotFound,
            kube::Error::Api(status) => Self::refused(status.code, status.message),
            // Their words may quote the answer.
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Self::Unreadable,
            kube::Error::Service(source) => Self::NoCall { message: chain(&*source) },
            other => Self::NoCall { message: chain(&other) },
        }
    }
}

/// Portolan's own namespace: `$POD_NAMESPACE`, else the service account's; `None` outside a cluster.
pub fn own_namespace() -> Option<String> {
    const FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
    std::env::var("POD_NAMESPACE")
        .or_else(|_| std::fs::read_to_string(FILE))
        .ok()
        .map(|namespace| namespace.trim().to_owned())
        .filter(|namespace| !namespace.is_empty())
}

/// An error and its sources in one line; a source that its error already quotes is left out.
fn chain(error: &dyn Error) -> Box<str> {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let clause = error.to_string();
        if !line.contains(&clause) {
            line = line + ": " + &clause;
        }
        source = error.source();
    }
    cut(line).into_boxed_str()
}

/// Text from the world, cut to a bound that a log line bears.
fn cut(mut text: String) -> String {
    const LONGEST: usize = 500;
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

/// HTTP's Conflict: it is no longer as it was read, or there is one by now.
pub(super) const CONFLICT: u16 = 409;

/// Whose fields those are that we write.
pub(super) const MANAGER: &str = "portolan";

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot connect: refused")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("refused")]
    struct Inner(#[source] std::fmt::Error);

    #[test]
    fn a_chain_does_not_say_a_clause_twice() {
        assert_eq!(
            &*chain(&Outer(Inner(std::fmt::Error))),
            "cannot connect: refused: an error occurred when formatting an argument"
        );
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let cut = cut("é".repeat(400));

        assert_eq!(cut.len(), 500 + "…".len());
        assert!(cut.ends_with("é…"), "{cut}");
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_not_quoted() {
        let error = serde_json::from_str::<u8>("\"canary\"").unwrap_err();
        assert!(error.to_string().contains("canary"), "serde_json quotes: {error}");

        let error = CallError::from(kube::Error::SerdeError(error));
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}
