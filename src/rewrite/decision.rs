//! What becomes of one image, and why.

use std::sync::Arc;

use crate::{
    image::{Digest, Reference},
    table::{Found, Mirror, Place, Rule},
};

/// What becomes of one image, and why. Deciding is done once; patch, audit, warnings and `explain` only read this.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Whether the text of the image changes, and to what.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// The image as the Pod has it, read, and what the table says about it; `None` if it was not looked at or is no
    /// reference.
    pub found: Option<Arc<Found>>,
    /// Which of the rule's mirrors the result names, or which kept the image from being rewritten.
    pub mirror: Option<usize>,
    /// The digest that the result has.
    pub digest: Option<Digest>,
    /// Where the digest (or, for the reference's own, its existence) is known from.
    pub resolved_from: Option<ResolvedFrom>,
}

/// Whether the text of the image changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The Pod is refused because of this image.
    Denied,
    /// The text stays as it was written.
    Kept,
    /// The text is replaced.
    Rewritten {
        /// By this.
        to: Arc<str>,
    },
}

/// Why an image's outcome is what it is: one fixed word each, used alike by `explain`, audit log, metrics and
/// warnings.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reason {
    /// The reference's own digest was carried over; it exists in the mirror.
    Carried,
    /// A rule with `keep: true` left it as written.
    Exception,
    /// Portolan failed and let the Pod through.
    InternalError,
    /// The text is no image reference.
    InvalidReference,
    /// The Pod mirrors a static Pod of a node.
    MirrorPod,
    /// It is inside a mirror already.
    Mirrored,
    /// Every mirror says that it does not exist.
    Missing,
    /// No rule's source holds it.
    NoRule,
    /// The lock is required and has no line for it.
    NotLocked,
    /// `explain --offline` asked nobody.
    Offline,
    /// The Pod's label opts out.
    OptedOut,
    /// The Pod is in Portolan's own namespace.
    OwnNamespace,
    /// The mirror's location and digest.
    Pinned,
    /// Rewritten without a digest because the rule says so.
    PinOff,
    /// The text is empty or `auto`: a sidecar injector fills it in later.
    Placeholder,
    /// The node may not pull it, so that its name is that of an image on the node.
    PullNever,
    /// A manifest was applied again; the image that runs is put back.
    Restored,
    /// The registries that might have it refused our credentials.
    Unauthorized,
    /// No registry that might have it answered in time.
    Unavailable,
    /// The update does not change it.
    Unchanged,
    /// In no mirror would it be a valid reference.
    Unrepresentable,
}

/// Where a digest is known from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ResolvedFrom {
    /// A line of the lock.
    Lock,
    /// An answer remembered, young enough not to be asked again.
    Memory,
    /// The reference had it.
    Reference,
    /// A registry, asked for this admission.
    Registry,
    /// An older answer, used because no registry answered.
    Stale,
}

impl Decision {
    /// An image that is left as it was written.
    pub fn kept(reason: Reason) -> Self {
        Self { outcome: Outcome::Kept, reason, found: None, mirror: None, digest: None, resolved_from: None }
    }

    /// The image as the Pod has it, read; `None` if it was not looked at or is no reference.
    pub fn reference(&self) -> Option<&Reference> {
        self.found.as_ref().map(|found| &found.reference)
    }

    /// The rule that decided, if one did.
    pub fn rule(&self) -> Option<&Arc<Rule>> {
        self.found.as_ref()?.rule.as_ref()
    }

    /// The mirror that `mirror` numbers, as the rule has it.
    pub fn named_mirror(&self) -> Option<&Mirror> {
        self.rule()?.mirrors().get(self.mirror?)
    }

    /// Where the image is in that mirror; `None` also where it would be no valid reference.
    pub fn place(&self) -> Option<&Place> {
        self.found.as_ref()?.places.iter().find(|place| Some(place.mirror) == self.mirror)
    }

    /// What the Pod would run: `None` if it is refused or the text stays as written.
    pub fn result(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Rewritten { to } => Some(to),
            Outcome::Denied | Outcome::Kept => None,
        }
    }

    /// Whether the image was rewritten although a digest that the rule asks for could not be had.
    pub fn is_unpinned(&self) -> bool {
        matches!(self.outcome, Outcome::Rewritten { .. })
            && matches!(self.reason, Reason::Missing | Reason::Unauthorized | Reason::Unavailable)
    }
}

impl Outcome {
    /// Every outcome's word.
    pub const WORDS: [&'static str; 3] = ["denied", "kept", "rewritten"];

    /// The outcome's word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Kept => "kept",
            Self::Rewritten { .. } => "rewritten",
        }
    }
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 21] = [
        Self::Carried,
        Self::Exception,
        Self::InternalError,
        Self::InvalidReference,
        Self::MirrorPod,
        Self::Mirrored,
        Self::Missing,
        Self::NoRule,
        Self::NotLocked,
        Self::Offline,
        Self::OptedOut,
        Self::OwnNamespace,
        Self::Pinned,
        Self::PinOff,
        Self::Placeholder,
        Self::PullNever,
        Self::Restored,
        Self::Unauthorized,
        Self::Unavailable,
        Self::Unchanged,
        Self::Unrepresentable,
    ];

    /// The reason's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Carried => "carried",
            Self::Exception => "exception",
            Self::InternalError => "internal-error",
            Self::InvalidReference => "invalid-reference",
            Self::MirrorPod => "mirror-pod",
            Self::Mirrored => "mirrored",
            Self::Missing => "missing",
            Self::NoRule => "no-rule",
            Self::NotLocked => "not-locked",
            Self::Offline => "offline",
            Self::OptedOut => "opted-out",
            Self::OwnNamespace => "own-namespace",
            Self::Pinned => "pinned",
            Self::PinOff => "pin-off",
            Self::Placeholder => "placeholder",
            Self::PullNever => "pull-never",
            Self::Restored => "restored",
            Self::Unauthorized => "unauthorized",
            Self::Unavailable => "unavailable",
            Self::Unchanged => "unchanged",
            Self::Unrepresentable => "unrepresentable",
        }
    }
}

impl ResolvedFrom {
    /// Every place a digest can be known from.
    pub const ALL: [Self; 5] = [Self::Lock, Self::Memory, Self::Reference, Self::Registry, Self::Stale];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Memory => "memory",
            Self::Reference => "reference",
            Self::Registry => "registry",
            Self::Stale => "stale",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_is_listed_once_and_has_a_word_of_its_own() {
        let words: HashSet<_> = Reason::ALL.iter().map(|reason| reason.word()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index, "`{}` is out of order", reason.word());
        }
    }

    #[test]
    fn every_place_that_a_digest_is_known_from_has_a_word_of_its_own() {
        let words: Vec<_> = ResolvedFrom::ALL.iter().map(|from| from.word()).collect();
        assert_eq!(words, ["lock", "memory", "reference", "registry", "stale"]);
        assert_eq!(super::super::Mode::ALL.map(super::super::Mode::word), ["audit", "enforce"]);
    }
}
