//! What a rule says beside places: how to pin, and what to do when no mirror helps.
//!
//! Each word is spelled and explained here and nowhere else.

use super::keys::Word;

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
    pub(super) const WORDS: &[Word] = &[
        word(Self::TagAndDigest.as_str(), "`repository:tag@sha256:…`"),
        word(Self::Digest.as_str(), "`repository@sha256:…`"),
        word(Self::Off.as_str(), "rewrite only; no registry is asked, and the lock is ignored"),
    ];

    /// The word for it in a table.
    pub const fn as_str(self) -> &'static str {
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
    pub(super) const WORDS: &[Word] = &[
        word(Self::Keep.as_str(), "the image stays as written, with a warning"),
        word(Self::Rewrite.as_str(), "the image is moved, without a digest unless it has one of its own"),
        word(Self::Deny.as_str(), "the Pod is refused"),
    ];

    /// The word for it in a table.
    pub const fn as_str(self) -> &'static str {
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
    pub(super) const WORDS: &[Word] = &[
        word(Self::Prefer.as_str(), "a locked digest is used before any registry is asked"),
        word(
            Self::Require.as_str(),
            "a Pod with an image that is not locked is refused; no registry is asked",
        ),
        word(Self::Ignore.as_str(), "the lock is not looked at"),
    ];

    /// The word for it in a table.
    pub const fn as_str(self) -> &'static str {
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

impl Policies {
    /// What holds where neither a rule nor the defaults of its table say anything.
    pub(super) const CONTRACT: Self = Self {
        pin: Pin::TagAndDigest,
        on_missing: Fallback::Keep,
        on_unavailable: Fallback::Rewrite,
        lock: LockMode::Prefer,
    };
}

const fn word(text: &'static str, about: &'static str) -> Word {
    Word { text, about }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_that_a_table_may_say_is_read_and_printed_alike() {
        for word in Pin::WORDS {
            assert_eq!(Pin::from_word(word.text).map(Pin::as_str), Some(word.text));
        }
        for word in Fallback::WORDS {
            assert_eq!(Fallback::from_word(word.text).map(Fallback::as_str), Some(word.text));
        }
        for word in LockMode::WORDS {
            assert_eq!(LockMode::from_word(word.text).map(LockMode::as_str), Some(word.text));
        }
    }
}
