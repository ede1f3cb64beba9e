//! The request half of a review, borrowed from its bytes.

use serde::Deserialize;

use super::{
    metadata::{Annotations, Labels},
    reader::{ReadError, read},
    text::Text,
};

/// An `AdmissionReview` as the API server posts it, and in it so much of the request as `R` reads.
#[derive(Debug, Deserialize)]
pub struct Review<'a, R = Request<'a>> {
    /// `admission.k8s.io/v1`.
    #[serde(borrow, default, rename = "apiVersion")]
    pub api_version: Text<'a>,
    /// `AdmissionReview`.
    #[serde(borrow, default)]
    pub kind: Text<'a>,
    /// The request; every review that asks something has one.
    #[serde(default = "Option::default")]
    pub request: Option<R>,
}

/// What is asked: may this operation on this object go on, and with which changes?
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// Names this call; the answer repeats it.
    #[serde(borrow, default)]
    pub uid: Text<'a>,
    /// The kind of the object.
    #[serde(borrow, default)]
    pub kind: GroupVersionKind<'a>,
    /// `ephemeralcontainers`, `resize`, …; empty for the object itself.
    #[serde(borrow, default)]
    pub sub_resource: Text<'a>,
    /// The object's name, if it has one yet.
    #[serde(borrow, default)]
    pub name: Text<'a>,
    /// The namespace of the request, which decides (not the object's own field).
    #[serde(borrow, default)]
    pub namespace: Text<'a>,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    #[serde(borrow, default)]
    pub operation: Text<'a>,
    /// Who asks.
    #[serde(borrow, default)]
    pub user_info: Option<UserInfo<'a>>,
    /// Nothing will be stored.
    #[serde(default)]
    pub dry_run: Option<bool>,
    /// The object as it will be; in a box, because it would be moved half a dozen times.
    #[serde(borrow, default)]
    pub object: Option<Box<Pod<'a>>>,
    /// The object as it was.
    #[serde(borrow, default)]
    pub old_object: Option<Box<Pod<'a>>>,
}

/// Group, version and kind of an object.
#[derive(Debug, Default, Deserialize)]
pub struct GroupVersionKind<'a> {
    /// Empty for the core group.
    #[serde(borrow, default)]
    pub group: Text<'a>,
    /// Such as `v1`.
    #[serde(borrow, default)]
    pub version: Text<'a>,
    /// Such as `Pod`.
    #[serde(borrow, default)]
    pub kind: Text<'a>,
}

/// Who made a request.
#[derive(Debug, Default, Deserialize)]
pub struct UserInfo<'a> {
    /// The user's name.
    #[serde(borrow, default)]
    pub username: Text<'a>,
}

/// The parts of a Pod that name an image or decide about one.
#[derive(Debug, Default, Deserialize)]
pub struct Pod<'a> {
    /// Name, labels, annotations, owners.
    #[serde(borrow, default)]
    pub metadata: Option<Metadata<'a>>,
    /// Containers, volumes and pull secrets.
    #[serde(borrow, default)]
    pub spec: Option<PodSpec<'a>>,
}

/// A Pod's metadata.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata<'a> {
    /// Empty on the CREATE of a Pod by a controller.
    #[serde(borrow, default)]
    pub name: Text<'a>,
    /// What the name will begin with.
    #[serde(borrow, default)]
    pub generate_name: Text<'a>,
    /// The label that opts out.
    #[serde(borrow, default)]
    pub labels: Option<Labels<'a>>,
    /// The annotations that Portolan reads; `None` if there is no such field.
    #[serde(borrow, default)]
    pub annotations: Option<Annotations<'a>>,
    /// Who made the Pod.
    #[serde(borrow, default)]
    pub owner_references: Option<Vec<OwnerReference<'a>>>,
    /// Empty on a CREATE.
    #[serde(borrow, default)]
    pub uid: Text<'a>,
}

/// One owner of an object.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference<'a> {
    /// Such as `apps/v1`.
    #[serde(borrow, default)]
    pub api_version: Text<'a>,
    /// Such as `ReplicaSet`.
    #[serde(borrow, default)]
    pub kind: Text<'a>,
    /// The owner's name.
    #[serde(borrow, default)]
    pub name: Text<'a>,
    /// The owner's uid.
    #[serde(borrow, default)]
    pub uid: Text<'a>,
    /// Whether it is the one that manages the object.
    #[serde(default)]
    pub controller: Option<bool>,
}

/// A Pod's specification.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec<'a> {
    /// The containers.
    #[serde(borrow, default)]
    pub containers: Option<Vec<Container<'a>>>,
    /// The init containers, sidecars among them.
    #[serde(borrow, default)]
    pub init_containers: Option<Vec<Container<'a>>>,
    /// The debugging containers.
    #[serde(borrow, default)]
    pub ephemeral_containers: Option<Vec<Container<'a>>>,
    /// The host name that it asks for.
    #[serde(borrow, default, rename = "hostname")]
    pub host_name: Text<'a>,
    /// The volumes, of which some are images.
    #[serde(borrow, default)]
    pub volumes: Option<Vec<Volume<'a>>>,
    /// The Secrets that the kubelet pulls with.
    #[serde(borrow, default)]
    pub image_pull_secrets: Option<Vec<LocalReference<'a>>>,
}

/// One container of any kind.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container<'a> {
    /// Its name, unique among the Pod's containers.
    #[serde(borrow, default)]
    pub name: Text<'a>,
    /// The image as written; empty if there is none.
    #[serde(borrow, default)]
    pub image: Text<'a>,
    /// `Always`, `IfNotPresent` or `Never`.
    #[serde(borrow, default)]
    pub image_pull_policy: Text<'a>,
}

