//! Where certificate, table and lock come from, and the parts of the service that follow them.
//!
//! What a file holds is read here once, so that one with problems ends the start; what changes later is for the keepers.

use std::{fmt, path::PathBuf, sync::Arc};

use tokio::{sync::watch, task::JoinSet};

use super::{
    CertificateSource, Condition, ConfigMapName, Health, ServeError, SharedPolicy, TableSource,
    file::watch_file,
    lock_check,
    lock_keeper::{LockKeeper, Progress, read_text, read_texts},
    table_keeper::{Beside, TableKeeper},
};
use crate::{
    admission::{Admission, TablePlace, Validation},
    cluster::{self, Events, LastGood, LockTexts, SecretNames, TableText},
    lock::{self, Lock},
    metrics::Metrics,
    registry::{Credentials, LocalLogins, ReadCredentialsError},
    table::Table,
    tls::{FollowFiles, LivePair, PairFiles, Renew},
};

/// Takes a certificate of our own or of files into use; one that is shared is not, and how it is to be kept is
/// returned.
pub(super) fn follow_certificate(
    source: CertificateSource,
    live: &Arc<LivePair>,
    metrics: &Arc<Metrics>,
    parts: &mut JoinSet<&'static str>,
) -> Result<Option<SharedPolicy>, ServeError> {
    let files = match source {
        CertificateSource::Directory(folder) => PairFiles::in_directory(&folder),
        CertificateSource::Files { certificate, key } => PairFiles::new(certificate, key),
        CertificateSource::SelfSigned { ca_file } => {
            let renew = Renew::start(&[], Arc::clone(live), Arc::clone(metrics))?;
            if let Some(path) = ca_file {
                std::fs::write(&path, renew.authority())
                    .map_err(|source| ServeError::CertificateFile { path, source })?;
            }
            parts.spawn(async move {
                renew.run().await;
                "certificate"
            });
            return Ok(None);
        }
        CertificateSource::Shared(policy) => return Ok(Some(policy)),
    };
    let follow = FollowFiles::start(files, Arc::clone(live), Arc::clone(metrics))?;
    parts.spawn(async move {
        follow.run().await;
        "certificate"
    });
    Ok(None)
}

/// Where edits of the table come from, if they pass the API server.
pub(super) fn table_place(source: &TableSource) -> Option<TablePlace> {
    match source {
        TableSource::ConfigMap(ConfigMapName { namespace, name }) => {
            Some(TablePlace { namespace: namespace.clone(), name: name.clone(), key: cluster::TABLE_KEY })
        }
        TableSource::File(_) => None,
    }
}

/// What following table and lock needs of the service.
pub(super) struct Wiring<'a> {
    pub(super) admission: &'a Arc<Admission>,
    pub(super) validation: &'a Arc<Validation>,
    pub(super) health: &'a Health,
    /// The cluster and what tells of ConfigMaps in it, where there is one.
    pub(super) cluster: Option<(&'a cluster::Client, &'a Events)>,
    pub(super) parts: &'a mut JoinSet<&'static str>,
}

pub(super) fn follow_table(
    source: TableSource,
    tables: watch::Sender<u64>,
    condition: Condition,
    wiring: &mut Wiring<'_>,
) -> Result<(), ServeError> {
    let Wiring { admission, health, cluster, parts, .. } = wiring;
    let own_namespace = admission.options.own_namespace.as_deref();
    // In a cluster exactly the Secrets that the table names, elsewhere the files of whoever runs it.
    let logins = if own_namespace.is_some() { None } else { written_logins()? };
    let (names, wanted) = watch::channel(SecretNames::new());
    let secrets_namespace = match (own_namespace, &source) {
        (None, TableSource::ConfigMap(name)) => Some(name.namespace.as_str()),
        (own, _) => own,
    };
    let secrets = cluster
        .zip(secrets_namespace)
        .map(|((client, _), namespace)| cluster::watch_secrets(client, namespace, wanted).secrets);
    let (text, beside): (watch::Receiver<TableText>, Option<Beside>) = match source {
        TableSource::ConfigMap(name) => {
            let (client, events) = cluster.expect("one was connected to because the table is in a ConfigMap");
            condition.note(format!("ConfigMap `{name}` was not read yet"));
            let watching = cluster::watch_table(client, &name.namespace, &name.name);
            follow_trouble(watching.trouble, health.condition("cluster"));
            let namespace = own_namespace.unwrap_or(&name.namespace);
            let last_good = LastGood::new(client, namespace, &name.to_string());
            let beside = Beside {
                keep: last_good.clone().keep(Arc::clone(&admission.metrics)),
                last_good,
                events: events.clone(),
                name,
            };
            (watching.text, Some(beside))
        }
        TableSource::File(path) => {
            let text = std::fs::read_to_string(&path)
                .map_err(|source| ServeError::TableFile { path: path.clone(), source })?;
            // At start a file with problems ends the process; later ones leave the last good table in force.
            if let Err(source) = Table::parse(&text) {
                return Err(ServeError::Table { path, source });
            }
            let read = |text: &str| TableText::Text { text: text.into(), resource_version: "".into() };
            (watch_file(path, text, read), None)
        }
    };
    let keeper = TableKeeper {
        admission: Arc::clone(admission),
        condition,
        names,
        secrets,
        logins,
        tables,
        beside,
        unrestored: None,
    };
    parts.spawn(async move {
        keeper.follow(text).await;
        "table"
    });
    Ok(())
}

