//! The wiring of `serve`, from its start to its end: with [`super::sources`] the one place that knows every adapter.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{sync::watch, task::JoinSet};
use tracing_subscriber::EnvFilter;

use super::{
    BindError, DrainPolicy, Health, Limits, Listener, Phase, Settings, Shutdown, TableSource,
    answer_keeper::{AnswerKeeper, Reading, wait_for_answers},
    certificate_keeper::CertificateKeeper,
    fights::tell_forever,
    lock_check::{self, check_forever},
    lock_keeper::wait_for_lock,
    routes, serve,
    sources::{LockSource, Wiring, follow_certificate, follow_lock, follow_table, table_place},
    status::{self, StatusSources},
    unrewritten::{LastLook, UnrewrittenSeeker},
};
use crate::{
    admission::{Admission, Fights, Validation},
    audit,
    cluster::{self, Answers, ConnectError, Events, Lease, LeasePolicy, OwnerEvents},
    lock,
    metrics::{Metrics, RegistryResult},
    registry::{ReadCredentialsError, Resolver},
    rewrite::Mode,
    table::{Problems, Table},
    tls::{Acceptor, IssueError, LivePair, ReadPairError},
};

/// Why the webhook could not start, or ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The audit log cannot be written.
    #[error("cannot start the audit log")]
    Audit(#[from] audit::OpenLogError),
    /// A port cannot be bound.
    #[error("cannot start a server")]
    Bind(#[from] BindError),
    /// The certificate cannot be read.
    #[error("cannot use the certificate")]
    Certificate(#[from] ReadPairError),
    /// The authority's certificate cannot be written.
    #[error("cannot write the certificate of our own authority to `{path}`")]
    CertificateFile {
        /// Where to.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The API server cannot be asked.
    #[error("cannot reach the cluster whose ConfigMap holds the mapping table")]
    Cluster(#[from] ConnectError),
    /// Something that must not end has ended.
    #[error("`{0}` ended although nobody asked it to")]
    Ended(&'static str),
    /// No certificate could be made.
    #[error("cannot make a certificate")]
    Issue(#[from] IssueError),
    /// The lock in the file has problems.
    #[error("cannot read the lock `{path}`")]
    Lock {
        /// The file.
        path: PathBuf,
        /// Every problem.
        source: lock::Problems,
    },
    /// The lock's file cannot be read.
    #[error("cannot read the lock `{path}`")]
    LockFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The registry logins cannot be read.
    #[error("cannot read the registry logins")]
    Logins(#[from] ReadCredentialsError),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals")]
    Signals(#[source] std::io::Error),
    /// The table in the file has problems.
    #[error("cannot read the mapping table `{path}`")]
    Table {
        /// The file.
        path: PathBuf,
        /// Every problem.
        source: Problems,
    },
    /// The table's file cannot be read.
    #[error("cannot read the mapping table `{path}`")]
    TableFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Logs to stderr: lines for people on a terminal, JSON elsewhere; the level by `RUST_LOG`.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber can only be one of a test's; then its own stays.
    let _already_set = if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).with_target(false).try_init()
    };
}

/// Runs the webhook until a signal has drained it.
///
/// # Errors
/// What keeps it from starting, or a part that must not end and did; the rest is drained before.
pub async fn run(settings: Settings) -> Result<(), ServeError> {
    let shutdown = Shutdown::new();
    shutdown.on_signals().map_err(ServeError::Signals)?;
    let health = Arc::new(Health::new(shutdown.clone()));
    let (table_ready, lock_ready) = (health.condition("table"), health.condition("lock"));
    let certificate_ready = health.condition("certificate");
    let listening = health.condition("listening");
    let metrics = Arc::new(Metrics::new());
    let admission = Arc::new(Admission {
        table: ArcSwap::from_pointee(Table::default()),
        lock: ArcSwap::default(),
        resolver: Resolver::new(settings.cache),
        log: audit::Log::start(&settings.audit, settings.audit_queue, Arc::clone(&metrics))?,
        fights: Fights::default(),
        metrics: Arc::clone(&metrics),
        options: settings.admission,
    });

    // Each of these goes on as long as the process does.
    let mut parts: JoinSet<&'static str> = JoinSet::new();
    let live = Arc::new(LivePair::default());
    let shared = follow_certificate(settings.certificate, &live, &metrics, &mut parts)?;
    let table = table_place(&settings.table);
    let own_namespace = admission.options.own_namespace.clone();
    // Outside a cluster the namespace of the table's ConfigMap stands for Portolan's own.
    let namespace = own_namespace.clone().or_else(|| table.as_ref().map(|table| table.namespace.clone()));
    let validation = Arc::new(Validation {
        lock_namespace: namespace,
        lock_maps: ArcSwap::default(),
        table,
        metrics: Arc::clone(&metrics),
    });
    let client = match (&admission.options.own_namespace, &settings.table) {
        (None, TableSource::File(_)) => None,
        _ => Some(cluster::Client::connect(cluster::WatchPolicy::default()).await?),
    };
    // A process outside a cluster sees another network than the replicas do, and has no turn among them.
    let keeps_answers = settings.keep_answers.entries > 0;
    let seeks = !settings.find_unrewritten.is_zero() && admission.options.mode == Mode::Enforce;
    let home = client.as_ref().zip(own_namespace).filter(|_| keeps_answers || shared.is_some() || seeks);
    let home = home.map(|(client, namespace)| {
        let lease = Lease::follow(client, &namespace, LeasePolicy::default(), Arc::clone(&metrics));
        (client, namespace, lease)
    });
    let (certificate_sender, mut certificate) = watch::channel(false);
    if let (Some(policy), Some((client, namespace, lease))) = (shared, &home) {
        let tell = (certificate_ready, certificate_sender);
        let ours = (Arc::clone(&live), Arc::clone(&metrics));
        let keeper = CertificateKeeper::new(client, namespace, policy, lease.clone(), ours, tell);
        parts.spawn(async move {
            keeper.run().await;
            "certificate"
        });
    } else {
        certificate_ready.meet();
        certificate_sender.send_replace(true);
    }
    let answers = home.as_ref().filter(|_| keeps_answers).map(|(client, namespace, lease)| AnswerKeeper {
        admission: Arc::clone(&admission),
        answers: Answers::new(client, namespace),
        lease: lease.clone(),
        policy: settings.cache,
        keep: settings.keep_answers,
        reading: watch::Sender::new(Reading::Untried),
    });
    let unrewritten = Arc::new(LastLook::default());
    let seeker = home.as_ref().filter(|_| seeks).map(|(client, _, lease)| UnrewrittenSeeker {
        admission: Arc::clone(&admission),
        client: (*client).clone(),
        lease: lease.clone(),
        every: settings.find_unrewritten,
        last: Arc::clone(&unrewritten),
    });
    let lock_source = LockSource::new(settings.lock, &admission, &settings.table);
    let status = Arc::new(StatusSources {
        admission: Arc::clone(&admission),
        health: Arc::clone(&health),
        table: settings.table.to_string(),
        lock: lock_source.to_string(),
        unrewritten,
    });
    let events = client.as_ref().map(|client| Events::start(client.clone(), Arc::clone(&metrics)));
    let lock_report = lock_source
        .namespace()
        .zip(events.clone())
        .map(|(namespace, events)| lock_check::Report { events, namespace: namespace.to_owned() });
    let mut wiring = Wiring {
        admission: &admission,
        validation: &validation,
        health: &health,
        cluster: client.as_ref().zip(events.as_ref()),
        parts: &mut parts,
    };
    let (tables_sender, mut tables) = watch::channel(0);
    follow_table(settings.table, tables_sender, table_ready, &mut wiring)?;
    let lock_progress = follow_lock(lock_source, lock_ready.clone(), lock_report.clone(), &mut wiring)?;
    let (checking, mut first_table) = (Arc::clone(&admission), tables.clone());
    parts.spawn(async move {
        // The table says how mirrors are reached.
        if first_table.wait_for(|tables| *tables > 0).await.is_ok() {
            check_forever(&checking, settings.lock_check_every, lock_report).await;
        }
        "lock check"
    });
    if let Some(seeker) = seeker {
        let mut first_table = tables.clone();
        parts.spawn(async move {
            if first_table.wait_for(|tables| *tables > 0).await.is_ok() {
                seeker.follow().await;
            }
            "unrewritten"
        });
    }
    if let Some(answers) = answers.clone() {
        parts.spawn(async move {
            answers.follow().await;
            "answers"
        });
    }
    let refreshing = Arc::clone(&admission);
    parts.spawn(async move {
        refreshing.resolver.refresh_forever().await;
        "refresh"
    });
    let measuring = Arc::clone(&admission);
    parts.spawn(async move { measure(&measuring).await });
    let telling = Arc::clone(&admission);
    let owner_events = client.as_ref().map(|client| OwnerEvents::start(client.clone(), Arc::clone(&metrics)));
    parts.spawn(async move {
        tell_forever(&telling, owner_events.as_ref()).await;
        "fights"
    });

    // The ops port answers before the webhook does, until it has drained, and closes after it; the status port too.
    let ops = Listener::bind(settings.ops_listen, Limits::default())?;
    let at = |listener: &Listener, asked: SocketAddr| listener.local_addr().unwrap_or(asked).to_string();
    tracing::info!(ops = at(&ops, settings.ops_listen), "listening");
    let status_listen = settings.status_listen.into();
    let status_port = Listener::bind(status_listen, Limits::default())?;
    tracing::info!(status = at(&status_port, status_listen), "listening");
    let ops_shutdown = Shutdown::new();
    let beside = |listener, router| {
        let policy = DrainPolicy { delay: Duration::ZERO, ..DrainPolicy::default() };
        tokio::spawn(serve(listener, None, router, policy, ops_shutdown.clone(), Arc::new(Metrics::new())))
    };
    let ops_serving = beside(ops, routes::ops(health, Arc::clone(&metrics)));
    let status_serving = beside(status_port, status::routes(&status));

    // Without a table every image would be kept in silence; a refused connection the API server at least logs.
    let serving = async {
        let read = async {
            if tables.wait_for(|tables| *tables > 0).await.is_err() {
                // A keeper that is gone is one of the parts that have ended.
                std::future::pending::<()>().await;
            }
            let lock = wait_for_lock(&admission, tables.clone(), lock_progress);
            let answers = async {
                if let Some(answers) = &answers {
                    wait_for_answers(answers.reading.subscribe()).await;
                }
            };
            let certificate = async {
                if certificate.wait_for(|is_ready| *is_ready).await.is_err() {
                    // As above.
                    std::future::pending::<()>().await;
                }
            };
            tokio::join!(lock, answers, certificate);
        };
        tokio::select! {
            () = read => lock_ready.waive(),
            () = shutdown.reached(Phase::Draining) => return Ok(()),
        }
        let webhook = Listener::bind(settings.listen, Limits::default())?;
        tracing::info!(webhook = at(&webhook, settings.listen), "listening");
        listening.meet();
        let answering = Arc::clone(&admission);
        let router = routes::webhook(
            move |body, mode, timeout| {
                let admission = Arc::clone(&answering);
                async move { admission.answer(body, mode, timeout).await }
            },
            routes::BodyLimits::default(),
        );
        let validating = routes::validating(
            move |body, timeout| Arc::clone(&validation).answer(body, timeout),
            routes::BodyLimits::default(),
        );
        let router = router.merge(validating);
        let policy = DrainPolicy { delay: settings.drain_delay, ..DrainPolicy::default() };
        let acceptor = Some(Acceptor::new(live));
        serve(webhook, acceptor, router, policy, shutdown.clone(), Arc::clone(&metrics)).await;
        Ok(())
    };

    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        served = &mut serving => served,
        part = parts.join_next() => {
            let name = part.and_then(Result::ok).unwrap_or("a part of the service");
            tracing::error!(part = name, "ended, so the process drains and ends");
            shutdown.drain();
            serving.await.and(Err(ServeError::Ended(name)))
        }
    };
    parts.shutdown().await;
    // No admission is left that could add a line. What follows may take a while, and the process may be killed in it.
    if let Err(error) = admission.log.close(CLOSE_LIMIT) {
        tracing::error!(%error, "audit lines are lost");
    }
    if let Some(answers) = &answers {
        tokio::select! {
            () = answers.end() => {}
            () = shutdown.reached(Phase::Stopping) => {}
        }
    } else if let Some((_, _, lease)) = &home {
        let _is_given_back = tokio::time::timeout(RELEASE_LIMIT, lease.end()).await;
    }
    ops_shutdown.drain();
    if ops_serving.await.is_err() {
        tracing::warn!("the ops port ended early");
    }
    if status_serving.await.is_err() {
        tracing::warn!("the status port ended early");
    }
    ended
}

/// Carries the resolver's figures over to the metrics.
async fn measure(admission: &Admission) -> &'static str {
    let metrics = &admission.metrics;
    let mut before = admission.resolver.status(std::time::Instant::now()).counts;
    let mut every = tokio::time::interval(MEASURE_EVERY);
    loop {
        every.tick().await;
        let status = admission.resolver.status(std::time::Instant::now());
        let left_alone =
            status.registries.iter().filter(|registry| registry.left_alone_for.is_some()).count();
        metrics.registries_left_alone.set(i64::try_from(left_alone).unwrap_or(i64::MAX));
        metrics.cache_entries.set(i64::try_from(status.entries).unwrap_or(i64::MAX));
        let now = status.counts;
        for (result, count) in [
            (RegistryResult::Found, now.found - before.found),
            (RegistryResult::Missing, now.missing - before.missing),
            (RegistryResult::Unauthorized, now.unauthorized - before.unauthorized),
            (RegistryResult::Unavailable, now.unavailable - before.unavailable),
        ] {
            metrics.registry_requests(result, count);
        }
        before = now;
    }
}

/// kube logs whole bodies that it cannot read, and every failed call; `cluster` says what matters.
const DEFAULT_LOG: &str = "info,kube_client=off,kube_runtime=off";

/// How often the resolver's figures are carried over.
const MEASURE_EVERY: Duration = Duration::from_secs(2);

/// How long the end waits for the Lease to be given back, where no answers are kept.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);

/// How long the end waits for audit lines to be written.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
