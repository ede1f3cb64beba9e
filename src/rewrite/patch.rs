//! Decisions become one JSON Patch (RFC 6902).
//!
//! Operations are made from the positions that were walked, never by comparing objects. `test` is never used: a
//! patch that fails refuses the Pod, also under failure policy Ignore.

use std::borrow::Cow;

use json_patch::{AddOperation, PatchOperation, RemoveOperation, ReplaceOperation, jsonptr::PointerBuf};
use serde_json::{Value, json};

use super::{Judged, Sources, sources};
use crate::{
    image::Reference,
    review::{Pod, SOURCES},
    table::Table,
};

/// What a patch is made from.
#[derive(Debug)]
pub struct Change<'a> {
    /// The Pod as it comes.
    pub pod: &'a Pod<'a>,
    /// Its images with their decisions.
    pub images: &'a [Judged<'a>],
    /// What else may be changed beside the images.
    pub extent: Extent<'a>,
    /// The table that decided.
    pub table: &'a Table,
    /// The namespace of the request.
    pub namespace: &'a str,
}

/// What else of a Pod may be changed beside its images.
#[derive(Clone, Copy, Debug)]
pub enum Extent<'a> {
    /// On CREATE: annotation and pull Secrets.
    Create,
    /// Through `pods/ephemeralcontainers`: nothing, the API server discards all else.
    ImagesOnly,
    /// On UPDATE: the annotation, which carries over what the old one says of images that stay.
    Update(&'a Sources),
}

impl Change<'_> {
    /// The patch as JSON text; `None` if nothing changes.
    pub fn to_patch(&self) -> Option<Vec<u8>> {
        let operations = self.operations();
        (!operations.is_empty())
            .then(|| serde_json::to_vec(&operations).expect("a patch is serialised into memory"))
    }

    fn operations(&self) -> Vec<PatchOperation> {
        let mut operations = Vec::with_capacity(self.images.len() + 2);
        for Judged { field, decision } in self.images {
            if let Some(to) = decision.result() {
                operations.push(PatchOperation::Replace(ReplaceOperation {
                    path: field.place.to_pointer(),
                    value: Value::String(to.to_owned()),
                }));
            }
        }
        match self.extent {
            Extent::Create => {
                self.annotate(&Sources::default(), &mut operations);
                self.append_pull_secrets(&mut operations);
            }
            Extent::ImagesOnly => {}
            Extent::Update(old) => self.annotate(old, &mut operations),
        }
        operations
    }

    fn annotate(&self, old: &Sources, operations: &mut Vec<PatchOperation>) {
        let metadata = self.pod.metadata.as_ref();
        let annotations = metadata.and_then(|metadata| metadata.annotations.as_ref());
        let present = annotations.and_then(|annotations| annotations.sources.as_deref());
        let changed = self.images.iter().any(|image| image.decision.result().is_some());
        if present.is_none() && old.is_empty() && !changed {
            return;
        }
        let size = annotations.map_or(0, |annotations| annotations.size)
            - present.map_or(0, |present| SOURCES.len() + present.len());
        let updated = sources::updated(self.images, &Sources::of(self.pod), old, self.table, self.namespace)
            .filter(|text| size + SOURCES.len() + text.len() <= MAX_ANNOTATIONS);
        let path = || PointerBuf::from_tokens(["metadata", "annotations", SOURCES]);
        match (present, updated) {
            (None, None) => {}
            (Some(_), None) => operations.push(PatchOperation::Remove(RemoveOperation { path: path() })),
            (Some(present), Some(updated)) if present == updated => {}
            (Some(_), Some(updated)) => operations.push(PatchOperation::Replace(ReplaceOperation {
                path: path(),
                value: Value::String(updated),
            })),
            (None, Some(updated)) => {
                if metadata.is_none() {
                    operations.push(add(PointerBuf::from_tokens(["metadata"]), json!({})));
                }
                if annotations.is_none() {
                    operations.push(add(PointerBuf::from_tokens(["metadata", "annotations"]), json!({})));
                }
                operations.push(add(path(), Value::String(updated)));
            }
        }
    }

    /// Appends the pull Secret of every registry that an image is in after the change, once.
    fn append_pull_secrets(&self, operations: &mut Vec<PatchOperation>) {
        let present = self.pod.spec.as_ref().and_then(|spec| spec.image_pull_secrets.as_deref());
        let mut added: Vec<&str> = Vec::new();
        for entry in self.table.registries() {
            let Some(secret) = entry.pull_secret.as_deref() else { continue };
            let is_there = present.unwrap_or_default().iter().any(|reference| &*reference.name == secret)
                || added.contains(&secret);
            if !is_there
                && self.images.iter().any(|image| image.registry().is_some_and(|host| *host == *entry.host))
            {
                added.push(secret);
            }
        }
        if !added.is_empty() && present.is_none() {
            operations.push(add(PointerBuf::from_tokens(["spec", "imagePullSecrets"]), json!([])));
        }
        for secret in added {
            let path = PointerBuf::from_tokens(["spec", "imagePullSecrets", "-"]);
            operations.push(add(path, json!({ "name": secret })));
        }
    }
}

impl Judged<'_> {
    /// The registry that the image is in after the change.
    fn registry(&self) -> Option<Cow<'_, str>> {
        match self.decision.result() {
            Some(to) => to.split_once('/').map(|(registry, _)| registry.into()),
            None => match &self.decision.reference {
                Some(reference) => Some(reference.registry().into()),
                None => {
                    Reference::parse(self.field.image).ok().map(|found| found.registry().to_owned().into())
                }
            },
        }
    }
}

fn add(path: PointerBuf, value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path, value })
}

/// The most bytes of an object's annotations, keys and values together (`TotalAnnotationSizeLimitB`).
const MAX_ANNOTATIONS: usize = 256 * 1024;

#[cfg(test)]
mod tests;
