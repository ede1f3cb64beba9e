//! What registries said, bounded: answers in one map, refusals in another.
//!
//! Both are keyed by the mirror's reference and the login: what one login may see says nothing about another. The maps
//! only bound the memory; how long an answer counts is [`CachePolicy`]'s matter, judged at the caller's `now`.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use equivalent::Equivalent;
use foldhash::fast::RandomState;
use moka::{policy::EvictionPolicy, sync::Cache};

use super::{
    credentials::LoginId,
    past::Past,
    policy::{CachePolicy, Freshness, Subject},
};
use crate::image::{Digest, Reference};

/// The answers and refusals of all registries.
#[derive(Debug)]
pub(super) struct Memory {
    answers: Cache<Key, Arc<Known>, RandomState>,
    refusals: Cache<Key, Refused, RandomState>,
    /// What earlier processes were told, until this one is.
    pub(super) past: Past,
    /// What moments are counted from.
    start: Instant,
    policy: CachePolicy,
}

/// Which answer is meant, and what it was got with.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) reference: Reference,
    pub(super) login: LoginId,
}

/// A [`Key`] that owns nothing: looking up allocates nothing. Hashes as the key does, field by field.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Probe<'a> {
    pub(super) reference: &'a Reference,
    pub(super) login: LoginId,
}

/// An answer that could still be used.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) key: Arc<Key>,
    pub(super) digest: Digest,
    pub(super) age: Duration,
    /// When an admission used it last; later is more.
    pub(super) used: u64,
}

/// Why a registry has no digest for us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    Missing,
    Unauthorized,
    /// It answered, and the answer is of no use.
    Unusable,
}

/// A digest and its times.
#[derive(Debug)]
struct Known {
    digest: Digest,
    fetched: Instant,
    /// When an admission used it last, in milliseconds after `start`.
    used: AtomicU64,
    /// When the background asked for it last, likewise; zero: not since it was fetched.
    refreshed: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    refusal: Refusal,
    at: Instant,
}

impl Memory {
    pub(super) fn new(policy: CachePolicy, now: Instant) -> Self {
        Self {
            answers: bounded(policy.entries),
            refusals: bounded(policy.negative_entries),
            past: Past::new(&policy),
            start: now,
            policy,
        }
    }

    /// The digest that may be used unasked.
    pub(super) fn fresh(&self, probe: Probe<'_>, now: Instant, always: bool) -> Option<Digest> {
        self.answer(probe, now, |age, subject| {
            self.policy.freshness(age, subject, always) == Freshness::Fresh
        })
    }

    /// The digest that may be used where nobody answers.
    pub(super) fn stale(&self, probe: Probe<'_>, now: Instant) -> Option<Digest> {
        self.answer(probe, now, |age, subject| {
            self.policy.freshness(age, subject, false) != Freshness::Expired
        })
    }

    /// The digest that may be used where nobody answers; that it is looked at is no use of it.
    pub(super) fn kept(&self, key: &Key, now: Instant) -> Option<Digest> {
        let known = self.answers.get(key)?;
        let age = now.saturating_duration_since(known.fetched);
        self.policy.keeps(&key.reference, age).then(|| known.digest.clone())
    }

    /// The refusal that may be used unasked.
    pub(super) fn refusal(&self, probe: Probe<'_>, now: Instant, always: bool) -> Option<Refusal> {
        let refused = self.refusals.get(&probe)?;
        let age = now.saturating_duration_since(refused.at);
        self.policy.refusal_holds(age, always).then_some(refused.refusal)
    }

    /// Whether the last that was heard was a refusal, however long ago.
    pub(super) fn was_refused(&self, probe: Probe<'_>) -> bool {
        self.refusals.contains_key(&probe)
    }

    /// Keeps an answer in place of whatever was known.
    pub(super) fn found(&self, key: &Key, digest: Digest, now: Instant) {
        let before = self.answers.get(key);
        let used = before.map_or_else(|| self.moment(now), |known| known.used.load(Ordering::Relaxed));
        let known = Known { digest, fetched: now, used: AtomicU64::new(used), refreshed: AtomicU64::new(0) };
        self.answers.insert(key.clone(), Arc::new(known));
        self.refusals.invalidate(key);
        self.past.forget(&key.reference);
    }

