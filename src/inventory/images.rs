//! The images of a document that are certain: those of Pods and of the templates that Pods are made from.
//!
//! One walk finds them in Pods, in the workloads of Kubernetes and in custom resources alike: a list named
//! `containers`, `initContainers` or `ephemeralContainers` whose items have an image, and beside it the volumes that
//! are images. Where such lists do not make Pods (a policy's patterns, a definition's defaults, an old revision) the
//! whole document is passed over.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    documents::{Content, Document},
    value::Value,
};

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
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Certainty {
    /// It stands where Pods have their images.
    Certain,
}

/// The label by which a Pod opts out and a namespace chooses.
pub const REWRITE_LABEL: &str = "portolan.dev/rewrite";

/// The images of a document, in the order of its keys.
pub fn images(document: &Document) -> Vec<Found> {
    let object = match &document.content {
        Content::Object(object) => object,
        Content::Image(image) => {
            return vec![Found {
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
            }];
        }
    };
    if makes_no_pods(object) {
        return Vec::new();
    }
    let names = Arc::new(Names::of(object));
    let changed = if &*names.kind == "Pod" { Changed::of(object) } else { Changed::default() };
    let mut walk = Walk { document, names, changed, pointer: String::new(), found: Vec::new() };
    walk.map(object, Of::default());
    walk.found
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

struct Walk<'d> {
    document: &'d Document,
    names: Arc<Names>,
    changed: Changed,
    pointer: String,
    found: Vec<Found>,
}

impl Walk<'_> {
    fn map(&mut self, value: &Value, of: Of) {
        let Some(entries) = value.as_map() else { return };
        // The metadata of a workload does not speak for its Pods: that of the template does, further below.
        let is_described = !self.pointer.is_empty() || &*self.names.kind == "Pod";
        let of = if is_described { of.described_by(value) } else { of };
        let mut has_containers = false;
        for list in CONTAINERS {
            let items = value.get(list).and_then(Value::as_list).unwrap_or_default();
            for (position, container) in items.iter().enumerate() {
                let image = container.get("image").filter(|image| image.as_text().is_some());
                has_containers |= image.is_some();
                self.add(container, image, "imagePullPolicy", (list, position, "image"), of);
            }
        }
        let volumes = value.get("volumes").and_then(Value::as_list).unwrap_or_default();
        for (position, volume) in volumes.iter().enumerate().filter(|_| has_containers) {
            let Some(source) = volume.get("image") else { continue };
            self.add_volume(volume, source, position, of);
        }
        for (key, inner) in entries {
            if self.pointer.is_empty() && (&**key == "metadata" || &**key == "status") {
                continue;
            }
            self.inside(key, inner, of);
        }
    }

    fn inside(&mut self, key: &str, value: &Value, of: Of) {
        let length = self.pointer.len();
        self.push(key);
        self.map(value, of);
        for (position, item) in value.as_list().unwrap_or_default().iter().enumerate() {
            self.inside(&position.to_string(), item, of);
        }
        self.pointer.truncate(length);
    }

    fn add(
        &mut self,
        container: &Value,
        image: Option<&Value>,
        policy: &str,
        (list, position, last): (&str, usize, &str),
        of: Of,
    ) {
        let Some((image, text)) = image.and_then(|image| Some((image, image.as_text()?))) else { return };
        let name = container.get("name").and_then(Value::as_text).unwrap_or_default();
        let written = self.changed.written(list, name, text).unwrap_or(text).into();
        let length = self.pointer.len();
        for token in [list, &position.to_string(), last] {
            self.push(token);
        }
        self.found.push(Found {
            image: written,
            certainty: Certainty::Certain,
            file: Arc::clone(&self.document.file),
            document: self.document.number,
            line: image.line,
            field: Some(self.pointer.as_str().into()),
            object: Some(Arc::clone(&self.names)),
            pull_policy: container.get(policy).and_then(Value::as_text).map(Into::into),
            is_opted_out: of.is_opted_out,
            is_mirror_pod: of.is_mirror_pod,
        });
        self.pointer.truncate(length);
    }

    /// A volume's image: its name stands in the volume, text and policy one level below.
    fn add_volume(&mut self, volume: &Value, source: &Value, position: usize, of: Of) {
        let before = self.found.len();
        self.add(source, source.get("reference"), "pullPolicy", ("volumes", position, "image/reference"), of);
        let name = volume.get("name").and_then(Value::as_text).unwrap_or_default();
        if let Some(found) = self.found.get_mut(before)
            && let Some(written) = self.changed.written("volumes", name, &found.image)
        {
            found.image = written.into();
        }
    }

    /// Goes one level down. `image/reference` is two.
    fn push(&mut self, token: &str) {
        self.pointer.push('/');
        if token == "image/reference" {
            self.pointer.push_str(token);
        } else {
            self.pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
        }
    }
}

/// What the annotation of a Pod says about its images: for whom it speaks is the webhook's matter; here it only tells
/// what the Pod's maker wrote.
#[derive(Default)]
struct Changed(BTreeMap<String, BTreeMap<String, String>>);

impl Changed {
    fn of(pod: &Value) -> Self {
        let text = pod.at(&["metadata", "annotations", "portolan.dev/sources"]).and_then(Value::as_text);
        Self(text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default())
    }

    /// What an image was written as.
    fn written(&self, list: &str, name: &str, image: &str) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        let entry = self.0.get(&format!("{list}/{name}"))?;
        (entry.get("image").map(String::as_str) == Some(image))
            .then(|| entry.get("written"))?
            .map(String::as_str)
    }
}

/// Whether no list of containers in an object makes Pods.
fn makes_no_pods(object: &Value) -> bool {
    let text = |key| object.get(key).and_then(Value::as_text).unwrap_or_default();
    let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    NO_PODS.contains(&text("kind"))
        || POLICIES.iter().any(|policies| {
            group.strip_suffix(policies).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        })
}

/// The lists of a Pod's specification that have containers.
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Kinds that describe containers without making any.
const NO_PODS: [&str; 5] = [
    "ConfigMap",
    "ControllerRevision",
    "CustomResourceDefinition",
    "MutatingAdmissionPolicy",
    "ValidatingAdmissionPolicy",
];

/// Groups of policies, which hold patterns.
const POLICIES: [&str; 4] = ["kyverno.io", "gatekeeper.sh", "sigstore.dev", "kubewarden.io"];
