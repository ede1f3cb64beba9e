//! From an image's text to its decision: settled by table and lock, or a question for mirrors and then concluded.
//!
//! Two steps because only the asking between them does I/O: [`plan`] and [`Question::conclude`] are pure, so that
//! the webhook, `explain` and `check` cannot disagree.

use std::sync::Arc;

use super::{
    decision::{Decision, Outcome, Reason, ResolvedFrom},
    fields::Pull,
};
use crate::{
    image::{Digest, Reference},
    lock::Lock,
    table::{Fallback, Found, How, LockMode, Pin, Place, Rule, Table},
};

/// What is to be done about one image.
#[derive(Debug)]
pub enum Plan {
    /// Mirrors must be asked, or remembered.
    Ask(Question),
    /// Table and lock decide.
    Settled(Decision),
}

/// Where an image may be, in the order in which the mirrors are asked.
#[derive(Debug)]
pub struct Question {
    /// Has a rule and at least one place.
    found: Arc<Found>,
    pull: Pull,
}

/// What the mirrors of a question say, or what is remembered of them. Numbers are positions in
/// [`Question::candidates`].
#[derive(Clone, Debug)]
pub enum Answer {
    /// One has it.
    Found {
        /// Which.
        candidate: usize,
        /// The digest of its manifest, the index's if there is one.
        digest: Digest,
        /// How we know.
        from: ResolvedFrom,
    },
    /// All say that they have not.
    Missing,
    /// Nobody was to be asked (`explain --offline`).
    Offline,
    /// None has it, and the rest refused our credentials.
    Unauthorized {
        /// The first that did not say that it has it not.
        candidate: usize,
    },
    /// None has it, and the rest did not answer.
    Unavailable {
        /// The first that did not say that it has it not.
        candidate: usize,
    },
}

/// Reads one image's text and looks it up.
pub fn plan(table: &Table, lock: &Lock, written: &str, pull: Pull, namespace: Option<&str>) -> Plan {
    if is_placeholder(written) {
        return Plan::Settled(Decision::kept(Reason::Placeholder));
    }
    if written.len() > MAX_IMAGE_TEXT {
        return Plan::Settled(Decision::kept(Reason::InvalidReference));
    }
    let Some(found) = table.find(written, namespace) else {
        return Plan::Settled(Decision::kept(Reason::InvalidReference));
    };
    match (found.how, &found.rule, &*found.places) {
        (How::Inside, Some(rule), [place, ..]) => plan_inside(&found, rule, place, lock, pull),
        (How::Rule, Some(rule), [_, ..]) => plan_mirrors(&found, rule, lock, pull),
        (How::Rule, ..) => Plan::Settled(kept(&found, Reason::Unrepresentable)),
        (How::Exception, ..) => Plan::Settled(kept(&found, Reason::Exception)),
        (How::Inside | How::NoRule, ..) => Plan::Settled(kept(&found, Reason::NoRule)),
    }
}

/// A text that stands for an image that is filled in later (a sidecar injector's `auto`).
pub fn is_placeholder(written: &str) -> bool {
    written.is_empty() || written == "auto"
}

/// An image in a mirror already: it is not moved, only pinned.
fn plan_inside(found: &Arc<Found>, rule: &Rule, place: &Place, lock: &Lock, pull: Pull) -> Plan {
    let reference = &place.reference;
    let digest = own_digest(reference);
    let settled = |outcome| {
        Plan::Settled(Decision {
            outcome,
            mirror: Some(place.mirror),
            digest: digest.clone(),
            resolved_from: digest.as_ref().map(|_| ResolvedFrom::Reference),
            ..kept(found, Reason::Mirrored)
        })
    };
    if rule.pin() == Pin::Off {
        return settled(Outcome::Kept);
    }
    let consulted = consult(lock, rule, &found.places);
    if let (false, Some(digest)) = (matches!(consulted, Consulted::NotLocked), &digest) {
        return settled(match rule.pin() {
            Pin::Digest if reference.tag().is_some() => {
                Outcome::Rewritten { to: place.pinned_to(digest, Pin::Digest) }
            }
            Pin::Digest | Pin::Off | Pin::TagAndDigest => Outcome::Kept,
        });
    }
    Question { found: Arc::clone(found), pull }.settle(consulted)
}

fn plan_mirrors(found: &Arc<Found>, rule: &Rule, lock: &Lock, pull: Pull) -> Plan {
    let question = Question { found: Arc::clone(found), pull };
    if rule.pin() == Pin::Off {
        return Plan::Settled(question.rewritten_unpinned(0, Reason::PinOff));
    }
    question.settle(consult(lock, rule, &found.places))
}

/// What the lock says about an image, as far as the rule listens to it: the first of its places that has a line
/// decides.
fn consult(lock: &Lock, rule: &Rule, places: &[Place]) -> Consulted {
    let mode = rule.lock();
    if mode == LockMode::Ignore {
        return Consulted::Silent;
    }
    for (candidate, place) in places.iter().enumerate() {
        match lock.find(&place.reference) {
            // Another mirror may have it, and here one may be asked.
            Some(locked) if locked.is_missing && mode == LockMode::Prefer => {}
            Some(locked) => return Consulted::Locked { candidate, digest: locked.digest.clone() },
            None => {}
        }
    }
    if mode == LockMode::Require { Consulted::NotLocked } else { Consulted::Silent }
}