    /// Keeps a refusal. What is missing is no longer there to be used when stale; what we may not see still is.
    pub(super) fn refused(&self, key: &Key, refusal: Refusal, now: Instant) {
        self.refusals.insert(key.clone(), Refused { refusal, at: now });
        if refusal == Refusal::Missing {
            self.answers.invalidate(key);
            self.past.forget(&key.reference);
        }
    }

    /// Every answer that could still be used.
    pub(super) fn held(&self, now: Instant) -> Vec<Held> {
        let held = self.answers.iter().filter_map(|(key, known)| {
            let age = now.saturating_duration_since(known.fetched);
            let used = known.used.load(Ordering::Relaxed);
            let digest = known.digest.clone();
            self.policy.keeps(&key.reference, age).then_some(Held { key, digest, age, used })
        });
        held.collect()
    }

    /// What is known to be missing, and for how long.
    pub(super) fn missing(&self, now: Instant) -> Vec<(Reference, Duration)> {
        let missing = self.refusals.iter().filter(|(_, refused)| refused.refusal == Refusal::Missing);
        missing
            .map(|(key, refused)| (key.reference.clone(), now.saturating_duration_since(refused.at)))
            .collect()
    }

    /// The answers that are to be asked for again now; each is named once per turn.
    pub(super) fn due(&self, now: Instant) -> Vec<Arc<Key>> {
        let moment = self.moment(now);
        let used_since = moment.saturating_sub(millis(self.policy.refresh_used_within));
        let is_due = |key: &Key, known: &Known| {
            let age = self.policy.refresh_age(subject(&key.reference), SPREAD.hash_one(key));
            let asked = self.moment(known.fetched).max(known.refreshed.load(Ordering::Relaxed));
            known.used.load(Ordering::Relaxed) >= used_since && moment >= asked + millis(age)
        };
        let due = self.answers.iter().filter(|(key, known)| is_due(key, known));
        due.map(|(key, known)| {
            known.refreshed.store(moment, Ordering::Relaxed);
            key
        })
        .collect()
    }

    /// How many answers and refusals are kept.
    pub(super) fn counts(&self) -> (u64, u64) {
        self.answers.run_pending_tasks();
        self.refusals.run_pending_tasks();
        (self.answers.entry_count(), self.refusals.entry_count())
    }

    fn answer(
        &self,
        probe: Probe<'_>,
        now: Instant,
        serves: impl FnOnce(Duration, Subject) -> bool,
    ) -> Option<Digest> {
        let known = self.answers.get(&probe)?;
        if !serves(now.saturating_duration_since(known.fetched), subject(probe.reference)) {
            return None;
        }
        known.used.store(self.moment(now), Ordering::Relaxed);
        Some(known.digest.clone())
    }

    fn moment(&self, at: Instant) -> u64 {
        millis(at.saturating_duration_since(self.start))
    }
}

impl Key {
    pub(super) fn probe(&self) -> Probe<'_> {
        Probe { reference: &self.reference, login: self.login }
    }
}

impl Probe<'_> {
    pub(super) fn to_key(self) -> Key {
        Key { reference: self.reference.clone(), login: self.login }
    }
}

impl Equivalent<Key> for Probe<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.login == key.login && *self.reference == key.reference
    }
}

/// A map of as many entries at the most, of which the least recently used goes.
fn bounded<V: Clone + Send + Sync + 'static>(entries: u64) -> Cache<Key, V, RandomState> {
    let builder = Cache::builder().max_capacity(entries).eviction_policy(EvictionPolicy::lru());
    builder.build_with_hasher(RandomState::default())
}

