//! The last good table, kept in the cluster for a start that finds a broken one.
//!
//! It is written after the table came into force, by server-side apply and only if it differs from what is kept. All
//! replicas do so; which of them is the last does not matter, since each writes a good table and hears of later edits.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    backoff::Backoff,
    client::{CallError, Client, MANAGER},
    table_watch::TABLE_KEY,
};
use crate::metrics::Metrics;

/// The ConfigMap that keeps the last good table.
pub const LAST_GOOD: &str = "portolan-table-last-good";

/// Where the last good table of one ConfigMap is kept.
#[derive(Clone, Debug)]
pub struct LastGood {
    client: Client,
    namespace: Box<str>,
    /// The namespace and name of the ConfigMap that it was read from: that of another table is not ours.
    of: Box<str>,
}

impl LastGood {
    /// Kept in `namespace`, of the table in the ConfigMap `of`, written `NS/NAME`.
    pub fn new(client: &Client, namespace: &str, of: &str) -> Self {
        Self { client: client.clone(), namespace: namespace.into(), of: of.into() }
    }

    /// The text that is kept, if there is one of this table. Needs `get` on [`LAST_GOOD`].
    pub async fn read(&self) -> Result<Option<Box<str>>, CallError> {
        match self.client.within_limit(self.api().get(LAST_GOOD)).await {
            Ok(map) => Ok(self.text_of(map)),
            Err(CallError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps every text that is sent, in a task of its own that ends with the sender. What fails is tried again until
    /// another text comes, and counted.
    pub fn keep(self, metrics: Arc<Metrics>) -> watch::Sender<Option<Box<str>>> {
        let (sender, mut texts) = watch::channel(None);
        tokio::spawn(async move {
            while texts.changed().await.is_ok() {
                tokio::select! {
                    () = self.write_until_kept(texts.clone(), &metrics) => {}
                    // A newer one; the loop takes it up, or ends.
                    _ = async { texts.clone().changed().await } => {}
                }
            }
        });
        sender
    }

    async fn write_until_kept(&self, mut texts: watch::Receiver<Option<Box<str>>>, metrics: &Metrics) {
        let Some(text) = texts.borrow_and_update().clone() else { return };
        let policy = &self.client.policy;
        let mut backoff = Backoff::new(policy.first_pause, policy.longest_pause * PATIENCE);
        let mut is_first = true;
        loop {
            match self.write(&text).await {
                Ok(()) => return,
                Err(error) => {
                    metrics.last_good_errors.inc();
                    if is_first {
                        warn!(configmap = LAST_GOOD, %error, "cannot keep the last good table, trying again");
                    }
                    is_first = false;
                }
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Needs `get`, `create` and `patch` on [`LAST_GOOD`].
    async fn write(&self, text: &str) -> Result<(), CallError> {
        if self.read().await?.as_deref() == Some(text) {
            return Ok(());
        }
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": LAST_GOOD,
                "labels": {"app.kubernetes.io/managed-by": MANAGER},
                "annotations": {TABLE_ANNOTATION: &*self.of},
            },
            "data": {TABLE_KEY: text},
        });
        let parameters = PatchParams::apply(MANAGER).force();
        self.client.within_limit(self.api().patch(LAST_GOOD, &parameters, &Patch::Apply(&object))).await?;
        info!(configmap = LAST_GOOD, "last good table kept");
        Ok(())
    }

    fn text_of(&self, map: ConfigMap) -> Option<Box<str>> {
        let of = map.metadata.annotations?.remove(TABLE_ANNOTATION)?;
        let text = map.data?.remove(TABLE_KEY)?;
        (*of == *self.of).then(|| text.into_boxed_str())
    }

    fn api(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.kube.clone(), &self.namespace)
    }
}

/// Annotation of the ConfigMap `portolan-table-last-good`, written by Portolan: the table (`NAMESPACE/NAME`) whose last
/// good text it keeps. One of another table is not used.
const TABLE_ANNOTATION: &str = "portolan.dev/table";

/// Nobody waits for it, so that pauses may be longer than a watch's: up to a minute.
const PATIENCE: u32 = 20;
