//! What becomes of a Pod's images: which texts name one, what is to be asked, the decision, and the patch.
//!
//! This room is pure: the registry's answers come in as values. Nothing else spells a reason or builds a patch.

mod decision;
mod mode;

pub use decision::{Decision, Outcome, Reason, ResolvedFrom};
pub use mode::Mode;
