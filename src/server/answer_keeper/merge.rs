//! Which answers are to be kept: what this replica knows, and what others wrote before. Reads no clock.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    cluster::KeptAnswer,
    image::Reference,
    registry::{CachePolicy, LoginName, PastAnswer},
};

/// What answers are judged by.
pub(super) struct Merge {
    /// The most that are kept.
    pub(super) entries: usize,
    pub(super) now: SystemTime,
    pub(super) policy: CachePolicy,
}

type Login = Option<Arc<Box<str>>>;

impl Merge {
    /// Ours first, in their order; then those of others that are not too old, the youngest first. `missing` are the
    /// references that we were told 404 about, and how long ago.
    ///
    /// Of two about the same the later one counts. Ours is written with the time that is there already if that is
    /// almost the same: an answer that is asked for every minute is not written every time.
    pub(super) fn merge(
        &self,
        kept: &[KeptAnswer],
        ours: Vec<PastAnswer>,
        missing: &[(Reference, Duration)],
    ) -> Vec<KeptAnswer> {
        let missing: HashMap<_, _> =
            missing.iter().map(|(reference, age)| (reference, self.ago(*age))).collect();
        let mut theirs: HashMap<(&Reference, &Login), &KeptAnswer> = HashMap::with_capacity(kept.len());
        for answer in kept {
            let known = theirs.entry((&answer.reference, &answer.login)).or_insert(answer);
            if answer.asked > known.asked {
                *known = answer;
            }
        }
        let mut merged: Vec<_> = ours
            .into_iter()
            .map(|answer| {
                let answer = self.dated(answer);
                match theirs.get(&(&answer.reference, &answer.login)) {
                    Some(known) if self.is_as_good(known, &answer) => (*known).clone(),
                    _ => answer,
                }
            })
            .collect();
        let known: HashSet<_> = merged.iter().map(|answer| answer.reference.clone()).collect();
        let mut others: Vec<_> = theirs
            .into_values()
            .filter(|answer| !known.contains(&answer.reference))
            .filter(|answer| missing.get(&answer.reference).is_none_or(|said| answer.asked > *said))
            .filter(|answer| self.policy.keeps(&answer.reference, age(answer, self.now)))
            // One from the future would never grow old.
            .map(|answer| KeptAnswer { asked: answer.asked.min(self.now), ..answer.clone() })
            .collect();
        others.sort_by(|a, b| {
            b.asked.cmp(&a.asked).then_with(|| a.reference.as_str().cmp(b.reference.as_str()))
        });
        merged.extend(others);
        merged.truncate(self.entries);
        merged
    }

    /// Whether what is kept may stay in place of an answer of ours.
    fn is_as_good(&self, kept: &KeptAnswer, ours: &KeptAnswer) -> bool {
        if kept.asked > self.now {
            return false;
        }
        let almost = self.policy.stale_for / ALMOST;
        match ours.asked.duration_since(kept.asked) {
            Ok(later) => later < almost && kept.digest == ours.digest,
            // Another replica has asked later.
            Err(_) => true,
        }
    }

    fn dated(&self, answer: PastAnswer) -> KeptAnswer {
        let PastAnswer { reference, digest, age, login } = answer;
        let login = match login {
            LoginName::Anonymous => None,
            LoginName::Origin(origin) => Some(origin),
        };
        KeptAnswer { reference, digest, asked: self.ago(age), login }
    }

