//! Notices controllers that fight Portolan over images: they compare a Pod's images with what they wrote, and make the
//! Pod anew, or set the images back, for ever.
//!
//! It only tells. What becomes of an image never depends on it, and a Pod that it has seen decides nothing about
//! another. Every judgement is a function of the moment passed in.
//!
//! What is seen here are requests, not what becomes of Pods, so the rules go by what no other loop does for long:
//!
//! - **The same Pod**, by its name or by the host name it asks for, is made anew, or has its images set back, twelve
//!   times ([`Rule::SAME_POD`]), and its owner never pauses for more than five minutes with all its Pods, nor for more
//!   than twenty with this one: many go from Pod to Pod. A back-off that doubles has left that pace before the
//!   twelfth time, wherever it began.
//! - **One of many**: Pods with names that are generated, and nothing else to tell them by, are made without a
//!   minute's pause for ten minutes ([`Rule::ONE_OF_MANY`]). That a set of Pods grows, even to thousands, is over by
//!   then. Those of `ReplicaSet`, `DaemonSet`, `Job` and `ReplicationController` are left out: their controllers never
//!   look at a Pod's image, and a queue of short Jobs makes Pods for hours.
//!
//! Requests within a second count once. Only the same images as written count together.
//!
//! Memory: [`RUNS`] runs of 48 bytes, those not seen for longest out first, and [`FIGHTS`] fights. A lock is held for a
//! few instructions, never over I/O; nothing is allocated but when a fight begins.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The fights that are going on, and what may become one.
///
/// ```
/// use std::time::{Duration, Instant};
/// use portolan::admission::{Act, Fights, Owner, Sighting};
///
/// let (fights, begin) = (Fights::default(), Instant::now());
/// let owner = Owner { api_version: "postgresql.cnpg.io/v1", kind: "Cluster", name: "pg", uid: "5f1c" };
/// let sighting = Sighting { namespace: "shop", owner, pod: "pg-1", host_name: "", act: Act::MadeSame };
/// for second in 0..60 {
///     let images = [("postgres:17", "registry.example.com/hub/library/postgres:17")];
///     fights.see(&sighting, images.into_iter(), begin + Duration::from_secs(second));
/// }
/// assert_eq!(fights.news().len(), 1);
/// assert!(fights.news().is_empty(), "each is told once");
/// ```
#[derive(Debug)]
pub struct Fights {
    hashing: RandomState,
    state: Mutex<State>,
}

/// A request by which a Pod was to get images that Portolan changed.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// The request's namespace.
    pub namespace: &'a str,
    /// Who makes the Pod.
    pub owner: Owner<&'a str>,
    /// The Pod's name, or its `generateName`.
    pub pod: &'a str,
    /// The host name that the Pod asks for; empty if none.
    pub host_name: &'a str,
    /// What was done.
    pub act: Act,
}

/// The object that makes a Pod, or the Pod itself if nobody does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Owner<T> {
    /// Such as `apps/v1`.
    pub api_version: T,
    /// Such as `StatefulSet`.
    pub kind: T,
    /// Its name.
    pub name: T,
    /// Its uid.
    pub uid: T,
}

/// What was done to a Pod.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Act {
    /// One of many was made, told apart from the others by a generated name alone.
    MadeOneOfMany,
    /// A Pod was made that can be recognised.
    MadeSame,
    /// The images of one that is there were set to what was written.
    SetBack,
}

/// An owner that fights.
#[derive(Clone, Debug)]
pub struct Fight {
    /// Where.
    pub namespace: Box<str>,
    /// Who.
    pub owner: Owner<Box<str>>,
    /// The Pod, or how its name begins, in which it was noticed.
    pub pod: Box<str>,
    /// What is done again and again.
    pub act: Act,
    /// The images: each as it is written, and what Portolan makes of it.
    pub images: Vec<(Box<str>, Box<str>)>,
    /// How often that was seen.
    pub times: u32,
    /// When it began.
    pub since: Instant,
    /// When it was seen last.
    pub last: Instant,
    told: bool,
}

/// When something that is done again and again is a fight.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// At least so often.
    times: u32,
    /// For at least so long.
    lasting: Duration,
    /// Never with a longer pause of the owner's.
    pause: Duration,
    /// Never with a longer pause for the same Pod.
    pod_pause: Duration,
}

