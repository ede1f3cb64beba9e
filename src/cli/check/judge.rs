//! What becomes of each image, by the webhook's own `decide`, and whether it would run.
//!
//! Two things are looked at here that an admission does not wait for: whether a mirror still has what the lock says,
//! and whether it has what is rewritten without asking (`pin: off`, an image inside a mirror with a digest of its own).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};

use crate::{
    admission::{Asking, decide},
    cli::{inputs::Wanted, registries::AT_ONCE},
    image::{Digest, Reference},
    lock::{Finding, Lock},
    registry::{Answer, Question, Resolver, Verified},
    rewrite::{Decision, Mode, Outcome, Plan, Pull, Reason, ResolvedFrom, plan},
    table::{LockMode, Pin, Rule, Table},
};

/// Judges images by one table and lock.
pub(super) struct Judge<'t> {
    table: &'t Table,
    lock: &'t Lock,
    resolver: &'t Resolver,
    limit: Duration,
    /// Positions of the lock's lines, by what they lock: a reference with a tag, and one with a digest alone.
    lines: HashMap<String, usize>,
}

/// An image and what becomes of it.
#[derive(Debug)]
pub(super) struct Judged<'w> {
    pub(super) wanted: &'w Wanted,
    /// `None`: it never comes before the table.
    pub(super) decision: Option<Decision>,
    /// Where in a mirror it is looked for; `None` without a rule.
    pub(super) place: Option<Reference>,
    pub(super) state: State,
    /// What the lock says about it; `None` where it is not asked.
    pub(super) locked: Option<Locked>,
}

/// Whether an image would run.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum State {
    /// No mirror has it.
    Missing,
    /// The mirror does not have the digest that it is locked to.
    LockedMissing,
    /// The rule requires a lock, and it has no line for the image.
    NotLocked,
    /// The text is no image reference: the node would refuse it.
    Invalid,
    /// A registry refused our login.
    Unauthorized,
    /// A registry did not answer.
    Unavailable,
    /// It would run, but its tag has left the locked digest.
    Moved,
    /// Left as it is written, by an exception or for want of a rule: whether it is there was not asked.
    AsWritten,
    /// Portolan has no say: by label, namespace, pull policy or because it is no image yet.
    LeftAlone,
    /// It would run.
    Ok,
}

/// What the lock says about an image.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Locked {
    /// There is a line, but its mirror does not have the digest.
    Missing,
    /// There is a line, but the tag leads elsewhere or is gone.
    Moved,
    /// There is no line.
    NoLine,
    /// There is a line, and its mirror did not answer.
    Unverified,
    /// There is a line, and the mirror has what it says.
    Verified,
}

impl State {
    /// Every state, the worst first.
    pub(super) const ALL: [Self; 10] = [
        Self::Missing,
        Self::LockedMissing,
        Self::NotLocked,
        Self::Invalid,
        Self::Unauthorized,
        Self::Unavailable,
        Self::Moved,
        Self::AsWritten,
        Self::LeftAlone,
        Self::Ok,
    ];

    /// The word for it; the reason's where they mean the same.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Missing => Reason::Missing.word(),
            Self::LockedMissing => "locked-missing",
            Self::NotLocked => Reason::NotLocked.word(),
            Self::Invalid => Reason::InvalidReference.word(),
            Self::Unauthorized => Reason::Unauthorized.word(),
            Self::Unavailable => Reason::Unavailable.word(),
            Self::Moved => "moved",
            Self::AsWritten => "as-written",
            Self::LeftAlone => "left-alone",
            Self::Ok => "ok",
        }
    }
}

impl Locked {
    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Moved => "moved",
            Self::NoLine => "not-locked",
            Self::Unverified => "unverified",
            Self::Verified => "verified",
        }
    }
}

impl<'t> Judge<'t> {
    pub(super) fn new(table: &'t Table, lock: &'t Lock, resolver: &'t Resolver, limit: Duration) -> Self {
        let mut lines = HashMap::new();
        for (position, line) in lock.lines().iter().enumerate() {
            let reference = line.reference();
            if reference.tag().is_some() {
                lines.insert(reference.without_digest().to_owned(), position);
            }
            if let Some(digest) = lock.digest(line) {
                lines.entry(by_digest(reference, digest.as_str())).or_insert(position);
            }
        }
        Self { table, lock, resolver, limit, lines }
    }

