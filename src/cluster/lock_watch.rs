//! The lock's ConfigMaps: all that bear the label, read once or watched.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use tokio::sync::watch;

use super::{
    client::{CallError, Client},
    trouble::{Trouble, TroubleReport},
    watcher::{Keep, Selector, Watcher},
};
use crate::lock::{self, ConfigMaps};

/// What the cluster says the lock is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum LockTexts {
    /// The ConfigMaps that there are.
    Read(ConfigMaps),
    /// The API server has not answered yet.
    #[default]
    Unread,
}

/// A watch that goes on as long as [`LockWatch::texts`] or a clone of it is held.
#[derive(Debug)]
pub struct LockWatch {
    /// The lock's texts; the last ones that were read while the API server cannot be asked.
    pub texts: watch::Receiver<LockTexts>,
    /// What keeps them from being read at the moment.
    pub trouble: watch::Receiver<Trouble>,
}

/// Reads the lock's texts once.
pub async fn read_lock(client: &Client, namespace: &str) -> Result<LockTexts, CallError> {
    let api: Api<ConfigMap> = Api::namespaced(client.kube.clone(), namespace);
    let list = client.within_limit(api.list(&Selector::Label(lock::SELECTOR).list())).await?;
    Ok(LockTexts::Read(list.items.into_iter().map(named).collect()))
}

/// Watches the lock's ConfigMaps in a task of its own. Needs `list` and `watch` on all of that namespace, since no right
/// can be narrowed to a label.
pub fn watch_lock(client: &Client, namespace: &str) -> LockWatch {
    let (sender, texts) = watch::channel(LockTexts::Unread);
    let (trouble_report, trouble) = TroubleReport::new("lock");
    let watcher = Watcher {
        client: client.clone(),
        api: Api::namespaced(client.kube.clone(), namespace),
        selector: Selector::Label(lock::SELECTOR),
        keep: Lock { texts: sender },
        trouble: trouble_report,
    };
    tokio::spawn(watcher.run());
    LockWatch { texts, trouble }
}

fn named(map: ConfigMap) -> (String, Arc<BTreeMap<String, String>>) {
    (map.metadata.name.unwrap_or_default(), Arc::new(map.data.unwrap_or_default()))
}

/// Publishes the texts of the ConfigMaps.
struct Lock {
    texts: watch::Sender<LockTexts>,
}

impl Lock {
    /// Changes the maps; wakes nobody if they come out as they were.
    fn update(&self, change: impl FnOnce(&mut ConfigMaps) -> bool) {
        self.texts.send_if_modified(|texts| match texts {
            LockTexts::Read(maps) => change(maps),
            // Nothing comes before the list.
            LockTexts::Unread => false,
        });
    }
}

impl Keep for Lock {
    fn all(&self, maps: Vec<ConfigMap>) {
        let listed = LockTexts::Read(maps.into_iter().map(named).collect());
        self.texts.send_if_modified(|texts| {
            let changed = *texts != listed;
            *texts = listed;
            changed
        });
    }

    fn changed(&self, map: ConfigMap) {
        let (name, data) = named(map);
        self.update(|maps| {
            let before = maps.insert(name, Arc::clone(&data));
            before.as_ref() != Some(&data)
        });
    }

    fn removed(&self, map: ConfigMap) {
        let (name, _) = named(map);
        self.update(|maps| maps.remove(&name).is_some());
    }

    async fn closed(&self) {
        self.texts.closed().await;
    }
}
