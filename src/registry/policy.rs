//! How long answers count: pure functions of an age.

use std::time::Duration;

/// How long what registries said is used, and how much of it is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CachePolicy {
    /// How long a tag's digest is used unasked.
    pub fresh_for: Duration,
    /// How long an answer that is no longer fresh still serves where no mirror answers.
    pub stale_for: Duration,
    /// How long a refusal (no such manifest, not authorised) is used unasked.
    pub negative_for: Duration,
    /// How long a digest is taken to exist unasked.
    pub digest_exists_for: Duration,
    /// How young an answer must be for a container that is always to be asked for.
    pub always_fresh_for: Duration,
    /// What was used within this time is asked again in the background before it ages.
    pub refresh_used_within: Duration,
    /// How long a registry that did not answer is left alone.
    pub leave_alone_for: Duration,
    /// The most answers kept; the least recently used goes first.
    pub entries: u64,
    /// The most refusals kept, apart from the answers, so that a flood of typos displaces no answer.
    pub negative_entries: u64,
}

impl Default for CachePolicy {
    fn default() -> Self {
        Self {
            fresh_for: Duration::from_mins(1),
            stale_for: Duration::from_hours(7 * 24),
            negative_for: Duration::from_secs(10),
            digest_exists_for: Duration::from_hours(1),
            always_fresh_for: Duration::from_secs(5),
            refresh_used_within: Duration::from_mins(10),
            leave_alone_for: Duration::from_secs(10),
            entries: 50_000,
            negative_entries: 10_000,
        }
    }
}

/// What was asked about: a digest never moves, a tag may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Subject {
    Digest,
    Tag,
}

/// What an answer is still good for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Freshness {
    /// To be asked again; used only where nobody answers.
    Aged,
    /// Of no use any more.
    Expired,
    /// Used unasked.
    Fresh,
}

impl CachePolicy {
    /// Judges an answer by its age.
    pub(super) fn freshness(&self, age: Duration, subject: Subject, always: bool) -> Freshness {
        let fresh_for = self.fresh_for(subject);
        if age < if always { fresh_for.min(self.always_fresh_for) } else { fresh_for } {
            Freshness::Fresh
        } else if age < fresh_for.saturating_add(self.stale_for) {
            Freshness::Aged
        } else {
            Freshness::Expired
        }
    }

    /// Whether a refusal of this age is used unasked.
    pub(super) fn refusal_holds(&self, age: Duration, always: bool) -> bool {
        age < if always { self.negative_for.min(self.always_fresh_for) } else { self.negative_for }
    }

    /// The age at which an answer is asked again in the background: between one half and 85 % of its fresh time.
    ///
    /// `spread` is any number that differs from answer to answer, so that what was learnt in one burst is not asked
    /// again in one.
    pub(super) fn refresh_age(&self, subject: Subject, spread: u64) -> Duration {
        let percent = 50 + u32::try_from(spread % 36).unwrap_or(0);
        self.fresh_for(subject).saturating_mul(percent) / 100
    }

    fn fresh_for(&self, subject: Subject) -> Duration {
        match subject {
            Subject::Digest => self.digest_exists_for,
            Subject::Tag => self.fresh_for,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    #[test]
    fn an_answer_is_fresh_then_aged_then_expired() {
        let policy = CachePolicy::default();
        for (seconds, subject, always, expected) in [
            (0, Subject::Tag, false, Freshness::Fresh),
            (59, Subject::Tag, false, Freshness::Fresh),
            (60, Subject::Tag, false, Freshness::Aged),
            (60 + 7 * DAY - 1, Subject::Tag, false, Freshness::Aged),
            (60 + 7 * DAY, Subject::Tag, false, Freshness::Expired),
            (4, Subject::Tag, true, Freshness::Fresh),
            (5, Subject::Tag, true, Freshness::Aged),
            (3599, Subject::Digest, false, Freshness::Fresh),
            (3600, Subject::Digest, false, Freshness::Aged),
            (5, Subject::Digest, true, Freshness::Aged),
        ] {
            let found = policy.freshness(Duration::from_secs(seconds), subject, always);
            assert_eq!(found, expected, "{seconds} s, {subject:?}, always: {always}");
        }
    }

    #[test]
    fn a_refusal_holds_ten_seconds_and_five_where_always_is_asked() {
        let policy = CachePolicy::default();
        assert!(policy.refusal_holds(Duration::from_millis(9_999), false));
        assert!(!policy.refusal_holds(Duration::from_secs(10), false));
        assert!(policy.refusal_holds(Duration::from_millis(4_999), true));
        assert!(!policy.refusal_holds(Duration::from_secs(5), true));
    }

    #[test]
    fn a_refresh_is_due_before_the_answer_ages_and_not_for_all_at_once() {
        let policy = CachePolicy::default();
        let ages: std::collections::BTreeSet<_> =
            (0..100).map(|spread| policy.refresh_age(Subject::Tag, spread)).collect();
        assert!(ages.len() > 30, "spread over {} moments", ages.len());
        assert!(ages.iter().all(|age| (30..=51).contains(&age.as_secs())), "{ages:?}");
    }
}
