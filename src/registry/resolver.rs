//! Which digest stands behind an image: from memory, or asked for in time.
//!
//! Each step goes through the mirrors in order and takes the first that knows: a fresh answer, then asking, then an
//! answer grown stale. A mirror that is left alone counts as unavailable; one with another behind it gets half of the
//! time left. A fetch goes on when its asker gives up, and what it brings is kept. Who has an answer grown stale, or
//! another mirror to ask, does not wait for a registry whose last word was no good: it is asked again beside him.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

use super::{
    answer::{Answer, AnswerSource, Question, RegistryStatus, Status},
    breaker::Permit,
    counters::Counters,
    credentials::Credentials,
    endpoint::{ConfigureError, EndpointConfig},
    flight::{Begun, Boarded, Late},
    heard::{Heard, Listener},
    host::{Chain, Fetched, Host, Verdict},
    manifest::FetchError,
    memory::{Key, Memory, Refusal},
    policy::CachePolicy,
    registries::{ByName, Registries},
    standing::{Asked, Standing, Wait},
    transport::Purpose,
    trust::Trust,
};
use crate::image::{Digest, Reference};

/// What is known about images in registries, and the way to find out. Clones share everything.
///
/// ```
/// use std::time::{Duration, Instant};
/// use portolan::registry::{Answer, CachePolicy, EndpointConfig, Question, Resolver};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let resolver = Resolver::new(CachePolicy::default());
/// let mut endpoint = EndpointConfig::new("localhost:1");
/// endpoint.plain_http = true;
/// resolver.configure(vec![endpoint], None)?;
///
/// let image = "localhost:1/team/app:v1".parse()?;
/// let question = Question { mirrors: &[&image], always: false };
/// assert_eq!(resolver.remembered(&question, Instant::now()), None);
/// let answer = resolver.resolve(&question, Instant::now() + Duration::from_secs(2)).await;
/// assert_eq!(answer, Answer::Unavailable { mirror: 0 }); // nobody listens there
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Resolver {
    pub(super) shared: Arc<Shared>,
}

impl Resolver {
    /// A resolver that knows nothing. Reads the system's root certificates.
    pub fn new(policy: CachePolicy) -> Self {
        Self::with_listener(policy, Listener::default())
    }

    /// One that writes down what each mirror says, for [`Resolver::heard`].
    pub fn listening(policy: CachePolicy) -> Self {
        Self::with_listener(policy, Listener::listening())
    }

    fn with_listener(policy: CachePolicy, listener: Listener) -> Self {
        Self {
            shared: Arc::new(Shared {
                policy,
                memory: Memory::new(policy, Instant::now()),
                registries: Registries::new(Trust::load()),
                counters: Counters::default(),
                waiting: Semaphore::new(MAX_WAITING),
                listener,
            }),
        }
    }

    /// What mirrors said since the last call; nothing unless this is a resolver that listens.
    pub fn heard(&self) -> Vec<Heard> {
        self.shared.listener.take()
    }

    /// Replaces how registries are reached; what has not changed keeps its connections, tokens and pause.
    ///
    /// `fallback` serves registries that are not among the endpoints and endpoints without credentials. Answers are
    /// kept by login, so those got with a login that has changed are not used any more.
    ///
    /// # Errors
    /// An endpoint cannot be used. Then nothing is changed.
    pub fn configure(
        &self,
        endpoints: Vec<EndpointConfig>,
        fallback: Option<Credentials>,
    ) -> Result<(), ConfigureError> {
        self.shared.registries.configure(endpoints, fallback)
    }

    /// The answer if nobody needs to be asked: from fresh memory, or because every mirror that would have to be asked
    /// is left alone.
    ///
    /// No I/O, no suspension, no allocation; a lock is held for a few instructions where an answer is not fresh.
    pub fn remembered(&self, question: &Question<'_>, now: Instant) -> Option<Answer> {
        let hosts = self.shared.registries.current();
        let standing = |mirror: &Reference| match hosts.get(mirror.registry()) {
            Some(host) => self.shared.standing(host, mirror, question.always, now),
            None => Standing::ToAsk,
        };
        let mut to_ask = false;
        for (mirror, reference) in question.mirrors.iter().enumerate() {
            match standing(reference) {
                Standing::Found(digest) => {
                    self.shared.hear_remembered(&hosts, question, mirror + 1, standing);
                    return Some(Answer::Found { mirror, digest, from: AnswerSource::Memory });
                }
                Standing::ToAsk => to_ask = true,
                _ => {}
            }
        }
        if to_ask {
            return None;
        }
        self.shared.hear_remembered(&hosts, question, question.mirrors.len(), standing);
        Some(self.shared.conclude(&hosts, question, now, |mirror| {
            question.mirrors.get(mirror).map_or(Standing::ToAsk, |reference| standing(reference))
        }))
    }

