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
    table::{Fallback, LockMode, Lookup, Pin, Rule, Table},
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
    reference: Reference,
    rule: Arc<Rule>,
    /// The first place, apart from the others: most rules have one mirror, and need no list.
    first: Candidate,
    others: Vec<Candidate>,
    inside: bool,
    pull: Pull,
}

/// The image's place in one mirror of the rule.
#[derive(Debug)]
struct Candidate {
    mirror: usize,
    reference: Reference,
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

/// Reads one image's text and looks it up. `scratch` is a buffer to build texts in.
pub fn plan(
    table: &Table,
    lock: &Lock,
    written: &str,
    pull: Pull,
    namespace: Option<&str>,
    scratch: &mut String,
) -> Plan {
    if is_placeholder(written) {
        return Plan::Settled(Decision::kept(Reason::Placeholder));
    }
    if written.len() > MAX_IMAGE_TEXT {
        return Plan::Settled(Decision::kept(Reason::InvalidReference));
    }
    let Ok(reference) = Reference::parse(written) else {
        return Plan::Settled(Decision::kept(Reason::InvalidReference));
    };
    match table.lookup(&reference, namespace) {
        Lookup::Exception(rule) => {
            Plan::Settled(Decision { rule: Some(Arc::clone(rule)), ..kept(reference, Reason::Exception) })
        }
        Lookup::Inside { rule, mirror } => plan_inside(reference, rule, mirror, lock, pull),
        Lookup::InsideNoRule | Lookup::NoRule => Plan::Settled(kept(reference, Reason::NoRule)),
        Lookup::Rule(rule) => plan_mirrors(reference, rule, lock, pull, scratch),
    }
}

/// A text that stands for an image that is filled in later (a sidecar injector's `auto`).
pub fn is_placeholder(written: &str) -> bool {
    written.is_empty() || written == "auto"
}

/// An image in a mirror already: it is not moved, only pinned.
fn plan_inside(reference: Reference, rule: &Arc<Rule>, mirror: usize, lock: &Lock, pull: Pull) -> Plan {
    let settled = |reference: Reference, outcome| {
        Plan::Settled(Decision {
            outcome,
            rule: Some(Arc::clone(rule)),
            mirror: Some(mirror),
            digest: own_digest(&reference),
            resolved_from: reference.digest().map(|_| ResolvedFrom::Reference),
            ..kept(reference, Reason::Mirrored)
        })
    };
    if rule.pin() == Pin::Off {
        return settled(reference, Outcome::Kept);
    }
    let consulted = consult(lock, rule, std::iter::once(&reference));
    if let (false, Some(digest)) = (matches!(consulted, Consulted::NotLocked), reference.digest()) {
        let outcome = match rule.pin() {
            Pin::Digest if reference.tag().is_some() => {
                Outcome::Rewritten { to: with_digest(reference.name(), digest) }
            }
            Pin::Digest | Pin::Off | Pin::TagAndDigest => Outcome::Kept,
        };
        return settled(reference, outcome);
    }
    let question = Question {
        first: Candidate { mirror, reference: reference.clone() },
        reference,
        rule: Arc::clone(rule),
        others: Vec::new(),
        inside: true,
        pull,
    };
    question.settle(consulted)
}

fn plan_mirrors(
    reference: Reference,
    rule: &Arc<Rule>,
    lock: &Lock,
    pull: Pull,
    scratch: &mut String,
) -> Plan {
    let mut first = None;
    let mut others = Vec::new();
    for mirror in 0..rule.mirrors().len() {
        let Some(place) = rule.place(mirror, &reference, scratch) else { continue };
        let candidate = Candidate { mirror, reference: place };
        if first.is_none() {
            first = Some(candidate);
        } else {
            others.push(candidate);
        }
    }
    let Some(first) = first else {
        return Plan::Settled(Decision {
            rule: Some(Arc::clone(rule)),
            ..kept(reference, Reason::Unrepresentable)
        });
    };
    let question = Question { reference, rule: Arc::clone(rule), first, others, inside: false, pull };
    if rule.pin() == Pin::Off {
        return Plan::Settled(question.rewritten_unpinned(0, Reason::PinOff));
    }
    let consulted = consult(lock, rule, question.candidates());
    question.settle(consulted)
}

/// What the lock says about an image, as far as the rule listens to it: the first of its places that has a line
/// decides.
fn consult<'p>(lock: &Lock, rule: &Rule, places: impl Iterator<Item = &'p Reference>) -> Consulted {
    let mode = rule.lock();
    if mode == LockMode::Ignore {
        return Consulted::Silent;
    }
    for (candidate, place) in places.enumerate() {
        match lock.find(place) {
            // Another mirror may have it, and here one may be asked.
            Some(locked) if locked.is_missing && mode == LockMode::Prefer => {}
            Some(locked) => return Consulted::Locked { candidate, digest: locked.digest.clone() },
            None => {}
        }
    }
    if mode == LockMode::Require { Consulted::NotLocked } else { Consulted::Silent }
}

