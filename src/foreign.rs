//! Other tools' tables: what the mapping table is in their words. One file for each format.
//!
//! What a format cannot say is never left out in silence: it comes back as a warning beside the text.

mod admission_policy;

pub use admission_policy::{
    Cover, LabelledPods, TooLargeError, mutating_admission_policy, validating_admission_policy,
};

/// A table in another tool's words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exported {
    /// What that tool reads.
    pub text: String,
    /// What the table says and the text does not, and what is to be known about it.
    pub warnings: Vec<String>,
}
