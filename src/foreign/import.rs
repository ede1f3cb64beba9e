//! Reading other tools' tables: which kinds there are, and what every reader is given and gives.

use std::fmt;

use super::{
    draft::Draft, harbor_container_webhook, hosts_toml, imageswap, k8s_image_swapper, kubespray, mirror_sets,
    recognise, registries_conf, registries_yaml,
};
use crate::table::Problems;

/// A file that another tool reads.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Its path as it was given: the folder that a `hosts.toml` is in says which registry it is about.
    pub name: &'a str,
    /// What is in it.
    pub text: &'a str,
}

/// In whose words a table is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// The configuration of harbor-container-webhook.
    HarborContainerWebhook,
    /// containerd's `certs.d/HOST/hosts.toml`.
    HostsToml,
    /// `OpenShift`'s `ImageContentSourcePolicy`.
    Icsp,
    /// `OpenShift`'s `ImageDigestMirrorSet`.
    Idms,
    /// The maps of imageswap-webhook.
    ImageSwap,
    /// `OpenShift`'s `ImageTagMirrorSet`.
    Itms,
    /// The configuration of k8s-image-swapper.
    K8sImageSwapper,
    /// The `offline.yml` of Kubespray.
    Kubespray,
    /// `containers-registries.conf(5)`, version 2.
    RegistriesConf,
    /// The `registries.yaml` of k3s and RKE2.
    RegistriesYaml,
}

/// A table that was read from another tool's files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Imported {
    /// The table. [`crate::table::Table::parse`] takes it.
    pub text: String,
    /// What those files say and the table does not, and where the two are not quite the same.
    pub warnings: Vec<String>,
}

/// Why files are no table of that kind.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ImportError {
    /// It could be of several kinds.
    #[error("`{file}` may be {}: name the kind", listed(.kinds))]
    Ambiguous {
        /// The file.
        file: String,
        /// The kinds.
        kinds: Vec<Kind>,
    },
    /// It cannot be read, or says something that its own tool would not take.
    #[error("`{file}`{}: {message}", Line(*.line))]
    Broken {
        /// The file.
        file: String,
        /// The line, from 1, if it is known.
        line: Option<usize>,
        /// What is wrong.
        message: String,
    },
    /// It is something else.
    #[error("`{file}` is no {kind}: {why}")]
    Different {
        /// The file.
        file: String,
        /// What it was said to be.
        kind: Kind,
        /// How that shows.
        why: String,
    },
    /// Files of kinds that do not go together.
    #[error("the files are of different kinds ({}): import them one kind at a time", listed(.kinds))]
    Mixed {
        /// The kinds.
        kinds: Vec<Kind>,
    },
    /// What came of it is no table.
    #[error("what it says cannot be put into a table: {0}")]
    NoTable(Problems),
    /// It is of no kind that is known here.
    #[error("`{file}` is of no kind that is known here: name the kind")]
    Unrecognised {
        /// The file.
        file: String,
    },
}

/// How a reader gets at a file that another one names: the name of the one that names it, and the path that it says.
pub(super) type Beside<'f> = dyn FnMut(&str, &str) -> Option<String> + 'f;

impl Kind {
    /// Every kind, by its word.
    pub const ALL: [Self; 10] = [
        Self::HarborContainerWebhook,
        Self::HostsToml,
        Self::Icsp,
        Self::Idms,
        Self::ImageSwap,
        Self::Itms,
        Self::K8sImageSwapper,
        Self::Kubespray,
        Self::RegistriesConf,
        Self::RegistriesYaml,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HarborContainerWebhook => "harbor-container-webhook",
            Self::HostsToml => "hosts.toml",
            Self::Icsp => "icsp",
            Self::Idms => "idms",
            Self::ImageSwap => "imageswap",
            Self::Itms => "itms",
            Self::K8sImageSwapper => "k8s-image-swapper",
            Self::Kubespray => "kubespray",
            Self::RegistriesConf => "registries.conf",
            Self::RegistriesYaml => "registries.yaml",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Makes a table of another tool's files, which are one table together. Without a kind it is told from what is in them.
///
/// `beside` reads a file that one of them names, such as a certificate: it is given the name of the file that names it,
/// and the path that it says.
///
/// # Errors
/// Files that cannot be read, are of another kind, or contradict each other so that their own tool refuses them.
pub fn import(
    kind: Option<Kind>,
    files: &[File<'_>],
    beside: &mut dyn FnMut(&str, &str) -> Option<String>,
) -> Result<Imported, ImportError> {
    let kinds = match kind {
        Some(kind) => vec![kind],
        None => recognised(files)?,
    };
    let mut draft = Draft::default();
    match kinds.first() {
        Some(Kind::HarborContainerWebhook) => harbor_container_webhook::read(files, &mut draft)?,
        Some(Kind::HostsToml) => hosts_toml::read(files, beside, &mut draft)?,
        Some(Kind::ImageSwap) => imageswap::read(files, &mut draft)?,
        Some(Kind::K8sImageSwapper) => k8s_image_swapper::read(files, &mut draft)?,
        Some(Kind::Kubespray) => kubespray::read(files, &mut draft)?,
        Some(Kind::RegistriesConf) => registries_conf::read(files, &mut draft)?,
        Some(Kind::RegistriesYaml) => registries_yaml::read(files, beside, &mut draft)?,
        Some(Kind::Icsp | Kind::Idms | Kind::Itms) => mirror_sets::read(&kinds, files, &mut draft)?,
        None => {}
    }
    let words: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
    draft.finish(&words.join(", "), files)
}

/// What all files are, if that goes together: the three objects of `OpenShift` do, as no others.
fn recognised(files: &[File<'_>]) -> Result<Vec<Kind>, ImportError> {
    let mut kinds = Vec::new();
    for file in files {
        kinds.extend(recognise::recognise(file)?);
    }
    kinds.sort_unstable();
    kinds.dedup();
    let is_mirror_set = |kind: &Kind| matches!(kind, Kind::Icsp | Kind::Idms | Kind::Itms);
    if kinds.len() > 1 && !kinds.iter().all(is_mirror_set) {
        return Err(ImportError::Mixed { kinds });
    }
    Ok(kinds)
}

/// A line in a message, if it is known.
struct Line(Option<usize>);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, ", line {line}"))
    }
}

fn listed(kinds: &[Kind]) -> String {
    kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
