//! What becomes of a Pod's images: which texts name one, what is to be asked, the decision, and the patch.
//!
//! This room is pure: the registry's answers come in as values. Nothing else spells a reason or builds a patch.

mod decision;
mod exemption;
mod fields;
mod mode;
mod namespace;
mod patch;
mod plan;
mod sources;
mod unrewritten;

pub use decision::{Decision, Outcome, Reason, ResolvedFrom};
pub use exemption::{PodOptOut, exemption, whole_pod};
pub use fields::{Field, List, Place, Pull, Scope, fields, same_name};
pub use mode::Mode;
pub use namespace::Calling;
pub use patch::{Change, Extent};
pub use plan::{Answer, MAX_IMAGE_TEXT, Plan, Question, is_placeholder, plan};
pub use sources::{Sources, standing};
pub use unrewritten::unrewritten;

/// One image of a Pod and what becomes of it.
pub type Judged<'a> = Decided<Field<'a>>;

/// One image and what becomes of it.
#[derive(Debug)]
pub struct Decided<T> {
    /// Where it stands, and its text as it comes.
    pub field: T,
    /// What becomes of it.
    pub decision: Decision,
}
