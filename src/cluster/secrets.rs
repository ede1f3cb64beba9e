//! The Secrets that the table names, as bytes.
//!
//! They are read by name, one after another, every few seconds. `get` on those names is all that this needs: no right
//! to list, no right to watch, and no open connection for each. Who can only ask by name cannot look around.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1;
use kube::{
    api::GetParams,
    core::{Request, Resource},
};
use serde::Deserialize;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    backoff::Backoff,
    client::{CallError, Client},
    trouble::{Trouble, TroubleReport},
};

/// The names of the Secrets that the table in force names.
pub type SecretNames = BTreeSet<Box<str>>;

/// What is known of every Secret that was asked for.
#[derive(Clone, Debug, Default)]
pub struct Secrets(BTreeMap<Box<str>, SecretState>);

impl Secrets {
    /// The Secret's bytes, if it was there when it was last read.
    pub fn get(&self, name: &str) -> Option<&Arc<Secret>> {
        match self.0.get(name) {
            Some(SecretState::Present(secret)) => Some(secret),
            Some(SecretState::Absent | SecretState::Unread) | None => None,
        }
    }

    /// What is known of the Secret; [`SecretState::Unread`] also for a name that was never asked for.
    pub fn state(&self, name: &str) -> &SecretState {
        self.0.get(name).unwrap_or(&SecretState::Unread)
    }

    /// Keeps exactly `names`; says whether anything changed.
    fn keep_only(&mut self, names: &SecretNames) -> bool {
        let before = self.0.len();
        self.0.retain(|name, _| names.contains(name));
        let mut changed = self.0.len() != before;
        for name in names {
            if !self.0.contains_key(name) {
                self.0.insert(name.clone(), SecretState::Unread);
                changed = true;
            }
        }
        changed
    }
}

/// What is known of one Secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecretState {
    /// It is not there.
    Absent,
    /// It is there.
    Present(Arc<Secret>),
    /// The API server has not said yet, or refuses to.
    Unread,
}

/// The bytes of one Secret, as far as Portolan has a use for them.
#[derive(Eq, PartialEq)]
pub struct Secret {
    docker_config: Option<Box<[u8]>>,
    tls_certificate: Option<Box<[u8]>>,
    tls_key: Option<Box<[u8]>>,
    state: Option<Box<str>>,
}

impl Secret {
    /// `.dockerconfigjson`: logins to registries.
    pub fn docker_config(&self) -> Option<&[u8]> {
        self.docker_config.as_deref()
    }

    /// `tls.crt`: a certificate chain in PEM.
    pub fn tls_certificate(&self) -> Option<&[u8]> {
        self.tls_certificate.as_deref()
    }

    /// `tls.key`: the private key to it, in PEM.
    pub fn tls_key(&self) -> Option<&[u8]> {
        self.tls_key.as_deref()
    }

    /// Which Secret this is and which state of it: its uid and resource version, and nothing of what it holds.
    ///
    /// Never the same for two contents. It is made of letters, digits, `.` and `-`.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    fn from_json(text: &str) -> Result<Self, CallError> {
        // What is wrong stays unsaid: serde's words may quote the Secret.
        let wire: WireSecret = serde_json::from_str(text).map_err(|_| CallError::Unreadable)?;
        let data = wire.data.unwrap_or_default();
        let decode = |base64: Option<String>| match base64 {
            Some(base64) => {
                STANDARD.decode(base64).map(|bytes| Some(bytes.into())).map_err(|_| CallError::Unreadable)
            }
            None => Ok(None),
        };
        Ok(Self {
            docker_config: decode(data.docker_config)?,
            tls_certificate: decode(data.tls_certificate)?,
            tls_key: decode(data.tls_key)?,
            state: wire.metadata.and_then(WireMetadata::into_state),
        })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(<redacted>)")
    }
}

/// Reading that goes on as long as [`SecretsWatch::secrets`] or a clone of it, and the sender of the names, are held.
#[derive(Debug)]
pub struct SecretsWatch {
    /// What is known; while the API server cannot be asked, what it last said.
    pub secrets: watch::Receiver<Secrets>,
    /// What keeps Secrets from being read at the moment.
    pub trouble: watch::Receiver<Trouble>,
}

/// Reads the Secrets of `names` in `namespace`, again and again, in a task of its own; new names at once.
pub fn watch_secrets(client: &Client, namespace: &str, names: watch::Receiver<SecretNames>) -> SecretsWatch {
    let (sender, secrets) = watch::channel(Secrets::default());
    let (trouble_report, trouble) = TroubleReport::new("secrets");
    let reader = Reader {
        client: client.clone(),
        request: Request::new(v1::Secret::url_path(&(), Some(namespace))),
        secrets: sender,
        trouble: trouble_report,
    };
    tokio::spawn(reader.run(names));
    SecretsWatch { secrets, trouble }
}

struct Reader {
    client: Client,
    request: Request,
    secrets: watch::Sender<Secrets>,
    trouble: TroubleReport,
}

impl Reader {
    async fn run(self, names: watch::Receiver<SecretNames>) {
        tokio::select! {
            () = self.secrets.closed() => {}
            () = self.follow(names) => {}
        }
    }

