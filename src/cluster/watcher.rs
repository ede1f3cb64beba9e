//! Objects of one kind, listed and then watched from there.
//!
//! When the watch ends, for whatever reason, they are listed again: that costs little, and needs no rule about which
//! resource version is still good.

use std::{fmt::Debug, time::Duration};

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::debug;

use super::{
    backoff::Backoff,
    client::{CallError, Client},
    trouble::TroubleReport,
};

/// What becomes of the objects that a watch sees. It may be told of one that was not asked for.
pub(super) trait Keep<T = ConfigMap> {
    /// These are all that there are.
    fn all(&self, objects: Vec<T>);
    /// This one is new, or has changed.
    fn changed(&self, object: T);
    /// This one is gone, or is no longer one of those watched.
    fn removed(&self, object: T);
    /// Resolves when nobody wants to know any more.
    fn closed(&self) -> impl Future<Output = ()> + Send;
}

/// Which objects are meant.
#[derive(Clone, Debug)]
pub(super) enum Selector {
    /// Those with this label.
    Label(&'static str),
    /// The one of that name.
    Name(String),
}

/// A watch that is to be run.
pub(super) struct Watcher<K, T = ConfigMap> {
    pub(super) client: Client,
    pub(super) api: Api<T>,
    pub(super) selector: Selector,
    pub(super) keep: K,
    pub(super) trouble: TroubleReport,
}

impl Selector {
    pub(super) fn list(&self) -> ListParams {
        match self {
            Self::Label(label) => ListParams::default().labels(label),
            Self::Name(name) => ListParams::default().fields(&format!("metadata.name={name}")),
        }
    }

    fn watch(&self) -> WatchParams {
        match self {
            Self::Label(label) => WatchParams::default().labels(label),
            Self::Name(name) => WatchParams::default().fields(&format!("metadata.name={name}")),
        }
    }
}

impl<K: Keep<T>, T: Clone + Debug + DeserializeOwned> Watcher<K, T> {
    /// Goes on until nobody wants to know any more.
    pub(super) async fn run(self) {
        tokio::select! {
            () = self.keep.closed() => {}
            () = self.follow() => {}
        }
    }

    /// Lists and watches, over and over.
    async fn follow(&self) {
        let policy = &self.client.policy;
        let mut backoff = Backoff::new(policy.first_pause, policy.longest_pause);
        loop {
            let began = Instant::now();
            if let Err(error) = self.list_and_watch().await {
                self.trouble.begin(error.to_string());
            }
            // Also a watch that ends well gets a pause: a server that closes each one at once is not to be stormed.
            if began.elapsed() > policy.longest_pause {
                backoff.reset();
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Tells what is there and every change after it, until the watch ends. Only what keeps a watch from beginning is
    /// an error: that a running one ends is usual, and the next list tells whether something is wrong.
    async fn list_and_watch(&self) -> Result<(), CallError> {
        let policy = &self.client.policy;
        let list = self.client.within_limit(self.api.list(&self.selector.list())).await?;
        let resource_version = list.metadata.resource_version.unwrap_or_default();
        self.keep.all(list.items);

        // The server closes after whole seconds; 0 would mean its own choice.
        let seconds = u32::try_from(policy.watch_timeout.as_secs()).unwrap_or(u32::MAX).max(1);
        let parameters = self.selector.watch().timeout(seconds);
        let events = match self.client.within_limit(self.api.watch(&parameters, &resource_version)).await {
            Err(CallError::Refused { code: GONE, .. }) => return Ok(()),
            other => other?,
        };
        self.trouble.end();

        pin_mut!(events);
        let silence = policy.watch_timeout + SILENCE_MARGIN;
        while let Ok(Some(event)) = tokio::time::timeout(silence, events.next()).await {
            match event.map_err(CallError::from) {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => self.keep.changed(object),
                Ok(WatchEvent::Deleted(object)) => self.keep.removed(object),
                Ok(WatchEvent::Bookmark(_)) => {}
                // Most often 410: the state watched from is too old.
                Ok(WatchEvent::Error(status)) => {
                    debug!(code = status.code, "the API server ended a watch");
                    break;
                }
                Err(error) => {
                    debug!(%error, "a watch broke off");
                    break;
                }
            }
        }
        Ok(())
    }
}

/// HTTP's status for a resource version that is too old.
const GONE: u16 = 410;

/// A watch that the server should have closed this long ago is taken for dead.
const SILENCE_MARGIN: Duration = Duration::from_secs(5);