impl Fights {
    /// Takes note of a request, and of the images that it was about: each as it is written, and what became of it.
    pub fn see<'i>(
        &self,
        sighting: &Sighting<'_>,
        images: impl Iterator<Item = (&'i str, &'i str)> + Clone,
        now: Instant,
    ) {
        if sighting.act == Act::MadeOneOfMany && sighting.owner.never_looks_at_images() {
            return;
        }
        // No API server stores an object with such names, and cut ones are not found again.
        if sighting.is_too_long() {
            return;
        }
        let (owner, pod) = self.keys(sighting, images.clone().map(|(written, _)| written));
        let rule = sighting.act.rule();
        let mut state = self.state();
        let since = state.runs.of(owner, now).go_on(rule.pause, now);
        let run = state.runs.of(pod, now);
        if run.count(since, rule, now) {
            let run = *run;
            state.fights.go_on(sighting, images, run, now);
        }
    }

    /// Those that were noticed since this was asked last.
    pub fn news(&self) -> Vec<Fight> {
        let mut state = self.state();
        let untold = state.fights.0.iter_mut().filter(|fight| !fight.told);
        let news = untold.map(|fight| {
            fight.told = true;
            fight.clone()
        });
        news.collect()
    }

    /// Those that are known: going on at `now`, or over for less than an hour; the latest first.
    pub fn known(&self, now: Instant) -> Vec<Fight> {
        let mut state = self.state();
        state.fights.0.retain(|fight| !fight.is_forgotten(now));
        let mut known = state.fights.0.clone();
        drop(state);
        known.sort_by_key(|fight| std::cmp::Reverse(fight.last));
        known
    }

    /// How many go on at `now`.
    pub fn going_on(&self, now: Instant) -> usize {
        self.state().fights.0.iter().filter(|fight| fight.is_going_on(now)).count()
    }

    /// What stands for the owner with these images, and for this Pod of its.
    fn keys<'i>(&self, sighting: &Sighting<'_>, written: impl Iterator<Item = &'i str>) -> (u64, u64) {
        let Sighting { namespace, owner, pod, host_name, act } = sighting;
        let mut hasher = self.hashing.build_hasher();
        (namespace, owner.uid, owner.kind, owner.name, act).hash(&mut hasher);
        for image in written {
            image.hash(&mut hasher);
        }
        let of_owner = hasher.finish();
        (pod, host_name).hash(&mut hasher);
        (of_owner, hasher.finish())
    }

    /// How many runs are remembered.
    #[cfg(test)]
    pub(super) fn runs(&self) -> usize {
        let state = self.state();
        state.runs.late.len() + state.runs.early.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Fights {
    fn default() -> Self {
        Self { hashing: RandomState::new(), state: Mutex::default() }
    }
}

impl Fight {
    /// Whether it is going on at `now`.
    pub fn is_going_on(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) <= self.act.rule().pause
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) > REMEMBERED
    }
}

impl Act {
    /// Every act.
    pub const ALL: [Self; 3] = [Self::MadeOneOfMany, Self::MadeSame, Self::SetBack];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::MadeOneOfMany => "made-one-of-many",
            Self::MadeSame => "made-same",
            Self::SetBack => "set-back",
        }
    }

    const fn rule(self) -> Rule {
        match self {
            Self::MadeOneOfMany => Rule::ONE_OF_MANY,
            Self::MadeSame | Self::SetBack => Rule::SAME_POD,
        }
    }
}

impl Owner<&str> {
    /// Whether it is of a kind whose controller goes by labels and hashes of templates alone, and generates names.
    fn never_looks_at_images(&self) -> bool {
        matches!(
            (self.api_version, self.kind),
            ("apps/v1", "DaemonSet" | "ReplicaSet") | ("batch/v1", "Job") | ("v1", "ReplicationController")
        )
    }

    fn to_owned(self) -> Owner<Box<str>> {
        let Self { api_version, kind, name, uid } = self;
        Owner { api_version: cut(api_version), kind: cut(kind), name: cut(name), uid: cut(uid) }
    }
}

impl Rule {
    /// Doubling pauses between one second and five minutes are at most nine, so that a back-off comes to eleven times.
    const SAME_POD: Self = Self {
        times: 12,
        lasting: Duration::ZERO,
        pause: Duration::from_mins(5),
        pod_pause: Duration::from_mins(20),
    };

    /// A set that grows to 5,000 at the pace of Kubernetes' own controllers (20 requests a second) takes four minutes.
    const ONE_OF_MANY: Self = Self {
        times: 30,
        lasting: Duration::from_mins(10),
        pause: Duration::from_mins(1),
        pod_pause: Duration::from_mins(1),
    };
}

/// What is behind the lock.
#[derive(Debug, Default)]
struct State {
    runs: Runs,
    fights: Known,
}

/// The same thing done again without a longer pause than its rule allows.
#[derive(Clone, Copy, Debug)]
struct Run {
    since: Instant,
    last: Instant,
    times: u32,
}

