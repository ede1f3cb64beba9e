//! The images of a document: those that are certain, and those that only look like images.
//!
//! Certain are those of Pods, of the templates that Pods are made from, and what custom resources have under `image`.
//! One walk finds them: a list named `containers`, `initContainers` or `ephemeralContainers` whose items have an image,
//! and beside it the volumes that are images; and where a kind is not Kubernetes' own, `image` at any depth, also in
//! parts (`{repository, tag}`). What else looks like an image is a guess: variables, arguments, values of ConfigMaps and
//! what is embedded in them, keys such as `sidecarImage`. Where an object makes no Pods (a policy's patterns, a
//! definition's defaults, an old revision) the whole document is passed over.

use std::sync::Arc;

use serde::Serialize;

use super::{
    documents::{Content, Document},
    value::Value,
};
use walk::Walk;

mod changed;
mod guess;
mod split;
mod walk;

/// An image that a document names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// As it is written. Of a Pod whose image Portolan has changed: as it was.
    pub image: Box<str>,
    /// Whether it is an image for certain.
    pub certainty: Certainty,
    /// What the text is called.
    pub file: Arc<str>,
    /// Which document of the text, from 1.
    pub document: usize,
    /// The line on which the image stands, from 1; in JSON that on which its document begins.
    pub line: usize,
    /// The JSON pointer (RFC 6901) to the text in its object; `None` in a plain list.
    pub field: Option<Box<str>>,
    /// Whose image it is; `None` in a plain list.
    pub object: Option<Arc<Names>>,
    /// The pull policy beside it, if one is.
    pub pull_policy: Option<Box<str>>,
    /// Whether the Pod that has it, or would have it, opts out by its label.
    pub is_opted_out: bool,
    /// Whether it is of a Pod that mirrors a static Pod.
    pub is_mirror_pod: bool,
}

/// What an object is called.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Names {
    /// Its kind; empty if it has none.
    pub kind: Box<str>,
    /// Its name, or what its name begins with.
    pub name: Box<str>,
    /// The namespace that it names.
    pub namespace: Option<Box<str>>,
}

/// How sure it is that a text is an image.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    // The surest first.
    /// It stands where Pods or custom resources have their images.
    Certain,
    /// It stands elsewhere and looks like one.
    Guess,
}

/// The label by which a Pod opts out and a namespace chooses.
pub const REWRITE_LABEL: &str = "portolan.dev/rewrite";

/// The images of a document, in the order of its keys.
///
/// ```
/// use portolan::inventory::{Certainty, images, read};
///
/// let text = "apiVersion: ceph.rook.io/v1\nkind: CephCluster\nspec: {cephVersion: {image: 'quay.io/ceph/ceph:v17.2.3'}}\n";
/// let found = images(&read("cluster.yaml", text).documents[0]);
/// assert_eq!((&*found[0].image, found[0].certainty), ("quay.io/ceph/ceph:v17.2.3", Certainty::Certain));
/// ```
pub fn images(document: &Document) -> Vec<Found> {
    match &document.content {
        Content::Image(image) => vec![Found {
            image: image.clone(),
            certainty: Certainty::Certain,
            file: Arc::clone(&document.file),
            document: document.number,
            line: document.line,
            field: None,
            object: None,
            pull_policy: None,
            is_opted_out: false,
            is_mirror_pod: false,
        }],
        Content::Object(object) => {
            Trust::of(object).map(|trust| Walk::through(document, object, trust)).unwrap_or_default()
        }
    }
}

impl Names {
    /// The names of an object.
    pub fn of(object: &Value) -> Self {
        let text = |keys: &[&str]| object.at(keys).and_then(Value::as_text).map(Box::from);
        Self {
            kind: text(&["kind"]).unwrap_or_default(),
            name: text(&["metadata", "name"])
                .or_else(|| text(&["metadata", "generateName"]))
                .unwrap_or_default(),
            namespace: text(&["metadata", "namespace"]).filter(|namespace| !namespace.is_empty()),
        }
    }
}

/// What is known of the Pod that a part of a document describes.
#[derive(Clone, Copy, Default)]
struct Of {
    is_opted_out: bool,
    is_mirror_pod: bool,
}

impl Of {
    /// With what the metadata beside it says, if there is any.
    fn described_by(self, holder: &Value) -> Self {
        let Some(metadata) = holder.get("metadata") else { return self };
        Self {
            is_opted_out: metadata.at(&["labels", REWRITE_LABEL]).and_then(Value::as_text)
                == Some("disabled"),
            is_mirror_pod: metadata.at(&["annotations", "kubernetes.io/config.mirror"]).is_some(),
        }
    }
}

/// How sure images are by where in an object they stand.
#[derive(Clone, Copy)]
struct Trust {
    /// In lists of containers.
    containers: Certainty,
    /// Under `image` elsewhere.
    fields: Certainty,
}

impl Trust {
    const GUESS: Self = Self { containers: Certainty::Guess, fields: Certainty::Guess };

    /// By what an object is; `None`: nothing in it is an image that runs.
    fn of(object: &Value) -> Option<Self> {
        let text = |key| object.get(key).and_then(Value::as_text).unwrap_or_default();
        let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
        let is_within = |groups: &[&str]| {
            let mut groups = groups.iter().filter_map(|suffix| group.strip_suffix(suffix));
            groups.any(|before| before.is_empty() || before.ends_with('.'))
        };
        let kind = text("kind");
        let is_lock = object.at(&["metadata", "labels", "portolan.dev/lock"]).is_some();
        if NO_PODS.contains(&kind) || is_within(&POLICIES) || is_lock {
            return None;
        }
        if kind == "ConfigMap" {
            return Some(Self::GUESS);
        }
        // Without a kind it may be the values of a chart.
        let is_custom = group.contains('.') && !is_within(&OTHER_IMAGES);
        let fields = if is_custom { Certainty::Certain } else { Certainty::Guess };
        Some(Self { containers: Certainty::Certain, fields })
    }
}

/// Kinds that describe containers or name images without running any.
const NO_PODS: [&str; 9] = [
    "ControllerRevision",
    "CustomResourceDefinition",
    "ImageContentSourcePolicy",
    "ImageDigestMirrorSet",
    "ImageTagMirrorSet",
    "MappingTable",
    "MutatingAdmissionPolicy",
    "Secret",
    "ValidatingAdmissionPolicy",
];

/// Groups of policies, which hold patterns.
const POLICIES: [&str; 4] = ["kyverno.io", "gatekeeper.sh", "sigstore.dev", "kubewarden.io"];

/// Groups in which `image` may be something else: a machine's disk, a repository to look into, a driver's parameter.
const OTHER_IMAGES: [&str; 6] = [
    "cluster.x-k8s.io",
    "image.toolkit.fluxcd.io",
    "machine.openshift.io",
    "metal3.io",
    "resource.k8s.io",
    "storage.k8s.io",
];

#[cfg(test)]
mod tests;
