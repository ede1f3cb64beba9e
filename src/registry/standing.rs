//! Where one mirror stands, and what comes of asking it.

use std::time::Instant;

use super::host::{Fetched, Verdict};
use crate::image::Digest;

/// Where one mirror stands at a moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    Found(Digest),
    Missing,
    ToAsk,
    Unauthorized,
    Unavailable,
}

/// How long who asks waits for the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wait {
    /// Not at all; the answer is for who comes later.
    No,
    /// Until then, but not for a probe.
    UnlessProbe(Instant),
    /// Until then.
    Until(Instant),
}

/// What came of asking.
pub(super) enum Asked {
    /// The registry said so, or a fetch failed.
    Answered(Fetched),
    /// Nobody was asked: too many ask already.
    Crowded,
    /// It became known meanwhile.
    Known(Verdict),
    /// There was no answer in time.
    Late,
    /// Nobody was asked.
    LeftAlone,
}

impl Asked {
    pub(super) fn standing(self) -> Standing {
        match self {
            Self::Answered(Fetched { verdict, .. }) | Self::Known(verdict) => verdict.into(),
            Self::Crowded | Self::Late | Self::LeftAlone => Standing::Unavailable,
        }
    }
}

impl From<Verdict> for Standing {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Found(digest) => Self::Found(digest),
            Verdict::Missing => Self::Missing,
            Verdict::Unauthorized => Self::Unauthorized,
            Verdict::Unavailable => Self::Unavailable,
        }
    }
}