    /// Judges every image, a few at once, each with the whole time. What got no answer is asked about once more if its
    /// registry answered about others: it may only have been slow.
    pub(super) async fn all<'w>(&self, wanted: &'w [Wanted]) -> Vec<Judged<'w>> {
        let mut judged: Vec<_> =
            stream::iter(wanted).map(|wanted| self.one(wanted)).buffered(AT_ONCE).collect().await;
        let answering: HashSet<_> = judged
            .iter()
            .filter(|judged| judged.state != State::Unavailable)
            .filter_map(|judged| Some(judged.place.as_ref()?.registry().to_owned()))
            .collect();
        let again = judged.iter().enumerate().filter(|(_, judged)| {
            let registry = judged.place.as_ref().map(Reference::registry);
            judged.state == State::Unavailable && registry.is_some_and(|host| answering.contains(host))
        });
        let again: Vec<_> = again.map(|(position, judged)| (position, judged.wanted)).collect();
        let mut second = stream::iter(again)
            .map(async |(position, wanted)| (position, self.one(wanted).await))
            .buffer_unordered(AT_ONCE);
        while let Some((position, anew)) = second.next().await {
            if let Some(place) = judged.get_mut(position) {
                *place = anew;
            }
        }
        judged
    }

    async fn one<'w>(&self, wanted: &'w Wanted) -> Judged<'w> {
        if wanted.left_alone.is_some() {
            return Judged { wanted, decision: None, place: None, state: State::LeftAlone, locked: None };
        }
        let (mut locked, mut seen) = (None, HashSet::new());
        let plan = loop {
            let namespace = wanted.namespace.as_deref();
            let plan = plan(self.table, self.lock, &wanted.image, Pull::Sometimes, namespace);
            let Some((position, rule)) = self.line(&plan).filter(|(position, _)| seen.insert(*position))
            else {
                break plan;
            };
            let found = self.verify(position, &plan).await;
            // Of several lines the first one's trouble is the one to tell.
            locked = if locked == Some(Locked::Missing) { locked } else { Some(found) };
            if found != Locked::Missing || rule.lock() != LockMode::Prefer {
                break plan;
            }
        };
        let settled = matches!(plan, Plan::Settled(_));
        let deadline = Instant::now() + self.limit;
        let asking = Asking::Registries { resolver: self.resolver, deadline };
        let decided = decide([((), plan)], asking).await.pop();
        let decision = decided.expect("one plan has one decision").decision;
        let place = decision.place().map(|place| place.reference.clone());
        let mut state = state(&decision);
        if state == State::Ok
            && settled
            && decision.resolved_from != Some(ResolvedFrom::Lock)
            && locked.is_none()
            && let Some(place) = &place
        {
            state = self.ask(place).await;
        }
        let listens = decision.rule().is_some_and(|rule| listens(rule));
        if locked.is_none() && listens && (!self.lock.lines().is_empty() || state == State::NotLocked) {
            locked = Some(Locked::NoLine);
        }
        let state = match (state, locked) {
            (State::Missing | State::Ok, Some(Locked::Missing)) => State::LockedMissing,
            (State::Ok, Some(Locked::Moved)) => State::Moved,
            (State::Ok, Some(Locked::Unverified)) => State::Unavailable,
            (state, _) => state,
        };
        Judged { wanted, decision: Some(decision), place, state, locked }
    }

    /// The line that settled a plan, and the rule that listened to it.
    fn line<'p>(&self, plan: &'p Plan) -> Option<(usize, &'p Arc<Rule>)> {
        let Plan::Settled(decision) = plan else { return None };
        let rule = decision.rule().filter(|rule| listens(rule))?;
        let digest = decision.digest.as_ref()?;
        let place = &decision.place()?.reference;
        let key = match decision.resolved_from? {
            ResolvedFrom::Lock if place.digest().is_none() => place.as_str().to_owned(),
            ResolvedFrom::Lock | ResolvedFrom::Reference => by_digest(place, digest.as_str()),
            ResolvedFrom::Memory | ResolvedFrom::Registry | ResolvedFrom::Stale => return None,
        };
        self.lines.get(&key).map(|position| (*position, rule))
    }

    /// Asks a line's mirror for what the line says, and keeps what came of it for the next plan.
    async fn verify(&self, position: usize, plan: &Plan) -> Locked {
        let line = self.lock.lines().get(position);
        let Some((line, digest)) = line.and_then(|line| Some((line, self.lock.digest(line)?))) else {
            return Locked::NoLine;
        };
        // Where the image names the digest itself, where the tag leads is nobody's concern.
        let is_own = matches!(plan, Plan::Settled(decision) if decision.resolved_from == Some(ResolvedFrom::Reference));
        let alone = is_own.then(|| Reference::from_normalised(&by_digest(line.reference(), digest.as_str())));
        let reference = alone.flatten();
        let verify = self.resolver.verify(reference.as_ref().unwrap_or_else(|| line.reference()), digest);
        let verified = tokio::time::timeout(self.limit, verify).await.unwrap_or(Verified::Unknown);
        let (locked, finding) = match verified {
            Verified::Missing => (Locked::Missing, Some(Finding::Missing)),
            Verified::Moved => (Locked::Moved, Some(Finding::Moved)),
            Verified::Present => (Locked::Verified, Some(Finding::Present)),
            Verified::Unknown => (Locked::Unverified, None),
        };
        if let Some(finding) = finding {
            self.lock.note(line, finding);
        }
        locked
    }

    /// Whether a place has what it is to have, though the webhook does not ask.
    async fn ask(&self, place: &Reference) -> State {
        let question = Question { mirrors: &[place], always: false };
        match self.resolver.resolve(&question, Instant::now() + self.limit).await {
            Answer::Found { .. } => State::Ok,
            Answer::Missing => State::Missing,
            Answer::Unauthorized { .. } => State::Unauthorized,
            Answer::Unavailable { .. } => State::Unavailable,
        }
    }
}