/// The logins that are written in files. No program is run that a file names for others: nobody is there to unlock a key
/// ring, and whoever could change the file or the PATH would have a program run with the service's rights.
fn written_logins() -> Result<Option<Credentials>, ReadCredentialsError> {
    let logins = LocalLogins::read()?;
    for named in logins.helpers() {
        tracing::warn!(
            file = %named.file.display(),
            helpers = named.names.join(", "),
            "credential helpers are not run by `serve`: write the logins that they know into a file, and name it in REGISTRY_AUTH_FILE"
        );
    }
    Ok(logins.written())
}

/// Where the lock is.
pub(super) enum LockSource {
    /// In the labelled ConfigMaps of this namespace.
    ConfigMaps(String),
    /// In this file.
    File(PathBuf),
    /// Nowhere: no file was named, and there is no cluster.
    Nowhere,
}

impl LockSource {
    pub(super) fn new(file: Option<PathBuf>, admission: &Admission, table: &TableSource) -> Self {
        match (file, &admission.options.own_namespace, table) {
            (Some(path), ..) => Self::File(path),
            (None, Some(namespace), _) => Self::ConfigMaps(namespace.clone()),
            // Beside the table, whose namespace stands for Portolan's own.
            (None, None, TableSource::ConfigMap(name)) => Self::ConfigMaps(name.namespace.clone()),
            (None, None, TableSource::File(_)) => Self::Nowhere,
        }
    }

    /// The namespace of its ConfigMaps, if it has some.
    pub(super) fn namespace(&self) -> Option<&str> {
        match self {
            Self::ConfigMaps(namespace) => Some(namespace),
            Self::File(_) | Self::Nowhere => None,
        }
    }
}

impl fmt::Display for LockSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfigMaps(namespace) => {
                write!(f, "the ConfigMaps in `{namespace}` labelled `{}`", lock::SELECTOR)
            }
            Self::File(path) => write!(f, "file `{}`", path.display()),
            Self::Nowhere => f.write_str("nowhere"),
        }
    }
}

pub(super) fn follow_lock(
    source: LockSource,
    condition: Condition,
    report: Option<lock_check::Report>,
    wiring: &mut Wiring<'_>,
) -> Result<watch::Receiver<Progress>, ServeError> {
    let Wiring { admission, validation, health, cluster, parts } = wiring;
    let (progress, reached) = watch::channel(Progress::Waiting);
    let keeper = LockKeeper { admission: Arc::clone(admission), condition, progress, report };
    match (source, *cluster) {
        (LockSource::ConfigMaps(namespace), Some((client, _))) => {
            keeper.condition.note(format!("the lock's ConfigMaps in `{namespace}` were not read yet"));
            let watching = cluster::watch_lock(client, &namespace);
            follow_trouble(watching.trouble, health.condition("lock-watch"));
            let validation = Arc::clone(validation);
            let read = move |texts: &LockTexts| {
                if let LockTexts::Read(maps) = texts {
                    validation.lock_maps.store(Arc::new(maps.clone()));
                }
                read_texts(texts)
            };
            parts.spawn(async move {
                keeper.follow(watching.texts, read).await;
                "lock"
            });
        }
        (LockSource::File(path), _) => {
            let text = std::fs::read_to_string(&path)
                .map_err(|source| ServeError::LockFile { path: path.clone(), source })?;
            // As with the table's file.
            if let Err(source) = Lock::parse(&text) {
                return Err(ServeError::Lock { path, source });
            }
            let texts = watch_file(path, text, |text| Arc::<str>::from(text));
            parts.spawn(async move {
                keeper.follow(texts, read_text).await;
                "lock"
            });
        }
        (LockSource::ConfigMaps(_) | LockSource::Nowhere, _) => {
            keeper.condition.note("no file with a lock was named, and there is no cluster to look in");
            keeper.progress.send_replace(Progress::Tried);
            parts.spawn(async move {
                let _keeper = keeper;
                std::future::pending().await
            });
        }
    }
    Ok(reached)
}

/// Says on `/readyz?verbose` what keeps table or lock from being read at the moment. It takes readiness from nobody: the
/// last good one is in force.
fn follow_trouble(mut trouble: watch::Receiver<cluster::Trouble>, condition: Condition) {
    condition.meet();
    tokio::spawn(async move {
        while trouble.changed().await.is_ok() {
            match trouble.borrow_and_update().as_deref() {
                Some(text) => condition.note(text),
                None => condition.meet(),
            }
        }
    });
}
