//! Decisions become one JSON Patch (RFC 6902).
//!
//! Operations are made from the positions that were walked, never by comparing objects. `test` is never used: a
//! patch that fails refuses the Pod, also under failure policy Ignore. They are written into one text as they are
//! found; the only paths that are not fixed end in the number of a container or volume.

use std::borrow::Cow;

use super::{Judged, Place, Sources, sources};
use crate::{
    image::Reference,
    review::{Embedded, Pod, SOURCES, push_escaped, push_json},
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
        let mut patch = Vec::new();
        self.write_patch(&mut patch, &mut Embedded::default());
        (!patch.is_empty()).then_some(patch)
    }

    /// Writes the patch as JSON text to `patch`, which is empty and stays so if nothing changes. The annotation is put
    /// together in `sources`, which is empty, too.
    pub fn write_patch(&self, patch: &mut Vec<u8>, sources: &mut Embedded) {
        let mut operations = Operations { text: patch };
        for Judged { field, decision } in self.images {
            if let Some(to) = decision.result() {
                operations.replace_image(field.place, to);
            }
        }
        match self.extent {
            Extent::Create => {
                self.annotate(&Sources::default(), &mut operations, sources);
                self.append_pull_secrets(&mut operations);
            }
            Extent::ImagesOnly => {}
            Extent::Update(old) => self.annotate(old, &mut operations, sources),
        }
        operations.finish();
    }

    fn annotate(&self, old: &Sources, operations: &mut Operations<'_>, updated: &mut Embedded) {
        let metadata = self.pod.metadata.as_ref();
        let annotations = metadata.and_then(|metadata| metadata.annotations.as_ref());
        let present = annotations.and_then(|annotations| annotations.sources.as_deref());
        let changed = self.images.iter().any(|image| image.decision.result().is_some());
        if present.is_none() && old.is_empty() && !changed {
            return;
        }
        let size = annotations.map_or(0, |annotations| annotations.size)
            - present.map_or(0, |present| SOURCES.len() + present.len());
        let present_sources = Sources::of(self.pod);
        sources::update(self.images, &present_sources, old, self.table, self.namespace, updated);
        let is_there = !updated.is_empty() && size + SOURCES.len() + updated.plain().len() <= MAX_ANNOTATIONS;
        match (present, is_there.then_some(&*updated)) {
            (None, None) => {}
            (Some(_), None) => operations.push(b"remove", SOURCES_PATH, Content::None),
            (Some(present), Some(updated)) if present.as_bytes() == updated.plain() => {}
            (Some(_), Some(updated)) => operations.push(b"replace", SOURCES_PATH, Content::Embedded(updated)),
            (None, Some(updated)) => {
                if metadata.is_none() {
                    operations.push(b"add", "/metadata", Content::Json("{}"));
                }
                if annotations.is_none() {
                    operations.push(b"add", "/metadata/annotations", Content::Json("{}"));
                }
                operations.push(b"add", SOURCES_PATH, Content::Embedded(updated));
            }
        }
    }

    /// Appends the pull Secret of every registry that an image is in after the change, once.
    fn append_pull_secrets(&self, operations: &mut Operations<'_>) {
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
            operations.push(b"add", "/spec/imagePullSecrets", Content::Json("[]"));
        }
        for secret in added {
            operations.push(b"add", "/spec/imagePullSecrets/-", Content::Named(secret));
        }
    }
}

/// The patch's text so far.
struct Operations<'t> {
    text: &'t mut Vec<u8>,
}

/// What an operation puts in its place.
#[derive(Clone, Copy)]
enum Content<'a> {
    /// JSON text.
    Json(&'static str),
    /// A string that is JSON itself.
    Embedded(&'a Embedded),
    /// An object that has this name and nothing else.
    Named(&'a str),
    /// Nothing: the operation is `remove`.
    None,
    Text(&'a str),
}

impl Operations<'_> {
    /// Replaces the image in `place`.
    fn replace_image(&mut self, place: Place, to: &str) {
        self.begin(b"replace");
        let (before, behind) = place.pointer();
        push_escaped(self.text, before);
        push_escaped(self.text, itoa::Buffer::new().format(place.index));
        push_escaped(self.text, behind);
        self.end(Content::Text(to));
    }

    fn push<const N: usize>(&mut self, operation: &[u8; N], path: &'static str, value: Content<'_>) {
        self.begin(operation);
        push_escaped(self.text, path);
        self.end(value);
    }

    /// What stands before a path.
    fn begin<const N: usize>(&mut self, operation: &[u8; N]) {
        self.text.push(if self.text.is_empty() { b'[' } else { b',' });
        self.text.extend_from_slice(br#"{"op":""#);
        self.text.extend_from_slice(operation);
        self.text.extend_from_slice(br#"","path":""#);
    }

    /// What follows a path.
    fn end(&mut self, value: Content<'_>) {
        let text = &mut *self.text;
        match value {
            Content::Json(value) => {
                text.extend_from_slice(br#"","value":"#);
                text.extend_from_slice(value.as_bytes());
            }
            Content::Embedded(value) => {
                text.extend_from_slice(br#"","value":""#);
                text.extend_from_slice(value.escaped());
                text.push(b'"');
            }
            Content::Named(name) => {
                text.extend_from_slice(br#"","value":{"name":"#);
                push_json(text, name);
                text.push(b'}');
            }
            Content::None => text.push(b'"'),
            Content::Text(value) => {
                text.extend_from_slice(br#"","value":"#);
                push_json(text, value);
            }
        }
        text.push(b'}');
    }

    fn finish(self) {
        if !self.text.is_empty() {
            self.text.push(b']');
        }
    }
}

impl Judged<'_> {
    /// The registry that the image is in after the change.
    fn registry(&self) -> Option<Cow<'_, str>> {
        match self.decision.result() {
            Some(to) => to.split_once('/').map(|(registry, _)| registry.into()),
            None => match self.decision.reference() {
                Some(reference) => Some(reference.registry().into()),
                None => {
                    Reference::parse(self.field.image).ok().map(|found| found.registry().to_owned().into())
                }
            },
        }
    }
}

/// The JSON pointer (RFC 6901) to the annotation [`SOURCES`], whose `/` is written `~1`.
const SOURCES_PATH: &str = "/metadata/annotations/portolan.dev~1sources";

/// The most bytes of an object's annotations, keys and values together (`TotalAnnotationSizeLimitB`).
const MAX_ANNOTATIONS: usize = 256 * 1024;

#[cfg(test)]
mod tests;
