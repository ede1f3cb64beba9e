//! Which mapping table and which lock a command goes by, and reading them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use super::Printer;
use crate::{
    cluster::{self, LockTexts, TableText},
    lock::{self, Lock},
    server::{ConfigMapName, read_maps},
    table::Table,
};

/// Where table and lock are.
#[derive(Debug, Args)]
pub(super) struct TableArgs {
    /// File with the mapping table
    #[arg(long, value_name = "FILE", conflicts_with = "table_configmap")]
    table: Option<PathBuf>,

    /// ConfigMap with the mapping table
    #[arg(long, value_name = "NS/NAME", default_value = "portolan/portolan-table")]
    table_configmap: ConfigMapName,

    /// File with the lock [default: with a table in a ConfigMap, the ConfigMaps labelled `portolan.dev/lock: "true"` beside it]
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Opened {
    /// The table.
    pub(super) table: Table,
    /// The lock; empty if none was named and there is none beside the table.
    pub(super) lock: Lock,
}

impl TableArgs {
    /// The namespace that Portolan runs in: that of the ConfigMap, also where the table is in a file.
    pub(super) fn own_namespace(&self) -> &str {
        &self.table_configmap.namespace
    }

    /// The lock's file, if one was named.
    pub(super) fn lock_file(&self) -> Option<&Path> {
        self.lock.as_deref()
    }

    /// Reads the table alone. Its warnings go to the printer.
    pub(super) async fn open_table(&self, printer: &mut Printer) -> anyhow::Result<Table> {
        let client = match self.table {
            Some(_) => None,
            None => Some(connect(self).await?),
        };
        read_table(self, client.as_ref(), printer).await
    }

    /// Reads both. The table's warnings go to the printer.
    pub(super) async fn open(&self, printer: &mut Printer) -> anyhow::Result<Opened> {
        let client = match self.table {
            Some(_) => None,
            None => Some(connect(self).await?),
        };
        let table = read_table(self, client.as_ref(), printer).await?;
        let lock = read_lock(self, client.as_ref()).await?;
        Ok(Opened { table, lock })
    }
}

async fn connect(args: &TableArgs) -> anyhow::Result<cluster::Client> {
    cluster::Client::connect(cluster::WatchPolicy::default())
        .await
        .with_context(|| format!("cannot read the mapping table in ConfigMap `{}`", args.table_configmap))
}

async fn read_table(
    args: &TableArgs,
    client: Option<&cluster::Client>,
    printer: &mut Printer,
) -> anyhow::Result<Table> {
    let (text, place) = match (&args.table, client) {
        (Some(path), _) => return read_table_file(path, printer),
        (None, Some(client)) => {
            let ConfigMapName { namespace, name } = &args.table_configmap;
            let place = format!("in ConfigMap `{namespace}/{name}`");
            let unreadable = || format!("cannot read the mapping table {place}");
            let text = match cluster::read_table(client, namespace, name).await.with_context(unreadable)? {
                TableText::Text { text, .. } => text.into_string(),
                TableText::KeyMissing => bail!("{}: it has no key `{}`", unreadable(), cluster::TABLE_KEY),
                TableText::Absent | TableText::Unread => {
                    bail!("{}: there is no such ConfigMap", unreadable())
                }
            };
            (text, place)
        }
        (None, None) => bail!("no mapping table was named, and there is no cluster to look in"),
    };
    parse_table(&text, &place, printer)
}

/// Reads a table from a file. Its warnings go to the printer.
pub(super) fn read_table_file(path: &Path, printer: &mut Printer) -> anyhow::Result<Table> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the mapping table `{}`", path.display()))?;
    parse_table(&text, &format!("`{}`", path.display()), printer)
}

fn parse_table(text: &str, place: &str, printer: &mut Printer) -> anyhow::Result<Table> {
    let parsed = Table::parse(text).with_context(|| format!("cannot read the mapping table {place}"))?;
    for warning in &parsed.warnings {
        printer.warning(&format!("mapping table {place}: {warning}"));
    }
    Ok(parsed.table)
}

/// The lock of the file named; else, beside a table of a cluster, that of its labelled ConfigMaps.
async fn read_lock(args: &TableArgs, client: Option<&cluster::Client>) -> anyhow::Result<Lock> {
    if let Some(path) = &args.lock {
        let unreadable = || format!("cannot read the lock `{}`", path.display());
        let text = std::fs::read_to_string(path).with_context(unreadable)?;
        return Lock::parse(&text).with_context(unreadable);
    }
    let Some(client) = client else { return Ok(Lock::default()) };
    let namespace = &args.table_configmap.namespace;
    let unreadable =
        || format!("cannot read the lock in the ConfigMaps of `{namespace}` labelled `{}`", lock::SELECTOR);
    match cluster::read_lock(client, namespace).await.with_context(unreadable)? {
        LockTexts::Read(maps) => read_maps(&maps).with_context(unreadable),
        LockTexts::Unread => Ok(Lock::default()),
    }
}