    /// Reads round after round, until nobody can change the names any more.
    async fn follow(&self, mut names: watch::Receiver<SecretNames>) {
        let policy = &self.client.policy;
        let mut backoff = Backoff::new(policy.first_pause, policy.longest_pause);
        loop {
            let wanted = names.borrow_and_update().clone();
            self.secrets.send_if_modified(|secrets| secrets.keep_only(&wanted));

            let pause = match self.read_all(&wanted).await {
                Ok(()) => {
                    self.trouble.end();
                    backoff.reset();
                    policy.secrets_every
                }
                Err(trouble) => {
                    self.trouble.begin(trouble);
                    backoff.pause()
                }
            };
            let count = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
            let pause = pause.max(policy.secret_pace.saturating_mul(count));
            tokio::select! {
                changed = names.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Reads each Secret once. What cannot be read stays as it was; the first such is the error.
    async fn read_all(&self, names: &SecretNames) -> Result<(), String> {
        let mut trouble = None;
        for name in names {
            match self.read(name).await {
                Ok(state) => self.publish(name, state),
                Err(error) => {
                    trouble.get_or_insert_with(|| format!("secret `{name}`: {error}"));
                    // A refusal may be about this name alone; with a silent server the others would only wait, too.
                    if matches!(error, CallError::Timeout { .. } | CallError::NoCall { .. }) {
                        break;
                    }
                }
            }
        }
        trouble.map_or(Ok(()), Err)
    }

    async fn read(&self, name: &str) -> Result<SecretState, CallError> {
        if !is_object_name(name) {
            return Ok(SecretState::Absent);
        }
        let request = self
            .request
            .get(name, &GetParams::default())
            .map_err(|error| CallError::from(kube::Error::BuildRequest(error)))?;
        // As text, since kube logs an answer that it cannot parse, whole, at level WARN.
        match self.client.within_limit(self.client.kube.request_text(request)).await {
            Ok(text) => Ok(SecretState::Present(Arc::new(Secret::from_json(&text)?))),
            Err(CallError::NotFound) => Ok(SecretState::Absent),
            Err(error) => Err(error),
        }
    }

    /// Wakes the receivers if the Secret changed, and says when it is missing and when it came.
    fn publish(&self, name: &str, state: SecretState) {
        self.secrets.send_if_modified(|secrets| {
            let Some(published) = secrets.0.get_mut(name).filter(|published| **published != state) else {
                return false;
            };
            match (&*published, &state) {
                (_, SecretState::Absent) => {
                    warn!(secret = name, "the table names a Secret that is not there");
                }
                (SecretState::Absent, SecretState::Present(_)) => {
                    info!(secret = name, "the Secret is there now");
                }
                (SecretState::Present(_), SecretState::Present(_)) => {
                    info!(secret = name, "the Secret has changed");
                }
                _ => {}
            }
            *published = state;
            true
        });
    }
}

/// The fields of a Secret that are read.
#[derive(Deserialize)]
struct WireSecret {
    data: Option<WireData>,
    metadata: Option<WireMetadata>,
}

#[derive(Deserialize)]
struct WireMetadata {
    uid: Option<String>,
    #[serde(rename = "resourceVersion")]
    resource_version: Option<String>,
}

impl WireMetadata {
    fn into_state(self) -> Option<Box<str>> {
        let state = [self.uid?, self.resource_version?].join(".");
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        (state.len() <= MAX_STATE && state.bytes().all(is_plain)).then(|| state.into())
    }
}

#[derive(Default, Deserialize)]
struct WireData {
    #[serde(rename = ".dockerconfigjson")]
    docker_config: Option<String>,
    #[serde(rename = "tls.crt")]
    tls_certificate: Option<String>,
    #[serde(rename = "tls.key")]
    tls_key: Option<String>,
}

/// A uid has 36 characters, a resource version at most 20 digits; the rest is to spare.
const MAX_STATE: usize = 128;

/// Whether an object can have this name (RFC 1123 subdomain). Anything else must not get into a path.
pub(super) fn is_object_name(name: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=253).contains(&name.len())
        && name.split('.').all(|label| {
            label.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
                && label.bytes().next().is_some_and(alphanumeric)
                && label.bytes().next_back().is_some_and(alphanumeric)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::from_json(r#"{"data":{".dockerconfigjson":"Y2FuYXJ5","other":"!"}}"#).unwrap();

        assert_eq!(secret.docker_config(), Some(&b"canary"[..]));
        let state = SecretState::Present(Arc::new(secret));
        let secrets = Secrets(BTreeMap::from([("harbor".into(), state)]));
        let shown = format!("{secrets:?}");
        assert!(shown.contains("<redacted>") && !shown.contains("anary") && !shown.contains("99"), "{shown}");
    }

    #[test]
    fn a_secret_that_cannot_be_read_is_not_quoted() {
        for text in ["canary", r#"{"data":{".dockerconfigjson":"canary!"}}"#, r#"{"data":"canary"}"#] {
            let error = Secret::from_json(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{text}: {error:?}");
        }
    }

    #[test]
    fn the_state_of_a_secret_is_its_uid_and_its_version() {
        let read = |metadata: &str| {
            let text = format!(r#"{{"metadata":{metadata},"data":{{".dockerconfigjson":"Y2FuYXJ5"}}}}"#);
            Secret::from_json(&text).unwrap().state().map(str::to_owned)
        };
        assert_eq!(read(r#"{"uid":"5f3c-1","resourceVersion":"12"}"#).as_deref(), Some("5f3c-1.12"));
        for metadata in ["{}", "null", r#"{"uid":"5f3c"}"#, r#"{"uid":"5f3c/1","resourceVersion":"12"}"#] {
            assert_eq!(read(metadata), None, "{metadata}");
        }
    }

    #[test]
    fn only_names_that_an_object_can_have_are_asked_for() {
        for name in ["a", "harbor-pull", "harbor.pull-2"] {
            assert!(is_object_name(name), "`{name}`");
        }
        for name in ["", "Harbor", "-a", "a-", "a..b", ".a", "a/b", "a%2Fb", "../nodes", "a?x=y", "é"] {
            assert!(!is_object_name(name), "`{name}`");
        }
        assert!(!is_object_name(&"a".repeat(254)));
    }
}
