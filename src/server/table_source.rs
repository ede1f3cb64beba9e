//! Where the mapping table comes from: a file that is read again and again, or a ConfigMap that is watched.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use tokio::sync::watch;

use crate::cluster::TableText;

/// Where the table is.
#[derive(Clone, Debug)]
pub enum TableSource {
    /// In this ConfigMap, key `table.yaml`.
    ConfigMap(ConfigMapName),
    /// In this file.
    File(PathBuf),
}

/// A ConfigMap's namespace and name, written `NS/NAME`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigMapName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// The text is no `NS/NAME`.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` names no ConfigMap; write its namespace and name as in `portolan/portolan-table`")]
pub struct ParseConfigMapNameError(String);

impl FromStr for ConfigMapName {
    type Err = ParseConfigMapNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(ParseConfigMapNameError(text.to_owned())),
        }
    }
}

impl fmt::Display for ConfigMapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Publishes the file's text whenever it changes, for as long as the receiver is held.
///
/// Contents are compared, every second: a mounted ConfigMap changes by a symlink, which a watch on the file misses.
/// A file that is gone for a while keeps its last text.
pub(super) fn watch_file(path: PathBuf, first: String) -> watch::Receiver<TableText> {
    let as_text = |text: &str| TableText::Text { text: text.into(), resource_version: "".into() };
    let (sender, receiver) = watch::channel(as_text(&first));
    tokio::spawn(async move {
        let mut last = first;
        let mut is_missing = false;
        let mut every = tokio::time::interval(FILE_PERIOD);
        loop {
            tokio::select! {
                () = sender.closed() => return,
                _ = every.tick() => {}
            }
            match tokio::fs::read_to_string(&path).await {
                Ok(text) => {
                    is_missing = false;
                    if text != last {
                        sender.send_replace(as_text(&text));
                        last = text;
                    }
                }
                Err(error) if !is_missing => {
                    is_missing = true;
                    tracing::warn!(path = %path.display(), %error, "cannot read the mapping table, the last one stays");
                }
                Err(_) => {}
            }
        }
    });
    receiver
}

/// How often a file is read.
const FILE_PERIOD: Duration = Duration::from_secs(1);