pub(super) fn subject(reference: &Reference) -> Subject {
    if reference.digest().is_some() { Subject::Digest } else { Subject::Tag }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The same for the same key always, and that is all that spreading needs.
const SPREAD: BuildHasherDefault<DefaultHasher> = BuildHasherDefault::new();

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        memory: Memory,
        start: Instant,
        key: Key,
        digest: Digest,
    }

    fn case(reference: &str) -> Case {
        let start = Instant::now();
        Case {
            memory: Memory::new(CachePolicy::default(), start),
            start,
            key: Key { reference: reference.parse().unwrap(), login: LoginId::default() },
            digest: Digest::of(b"content"),
        }
    }

    impl Case {
        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }
        fn found(&self, seconds: u64) {
            self.memory.found(&self.key, self.digest.clone(), self.at(seconds));
        }
        fn fresh(&self, seconds: u64) -> bool {
            self.memory.fresh(self.key.probe(), self.at(seconds), false).is_some()
        }
        fn stale(&self, seconds: u64) -> bool {
            self.memory.stale(self.key.probe(), self.at(seconds)).is_some()
        }
        fn due(&self, seconds: u64) -> usize {
            self.memory.due(self.at(seconds)).len()
        }
    }

    #[test]
    fn a_probe_finds_what_its_key_was_kept_under() {
        let case = case("r.corp/a:1");
        case.found(0);
        assert!(case.fresh(59) && !case.fresh(60) && case.stale(60));
        let other = Login::id(&Login::IdentityToken("t".into()));
        let probe = Probe { login: other, ..case.key.probe() };
        assert_eq!(case.memory.fresh(probe, case.at(0), false), None, "another login");
        let written_otherwise: Reference = "r.corp/a:1".parse().unwrap();
        let probe = Probe { reference: &written_otherwise, ..case.key.probe() };
        assert_eq!(case.memory.fresh(probe, case.at(0), false), Some(case.digest));
    }

    #[test]
    fn what_is_missing_is_never_stale_and_what_is_refused_is() {
        let case = case("r.corp/a:1");
        case.found(0);
        case.memory.refused(&case.key, Refusal::Unauthorized, case.at(61));
        assert!(case.stale(62));
        assert_eq!(case.memory.refusal(case.key.probe(), case.at(62), false), Some(Refusal::Unauthorized));
        case.memory.refused(&case.key, Refusal::Missing, case.at(63));
        assert!(!case.stale(64));
        assert_eq!(case.memory.refusal(case.key.probe(), case.at(72), false), Some(Refusal::Missing));
        assert_eq!(case.memory.refusal(case.key.probe(), case.at(73), false), None);
        case.found(74);
        assert_eq!(case.memory.refusal(case.key.probe(), case.at(74), false), None);
    }

    #[test]
    fn what_was_used_lately_is_asked_again_before_it_ages_and_once_per_turn() {
        let case = case("r.corp/a:1");
        case.found(0);
        assert_eq!(case.due(29), 0);
        assert_eq!(case.due(52), 1);
        assert_eq!(case.due(53), 0, "asked for a moment ago");
        assert_eq!(case.due(52 + 52), 1, "still in use, and still not answered");
        case.found(600);
        assert_eq!(case.due(655), 0, "not used for ten minutes, refreshes aside");
        assert!(case.stale(700));
        assert_eq!(case.due(701), 1);
    }

    #[test]
    fn the_existence_of_a_digest_is_asked_again_within_its_hour() {
        let case = case(&format!("r.corp/a@sha256:{}", "a".repeat(64)));
        case.found(0);
        assert!(case.fresh(3599) && !case.fresh(3600));
        assert_eq!(case.due(55 * 60), 1);
    }

    #[test]
    fn refusals_displace_no_answers_and_both_are_bounded() {
        let policy = CachePolicy { entries: 2, negative_entries: 3, ..CachePolicy::default() };
        let now = Instant::now();
        let memory = Memory::new(policy, now);
        let key = |name: String| Key { reference: name.parse().unwrap(), login: LoginId::default() };
        for number in 0..10 {
            memory.found(&key(format!("r.corp/a:{number}")), Digest::of(b""), now);
            memory.counts();
        }
        for number in 0..100 {
            memory.refused(&key(format!("r.corp/b:{number}")), Refusal::Missing, now);
        }
        assert_eq!(memory.counts(), (2, 3));
        for (number, kept) in [(0, false), (7, false), (8, true), (9, true)] {
            let key = key(format!("r.corp/a:{number}"));
            assert_eq!(
                memory.fresh(key.probe(), now, false).is_some(),
                kept,
                "the least recently used goes: {number}"
            );
        }
    }

    use super::super::credentials::Login;
}