fn kept(reference: Reference, reason: Reason) -> Decision {
    Decision { reference: Some(reference), ..Decision::kept(reason) }
}

impl Question {
    /// The places to ask, in order; there is at least one.
    pub fn candidates(&self) -> impl Iterator<Item = &Reference> {
        std::iter::once(&self.first).chain(&self.others).map(|candidate| &candidate.reference)
    }

    /// The first place.
    pub fn first(&self) -> &Reference {
        &self.first.reference
    }

    /// Whether there is one place only.
    pub fn is_single(&self) -> bool {
        self.others.is_empty()
    }

    /// Whether the kubelet asks the registry at every start, so that we ask too.
    pub fn is_always(&self) -> bool {
        self.pull == Pull::Always
    }

    /// The decision that follows from what the mirrors say.
    pub fn conclude(self, answer: Answer) -> Decision {
        let (on_missing, on_unavailable) = (self.rule.on_missing(), self.rule.on_unavailable());
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
                let mirror = self.first.mirror;
                let kept = self.into_kept(mirror, Reason::NotLocked);
                Plan::Settled(Decision { outcome: Outcome::Denied, ..kept })
            }
            Consulted::Silent => Plan::Ask(self),
        }
    }

    fn found(self, candidate: usize, digest: Digest, from: ResolvedFrom) -> Decision {
        let Candidate { mirror, reference: place } = self.candidate(candidate);
        let (reason, from) = match (self.inside, place.digest()) {
            (true, _) => (Reason::Mirrored, from),
            (false, Some(_)) => (Reason::Carried, ResolvedFrom::Reference),
            (false, None) => (Reason::Pinned, from),
        };
        let location = match self.rule.pin() {
            Pin::Digest => place.name(),
            Pin::Off | Pin::TagAndDigest => place.without_digest(),
        };
        let to = with_digest(location, digest.as_str());
        let mirror = *mirror;
        Decision {
            outcome: Outcome::Rewritten { to },
            digest: Some(digest),
            resolved_from: Some(from),
            ..self.into_kept(mirror, reason)
        }
    }

    fn not_found(self, candidate: usize, reason: Reason, fallback: Fallback) -> Decision {
        let mirror = self.candidate(candidate).mirror;
        match fallback {
            _ if self.inside => self.into_kept(mirror, reason),
            Fallback::Deny => Decision { outcome: Outcome::Denied, ..self.into_kept(mirror, reason) },
            Fallback::Keep => self.into_kept(mirror, reason),
            Fallback::Rewrite => self.rewritten_unpinned(candidate, reason),
        }
    }

    fn offline(self) -> Decision {
        if self.inside {
            let mirror = self.first.mirror;
            return self.into_kept(mirror, Reason::Offline);
        }
        match own_digest(&self.first.reference) {
            Some(digest) => self.found(0, digest, ResolvedFrom::Reference),
            None => self.rewritten_unpinned(0, Reason::Offline),
        }
    }

    /// Rewritten to a place as it is, with the digest that the reference had, if it had one.
    fn rewritten_unpinned(self, candidate: usize, reason: Reason) -> Decision {
        let Candidate { mirror, reference: place } = self.candidate(candidate);
        let digest = own_digest(place);
        let to = match (self.rule.pin(), &digest) {
            (Pin::Digest, Some(digest)) => with_digest(place.name(), digest.as_str()),
            _ => place.as_str().to_owned(),
        };
        let mirror = *mirror;
        Decision {
            outcome: Outcome::Rewritten { to },
            resolved_from: digest.as_ref().map(|_| ResolvedFrom::Reference),
            digest,
            ..self.into_kept(mirror, reason)
        }
    }

    fn into_kept(self, mirror: usize, reason: Reason) -> Decision {
        Decision { rule: Some(self.rule), mirror: Some(mirror), ..kept(self.reference, reason) }
    }

    fn candidate(&self, position: usize) -> &Candidate {
        position.checked_sub(1).and_then(|other| self.others.get(other)).unwrap_or(&self.first)
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

fn with_digest(location: &str, digest: &str) -> String {
    let mut text = String::with_capacity(location.len() + 1 + digest.len());
    text.push_str(location);
    text.push('@');
    text.push_str(digest);
    text
}

/// The longest image text that is read, in bytes (product limit).
pub const MAX_IMAGE_TEXT: usize = 4096;

#[cfg(test)]
mod tests;