fn kept(found: &Arc<Found>, reason: Reason) -> Decision {
    Decision { found: Some(Arc::clone(found)), ..Decision::kept(reason) }
}

impl Plan {
    /// Whether the image would get another place, if its mirror has it: nobody is asked.
    pub fn would_move(self) -> bool {
        match self {
            Self::Ask(question) => question.conclude(Answer::Offline).moves(),
            Self::Settled(decision) => decision.moves(),
        }
    }
}

impl Question {
    /// The places to ask, in order; there is at least one.
    pub fn candidates(&self) -> impl Iterator<Item = &Reference> {
        self.found.places.iter().map(|place| &place.reference)
    }

    /// The first place.
    pub fn first(&self) -> &Reference {
        &self.place(0).reference
    }

    /// Whether there is one place only.
    pub fn is_single(&self) -> bool {
        self.found.places.len() == 1
    }

    /// Whether the kubelet asks the registry at every start, so that we ask too.
    pub fn is_always(&self) -> bool {
        self.pull == Pull::Always
    }

    /// The decision that follows from what the mirrors say.
    pub fn conclude(self, answer: Answer) -> Decision {
        let (on_missing, on_unavailable) = (self.rule().on_missing(), self.rule().on_unavailable());
        match answer {
            Answer::Found { candidate, digest, from } => self.found(candidate, digest, from),
            Answer::Missing => self.not_found(0, Reason::Missing, on_missing),
            Answer::Offline => self.offline(),
            Answer::Unauthorized { candidate } => {
                self.not_found(candidate, Reason::Unauthorized, on_unavailable)
            }
            Answer::Unavailable { candidate } => {
                self.not_found(candidate, Reason::Unavailable, on_unavailable)
            }
        }
    }

    /// What follows from the lock.
    fn settle(self, consulted: Consulted) -> Plan {
        match consulted {
            Consulted::Locked { candidate, digest } => {
                Plan::Settled(self.found(candidate, digest, ResolvedFrom::Lock))
            }
            Consulted::NotLocked => {
                Plan::Settled(Decision { outcome: Outcome::Denied, ..self.kept(0, Reason::NotLocked) })
            }
            Consulted::Silent => Plan::Ask(self),
        }
    }

    fn found(&self, candidate: usize, digest: Digest, from: ResolvedFrom) -> Decision {
        let place = self.place(candidate);
        let (reason, from) = match (self.is_inside(), place.reference.digest()) {
            (true, _) => (Reason::Mirrored, from),
            (false, Some(_)) => (Reason::Carried, ResolvedFrom::Reference),
            (false, None) => (Reason::Pinned, from),
        };
        Decision {
            outcome: Outcome::Rewritten { to: place.pinned_to(&digest, self.rule().pin()) },
            digest: Some(digest),
            resolved_from: Some(from),
            ..self.kept(candidate, reason)
        }
    }

    fn not_found(&self, candidate: usize, reason: Reason, fallback: Fallback) -> Decision {
        let kept = self.kept(candidate, reason);
        match fallback {
            _ if self.is_inside() => kept,
            Fallback::Deny => Decision { outcome: Outcome::Denied, ..kept },
            Fallback::Keep => kept,
            Fallback::Rewrite => self.rewritten_unpinned(candidate, reason),
        }
    }

    fn offline(&self) -> Decision {
        if self.is_inside() {
            return self.kept(0, Reason::Offline);
        }
        match own_digest(self.first()) {
            Some(digest) => self.found(0, digest, ResolvedFrom::Reference),
            None => self.rewritten_unpinned(0, Reason::Offline),
        }
    }

    /// Rewritten to a place as it is, with the digest that the reference had, if it had one.
    fn rewritten_unpinned(&self, candidate: usize, reason: Reason) -> Decision {
        let place = self.place(candidate);
        let digest = own_digest(&place.reference);
        let to = match (self.rule().pin(), &digest) {
            (pin @ Pin::Digest, Some(digest)) => place.pinned_to(digest, pin),
            _ => place.reference.as_str().into(),
        };
        Decision {
            outcome: Outcome::Rewritten { to },
            resolved_from: digest.as_ref().map(|_| ResolvedFrom::Reference),
            digest,
            ..self.kept(candidate, reason)
        }
    }

    fn kept(&self, candidate: usize, reason: Reason) -> Decision {
        Decision { mirror: Some(self.place(candidate).mirror), ..kept(&self.found, reason) }
    }

    fn is_inside(&self) -> bool {
        self.found.how == How::Inside
    }

    fn rule(&self) -> &Rule {
        self.found.rule.as_deref().expect("a question has a rule")
    }

    fn place(&self, candidate: usize) -> &Place {
        let places = &self.found.places;
        places.get(candidate).or_else(|| places.first()).expect("a question has a place")
    }
}

/// What the lock says about an image's places.
enum Consulted {
    /// A line locks one of them to this digest, or knows that it has the reference's own.
    Locked { candidate: usize, digest: Digest },
    /// No line does, and the rule wants one.
    NotLocked,
    /// No line does, or the rule does not listen.
    Silent,
}

fn own_digest(reference: &Reference) -> Option<Digest> {
    reference.digest().and_then(|digest| digest.parse().ok())
}

/// The longest image text that is read, in bytes (product limit).
pub const MAX_IMAGE_TEXT: usize = 4096;

#[cfg(test)]
mod tests;