    /// Asks, unless it is remembered. Answers by `deadline`, whatever registries do.
    ///
    /// Where a program has to be asked for a login first (never in the service), `deadline` is later by what that takes:
    /// somebody may be typing a passphrase.
    ///
    /// Dropping the future stops the waiting, not the fetch.
    pub async fn resolve(&self, question: &Question<'_>, deadline: Instant) -> Answer {
        if let Some(answer) = self.remembered(question, Instant::now()) {
            return answer;
        }
        let shared = &self.shared;
        let hosts: Vec<_> =
            question.mirrors.iter().map(|mirror| shared.registries.get(mirror.registry())).collect();
        let mirrors = || question.mirrors.iter().copied().zip(&hosts);
        let standing = |(reference, host): (&Reference, &Option<Arc<Host>>), now| match host {
            Some(host) => shared.standing(host, reference, question.always, now),
            None => Standing::Unavailable,
        };
        let mut deadline = deadline;
        let mut outcomes = Vec::with_capacity(question.mirrors.len());
        for (mirror, (reference, host)) in mirrors().enumerate() {
            let now = Instant::now();
            let outcome = match (standing((reference, host), now), host) {
                (Standing::ToAsk, Some(host)) => {
                    deadline += host.log_in().await;
                    let now = Instant::now();
                    let behind =
                        mirrors().skip(mirror + 1).any(|behind| standing(behind, now) == Standing::ToAsk);
                    let left = deadline.saturating_duration_since(now);
                    let patience = if behind { left / 2 } else { left };
                    let known = |now| shared.known(reference, host, now, question.always);
                    let wait = shared.wait(host, reference, now, now + patience, behind);
                    let asked = shared.ask(host, reference, wait, known).await;
                    shared.listener.hear_asked(reference, &asked, now.elapsed());
                    match asked {
                        Asked::Answered(Fetched { verdict: Verdict::Found(digest), .. }) => {
                            return Answer::Found { mirror, digest, from: AnswerSource::Registry };
                        }
                        asked => asked.standing(),
                    }
                }
                (standing, host) => {
                    let left_alone_for = || host.as_ref().and_then(|host| host.left_alone_for(now));
                    shared.listener.hear_standing(reference, &standing, left_alone_for);
                    standing
                }
            };
            if let Standing::Found(digest) = outcome {
                return Answer::Found { mirror, digest, from: AnswerSource::Memory };
            }
            outcomes.push(outcome);
        }
        let hosts = shared.registries.current();
        shared.conclude(&hosts, question, Instant::now(), |mirror| {
            outcomes.get(mirror).cloned().unwrap_or(Standing::Unavailable)
        })
    }

    /// What is held at `now`. Tidies the maps first; for metrics and pages, not for admissions.
    pub fn status(&self, now: Instant) -> Status {
        let (entries, negative_entries) = self.shared.memory.counts();
        let hosts = self.shared.registries.current();
        let mut registries: Vec<_> = hosts
            .values()
            .map(|host| RegistryStatus { host: host.name().into(), left_alone_for: host.left_alone_for(now) })
            .collect();
        registries.sort_by(|a, b| a.host.cmp(&b.host));
        Status { entries, negative_entries, counts: self.shared.counters.read(), registries }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("policy", &self.shared.policy).finish_non_exhaustive()
    }
}

/// What all clones of a resolver share.
pub(super) struct Shared {
    pub(super) policy: CachePolicy,
    pub(super) memory: Memory,
    pub(super) registries: Registries,
    pub(super) counters: Counters,
    /// One permit for each image that is waited for.
    waiting: Semaphore,
    listener: Listener,
}

impl Shared {
    /// How long an admission waits for one registry: not at all if there is a stale answer and the registry was slow
    /// last time, or refused this image; and not for a probe if there is a stale answer or a mirror behind.
    fn wait(
        &self,
        host: &Host,
        reference: &Reference,
        now: Instant,
        deadline: Instant,
        behind: bool,
    ) -> Wait {
        let probe = host.probe(reference);
        match self.stale(host, reference, now).is_some() {
            true if host.is_slow() || self.memory.was_refused(probe) => Wait::No,
            has_stale if has_stale || behind => Wait::UnlessProbe(deadline),
            _ => Wait::Until(deadline),
        }
    }