/// One volume.
#[derive(Debug, Default, Deserialize)]
pub struct Volume<'a> {
    /// Its name.
    #[serde(borrow, default)]
    pub name: Text<'a>,
    /// The image that it is, if it is one.
    #[serde(borrow, default)]
    pub image: Option<ImageVolume<'a>>,
}

/// The image of a volume.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageVolume<'a> {
    /// The image as written; `None` if there is no such field.
    #[serde(borrow, default)]
    pub reference: Option<Text<'a>>,
    /// `Always`, `IfNotPresent` or `Never`.
    #[serde(borrow, default)]
    pub pull_policy: Text<'a>,
}

/// The name of an object in the Pod's namespace.
#[derive(Debug, Default, Deserialize)]
pub struct LocalReference<'a> {
    /// The name.
    #[serde(borrow, default)]
    pub name: Text<'a>,
}

/// Why a body cannot be answered as a review.
#[derive(Debug, thiserror::Error)]
pub enum ParseReviewError {
    /// It is no JSON, or not of a review's shape.
    ///
    /// Where and what sort of mistake is all that is said: more would quote the body.
    #[error("the body is no AdmissionReview: {what} at line {line} column {column}")]
    Malformed {
        /// The sort of mistake.
        what: &'static str,
        /// The line, from 1.
        line: usize,
        /// The column, in bytes, from 1.
        column: usize,
    },
    /// It is another kind of object or another version.
    #[error(
        "the body is `{kind}` of `{api_version}`; this webhook answers `AdmissionReview` of `admission.k8s.io/v1`"
    )]
    OtherKind {
        /// The body's `apiVersion`.
        api_version: String,
        /// The body's `kind`.
        kind: String,
    },
    /// There is no request in it, or the request has no uid.
    #[error("the AdmissionReview has no request with a uid")]
    NoRequest,
}

impl<'a> Review<'a> {
    /// Reads a body in one pass.
    ///
    /// # Errors
    /// If it is not JSON or a field that is read has the wrong type, as it may have in an object that is no Pod;
    /// [`Envelope::parse`] then says what the body is.
    pub fn parse(body: &'a [u8]) -> Result<Self, ParseReviewError> {
        Ok(read(body)?)
    }
}

impl<'a> Metadata<'a> {
    /// The owner that manages the Pod; without one, the first.
    pub fn owner(&self) -> Option<&OwnerReference<'a>> {
        let owners = self.owner_references.as_deref()?;
        owners.iter().find(|owner| owner.controller == Some(true)).or_else(|| owners.first())
    }
}

impl Request<'_> {
    /// Whether the object is a Pod.
    pub fn is_pod(&self) -> bool {
        self.kind.is_pod()
    }
}

impl GroupVersionKind<'_> {
    fn is_pod(&self) -> bool {
        &*self.kind == "Pod" && self.group.is_empty() && &*self.version == "v1"
    }

    pub(super) fn is_config_map(&self) -> bool {
        &*self.kind == "ConfigMap" && self.group.is_empty() && &*self.version == "v1"
    }
}

/// What can be said of a review whose objects are not looked at: enough to answer it.
#[derive(Debug, Eq, PartialEq)]
pub struct Envelope {
    /// The request's uid.
    pub uid: String,
    /// Whether the object is a ConfigMap.
    pub is_config_map: bool,
    /// Whether the object is a Pod.
    pub is_pod: bool,
    /// Nothing will be stored.
    pub dry_run: bool,
}

impl Envelope {
    /// Reads a body without its objects.
    ///
    /// # Errors
    /// If the body is no `admission.k8s.io/v1` review with a request.
    pub fn parse(body: &[u8]) -> Result<Self, ParseReviewError> {
        let request = read::<Review<'_, OuterRequest<'_>>>(body)?.asked(|request| &request.uid)?;
        Ok(Self {
            is_config_map: request.kind.is_config_map(),
            is_pod: request.kind.is_pod(),
            dry_run: request.dry_run.unwrap_or_default(),
            uid: request.uid.0.into_owned(),
        })
    }
}

impl<'a> Review<'a> {
    /// The request of a review that is of the kind and version that are answered.
    ///
    /// # Errors
    /// If it is another kind, or has no request with a uid.
    pub fn into_request(self) -> Result<Request<'a>, ParseReviewError> {
        self.asked(|request| &request.uid)
    }
}

impl<R> Review<'_, R> {
    /// [`Review::into_request`] of any request: one that nothing names cannot be answered.
    pub(super) fn asked(self, uid: impl Fn(&R) -> &str) -> Result<R, ParseReviewError> {
        check_kind(&self.api_version, &self.kind)?;
        self.request.filter(|request| !uid(request).is_empty()).ok_or(ParseReviewError::NoRequest)
    }
}

impl From<ReadError> for ParseReviewError {
    fn from(error: ReadError) -> Self {
        Self::Malformed { what: error.mistake.words(), line: error.line, column: error.column }
    }
}

fn check_kind(api_version: &str, kind: &str) -> Result<(), ParseReviewError> {
    if api_version == "admission.k8s.io/v1" && kind == "AdmissionReview" {
        return Ok(());
    }
    let cut = |text: &str| text.chars().take(64).collect();
    Err(ParseReviewError::OtherKind { api_version: cut(api_version), kind: cut(kind) })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OuterRequest<'a> {
    #[serde(borrow, default)]
    uid: Text<'a>,
    #[serde(borrow, default)]
    kind: GroupVersionKind<'a>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[cfg(test)]
mod tests;