/// Whether a rule goes by the lock.
fn listens(rule: &Rule) -> bool {
    !rule.keep() && rule.pin() != Pin::Off && rule.lock() != LockMode::Ignore
}

fn by_digest(reference: &Reference, digest: &str) -> String {
    [reference.name(), "@", digest].concat()
}

/// What a decision says about whether its image would run.
fn state(decision: &Decision) -> State {
    match decision.reason {
        Reason::Carried | Reason::Mirrored | Reason::Pinned | Reason::PinOff => State::Ok,
        Reason::Exception | Reason::NoRule | Reason::Unrepresentable => State::AsWritten,
        Reason::InvalidReference => State::Invalid,
        Reason::Missing => State::Missing,
        Reason::NotLocked => State::NotLocked,
        Reason::Unauthorized => State::Unauthorized,
        Reason::Unavailable => State::Unavailable,
        // The webhook's alone, or of a Pod that is there already.
        Reason::InternalError
        | Reason::MirrorPod
        | Reason::Offline
        | Reason::OptedOut
        | Reason::OwnNamespace
        | Reason::Placeholder
        | Reason::PullNever
        | Reason::Restored
        | Reason::Unchanged => State::LeftAlone,
    }
}

impl Judged<'_> {
    /// Whether something would become of it that its namespace's label leaves undone.
    pub(super) fn is_only_audited(&self) -> bool {
        let is_idle = matches!(self.state, State::AsWritten | State::Invalid | State::LeftAlone);
        self.wanted.mode == Mode::Audit && !is_idle
    }

    /// What the Pod would run; `None` if it is denied.
    pub(super) fn result(&self) -> Option<&str> {
        match &self.decision {
            Some(Decision { outcome: Outcome::Denied, .. }) => None,
            Some(decision) => Some(decision.result().unwrap_or(&self.wanted.image)),
            None => Some(&self.wanted.image),
        }
    }

    pub(super) fn digest(&self) -> Option<&str> {
        self.decision.as_ref()?.digest.as_ref().map(Digest::as_str)
    }

    /// Why: the webhook's word, or why it is not called.
    pub(super) fn reason(&self) -> &'static str {
        match (&self.decision, self.wanted.left_alone) {
            (Some(decision), _) => decision.reason.word(),
            (None, Some(left_alone)) => left_alone.word(),
            (None, None) => Reason::InternalError.word(),
        }
    }
}