    /// Asks one registry and waits. Joins a fetch that is under way; begins none if `known` knows.
    ///
    /// Ends early when the registry is found to be silent meanwhile.
    pub(super) async fn ask(
        self: &Arc<Self>,
        host: &Arc<Host>,
        reference: &Reference,
        wait: Wait,
        known: impl FnOnce(Instant) -> Option<Verdict>,
    ) -> Asked {
        let key = host.probe(reference).to_key();
        let asked = Instant::now();
        let falls_silent = host.falls_silent();
        let permit = host.permit(asked, self.policy.leave_alone_for);
        let begin = |begun| Self::fetch(Arc::clone(self), Arc::clone(host), key.clone(), permit, begun);
        let boarded = match permit {
            Permit::LeftAlone => return Asked::LeftAlone,
            Permit::Ask => host.flights.board(&key, || known(asked).map(Fetched::from), begin),
            // A fetch from before the pause may hang for ever on a dead connection: it is no probe.
            Permit::Probe => Boarded::Flight(host.flights.begin_anew(&key, begin)),
        };
        let flight = match boarded {
            Boarded::Flight(flight) => flight,
            Boarded::Full => return Asked::Crowded,
            Boarded::Known(known) => return Asked::Known(known.verdict),
        };
        let deadline = match wait {
            Wait::Until(deadline) => deadline,
            // Where nobody is left alone, as in a command, a probe is a request as any other.
            Wait::UnlessProbe(deadline) if permit == Permit::Ask || self.policy.leave_alone_for.is_zero() => {
                deadline
            }
            Wait::No | Wait::UnlessProbe(_) => return Asked::LeftAlone,
        };
        let Ok(_waits) = self.waiting.try_acquire() else { return Asked::Crowded };
        let begun = flight.begun.clone();
        let fetched = tokio::select! {
            biased;
            fetched = flight.wait_until(deadline) => fetched,
            () = falls_silent => return Asked::LeftAlone,
        };
        match (fetched, begun.moment()) {
            (Ok(fetched), _) => Asked::Answered(fetched.unwrap_or_else(|| Verdict::Unavailable.into())),
            (Err(Late), begun) => {
                let now = Instant::now();
                // Who waited in line, or for a moment only, does not know that nobody answers.
                if let Some(begun) = begun
                    && now.saturating_duration_since(begun.max(asked)) >= LEAST_PATIENCE
                {
                    host.failed(begun, now, self.policy.leave_alone_for, &FetchError::Timeout);
                }
                Asked::Late
            }
        }
    }

    /// Fetches, and keeps what came of it before anybody who waits hears of it.
    async fn fetch(self: Arc<Self>, host: Arc<Host>, key: Key, permit: Permit, begins: Begun) -> Fetched {
        // A probe does not stand in line behind those that hang.
        let place = if permit == Permit::Probe { None } else { Some(host.lane.place().await) };
        let begun = Instant::now();
        if place.is_some() && host.left_alone_for(begun).is_some() {
            let error = Some(Arc::new(FetchError::LeftAlone));
            return Fetched { verdict: Verdict::Unavailable, error };
        }
        begins.set(begun);
        self.counters.asked.count();
        let known = self.memory.kept(&key, begun).or_else(|| self.past(&host, &key.reference, begun));
        let fetch = host.fetch(&key.reference, Purpose::Admission, known.as_ref(), begun);
        let fetched = match place {
            Some(place) => place.keep_for(fetch).await,
            None => fetch.await,
        };
        let now = Instant::now();
        let verdict = match &fetched {
            Ok(digest) => {
                self.counters.found.count();
                self.memory.found(&key, digest.clone(), now);
                Verdict::Found(digest.clone())
            }
            Err(FetchError::Missing) => {
                self.counters.missing.count();
                self.memory.refused(&key, Refusal::Missing, now);
                Verdict::Missing
            }
            Err(error) if error.is_unauthorized() => {
                self.counters.unauthorized.count();
                self.memory.refused(&key, Refusal::Unauthorized, now);
                Verdict::Unauthorized
            }
            Err(error) => {
                self.counters.unavailable.count();
                if error.is_answer() {
                    self.memory.refused(&key, Refusal::Unusable, now);
                }
                Verdict::Unavailable
            }
        };
        match &fetched {
            Err(error) if !error.is_answer() => {
                host.failed(begun, now, self.policy.leave_alone_for, error);
            }
            _ => host.answered(begun, now),
        }
        if let Err(error) = &fetched {
            tracing::debug!(mirror = %key.reference, error = %Chain(error), "no digest");
        }
        Fetched { verdict, error: fetched.err().map(Arc::new) }
    }

