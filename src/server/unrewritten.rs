//! Looks for Pods that were admitted while no Portolan answered, and says how many there are.
//!
//! One replica at a time does so: who holds the Lease. It lists namespaces and Pods, page by page, and judges each Pod
//! by table and lock as they are now: no registry is asked, so that a mirror is taken to have what it stands for.
//! `portolan check --cluster` asks, names the Pods and says what mends them. Nothing here is waited for by an admission,
//! and no more is kept than names of namespaces, a number and a few examples.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwapOption;
use tokio::task::JoinError;

use crate::{
    admission::{Admission, Options},
    cluster::{CallError, Client, Lease, Listed, read_list, read_live_pods},
    lock::Lock,
    review::{ListedNamespace, ListedPod, ParseListError},
    rewrite::{Calling, Field, Mode, plan, unrewritten},
    table::Table,
    tls::wall_clock,
};

/// What looks for them. Only made in a cluster, and where decisions are carried out.
#[derive(Clone)]
pub(super) struct UnrewrittenSeeker {
    pub(super) admission: Arc<Admission>,
    pub(super) client: Client,
    pub(super) lease: Lease,
    /// The time between two looks.
    pub(super) every: Duration,
    pub(super) last: Arc<LastLook>,
}

/// What this replica's last look came to; none before the first, and when it is long ago.
#[derive(Debug, Default)]
pub struct LastLook(ArcSwapOption<Look>);

#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) at: SystemTime,
    pub(super) found: Result<Tally, String>,
}

