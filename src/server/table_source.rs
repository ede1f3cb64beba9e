//! Where the mapping table comes from: a file that is read again and again, or a ConfigMap that is watched.

use std::{fmt, path::PathBuf, str::FromStr};

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

impl fmt::Display for TableSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfigMap(name) => write!(f, "ConfigMap `{name}`"),
            Self::File(path) => write!(f, "file `{}`", path.display()),
        }
    }
}

impl fmt::Display for ConfigMapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
