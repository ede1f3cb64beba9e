//! Puts a new table in force: the one writer of [`Admission::table`], and of how registries are reached.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    Condition, endpoints,
    endpoints::{reach, secret_names},
    problems::on_one_line,
};
use crate::{
    admission::Admission,
    cluster::{SecretNames, SecretState, Secrets, TableText},
    registry::Credentials,
    table::{Parsed, Table},
    tls::wall_clock,
};

/// Follows the table's text and the Secrets that it names.
pub(super) struct TableKeeper {
    pub(super) admission: Arc<Admission>,
    /// Met by the first good table; its note says what is wrong with a later one.
    pub(super) condition: Condition,
    /// The Secrets wanted.
    pub(super) names: watch::Sender<SecretNames>,
    /// The Secrets known; `None` outside a cluster.
    pub(super) secrets: Option<watch::Receiver<Secrets>>,
    /// Logins for registries whose entry names no Secret.
    pub(super) logins: Option<Credentials>,
    /// How many tables have come into force.
    pub(super) tables: watch::Sender<u64>,
}

impl TableKeeper {
    /// Goes on until a watch dies, which its owner has to take for the end of the process.
    pub(super) async fn follow(mut self, mut text: watch::Receiver<TableText>) {
        let mut secrets = self.secrets.clone();
        loop {
            let now = text.borrow_and_update().clone();
            self.read(&now).await;
            loop {
                let secrets_changed = async {
                    match &mut secrets {
                        Some(secrets) => secrets.changed().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    changed = text.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    changed = secrets_changed => match changed {
                        Ok(()) => self.reach(&self.admission.table.load_full()),
                        Err(_) => return,
                    },
                }
            }
        }
    }

    async fn read(&mut self, text: &TableText) {
        match text {
            TableText::Absent => self.refuse("there is no ConfigMap with the mapping table"),
            TableText::KeyMissing => self.refuse("the mapping table's ConfigMap has no key `table.yaml`"),
            TableText::Text { text, .. } => match Table::parse(text) {
                Ok(parsed) => self.take(parsed).await,
                Err(problems) => self.refuse(&on_one_line(&problems)),
            },
            TableText::Unread => {}
        }
    }

    /// Puts a table in force that has already been read, once the Secrets that it names have been read too.
    async fn take(&mut self, Parsed { table, warnings }: Parsed) {
        for warning in &warnings {
            tracing::warn!(%warning, "mapping table");
        }
        let metrics = &self.admission.metrics;
        metrics.table_rules.set(i64::try_from(table.rules().len()).unwrap_or(i64::MAX));
        metrics
            .table_last_success
            .set(wall_clock().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()));
        let table = Arc::new(table);
        self.names.send_if_modified(|names| {
            let wanted = secret_names(&table);
            let changed = *names != wanted;
            *names = wanted;
            changed
        });
        self.wait_for_secrets(&secret_names(&table)).await;
        // How registries are reached first, so that no admission asks by the new table in the old way.
        self.reach(&table);
        tracing::info!(rules = table.rules().len(), "mapping table in force");
        self.admission.table.store(table);
        self.condition.meet();
        self.tables.send_modify(|tables| *tables += 1);
    }

    /// Waits a while for Secrets that have not been asked for before: without them a private mirror would be asked
    /// anonymously. One that cannot be read holds the table up no longer than that.
    async fn wait_for_secrets(&mut self, wanted: &SecretNames) {
        let Some(secrets) = &mut self.secrets else { return };
        let all_read =
            |secrets: &Secrets| wanted.iter().all(|name| !matches!(secrets.state(name), SecretState::Unread));
        let read = async { secrets.wait_for(all_read).await.is_ok() };
        if tokio::time::timeout(SECRETS_LIMIT, read).await.is_err() {
            tracing::warn!("Secrets that the mapping table names could not be read yet");
        }
    }

    fn refuse(&self, problem: &str) {
        self.admission.metrics.table_errors.inc();
        tracing::warn!(problem, "mapping table refused, the last good one stays in force");
        self.condition.note(problem);
    }

    fn reach(&self, table: &Table) {
        let secrets = self.secrets.as_ref().map(|secrets| secrets.borrow().clone());
        let secret = |name: &str| secrets.as_ref().and_then(|secrets| secrets.get(name).map(Arc::clone));
        reach(&self.admission.resolver, endpoints(table, secret), self.logins.as_ref());
    }
}

/// How long a table waits for the Secrets that it names: an edit is to be in force within 5 s.
const SECRETS_LIMIT: Duration = Duration::from_secs(2);