/// The Pods found.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) pods: usize,
    /// The first of them, as `namespace/name`.
    pub(super) examples: Vec<String>,
}

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("cannot list {what}")]
    Call { what: &'static str, source: CallError },
    #[error("cannot list {what}")]
    Unreadable { what: &'static str, source: ParseListError },
}

impl LastLook {
    pub(super) fn load(&self) -> Option<Arc<Look>> {
        self.0.load_full()
    }
}

impl UnrewrittenSeeker {
    /// Goes on for ever, whatever happens in it. Dropping the future stops it.
    pub(super) async fn follow(self) {
        let failed = |error: JoinError| {
            self.admission.metrics.unrewritten_errors.inc();
            tracing::error!(%error, "looking for unrewritten Pods failed, beginning anew");
        };
        super::answer_keeper::again_and_again(|| self.clone().seek(), failed).await;
    }

    async fn seek(self) {
        let mut last: Option<Instant> = None;
        loop {
            let since = last.map(|last| last.elapsed());
            let turn = async {
                tokio::time::sleep(since.map_or(Duration::ZERO, |since| self.every.saturating_sub(since)))
                    .await;
                self.lease.acquired().await;
            };
            // Others look meanwhile, so that what was seen so long ago says nothing any more.
            let limit = self.every.saturating_mul(FORGOTTEN_AFTER);
            let outdated = async {
                match since.map(|since| limit.saturating_sub(since)) {
                    Some(left) if self.last.load().is_some() => tokio::time::sleep(left).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                () = turn => {}
                () = outdated => {
                    self.forget();
                    continue;
                }
            }
            last = Some(Instant::now());
            let found = self.look().await;
            self.tell(found);
        }
    }

    async fn look(&self) -> Result<Tally, LookError> {
        let unreadable = |what| move |source| LookError::Unreadable { what, source };
        let refused = |what| move |source| LookError::Call { what, source };
        let mut namespaces = Namespaces::default();
        let mut problem = Ok(());
        let listed = read_list(&self.client, Listed::Namespaces, |page| {
            if problem.is_ok() {
                problem = namespaces.take(page);
            }
        });
        listed.await.map_err(refused("namespaces"))?;
        problem.map_err(unreadable("namespaces"))?;

        // One snapshot for all Pods.
        let (table, lock) = (self.admission.table.load_full(), self.admission.lock.load_full());
        let judge = Judge { table: &table, lock: &lock, options: &self.admission.options, namespaces };
        let (mut tally, mut problem) = (Tally::default(), Ok(()));
        let listed = read_live_pods(&self.client, |page| {
            if problem.is_ok() {
                problem = judge.take(page, &mut tally);
            }
        });
        listed.await.map_err(refused("Pods"))?;
        problem.map_err(unreadable("Pods"))?;
        Ok(tally)
    }

    fn tell(&self, found: Result<Tally, LookError>) {
        let before = self.last.load();
        let before = before.as_deref().map(|look| &look.found);
        let metrics = &self.admission.metrics;
        let found = match found {
            Ok(tally) => {
                metrics.unrewritten_pods.set(i64::try_from(tally.pods).unwrap_or(i64::MAX));
                let seen = before.and_then(|found| found.as_ref().ok()).map_or(0, |tally| tally.pods);
                if tally.pods > 0 && tally.pods != seen {
                    tracing::warn!(
                        pods = tally.pods,
                        examples = tally.examples.join(" "),
                        remedy = "`portolan check --cluster` names them all and prints what mends them",
                        "Pods run images as they are written, as if they had been admitted without Portolan"
                    );
                } else if tally.pods == 0 && seen > 0 {
                    tracing::info!("all Pods run what Portolan made of their images");
                }
                Ok(tally)
            }
            Err(error) => {
                metrics.unrewritten_errors.inc();
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                let text = format!("{error}: {cause}");
                if before.and_then(|found| found.as_ref().err()) != Some(&text) {
                    tracing::warn!(error = text, "cannot look for unrewritten Pods, trying again");
                }
                Err(text)
            }
        };
        self.last.0.store(Some(Arc::new(Look { at: wall_clock(), found })));
    }

    fn forget(&self) {
        self.last.0.store(None);
        self.admission.metrics.unrewritten_pods.set(0);
    }
}

/// The namespaces of the cluster, each with its label. A Pod of one that came later is left to the next look.
#[derive(Default)]
struct Namespaces(HashMap<Box<str>, Calling>);

impl Namespaces {
    fn take(&mut self, page: &str) -> Result<(), ParseListError> {
        self.0.extend(ListedNamespace::read(page)?.iter().map(|namespace| {
            (Box::from(&*namespace.name), Calling::of(&namespace.name, namespace.rewrite.as_deref()))
        }));
        Ok(())
    }
}

/// What Pods are judged by.
struct Judge<'t> {
    table: &'t Table,
    lock: &'t Lock,
    options: &'t Options,
    namespaces: Namespaces,
}

impl Judge<'_> {
    fn take(&self, page: &str, tally: &mut Tally) -> Result<(), ParseListError> {
        for listed in ListedPod::read(page)?.iter().filter(|listed| !listed.is_over) {
            if self.is_unrewritten(listed) {
                tally.pods += 1;
                if tally.examples.len() < EXAMPLES {
                    let name = listed.pod.metadata.as_ref().map_or("", |metadata| &metadata.name);
                    tally.examples.push(format!("{}/{name}", &*listed.namespace));
                }
            }
        }
        Ok(())
    }

    fn is_unrewritten(&self, listed: &ListedPod<'_>) -> bool {
        let namespace = &*listed.namespace;
        if self.namespaces.0.get(namespace) != Some(&Calling::Called(Mode::Enforce)) {
            return false;
        }
        let options = self.options;
        let own_namespace = options.own_namespace.as_deref();
        let moves = |field: &_| self.moves(field, namespace);
        !unrewritten(&listed.pod, namespace, own_namespace, options.pod_opt_out, moves).is_empty()
    }

    fn moves(&self, field: &Field<'_>, namespace: &str) -> bool {
        plan(self.table, self.lock, field.image, field.pull, Some(namespace)).would_move()
    }
}

/// How many times the pace a look counts for.
const FORGOTTEN_AFTER: u32 = 2;

/// How many Pods are named.
const EXAMPLES: usize = 10;
