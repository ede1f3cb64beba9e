//! Which images a command is about: those of files, folders, stdin or the running cluster, each once for every
//! namespace that it would run in.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use clap::Args;
use serde::{Serialize, Serializer};

use super::{Printer, sources::SourceArgs};
use crate::{
    cluster,
    inventory::{self, Certainty, Content, Document, Found, Names, REWRITE_LABEL, Value},
    rewrite::{Calling, Mode, Reason, is_placeholder},
};

/// Where the images are.
#[derive(Debug, Args)]
pub(super) struct InputArgs {
    #[command(flatten)]
    sources: SourceArgs,

    /// Namespace of what names none; without it only rules for all namespaces count there
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// The images, each once for every namespace and way of being left alone, sorted.
    pub(super) wanted: Vec<Wanted>,
    /// How many texts or parts of them could not be read. Each was named on stderr.
    pub(super) unread: usize,
    /// The namespaces known, each with what its label says.
    pub(super) namespaces: HashMap<Box<str>, Option<Box<str>>>,
}

/// An image that is to run.
#[derive(Debug)]
pub(super) struct Wanted {
    /// As it is written.
    pub(super) image: Box<str>,
    /// Where; `None`: nothing says.
    pub(super) namespace: Option<Box<str>>,
    /// Why it never comes before the table, if so.
    pub(super) left_alone: Option<LeftAlone>,
    /// Whether what is decided about it is done.
    pub(super) mode: Mode,
    /// Where it stands.
    pub(super) spots: Vec<Spot>,
}

/// Why an image never comes before the table.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum LeftAlone {
    /// The namespace's label says so.
    NamespaceDisabled,
    /// Something about the Pod or its image: the position of the reason in [`Reason::ALL`].
    Reason(usize),
    /// A namespace of the cluster's own, which no label takes in.
    SystemNamespace,
}

/// A place where an image stands.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Spot {
    #[serde(serialize_with = "as_text")]
    file: Arc<str>,
    document: usize,
    line: usize,
    field: Option<Box<str>>,
    kind: Option<Box<str>>,
    namespace: Option<Box<str>>,
    name: Option<Box<str>>,
}

impl InputArgs {
    /// Reads everything. `own_namespace` is Portolan's.
    pub(super) async fn collect(
        &self,
        own_namespace: &str,
        client: Option<&cluster::Client>,
        printer: &mut Printer,
    ) -> anyhow::Result<Inputs> {
        let mut collector = Collector::default();
        collector.unread =
            self.sources.read(client, printer, |documents| collector.documents(&documents)).await?;
        Ok(collector.finish(self.namespace.as_deref(), own_namespace))
    }

    /// A client of the running cluster, if that is what is asked about.
    pub(super) async fn connect(&self) -> anyhow::Result<Option<cluster::Client>> {
        self.sources.connect().await
    }
}

impl LeftAlone {
    fn because(reason: Reason) -> Self {
        Self::Reason(reason as usize)
    }

    /// The word for it: the reason's where there is one.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::NamespaceDisabled => "namespace-disabled",
            Self::Reason(position) => Reason::ALL.get(position).map_or("", |reason| reason.word()),
            Self::SystemNamespace => "system-namespace",
        }
    }
}

/// Whether Pods of a namespace never come to the webhook, by what its label says: as the shipped configuration does.
pub(super) fn passed_by(namespace: &str, label: Option<&str>) -> Option<LeftAlone> {
    match Calling::of(namespace, label) {
        Calling::Called(_) => None,
        Calling::Disabled => Some(LeftAlone::NamespaceDisabled),
        Calling::System => Some(LeftAlone::SystemNamespace),
    }
}

/// Whether what is decided about Pods of a namespace is done to them, by what its label says.
pub(super) fn mode_of(label: Option<&str>) -> Mode {
    if label == Some("audit") { Mode::Audit } else { Mode::Enforce }
}

/// The value of the label by which a namespace chooses.
pub(super) fn label_of(namespace: &Value) -> Option<&str> {
    namespace.at(&["metadata", "labels", REWRITE_LABEL]).and_then(Value::as_text)
}

#[derive(Default)]
struct Collector {
    found: Vec<Found>,
    namespaces: HashMap<Box<str>, Option<Box<str>>>,
    unread: usize,
}

impl Collector {
    fn documents(&mut self, documents: &[Document]) {
        for document in documents {
            if let Content::Object(object) = &document.content {
                let names = Names::of(object);
                if &*names.kind == "Namespace" {
                    self.namespaces.insert(names.name, label_of(object).map(Into::into));
                }
            }
            // What only looks like an image is not known to run.
            let is_certain = |found: &Found| found.certainty == Certainty::Certain;
            self.found.extend(inventory::images(document).into_iter().filter(is_certain));
        }
    }

    fn finish(self, namespace: Option<&str>, own_namespace: &str) -> Inputs {
        let label = |namespace: Option<&str>| self.namespaces.get(namespace?)?.as_deref();
        let mut wanted: BTreeMap<_, Vec<Spot>> = BTreeMap::new();
        for found in self.found {
            let named = found.object.as_ref().and_then(|object| object.namespace.as_deref());
            let namespace = named.or(namespace);
            let label = label(namespace);
            let left_alone = left_alone(&found, namespace, label, own_namespace);
            let namespace = namespace.map(Box::<str>::from);
            wanted.entry((found.image.clone(), namespace, left_alone)).or_default().push(Spot::of(found));
        }
        let wanted = wanted
            .into_iter()
            .map(|((image, namespace, left_alone), spots)| {
                let mode = mode_of(label(namespace.as_deref()));
                Wanted { image, namespace, left_alone, mode, spots }
            })
            .collect();
        Inputs { wanted, unread: self.unread, namespaces: self.namespaces }
    }
}

/// In the webhook's order: first whether it is called at all, then the Pod, then the image.
fn left_alone(
    found: &Found,
    namespace: Option<&str>,
    label: Option<&str>,
    own_namespace: &str,
) -> Option<LeftAlone> {
    let passed_by = namespace.and_then(|namespace| passed_by(namespace, label));
    let because = |holds: bool, reason| holds.then(|| LeftAlone::because(reason));
    passed_by
        .or_else(|| because(found.is_opted_out, Reason::OptedOut))
        .or_else(|| because(namespace == Some(own_namespace), Reason::OwnNamespace))
        .or_else(|| because(found.is_mirror_pod, Reason::MirrorPod))
        .or_else(|| because(found.pull_policy.as_deref() == Some("Never"), Reason::PullNever))
        .or_else(|| because(is_placeholder(&found.image), Reason::Placeholder))
}

impl Spot {
    pub(super) fn of(found: Found) -> Self {
        let object = found.object.as_deref();
        let text =
            |text: fn(&Names) -> &str| object.map(text).filter(|text| !text.is_empty()).map(Into::into);
        Self {
            kind: text(|names| &names.kind),
            name: text(|names| &names.name),
            namespace: object.and_then(|names| names.namespace.clone()),
            file: found.file,
            document: found.document,
            line: found.line,
            field: found.field,
        }
    }
}

fn as_text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// For people: what has the image, and where that is written.
impl std::fmt::Display for Spot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(kind) = &self.kind {
            write!(f, "{kind} ")?;
            if let Some(namespace) = &self.namespace {
                write!(f, "{namespace}/")?;
            }
            write!(f, "{}", self.name.as_deref().unwrap_or("?"))?;
            // Of a cluster there are no lines.
            if &*self.file == "cluster" {
                return Ok(());
            }
            f.write_str(", ")?;
        }
        write!(f, "{}:{}", self.file, self.line)
    }
}
