//! Every image that manifests, lists or rendered charts name: where it stands, and whether that is certain.
//!
//! Texts come in as values; who reads files, stdin or a cluster is not this room's matter, nor is what becomes of an
//! image. Texts are read as kubectl reads them ([`read`]), but a broken document does not keep the others from being
//! read. What is found ([`images`]) is certain or a guess; it says in which namespace it would run and what of it
//! decides, before any table, that it is left alone.

mod documents;
mod images;
mod json;
mod problem;
mod scalar;
mod value;
mod yaml;

pub use documents::{Content, Document, Inventory, read};
pub use images::{Certainty, Found, Names, REWRITE_LABEL, images};
pub use problem::Problem;
pub use value::{Kind, Value};

#[cfg(test)]
mod tests;