/// Every run, of owners and of Pods, by the hash of what is done: those seen lately, and those before them.
///
/// When there are too many of the first they become the second, which are dropped: each request costs a few look-ups
/// at most, however many there are.
#[derive(Debug)]
struct Runs {
    late: HashMap<u64, Run>,
    early: HashMap<u64, Run>,
}

impl Runs {
    /// The run of that key, one that begins now if there is none.
    fn of(&mut self, key: u64, now: Instant) -> &mut Run {
        if self.late.len() >= RUNS / 2 && !self.late.contains_key(&key) {
            mem::swap(&mut self.late, &mut self.early);
            self.late.clear();
        }
        let Self { late, early } = self;
        late.entry(key).or_insert_with(|| early.remove(&key).unwrap_or_else(|| Run::beginning(now)))
    }
}

impl Run {
    fn beginning(now: Instant) -> Self {
        Self { since: now, last: now, times: 0 }
    }

    /// Goes on after a pause of at most that long, or begins anew; gives when it began.
    fn go_on(&mut self, pause: Duration, now: Instant) -> Instant {
        if now.saturating_duration_since(self.last) > pause {
            *self = Self::beginning(now);
        }
        self.last = now;
        self.since
    }

    /// Counts what was done to a Pod at `now`, while its owner has been at it since `owner_since`; gives whether that
    /// is a fight, and this time counts.
    fn count(&mut self, owner_since: Instant, rule: Rule, now: Instant) -> bool {
        if now.saturating_duration_since(self.last) < AT_ONCE && self.times > 0 {
            return false;
        }
        if self.since < owner_since {
            *self = Self::beginning(now);
        }
        let since = self.go_on(rule.pod_pause, now);
        self.times = self.times.saturating_add(1);
        self.times >= rule.times && now.saturating_duration_since(since) >= rule.lasting
    }
}

impl Default for Runs {
    fn default() -> Self {
        Self { late: HashMap::with_capacity(RUNS / 2), early: HashMap::with_capacity(RUNS / 2) }
    }
}

/// The fights.
#[derive(Debug, Default)]
struct Known(Vec<Fight>);

impl Known {
    /// Begins a fight with the owner, or goes on with the one that there is.
    fn go_on<'i>(
        &mut self,
        sighting: &Sighting<'_>,
        images: impl Iterator<Item = (&'i str, &'i str)>,
        run: Run,
        now: Instant,
    ) {
        let Sighting { namespace, owner, pod, act, .. } = *sighting;
        self.0.retain(|fight| !fight.is_forgotten(now));
        let is_owners = |fight: &&mut Fight| {
            let Owner { kind, name, uid, .. } = &fight.owner;
            *fight.namespace == *namespace
                && **uid == *owner.uid
                && **kind == *owner.kind
                && **name == *owner.name
        };
        if let Some(fight) = self.0.iter_mut().find(is_owners) {
            fight.times = fight.times.saturating_add(1);
            fight.last = now;
            return;
        }
        if self.0.len() >= FIGHTS {
            // The one that is over for longest; while all go on, the new one is none: there is enough to see.
            let over = self.0.iter().enumerate().filter(|(_, fight)| !fight.is_going_on(now));
            let Some((oldest, _)) = over.min_by_key(|(_, fight)| fight.last) else { return };
            self.0.swap_remove(oldest);
        }
        let images = images.take(SHOWN_IMAGES).map(|(written, result)| (cut(written), cut(result))).collect();
        self.0.push(Fight {
            namespace: cut(namespace),
            owner: owner.to_owned(),
            pod: cut(pod),
            act,
            images,
            times: run.times,
            since: run.since,
            last: now,
            told: false,
        });
    }
}

impl Sighting<'_> {
    /// Whether it names something by a text longer than is kept.
    fn is_too_long(&self) -> bool {
        let Owner { api_version, kind, name, uid } = self.owner;
        [self.namespace, api_version, kind, name, uid].iter().any(|text| text.len() > MAX_TEXT)
    }
}

/// A text from a request, bounded.
fn cut(text: &str) -> Box<str> {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(text).into()
}

/// How many runs are remembered.
const RUNS: usize = 4096;

/// How many fights.
const FIGHTS: usize = 64;

/// A fight that is over is remembered so long: it is not told of again if it is taken up meanwhile.
const REMEMBERED: Duration = Duration::from_hours(1);

/// What is done within this counts once: a controller that tries again at once, and a set that grows.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The longest text that is kept of a request, and of how many images.
const MAX_TEXT: usize = 512;
const SHOWN_IMAGES: usize = 8;

#[cfg(test)]
mod tests;
