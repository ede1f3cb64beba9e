//! What is asked of a resolver and what it says: plain values.

use std::time::Duration;

use super::counters::Counts;
use crate::image::{Digest, Reference};

/// What is asked: one image, in any of its mirrors.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The places where it may be, in the order of the rule; each has a tag, a digest or both.
    pub mirrors: &'a [&'a Reference],
    /// Whether only a very young answer may be used unasked (`imagePullPolicy: Always`).
    pub always: bool,
}

/// What came of a question. In the last two, `mirror` is the first that did not say that it has no such image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// A mirror has it.
    Found {
        /// Which one, as an index into the question's mirrors.
        mirror: usize,
        /// The digest: an index's, where there is one.
        digest: Digest,
        /// How we know.
        from: AnswerSource,
    },
    /// Every mirror says that it has no such image.
    Missing,
    /// Those that did not say so refused our login.
    Unauthorized {
        /// The first of them.
        mirror: usize,
    },
    /// At least one did not say, or not in time.
    Unavailable {
        /// The first that did not say 404.
        mirror: usize,
    },
}

/// How an answer came to be known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AnswerSource {
    /// A fresh answer, used unasked.
    Memory,
    /// The registry said so just now.
    Registry,
    /// An older answer, because no mirror gave a new one in time.
    Stale,
}

/// What a resolver holds at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// How many answers are kept.
    pub entries: u64,
    /// How many refusals are kept.
    pub negative_entries: u64,
    /// What was done since the start.
    pub counts: Counts,
    /// Every registry that is configured or was asked, by name.
    pub registries: Vec<RegistryStatus>,
}

/// How one registry is doing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegistryStatus {
    /// Its name, as references have it.
    pub host: String,
    /// How much longer it is left alone; `None`: it is not.
    pub left_alone_for: Option<Duration>,
}
