//! Events on the ConfigMaps that Portolan reads, for whoever looks with `kubectl describe`.
//!
//! They are the least of its outputs: written in a task of their own, seldom, the latest only, tried once. An Event's name
//! follows from what it says about which object, so that all replicas and every restart make one and the same.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        core::v1::{ConfigMap, ObjectReference},
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tracing::warn;

use super::{
    client::{CallError, Client},
    watcher::Selector,
};
use crate::{image::Digest, metrics::Metrics};

/// Something to say about a ConfigMap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// The ConfigMap's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// One word in CamelCase.
    pub reason: &'static str,
    /// What was being done, one word in CamelCase.
    pub action: &'static str,
    /// For people; cut to what an Event bears.
    pub text: String,
}

/// Takes notices; a clone writes to the same task, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct Events {
    /// The last notice about each ConfigMap for each reason.
    sender: watch::Sender<BTreeMap<Subject, Notice>>,
}

/// Namespace, name and reason: what the table's reader and the lock's have to say about one ConfigMap is two subjects.
type Subject = (String, String, &'static str);

impl Events {
    /// Starts the task. What cannot be written is counted and logged. Needs `list` on the ConfigMaps, and `create` on
    /// Events (`events.k8s.io`) beside them.
    pub fn start(client: Client, metrics: Arc<Metrics>) -> Self {
        let (sender, mut notices) = watch::channel(BTreeMap::new());
        tokio::spawn(async move {
            let mut tried = BTreeMap::new();
            while notices.changed().await.is_ok() {
                loop {
                    let next = untried(&notices.borrow_and_update(), &tried);
                    let Some((subject, notice)) = next else { break };
                    if let Err(error) = write(&client, &notice).await {
                        metrics.event_errors.inc();
                        warn!(reason = notice.reason, %error, "cannot write an Event");
                    }
                    tried.insert(subject, notice);
                    tokio::time::sleep(EVENT_PAUSE).await;
                }
            }
        });
        Self { sender }
    }

    /// Has a notice written unless it is the same as the last one with its reason about its object. Of several such
    /// that come at once the last is written.
    pub fn publish(&self, notice: Notice) {
        self.sender.send_if_modified(|last| {
            let subject = (notice.namespace.clone(), notice.name.clone(), notice.reason);
            let is_new = last.get(&subject) != Some(&notice);
            last.insert(subject, notice);
            is_new
        });
    }
}

/// A notice that was not tried to be written.
fn untried(
    notices: &BTreeMap<Subject, Notice>,
    tried: &BTreeMap<Subject, Notice>,
) -> Option<(Subject, Notice)> {
    let new = notices.iter().find(|(subject, notice)| tried.get(*subject) != Some(*notice));
    new.map(|(subject, notice)| (subject.clone(), notice.clone()))
}

async fn write(client: &Client, notice: &Notice) -> Result<(), CallError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.kube.clone(), &notice.namespace);
    // Listed by its name: the right to list them there is anyway, for the lock.
    let found = client.within_limit(maps.list(&Selector::Name(notice.name.clone()).list())).await?;
    // Gone meanwhile: there is nothing to say it on.
    let Some(map) = found.items.into_iter().next() else { return Ok(()) };
    let events: Api<Event> = Api::namespaced(client.kube.clone(), &notice.namespace);
    let event = event(notice, map.metadata.uid, map.metadata.resource_version);
    match client.within_limit(events.create(&PostParams::default(), &event)).await {
        Err(CallError::Refused { code: ALREADY_THERE, .. }) => Ok(()),
        other => other.map(drop),
    }
}

fn event(notice: &Notice, uid: Option<String>, resource_version: Option<String>) -> Event {
    let Notice { namespace, name, reason, action, text } = notice;
    let regarding = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("ConfigMap".to_owned()),
        namespace: Some(namespace.clone()),
        name: Some(name.clone()),
        uid,
        resource_version,
        ..ObjectReference::default()
    };
    about(regarding, reason, action, text)
}

/// An Event about an object, in the namespace that its reference names.
pub(super) fn about(regarding: ObjectReference, reason: &str, action: &str, text: &str) -> Event {
    let name = regarding.name.as_deref().unwrap_or_default();
    // `kubectl describe` finds an Event by the object's uid.
    let said = [regarding.uid.as_deref().unwrap_or_default(), reason, text].join("\n");
    let hash = Digest::of(said.as_bytes());
    let hash = hash.hex().get(..HASH_LENGTH).unwrap_or_default().to_owned();
    let prefix =
        name.get(..name.floor_char_boundary(MAX_PREFIX)).unwrap_or(name).trim_end_matches(['-', '.']);
    #[expect(clippy::disallowed_methods, reason = "a stamp on an Event")]
    let now = k8s_openapi::jiff::Timestamp::now();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{prefix}.{hash}")),
            namespace: regarding.namespace.clone(),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        reporting_controller: Some(REPORTER.to_owned()),
        reporting_instance: Some(instance()),
        action: Some(action.to_owned()),
        reason: Some(reason.to_owned()),
        type_: Some("Warning".to_owned()),
        regarding: Some(regarding),
        note: Some(cut(text)),
        ..Event::default()
    }
}

/// The Pod's name, which is its host name.
pub(super) fn instance() -> String {
    let mut instance = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    if let Some(name) = &mut instance {
        name.truncate(name.floor_char_boundary(MAX_INSTANCE));
    }
    instance.unwrap_or_else(|| REPORTER.to_owned())
}

fn cut(text: &str) -> String {
    if text.len() <= MAX_NOTE {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX_NOTE - "…".len());
    text.get(..end).unwrap_or_default().to_owned() + "…"
}

/// Who says it.
const REPORTER: &str = "portolan";

/// HTTP's Conflict: an Event of that name is there already.
pub(super) const ALREADY_THERE: u16 = 409;

/// The shortest time between two Events.
const EVENT_PAUSE: Duration = Duration::from_secs(5);

/// What the API server takes of a note, in bytes, and of an instance's name.
const MAX_NOTE: usize = 1024;
const MAX_INSTANCE: usize = 128;

/// How much of the object's name begins an Event's, of at most 253; and how many hex digits end it.
const MAX_PREFIX: usize = 200;
const HASH_LENGTH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(name: &str, text: &str) -> Notice {
        Notice {
            namespace: "portolan".to_owned(),
            name: name.to_owned(),
            reason: "TableRefused",
            action: "ReadTable",
            text: text.to_owned(),
        }
    }

    fn name(notice: &Notice, uid: &str) -> String {
        event(notice, Some(uid.to_owned()), None).metadata.name.unwrap()
    }

    #[test]
    fn the_same_words_about_the_same_object_are_one_event() {
        let first = name(&notice("portolan-table", "line 4"), "u-1");
        assert!(first.starts_with("portolan-table."), "{first}");
        assert_eq!(first, name(&notice("portolan-table", "line 4"), "u-1"));
        assert_ne!(first, name(&notice("portolan-table", "line 5"), "u-1"));
        assert_ne!(first, name(&notice("portolan-table", "line 4"), "u-2"), "made anew since");
    }

    #[test]
    fn an_event_keeps_to_the_api_servers_bounds() {
        let long = event(&notice(&"a".repeat(253), &"é".repeat(2000)), None, None);
        let note = long.note.unwrap();
        assert!(note.len() <= 1024 && note.ends_with("é…"), "{note}");
        assert!(long.metadata.name.unwrap().len() <= 253);
        assert!((1..=128).contains(&long.reporting_instance.unwrap().len()));
    }
}