    fn ago(&self, age: Duration) -> SystemTime {
        self.now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// How old an answer is; one from the future counts as asked now.
pub(super) fn age(answer: &KeptAnswer, now: SystemTime) -> Duration {
    now.duration_since(answer.asked).unwrap_or_default()
}

/// Times differ almost not at all if by less than this part of the time that answers are kept: with 7 days, 100 minutes.
const ALMOST: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Digest;

    const HOUR: Duration = Duration::from_secs(3600);

    fn merge(entries: usize) -> Merge {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Merge { entries, now, policy: CachePolicy::default() }
    }

    fn login(name: &str) -> Login {
        (!name.is_empty()).then(|| Arc::new(name.into()))
    }

    fn kept(name: &str, content: &str, hours_ago: i32, of: &str) -> KeptAnswer {
        let now = merge(0).now;
        let asked = if hours_ago < 0 {
            now + HOUR * hours_ago.unsigned_abs()
        } else {
            now - HOUR * hours_ago.unsigned_abs()
        };
        let digest = Digest::of(content.as_bytes());
        KeptAnswer { reference: format!("r.corp/{name}").parse().unwrap(), digest, asked, login: login(of) }
    }

    fn ours(name: &str, content: &str, hours_ago: u32, of: &str) -> PastAnswer {
        PastAnswer {
            reference: format!("r.corp/{name}").parse().unwrap(),
            digest: Digest::of(content.as_bytes()),
            age: HOUR * hours_ago,
            login: login(of).map_or(LoginName::Anonymous, LoginName::Origin),
        }
    }

    #[test]
    fn what_others_wrote_stays_after_ours_until_it_is_too_old() {
        let others =
            [kept("b:1", "b", 7 * 24 - 1, ""), kept("c:1", "c", 7 * 24 + 1, ""), kept("d:1", "d", 2, "s.1")];
        let merged = merge(10).merge(&others, vec![ours("z:1", "z", 0, ""), ours("y:1", "y", 5, "")], &[]);
        let expected = [
            kept("z:1", "z", 0, ""),
            kept("y:1", "y", 5, ""),
            kept("d:1", "d", 2, "s.1"),
            kept("b:1", "b", 167, ""),
        ];
        assert_eq!(merged, expected);
        assert_eq!(
            merge(3).merge(&others, vec![ours("z:1", "z", 0, ""), ours("y:1", "y", 5, "")], &[]),
            expected[..3]
        );
    }

    #[test]
    fn the_later_one_counts_and_what_is_almost_the_same_is_not_written_again() {
        for (theirs, our, expected) in [
            // An hour is less than a hundredth of seven days, two are more.
            (kept("a:1", "a", 1, ""), ours("a:1", "a", 0, ""), kept("a:1", "a", 1, "")),
            (kept("a:1", "a", 2, ""), ours("a:1", "a", 0, ""), kept("a:1", "a", 0, "")),
            (kept("a:1", "a", 1, ""), ours("a:1", "moved", 0, ""), kept("a:1", "moved", 0, "")),
            (kept("a:1", "moved", 1, ""), ours("a:1", "a", 2, ""), kept("a:1", "moved", 1, "")),
            (kept("a:1", "a", 1, "old"), ours("a:1", "a", 0, "new"), kept("a:1", "a", 0, "new")),
            // A clock was wrong: what we have seen ourselves counts.
            (kept("a:1", "future", -5, ""), ours("a:1", "a", 3, ""), kept("a:1", "a", 3, "")),
        ] {
            let found = merge(10).merge(std::slice::from_ref(&theirs), vec![our.clone()], &[]);
            assert_eq!(found, [expected], "{theirs:?}\n{our:?}");
        }
    }

    #[test]
    fn what_a_mirror_has_not_is_kept_no_longer_unless_it_was_seen_since() {
        let missing = |hours: u32| [("r.corp/a:1".parse().unwrap(), HOUR * hours)];
        let theirs = [kept("a:1", "a", 5, ""), kept("b:1", "b", 5, "")];
        assert_eq!(merge(10).merge(&theirs, Vec::new(), &missing(4)), theirs[1..]);
        assert_eq!(merge(10).merge(&theirs, Vec::new(), &missing(6)), theirs);
    }

    #[test]
    fn an_answer_from_the_future_counts_as_asked_now_and_grows_old_from_then() {
        let merged = merge(10).merge(&[kept("a:1", "a", -100, "")], Vec::new(), &[]);
        assert_eq!(merged, [kept("a:1", "a", 0, "")]);
        assert_eq!(age(&kept("a:1", "a", -100, ""), merge(0).now), Duration::ZERO);
    }

    #[test]
    fn of_two_lines_about_the_same_the_later_one_stays() {
        let theirs = [kept("a:1", "old", 9, ""), kept("a:1", "new", 8, ""), kept("a:1", "older", 10, "")];
        assert_eq!(merge(10).merge(&theirs, Vec::new(), &[]), theirs[1..2]);
    }
}
