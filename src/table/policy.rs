//! What a rule says beside places: how to pin, and what to do when no mirror helps.
//!
//! Each word is spelled here and nowhere else.

/// How the digest stands in the result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pin {
    /// `repository@sha256:…`.
    Digest,
    /// No digest is asked for: the image is moved and nothing else.
    Off,
    /// `repository:tag@sha256:…`.
    TagAndDigest,
}

/// What becomes of an image that no mirror has, or about which none could say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fallback {
    /// The Pod is refused.
    Deny,
    /// The image stays as written, with a warning.
    Keep,
    /// The image is moved without a digest.
    Rewrite,
}

/// What the lock has to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LockMode {
    /// Nothing.
    Ignore,
    /// Its digest is used before any registry is asked.
    Prefer,
    /// What is not locked is refused.
    Require,
}

impl Pin {
    pub(super) const WORDS: &[&str] = &["tag-and-digest", "digest", "off"];

    /// The word for it in a table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Digest => "digest",
            Self::Off => "off",
            Self::TagAndDigest => "tag-and-digest",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        [Self::Digest, Self::Off, Self::TagAndDigest].into_iter().find(|pin| pin.as_str() == word)
    }
}

impl Fallback {
    pub(super) const WORDS: &[&str] = &["keep", "rewrite", "deny"];

    /// The word for it in a table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Keep => "keep",
            Self::Rewrite => "rewrite",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        [Self::Deny, Self::Keep, Self::Rewrite].into_iter().find(|fallback| fallback.as_str() == word)
    }
}

impl LockMode {
    pub(super) const WORDS: &[&str] = &["prefer", "require", "ignore"];

    /// The word for it in a table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Prefer => "prefer",
            Self::Require => "require",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        [Self::Ignore, Self::Prefer, Self::Require].into_iter().find(|mode| mode.as_str() == word)
    }
}

/// What holds for a rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Policies {
    pub(super) pin: Pin,
    pub(super) on_missing: Fallback,
    pub(super) on_unavailable: Fallback,
    pub(super) lock: LockMode,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            pin: Pin::TagAndDigest,
            on_missing: Fallback::Keep,
            on_unavailable: Fallback::Rewrite,
            lock: LockMode::Prefer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_that_a_table_may_say_is_read_and_printed_alike() {
        for word in Pin::WORDS {
            assert_eq!(Pin::from_word(word).map(Pin::as_str), Some(*word));
        }
        for word in Fallback::WORDS {
            assert_eq!(Fallback::from_word(word).map(Fallback::as_str), Some(*word));
        }
        for word in LockMode::WORDS {
            assert_eq!(LockMode::from_word(word).map(LockMode::as_str), Some(*word));
        }
    }
}
