//! When a registry is left alone.
//!
//! One that did not answer is left alone for a while, then probed by one asker; everybody else goes on as if it were
//! silent until the probe came back. A probe that is never heard of again costs one more pause, nothing else.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Whether one registry is left alone. Every judgement is a function of the times passed in.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Held for a few instructions, never over I/O.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Nobody asks before this moment, and then one asker does. `None`: the registry answers.
    left_alone_until: Option<Instant>,
    /// When the youngest request was begun that was answered.
    answered: Option<Instant>,
}

/// Whether to ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Permit {
    Ask,
    LeftAlone,
    /// The pause is over, and the holder asks for everybody.
    Probe,
}

/// How long a registry that failed is left alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pause {
    /// As long as we leave alone whoever fails.
    Ours(Duration),
    /// As long as it asked for itself, whatever pause it is in.
    Wished(Duration),
}

impl Breaker {
    /// Whether a caller may ask now. A [`Permit::Probe`] is given once per pause.
    pub(super) fn permit(&self, now: Instant, pause: Duration) -> Permit {
        self.with(|state| match state.left_alone_until {
            None => Permit::Ask,
            Some(until) if now < until => Permit::LeftAlone,
            Some(_) => {
                state.left_alone_until = Some(now + pause);
                Permit::Probe
            }
        })
    }

    /// How much longer nobody asks; `None`: someone may.
    pub(super) fn left_alone_for(&self, now: Instant) -> Option<Duration> {
        self.with(|state| {
            let until = state.left_alone_until?;
            (now < until).then(|| until.saturating_duration_since(now))
        })
    }

    /// A request begun at `begun` was answered. Whether that ends a pause.
    pub(super) fn answered(&self, begun: Instant) -> bool {
        self.with(|state| {
            state.answered = state.answered.max(Some(begun));
            state.left_alone_until.take().is_some()
        })
    }

    /// A request begun at `begun` has no answer at `now`. Whether the registry is newly left alone.
    ///
    /// It says nothing if a request begun no earlier was answered: that one request hangs, the registry does not.
    pub(super) fn failed(&self, begun: Instant, now: Instant, pause: Pause) -> bool {
        self.with(|state| {
            if state.answered.is_some_and(|answered| begun <= answered) {
                return false;
            }
            let newly = state.left_alone_until.is_none();
            match pause {
                // In a pause it is no news; a probe has begun the next one when it was permitted.
                Pause::Ours(pause) => _ = state.left_alone_until.get_or_insert(now + pause),
                Pause::Wished(pause) => state.left_alone_until = Some(now + pause),
            }
            newly
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(10);
    const OURS: Pause = Pause::Ours(PAUSE);

    fn moments() -> impl Fn(u64) -> Instant {
        let start = Instant::now();
        move |seconds| start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_registry_that_failed_is_left_alone_then_probed_once() {
        let (breaker, at) = (Breaker::default(), moments());
        assert_eq!(breaker.permit(at(0), PAUSE), Permit::Ask);
        assert!(breaker.failed(at(0), at(2), OURS));
        assert_eq!(breaker.permit(at(11), PAUSE), Permit::LeftAlone);
        assert_eq!(breaker.left_alone_for(at(11)), Some(Duration::from_secs(1)));
        assert_eq!(breaker.permit(at(12), PAUSE), Permit::Probe);
        assert_eq!(breaker.permit(at(12), PAUSE), Permit::LeftAlone, "one probe");
        assert_eq!(breaker.permit(at(21), PAUSE), Permit::LeftAlone);
        assert_eq!(breaker.permit(at(22), PAUSE), Permit::Probe, "a probe lost is followed by another");
    }

    #[test]
    fn an_answer_however_late_ends_the_pause() {
        let (breaker, at) = (Breaker::default(), moments());
        breaker.failed(at(0), at(2), OURS);
        assert!(breaker.answered(at(0)));
        assert_eq!(breaker.permit(at(3), PAUSE), Permit::Ask);
        assert!(!breaker.answered(at(3)), "it was back already");
    }

    #[test]
    fn only_the_first_failure_of_a_pause_is_news_and_none_prolongs_it() {
        let (breaker, at) = (Breaker::default(), moments());
        assert!(breaker.failed(at(0), at(2), OURS));
        assert!(!breaker.failed(at(1), at(3), OURS));
        assert_eq!(breaker.permit(at(12), PAUSE), Permit::Probe);
        assert!(!breaker.failed(at(12), at(14), OURS), "a failed probe is no news");
        assert_eq!(breaker.permit(at(22), PAUSE), Permit::Probe);
        assert!(!breaker.failed(at(0), at(33), OURS), "nor is one from before");
        assert_eq!(breaker.permit(at(33), PAUSE), Permit::Probe);
    }

    #[test]
    fn a_request_that_hangs_while_later_ones_are_answered_says_nothing() {
        let (breaker, at) = (Breaker::default(), moments());
        breaker.answered(at(5));
        assert!(!breaker.failed(at(4), at(30), OURS));
        assert_eq!(breaker.permit(at(30), PAUSE), Permit::Ask);
        assert!(!breaker.failed(at(5), at(30), OURS), "the one that was answered");
        assert!(breaker.failed(at(6), at(30), OURS), "begun later");
    }

    #[test]
    fn a_registry_that_says_for_how_long_is_left_alone_for_that_long() {
        let (breaker, at) = (Breaker::default(), moments());
        assert!(breaker.failed(at(0), at(0), Pause::Wished(Duration::from_secs(60))));
        assert!(!breaker.failed(at(0), at(1), OURS), "what fails beside it does not shorten that");
        assert_eq!(breaker.permit(at(59), PAUSE), Permit::LeftAlone);
        assert_eq!(breaker.permit(at(60), PAUSE), Permit::Probe);
        assert!(!breaker.failed(at(60), at(60), Pause::Wished(Duration::from_secs(2))));
        assert_eq!(breaker.permit(at(62), PAUSE), Permit::Probe, "the probe heard so");
    }
}