    /// Writes down what memory and pauses say of the first `count` mirrors, if somebody listens.
    fn hear_remembered(
        &self,
        hosts: &ByName,
        question: &Question<'_>,
        count: usize,
        standing: impl Fn(&Reference) -> Standing,
    ) {
        if !self.listener.is_listening() {
            return;
        }
        for reference in question.mirrors.iter().take(count) {
            let host = hosts.get(reference.registry());
            let left_alone_for = || host.and_then(|host| host.left_alone_for(Instant::now()));
            self.listener.hear_standing(reference, &standing(reference), left_alone_for);
        }
    }

    /// What memory says without asking, as a fetch would have said it.
    fn known(&self, reference: &Reference, host: &Host, now: Instant, always: bool) -> Option<Verdict> {
        let probe = host.probe(reference);
        if let Some(digest) = self.memory.fresh(probe, now, always) {
            return Some(Verdict::Found(digest));
        }
        self.memory.refusal(probe, now, always).map(|refusal| match refusal {
            Refusal::Missing => Verdict::Missing,
            Refusal::Unauthorized => Verdict::Unauthorized,
            Refusal::Unusable => Verdict::Unavailable,
        })
    }

    /// The older answer that is used where no new one comes.
    fn stale(&self, host: &Host, reference: &Reference, now: Instant) -> Option<Digest> {
        self.memory.stale(host.probe(reference), now).or_else(|| self.past(host, reference, now))
    }

    /// What an earlier process was told.
    fn past(&self, host: &Host, reference: &Reference, now: Instant) -> Option<Digest> {
        let login = host.login_name(reference);
        self.memory.past.stale(reference, login.as_ref(), &self.policy, now)
    }

    fn standing(&self, host: &Host, reference: &Reference, always: bool, now: Instant) -> Standing {
        match self.known(reference, host, now, always) {
            Some(Verdict::Found(digest)) => Standing::Found(digest),
            Some(Verdict::Missing) => Standing::Missing,
            Some(Verdict::Unauthorized) => Standing::Unauthorized,
            Some(Verdict::Unavailable) => Standing::Unavailable,
            None if host.left_alone_for(now).is_some() => Standing::Unavailable,
            None => Standing::ToAsk,
        }
    }

    /// The answer when nobody is left to ask: stale where a mirror did not say, else what they said together.
    fn conclude(
        &self,
        hosts: &ByName,
        question: &Question<'_>,
        now: Instant,
        standing: impl Fn(usize) -> Standing,
    ) -> Answer {
        let mut silent = None;
        let mut all_refused = true;
        for (mirror, reference) in question.mirrors.iter().enumerate() {
            let standing = standing(mirror);
            if standing == Standing::Missing {
                continue;
            }
            let host = hosts.get(reference.registry());
            let probe = host.map(|host| host.probe(reference));
            if let Some(digest) = probe.and_then(|probe| self.memory.fresh(probe, now, question.always)) {
                // It came while the mirrors behind this one were asked.
                return Answer::Found { mirror, digest, from: AnswerSource::Memory };
            }
            if let Some(digest) = host.and_then(|host| self.stale(host, reference, now)) {
                return Answer::Found { mirror, digest, from: AnswerSource::Stale };
            }
            silent = silent.or(Some(mirror));
            all_refused &= standing == Standing::Unauthorized;
        }
        match silent {
            None => Answer::Missing,
            Some(mirror) if all_refused => Answer::Unauthorized { mirror },
            Some(mirror) => Answer::Unavailable { mirror },
        }
    }
}

/// A registry that was given less time than this is not judged by its silence: an admission whose deadline is all but
/// over must not have it left alone for everybody.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);

/// The most images that are waited for at once; who comes beyond is answered at once, without asking.
const MAX_WAITING: usize = 4_096;

#[cfg(test)]
mod tests;
