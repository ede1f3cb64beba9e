//! `AdmissionReview` (`admission.k8s.io/v1`) on the wire: a borrowed request in, the answer's bytes out.
//!
//! Only the dozen fields that Portolan needs are read; all else is skipped without being built. What becomes of the
//! images is [`crate::rewrite`]'s matter. Field names and their meaning follow the Kubernetes API reference.

mod answer;
mod config_map;
mod json;
mod listed;
mod metadata;
mod reader;
mod request;
mod text;

pub use answer::{Answer, Verdict};
pub use config_map::{ConfigMap, ConfigMapMetadata, ConfigMapRequest, Texts};
pub use json::{Embedded, Mark};
pub use listed::{ListedNamespace, ListedPod, ParseListError};
pub use metadata::{Annotations, CONFIG_MIRROR, Labels, REWRITE, SOURCES};
pub use request::{
    Container, Envelope, GroupVersionKind, ImageVolume, LocalReference, Metadata, OwnerReference,
    ParseReviewError, Pod, PodSpec, Request, Review, UserInfo, Volume,
};
pub use text::Text;

pub(crate) use json::{escaped, escaped_length, fixed, push_escaped, push_json};
