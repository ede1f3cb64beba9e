//! What the webhook would answer to a review: its own code, without the log and the counting.

use super::admit::{Case, Circumstances};
use crate::{
    review::{ParseReviewError, Review, Verdict},
    rewrite::{Decision, Judged, Mode, Place},
};

/// An answer before it is given.
#[derive(Debug)]
pub struct Preview {
    /// The Pod's images in the order of its lists, each with what would become of it.
    pub images: Vec<PreviewedImage>,
    /// The patch as JSON text; `None` if nothing would change.
    pub patch: Option<Vec<u8>>,
    /// What whoever makes the Pod would be warned of.
    pub warnings: Vec<String>,
    /// Why the Pod would be refused; `None` if it would not.
    pub denial: Option<String>,
}

/// One image of a Pod and what would become of it.
#[derive(Debug)]
pub struct PreviewedImage {
    /// Where it stands.
    pub place: Place,
    /// The name of its container or volume.
    pub name: String,
    /// Its text as it comes.
    pub written: String,
    /// What would become of it.
    pub decision: Decision,
}

/// Why nothing can be said about a review.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The webhook would let it pass without a look.
    #[error("it is no review of a Pod")]
    NotPod,
    /// It lacks what a review has.
    #[error("{0}")]
    Incomplete(&'static str),
    /// It is no review.
    #[error("the object cannot be read")]
    Unreadable(#[source] ParseReviewError),
}

/// Decides about a review, as [`Admission::answer`](super::Admission::answer) does, and says what it would answer.
pub async fn preview(body: &[u8], circumstances: Circumstances<'_>) -> Result<Preview, PreviewError> {
    let request = Review::parse(body).and_then(Review::into_request).map_err(PreviewError::Unreadable)?;
    let case = Case::of(&request).ok_or(PreviewError::NotPod)?.map_err(PreviewError::Incomplete)?;
    let images = case.judge(circumstances).await;
    let mut preview = case.answer(&images, circumstances, Mode::Enforce, |answer| Preview {
        images: Vec::new(),
        patch: answer.patch.map(<[u8]>::to_vec),
        warnings: answer.warnings.to_vec(),
        denial: match answer.verdict {
            Verdict::Allowed => None,
            Verdict::Denied(message) => Some(message.to_owned()),
        },
    });
    preview.images = images.into_iter().map(PreviewedImage::from).collect();
    Ok(preview)
}

impl From<Judged<'_>> for PreviewedImage {
    fn from(Judged { field, decision }: Judged<'_>) -> Self {
        Self { place: field.place, name: field.name.to_owned(), written: field.image.to_owned(), decision }
    }
}
