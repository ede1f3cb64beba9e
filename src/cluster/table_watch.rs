//! The table's ConfigMap: read once, or watched.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use tokio::sync::watch;

use super::{
    client::{CallError, Client},
    trouble::{Trouble, TroubleReport},
    watcher::{Keep, Selector, Watcher},
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
        selector: Selector::Name(name.to_owned()),
        keep: Table { name: name.into(), text: sender },
        trouble: trouble_report,
    };
    tokio::spawn(watcher.run());
    TableWatch { text, trouble }
}

/// Publishes the text of the ConfigMap of that name.
struct Table {
    name: Box<str>,
    text: watch::Sender<TableText>,
}

impl Table {
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

impl Keep for Table {
    fn all(&self, maps: Vec<ConfigMap>) {
        let listed = maps.into_iter().find(|map| self.is_ours(map));
        self.publish(listed.map_or(TableText::Absent, TableText::of));
    }

    fn changed(&self, map: ConfigMap) {
        if self.is_ours(&map) {
            self.publish(TableText::of(map));
        }
    }

    fn removed(&self, map: ConfigMap) {
        if self.is_ours(&map) {
            self.publish(TableText::Absent);
        }
    }

    async fn closed(&self) {
        self.text.closed().await;
    }
}
