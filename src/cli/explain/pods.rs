//! `explain -f`: what the webhook would answer to the Pods of manifests.
//!
//! Each Pod, or the Pod that a workload's template describes, becomes a review of its CREATE, and the admission's own
//! code decides about it.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::{Asked, row::Row};
use crate::{
    admission::{Circumstances, preview},
    inventory::{self, Content, Names, Value},
    rewrite::PodOptOut,
};

/// A Pod's row; what begins the JSON that scripts read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodRow {
    /// The kind of the object in the manifest.
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) images: Vec<Row>,
    /// The operations of the JSON Patch; empty if nothing changes.
    pub(super) patch: Vec<Json>,
    pub(super) warnings: Vec<String>,
    /// The pull Secrets that the patch adds.
    pub(super) pull_secrets: Vec<String>,
    /// Why the Pod is refused; null if it is not.
    pub(super) denied: Option<String>,
}

/// A Pod that a manifest describes.
#[derive(Debug)]
pub(super) struct Described {
    kind: String,
    name: String,
    pub(super) namespace: String,
    pod: Json,
}

/// The Pods of some files, and why others could not be read.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    pub(super) pods: Vec<Described>,
    pub(super) problems: Vec<anyhow::Error>,
}

impl Manifests {
    /// Reads files, `-` from stdin. `namespace` goes before what manifests say.
    pub(super) fn read(files: &[PathBuf], namespace: Option<&str>) -> Self {
        let mut manifests = Self::default();
        for file in files {
            if let Err(error) = manifests.read_file(file, namespace) {
                manifests.problems.push(error);
            }
        }
        manifests
    }

    fn read_file(&mut self, file: &Path, namespace: Option<&str>) -> anyhow::Result<()> {
        let (name, text) = if file == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read stdin")?;
            ("stdin".to_owned(), text)
        } else {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the manifest `{name}`"))?;
            (name, text)
        };
        let inventory = inventory::read(&name, &text);
        let (pods, problems) = (self.pods.len(), inventory.problems.len());
        for problem in inventory.problems {
            self.problems.push(anyhow::Error::new(problem).context("cannot read a manifest"));
        }
        for document in inventory.documents {
            match document.content {
                Content::Object(object) => self.pods.extend(Described::of(&object, namespace)?),
                Content::Image(_) => {
                    bail!("`{name}` is a list of images and no manifest: give it to `portolan explain -`")
                }
            }
        }
        if self.pods.len() == pods && problems == 0 {
            bail!("`{name}` has no Pod and nothing that makes Pods");
        }
        Ok(())
    }
}

impl Described {
    /// The Pod that an object is, or describes by a template; `None`: it does neither.
    fn of(object: &Value, namespace: Option<&str>) -> anyhow::Result<Option<Self>> {
        let names = Names::of(object);
        let has_containers =
            |pod: &&Value| pod.at(&["spec", "containers"]).and_then(Value::as_list).is_some();
        let is_pod = &*names.kind == "Pod";
        let pod = if is_pod {
            Some(object)
        } else {
            TEMPLATES.iter().find_map(|path| object.at(path).filter(has_containers))
        };
        let Some(pod) = pod else { return Ok(None) };
        let mut pod = serde_json::to_value(pod).with_context(|| unreadable(&names.kind, &names.name))?;
        if let (false, Some(pod)) = (is_pod, pod.as_object_mut()) {
            pod.insert("apiVersion".to_owned(), json!("v1"));
            pod.insert("kind".to_owned(), json!("Pod"));
            // Whoever makes Pods from a template names them so.
            let metadata = pod.entry("metadata").or_insert_with(|| json!({}));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("generateName".to_owned(), json!(format!("{}-", names.name)));
            }
        }
        let namespace = namespace.or(names.namespace.as_deref()).unwrap_or(DEFAULT_NAMESPACE);
        Ok(Some(Self {
            kind: names.kind.into(),
            name: names.name.into(),
            namespace: namespace.to_owned(),
            pod,
        }))
    }

    /// What the webhook would answer.
    pub(super) async fn explain(&self, asked: &Asked<'_>) -> anyhow::Result<PodRow> {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "explain",
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "namespace": self.namespace,
                "operation": "CREATE",
                "object": self.pod,
                "oldObject": null,
                "dryRun": true,
            },
        });
        let circumstances = Circumstances {
            table: asked.table,
            lock: asked.lock,
            own_namespace: asked.own_namespace,
            pod_opt_out: PodOptOut::Honoured,
            asking: asked.asking(),
        };
        let preview = preview(review.to_string().as_bytes(), circumstances)
            .await
            .with_context(|| unreadable(&self.kind, &self.name))?;
        let heard = asked.heard();
        let rows = asked.rows(Some(&self.namespace), &heard);
        let images = preview.images.iter().map(|image| Row {
            field: Some(image.place.to_string()),
            place: Some(format!("{}/{}", image.place.list.word(), image.name)),
            ..rows.row(&image.written, &image.decision)
        });
        let images = images.collect();
        let patch: Vec<Json> = match &preview.patch {
            Some(patch) => serde_json::from_slice(patch).context("the patch is no JSON")?,
            None => Vec::new(),
        };
        let pull_secret = |operation: &Json| {
            let is_added = operation.get("path")? == "/spec/imagePullSecrets/-";
            operation.pointer("/value/name").filter(|_| is_added)?.as_str().map(str::to_owned)
        };
        let pull_secrets = patch.iter().filter_map(pull_secret).collect();
        Ok(PodRow {
            kind: self.kind.clone(),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            images,
            pull_secrets,
            patch,
            warnings: preview.warnings,
            denied: preview.denial,
        })
    }

    /// Whether the API server does not ask the webhook about Pods of this namespace, as it is shipped and unless the
    /// namespace is labelled.
    pub(super) fn is_of_system(&self) -> bool {
        SYSTEM.iter().any(|prefix| self.namespace.starts_with(prefix))
    }
}

fn unreadable(kind: &str, name: &str) -> String {
    if name.is_empty() { format!("cannot read a {kind}") } else { format!("cannot read {kind} `{name}`") }
}

/// Where objects that make Pods have their templates: workloads, `CronJob`, `PodTemplate`, and custom resources that do
/// as they do.
const TEMPLATES: [&[&str]; 3] =
    [&["spec", "template"], &["spec", "jobTemplate", "spec", "template"], &["template"]];

/// Where kubectl makes what names no namespace.
const DEFAULT_NAMESPACE: &str = "default";

/// What the names of namespaces begin with in which nothing is rewritten unless they are labelled.
const SYSTEM: [&str; 2] = ["kube-", "openshift-"];
