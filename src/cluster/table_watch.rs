//! The table's ConfigMap: read once, or watched.
//!
//! One named object is listed and then watched from there. When the watch ends, for whatever reason, it is listed
//! again: for a single object that costs nothing, and needs no rule about which resource version is still good.

use std::time::Duration;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use tokio::{sync::watch, time::Instant};
use tracing::debug;

use super::{
    backoff::Backoff,
    client::{CallError, Client},
    trouble::{Trouble, TroubleReport},
};

/// The ConfigMap's key that holds the table.
pub const TABLE_KEY: &str = "table.yaml";

/// What the cluster says the table is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum TableText {
    /// There is no such ConfigMap.
    Absent,
    /// The ConfigMap is there, without the key [`TABLE_KEY`].
    KeyMissing,
    /// The table as written.
    Text {
        /// The YAML document.
        text: Box<str>,
        /// Which state of the ConfigMap this is.
        resource_version: Box<str>,
    },
    /// The API server has not answered yet.
    #[default]
    Unread,
}

impl TableText {
    fn of(map: ConfigMap) -> Self {
        match map.data.and_then(|mut data| data.remove(TABLE_KEY)) {
            Some(text) => Self::Text {
                text: text.into_boxed_str(),
                resource_version: map.metadata.resource_version.unwrap_or_default().into_boxed_str(),
            },
            None => Self::KeyMissing,
        }
    }
}

/// A watch that goes on as long as [`TableWatch::text`] or a clone of it is held.
#[derive(Debug)]
pub struct TableWatch {
    /// The table; the last one that was read while the API server cannot be asked.
    pub text: watch::Receiver<TableText>,
    /// What keeps the table from being read at the moment.
    pub trouble: watch::Receiver<Trouble>,
}

/// Reads the table once.
pub async fn read_table(client: &Client, namespace: &str, name: &str) -> Result<TableText, CallError> {
    let api: Api<ConfigMap> = Api::namespaced(client.kube.clone(), namespace);
    match client.within_limit(api.get(name)).await {
        Ok(map) => Ok(TableText::of(map)),
        Err(CallError::NotFound) => Ok(TableText::Absent),
        Err(error) => Err(error),
    }
}

/// Watches the table's ConfigMap in a task of its own. Needs `list` and `watch` on that one name.
pub fn watch_table(client: &Client, namespace: &str, name: &str) -> TableWatch {
    let (sender, text) = watch::channel(TableText::Unread);
    let (trouble_report, trouble) = TroubleReport::new("table");
    let watcher = Watcher {
        client: client.clone(),
        api: Api::namespaced(client.kube.clone(), namespace),
        selector: format!("metadata.name={name}"),
        name: name.into(),
        text: sender,
        trouble: trouble_report,
    };
    tokio::spawn(watcher.run());
    TableWatch { text, trouble }
}

struct Watcher {
    client: Client,
    api: Api<ConfigMap>,
    selector: String,
    name: Box<str>,
    text: watch::Sender<TableText>,
    trouble: TroubleReport,
}

impl Watcher {
    async fn run(self) {
        tokio::select! {
            () = self.text.closed() => {}
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

    /// Publishes what is there and every change after it, until the watch ends. Only what keeps a watch from
    /// beginning is an error: that a running one ends is usual, and the next list tells whether something is wrong.
    async fn list_and_watch(&self) -> Result<(), CallError> {
        let policy = &self.client.policy;
        let parameters = ListParams::default().fields(&self.selector);
        let list = self.client.within_limit(self.api.list(&parameters)).await?;
        let resource_version = list.metadata.resource_version.unwrap_or_default();
        let listed = list.items.into_iter().find(|map| self.is_ours(map));
        self.publish(listed.map_or(TableText::Absent, TableText::of));

        // The server closes after whole seconds; 0 would mean its own choice.
        let seconds = u32::try_from(policy.watch_timeout.as_secs()).unwrap_or(u32::MAX).max(1);
        let parameters = WatchParams::default().fields(&self.selector).timeout(seconds);
        let events = match self.client.within_limit(self.api.watch(&parameters, &resource_version)).await {
            Err(CallError::Refused { code: GONE, .. }) => return Ok(()),
            other => other?,
        };
        self.trouble.end();

        pin_mut!(events);
        let silence = policy.watch_timeout + SILENCE_MARGIN;
        while let Ok(Some(event)) = tokio::time::timeout(silence, events.next()).await {
            match event.map_err(CallError::from) {
                Ok(WatchEvent::Added(map) | WatchEvent::Modified(map)) if self.is_ours(&map) => {
                    self.publish(TableText::of(map));
                }
                Ok(WatchEvent::Deleted(map)) if self.is_ours(&map) => self.publish(TableText::Absent),
                // Most often 410: the state watched from is too old.
                Ok(WatchEvent::Error(status)) => {
                    debug!(code = status.code, "the API server ended the table's watch");
                    break;
                }
                Err(error) => {
                    debug!(%error, "the table's watch broke off");
                    break;
                }
                // A bookmark, or an object that was not asked for.
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Whether the server kept to the selector.
    fn is_ours(&self, map: &ConfigMap) -> bool {
        map.metadata.name.as_deref() == Some(&*self.name)
    }

    /// Listing again what is known wakes nobody.
    fn publish(&self, text: TableText) {
        self.text.send_if_modified(|published| {
            let changed = *published != text;
            *published = text;
            changed
        });
    }
}

/// HTTP's status for a resource version that is too old.
const GONE: u16 = 410;

/// A watch that the server should have closed this long ago is taken for dead.
const SILENCE_MARGIN: Duration = Duration::from_secs(5);
