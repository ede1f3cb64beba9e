//! Events on objects of others: on the owners of Pods, wherever they are.
//!
//! As on Portolan's own ConfigMaps they are the least of its outputs: written in a task of their own, one after the
//! other, tried once. The name follows from object and words, so that all replicas and every restart make one and the
//! same.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{core::v1::ObjectReference, events::v1::Event};
use kube::api::{Api, PostParams};
use tokio::sync::mpsc;
use tracing::warn;

use super::{
    client::{CallError, Client},
    events::{ALREADY_THERE, about},
    secrets::is_object_name,
};
use crate::metrics::Metrics;

/// Something to say about an object that a Pod names as its owner, in the Pod's namespace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OwnerNotice {
    /// The Pod's namespace.
    pub namespace: String,
    /// Such as `apps/v1`.
    pub api_version: String,
    /// Such as `StatefulSet`.
    pub kind: String,
    /// The owner's name.
    pub name: String,
    /// Its uid, by which `kubectl describe` finds what is said about it.
    pub uid: String,
    /// One word in CamelCase.
    pub reason: &'static str,
    /// What was being done, one word in CamelCase.
    pub action: &'static str,
    /// For people; cut to what an Event bears. The same words about the same object are one Event.
    pub text: &'static str,
}

/// Takes notices; the task that writes them ends with it.
#[derive(Clone, Debug)]
pub struct OwnerEvents {
    sender: mpsc::Sender<OwnerNotice>,
    metrics: Arc<Metrics>,
}

impl OwnerEvents {
    /// Starts the task. What cannot be written is counted and logged. Needs `create` on Events (`events.k8s.io`) in
    /// every namespace.
    pub fn start(client: Client, metrics: Arc<Metrics>) -> Self {
        let (sender, mut notices) = mpsc::channel(QUEUE);
        let counted = Arc::clone(&metrics);
        tokio::spawn(async move {
            while let Some(notice) = notices.recv().await {
                if let Err(error) = write(&client, notice).await {
                    counted.event_errors.inc();
                    warn!(%error, "cannot write an Event on the owner of Pods");
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { sender, metrics }
    }

    /// Has a notice written. One that finds too many others waiting is counted and dropped.
    pub fn publish(&self, notice: OwnerNotice) {
        if self.sender.try_send(notice).is_err() {
            self.metrics.event_errors.inc();
        }
    }
}

async fn write(client: &Client, notice: OwnerNotice) -> Result<(), CallError> {
    let OwnerNotice { namespace, api_version, kind, name, uid, reason, action, text } = notice;
    // It is a request's own text, and is about to be part of a path.
    if !is_object_name(&namespace) {
        return Ok(());
    }
    let events: Api<Event> = Api::namespaced(client.kube.clone(), &namespace);
    let regarding = ObjectReference {
        api_version: Some(api_version),
        kind: Some(kind),
        namespace: Some(namespace),
        name: Some(name),
        uid: Some(uid).filter(|uid| !uid.is_empty()),
        ..ObjectReference::default()
    };
    let event = about(regarding, reason, action, text);
    match client.within_limit(events.create(&PostParams::default(), &event)).await {
        Err(CallError::Refused { code: ALREADY_THERE, .. }) => Ok(()),
        other => other.map(drop),
    }
}

/// How many notices may wait.
const QUEUE: usize = 64;

/// The shortest time between two Events.
const PAUSE: Duration = Duration::from_millis(500);
