//! Puts a new table in force: the one writer of [`Admission::table`], and of how registries are reached.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    Condition, ConfigMapName, endpoints,
    endpoints::{reach, secret_names},
    problems::on_one_line,
};
use crate::{
    admission::Admission,
    cluster::{Events, LAST_GOOD, LastGood, Notice, SecretNames, SecretState, Secrets, TABLE_KEY, TableText},
    metrics::seconds,
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
    /// What there is beside a table in a ConfigMap.
    pub(super) beside: Option<Beside>,
    /// What is wrong with the ConfigMap while it is not known whether a last good table is kept.
    pub(super) unrestored: Option<String>,
}

/// What Portolan keeps and says in the cluster about a table that it reads there.
pub(super) struct Beside {
    /// The table's ConfigMap.
    pub(super) name: ConfigMapName,
    /// Says on it that it is broken.
    pub(super) events: Events,
    /// What a start with a broken one falls back on.
    pub(super) last_good: LastGood,
    /// Keeps what is sent.
    pub(super) keep: watch::Sender<Option<Box<str>>>,
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
                let restore_again = async {
                    match self.unrestored {
                        Some(_) => tokio::time::sleep(RESTORE_AGAIN).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = restore_again => self.restore().await,
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
        self.unrestored = None;
        let problem = match text {
            TableText::Absent => "there is no ConfigMap with the mapping table".to_owned(),
            TableText::KeyMissing => format!("the mapping table's ConfigMap has no key `{TABLE_KEY}`"),
            TableText::Text { text, .. } => match Table::parse(text) {
                Ok(parsed) => {
                    self.take(parsed).await;
                    self.admission.metrics.last_good_in_force.set(0);
                    if let Some(beside) = &self.beside {
                        beside.keep.send_replace(Some(text.clone()));
                    }
                    return;
                }
                Err(problems) => on_one_line(&problems),
            },
            TableText::Unread => return,
        };
        self.refuse(&problem);
        if *text != TableText::Absent {
            self.report(&problem);
        }
        if self.has_none() {
            self.unrestored = Some(problem);
            self.restore().await;
        }
    }

    /// Puts the table in force that was kept in the cluster, because there is no good one to begin with.
    async fn restore(&mut self) {
        let (Some(beside), Some(problem)) = (&self.beside, self.unrestored.take()) else { return };
        let kept = match beside.last_good.read().await {
            Ok(Some(text)) => Table::parse(&text),
            Ok(None) => {
                tracing::error!(configmap = LAST_GOOD, "no last good table is kept, so not ready");
                self.condition
                    .note(format!("{problem}; no last good table is kept in ConfigMap `{LAST_GOOD}`"));
                return;
            }
            Err(error) => {
                tracing::warn!(configmap = LAST_GOOD, %error, "cannot read the last good table, trying again");
                self.condition.note(format!("{problem}; cannot read the last good table: {error}"));
                self.unrestored = Some(problem);
                return;
            }
        };
        match kept {
            Ok(parsed) => {
                tracing::warn!(
                    problem,
                    configmap = LAST_GOOD,
                    "mapping table refused, the kept last good one is used"
                );
                self.take(parsed).await;
                self.admission.metrics.last_good_in_force.set(1);
                self.condition.note(kept_in_force(&problem));
            }
            Err(problems) => {
                let kept = on_one_line(&problems);
                tracing::error!(
                    problem = kept,
                    configmap = LAST_GOOD,
                    "the kept last good table is broken, so not ready"
                );
                self.condition
                    .note(format!("{problem}; the last good table in ConfigMap `{LAST_GOOD}`: {kept}"));
            }
        }
    }

    /// Puts a table in force that has already been read, once the Secrets that it names have been read too.
    async fn take(&mut self, Parsed { table, warnings }: Parsed) {
        for warning in &warnings {
            tracing::warn!(%warning, "mapping table");
        }
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
        let metrics = &self.admission.metrics;
        let rules = i64::try_from(table.rules().len()).unwrap_or(i64::MAX);
        self.admission.table.store(table);
        // Who reads them may go by the table from then on.
        metrics.table_rules.set(rules);
        metrics.table_last_success.set(seconds(wall_clock()));
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

    /// Whether no table is in force yet.
    fn has_none(&self) -> bool {
        *self.tables.borrow() == 0
    }

    fn refuse(&self, problem: &str) {
        self.admission.metrics.table_errors.inc();
        if self.has_none() {
            tracing::warn!(problem, "mapping table refused, and none is in force yet");
        } else {
            tracing::warn!(problem, "mapping table refused, the last good one stays in force");
        }
        let is_kept = self.admission.metrics.last_good_in_force.get() == 1;
        self.condition.note(if is_kept { kept_in_force(problem) } else { problem.to_owned() });
    }

    /// Says it on the ConfigMap.
    fn report(&self, problem: &str) {
        let Some(Beside { name: ConfigMapName { namespace, name }, events, .. }) = &self.beside else {
            return;
        };
        events.publish(Notice {
            namespace: namespace.clone(),
            name: name.clone(),
            reason: "TableRefused",
            action: "ReadTable",
            text: format!("mapping table refused, so it is not in force: {problem}"),
        });
    }

    fn reach(&self, table: &Table) {
        let secrets = self.secrets.as_ref().map(|secrets| secrets.borrow().clone());
        let secret = |name: &str| secrets.as_ref().and_then(|secrets| secrets.get(name).map(Arc::clone));
        reach(&self.admission.resolver, endpoints(table, secret), self.logins.as_ref());
    }
}

/// How long a table waits for the Secrets that it names: an edit is to be in force within 5 s.
const SECRETS_LIMIT: Duration = Duration::from_secs(2);

/// How soon the kept table is asked for again if the API server did not give it.
const RESTORE_AGAIN: Duration = Duration::from_secs(2);

/// The note on a table that was restored.
fn kept_in_force(problem: &str) -> String {
    format!("{problem}; in force is the last good table, as kept in ConfigMap `{LAST_GOOD}`")
}
