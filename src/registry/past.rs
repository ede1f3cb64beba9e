//! Answers from before this process: used where no mirror answers, and nowhere else.
//!
//! They are kept apart from what this process was told. None is ever fresh, none is asked for again unless an admission
//! wants it, and the first answer or 404 about a reference ends what is known of its past. An answer counts only for the
//! login that it was got with, which is told apart by where it is from: nothing that follows from a login's secret
//! leaves the process, because a weak one could be guessed from it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{policy::EvictionPolicy, sync::Cache};

use super::{
    memory::subject,
    policy::{CachePolicy, Freshness},
    resolver::Resolver,
};
use crate::image::{Digest, Reference};

/// An answer as it goes from one process to a later one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PastAnswer {
    /// The mirror's reference that was asked about.
    pub reference: Reference,
    /// The digest behind it; where the reference has a digest, that one, which was seen to exist.
    pub digest: Digest,
    /// How long ago the registry said so.
    pub age: Duration,
    /// Which login it was got with.
    pub login: LoginName,
}

/// What a login is called outside the process.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum LoginName {
    /// There was none.
    Anonymous,
    /// Where its credentials were from, as [`super::Credentials::with_origin`] was told.
    Origin(Arc<Box<str>>),
}

impl Resolver {
    /// At most `limit` answers that could still be used, the latest used first; those got with a login that is no
    /// longer the current one, or whose origin is not known, are left out.
    pub fn answers(&self, limit: usize, now: Instant) -> Vec<PastAnswer> {
        let hosts = self.shared.registries.current();
        let memory = &self.shared.memory;
        let mut answers: Vec<_> = memory
            .held(now)
            .into_iter()
            .filter_map(|held| {
                let host = hosts.get(held.key.reference.registry())?;
                let is_current = host.probe(&held.key.reference).login == held.key.login;
                let login = host.login_name(&held.key.reference).filter(|_| is_current)?;
                let reference = held.key.reference.clone();
                Some((held.used, PastAnswer { reference, digest: held.digest, age: held.age, login }))
            })
            .collect();
        answers.sort_by(|(used, a), (other, b)| {
            other.cmp(used).then_with(|| a.reference.as_str().cmp(b.reference.as_str()))
        });
        let mut answers: Vec<_> = answers.into_iter().map(|(_, answer)| answer).collect();
        answers.truncate(limit);
        let known: HashSet<_> = answers.iter().map(|answer| answer.reference.clone()).collect();
        let past = memory.past.all(&self.shared.policy, now);
        let past = past.into_iter().filter(|answer| !known.contains(&answer.reference));
        answers.extend(past.take(limit.saturating_sub(known.len())));
        answers
    }

    /// The references that a mirror said 404 to, and how long ago.
    pub fn missing(&self, now: Instant) -> Vec<(Reference, Duration)> {
        self.shared.memory.missing(now)
    }

    /// Takes answers of an earlier process, and says how many can be used. Those about what this process already knows,
    /// or knows to be missing, are passed over, and so are those that are too old.
    pub fn restore(&self, answers: impl IntoIterator<Item = PastAnswer>, now: Instant) -> usize {
        let memory = &self.shared.memory;
        let policy = &self.shared.policy;
        memory
            .past
            .put(answers.into_iter().filter(|answer| policy.keeps(&answer.reference, answer.age)), now);
        // After they were put there, so that nothing that is said meanwhile is overlooked.
        for (reference, _) in memory.missing(now) {
            memory.past.forget(&reference);
        }
        for held in memory.held(now) {
            memory.past.forget(&held.key.reference);
        }
        memory.past.all(policy, now).len()
    }
}

/// What earlier processes were told.
#[derive(Debug)]
pub(super) struct Past {
    /// By reference, whatever the login: the first answer about a reference ends all of them.
    answers: Cache<Reference, Arc<[Told]>>,
}

#[derive(Clone, Debug)]
struct Told {
    digest: Digest,
    login: LoginName,
    /// How old it was when it was put here, and when that was: an [`Instant`] may not reach back so far.
    age: Duration,
    put: Instant,
}

impl Past {
    pub(super) fn new(policy: &CachePolicy) -> Self {
        let lru = EvictionPolicy::lru();
        Self { answers: Cache::builder().max_capacity(policy.entries).eviction_policy(lru).build() }
    }

    /// The digest that may be used where nobody answers.
    pub(super) fn stale(
        &self,
        reference: &Reference,
        login: Option<&LoginName>,
        policy: &CachePolicy,
        now: Instant,
    ) -> Option<Digest> {
        let told = self.answers.get(reference)?;
        let login = login?;
        let told = told.iter().find(|told| told.login == *login)?;
        policy.keeps(reference, told.age(now)).then(|| told.digest.clone())
    }

    /// The registry has said something about it.
    pub(super) fn forget(&self, reference: &Reference) {
        self.answers.invalidate(reference);
    }

    fn put(&self, answers: impl Iterator<Item = PastAnswer>, now: Instant) {
        let mut by_reference: BTreeMap<Box<str>, (Reference, Vec<Told>)> = BTreeMap::new();
        for PastAnswer { reference, digest, age, login } in answers {
            let (_, told) =
                by_reference.entry(reference.as_str().into()).or_insert_with(|| (reference, Vec::new()));
            let older = told.iter().position(|told| told.login == login);
            match older.and_then(|older| told.get_mut(older)) {
                Some(known) if known.age <= age => {}
                Some(known) => *known = Told { digest, login, age, put: now },
                None => told.push(Told { digest, login, age, put: now }),
            }
        }
        for (reference, told) in by_reference.into_values() {
            self.answers.insert(reference, told.into());
        }
    }

    /// All that could still be used, the youngest first.
    fn all(&self, policy: &CachePolicy, now: Instant) -> Vec<PastAnswer> {
        let mut all = Vec::new();
        for (reference, told) in &self.answers {
            let told = told.iter().filter(|told| policy.keeps(&reference, told.age(now)));
            all.extend(told.map(|told| PastAnswer {
                reference: (*reference).clone(),
                digest: told.digest.clone(),
                age: told.age(now),
                login: told.login.clone(),
            }));
        }
        all.sort_by(|a, b| a.age.cmp(&b.age).then_with(|| a.reference.as_str().cmp(b.reference.as_str())));
        all
    }
}

impl Told {
    fn age(&self, now: Instant) -> Duration {
        self.age.saturating_add(now.saturating_duration_since(self.put))
    }
}

impl CachePolicy {
    /// Whether an answer about `reference` of this age is still used where nobody answers.
    pub fn keeps(&self, reference: &Reference, age: Duration) -> bool {
        self.freshness(age, subject(reference), false) != Freshness::Expired
    }
}
