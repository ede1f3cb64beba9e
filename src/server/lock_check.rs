//! Looks, in the background, whether mirrors still have what the lock says: the only place that does.
//!
//! Every line is looked for once in a round, spread over the round's time, a few at once and no more than so many in a
//! second. A lock that was edited begins a round at once, so that a small one is known soon.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::FuturesUnordered};

use crate::{
    admission::Admission,
    cluster::{Events, Notice},
    image::Digest,
    lock::{Finding, Line, Lock},
    metrics::LockCheck,
    registry::Verified,
};

/// Says in the cluster what is wrong with a lock that was read there.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) events: Events,
    /// The namespace of the lock's ConfigMaps.
    pub(super) namespace: String,
}

/// Goes on for ever. Dropping the future stops it.
pub(super) async fn check_forever(admission: &Admission, every: Duration, report: Option<Report>) {
    let mut round = Round::of(admission.lock.load_full(), Instant::now());
    let mut under_way = FuturesUnordered::new();
    let mut has_news = false;
    // Whether there is something to count since then.
    let (mut is_counted, mut counted) = (true, None::<Instant>);
    loop {
        let current = admission.lock.load();
        if !Arc::ptr_eq(&current, &round.lock) {
            round = round.renewed(Arc::clone(&current));
            (is_counted, counted) = (false, None);
        }
        drop(current);
        if !is_counted && counted.is_none_or(|counted| counted.elapsed() >= COUNT_PAUSE) {
            (is_counted, counted) = (true, Some(Instant::now()));
            count(admission);
        }
        // Once in a round: what is found line by line would be an Event each.
        if has_news && round.left == 0 && under_way.is_empty() {
            has_news = false;
            if let Some(report) = &report {
                report.publish(&round.lock);
            }
        }
        let pause = match round.next(Instant::now(), every) {
            Next::Line(position) if under_way.len() < AT_ONCE => {
                let lock = Arc::clone(&round.lock);
                round.begin(Instant::now());
                under_way.push(async move {
                    match lock.lines().get(position) {
                        Some(line) => check(admission, &lock, line).await,
                        None => false,
                    }
                });
                continue;
            }
            Next::Line(_) => LONGEST_PAUSE,
            Next::Pause(pause) => pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
        };
        tokio::select! {
            Some(is_news) = under_way.next() => {
                has_news |= is_news;
                is_counted &= !is_news;
            }
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// A walk through all lines of a lock. Reads no clock.
struct Round {
    lock: Arc<Lock>,
    /// Whether this is the first since the lock was edited: then nothing is known of what is new.
    is_first: bool,
    /// Where in the lock the next line is.
    position: usize,
    /// How many lines are left.
    left: usize,
    begun: Instant,
    /// When the last line was begun.
    last: Option<Instant>,
}

/// What is to be done.
#[derive(Debug, Eq, PartialEq)]
enum Next {
    Line(usize),
    Pause(Duration),
}

impl Round {
    fn of(lock: Arc<Lock>, now: Instant) -> Self {
        Self { left: lock.lines().len(), lock, is_first: true, position: 0, begun: now, last: None }
    }

    /// A round of another lock, which goes on where this one is: many edits must not keep the last lines from their turn.
    fn renewed(self, lock: Arc<Lock>) -> Self {
        Self { left: lock.lines().len(), lock, is_first: true, ..self }
    }

    fn next(&mut self, now: Instant, every: Duration) -> Next {
        if self.left == 0 {
            let since = now.saturating_duration_since(self.begun);
            if since < every || self.lock.lines().is_empty() {
                return Next::Pause(every.saturating_sub(since));
            }
            let lock = Arc::clone(&self.lock);
            *self = Self { is_first: false, last: self.last, ..Self::of(lock, now) };
        }
        let pace = self.pace(every);
        match self.last.map(|last| now.saturating_duration_since(last)) {
            Some(since) if since < pace => Next::Pause(pace.saturating_sub(since)),
            _ => Next::Line(self.position % self.lock.lines().len().max(1)),
        }
    }

    /// The line that was next is begun.
    fn begin(&mut self, now: Instant) {
        self.last = Some(now);
        if self.left == self.lock.lines().len() {
            self.begun = now;
        }
        self.position = (self.position + 1) % self.lock.lines().len().max(1);
        self.left = self.left.saturating_sub(1);
    }

    /// How far apart two lines are begun.
    fn pace(&self, every: Duration) -> Duration {
        let lines = u32::try_from(self.lock.lines().len()).unwrap_or(u32::MAX).max(1);
        let most = if self.is_first { FIRST_PACE } else { Duration::MAX };
        (every / lines).clamp(SHORTEST_PACE, most)
    }
}

/// Asks about one line, keeps what came of it and says what is new. Whether something is.
async fn check(admission: &Admission, lock: &Lock, line: &Line) -> bool {
    let Some(digest) = lock.digest(line) else { return false };
    let verified = admission.resolver.verify(line.reference(), digest).await;
    let (result, finding) = match verified {
        Verified::Missing => (LockCheck::Missing, Some(Finding::Missing)),
        Verified::Moved => (LockCheck::Moved, Some(Finding::Moved)),
        Verified::Present => (LockCheck::Present, Some(Finding::Present)),
        Verified::Unknown => (LockCheck::Unknown, None),
    };
    admission.metrics.lock_check(result);
    let news = finding.filter(|finding| lock.note(line, *finding).is_some());
    if let Some(finding) = news {
        say(line, digest, finding);
    }
    news.is_some()
}

impl Report {
    /// Says on each ConfigMap of the lock what is known to be wrong with its lines.
    fn publish(&self, lock: &Lock) {
        let mut wrong: BTreeMap<&str, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
        for line in lock.lines() {
            let Some(config_map) = line.config_map() else { continue };
            let mirror = line.reference().as_str();
            match lock.finding(line) {
                Finding::Missing => wrong.entry(config_map).or_default().0.push(mirror),
                Finding::Moved => wrong.entry(config_map).or_default().1.push(mirror),
                Finding::Present => {}
            }
        }
        for (name, (missing, moved)) in wrong {
            self.events.publish(Notice {
                namespace: self.namespace.clone(),
                name: name.to_owned(),
                reason: "LockOutdated",
                action: "VerifyLock",
                text: wording(&missing, &moved),
            });
        }
    }
}

/// Which lines are wrong, in one text.
fn wording(missing: &[&str], moved: &[&str]) -> String {
    let parts = [
        ("the mirror does not have the locked digest of", missing),
        ("the tag leads elsewhere than the locked digest, or is gone, of", moved),
    ];
    let mut text = String::new();
    for (what, mirrors) in parts.into_iter().filter(|(_, mirrors)| !mirrors.is_empty()) {
        if !text.is_empty() {
            text.push_str("; ");
        }
        let named: Vec<_> = mirrors.iter().take(NAMED).map(|mirror| format!("`{mirror}`")).collect();
        text.push_str(what);
        text.push(' ');
        text.push_str(&named.join(", "));
        if mirrors.len() > NAMED {
            let _ = write!(text, " and {} more", mirrors.len() - NAMED);
        }
    }
    text + "; `portolan check` says what would become of it, `portolan lock` writes the lock anew"
}

fn say(line: &Line, digest: &Digest, finding: Finding) {
    let (mirror, digest) = (line.reference().as_str(), digest.as_str());
    match finding {
        Finding::Missing => {
            tracing::warn!(mirror, digest, "the mirror does not have a locked digest");
        }
        Finding::Moved => {
            tracing::warn!(mirror, digest, "the tag of a locked image leads elsewhere or is gone");
        }
        Finding::Present => {
            tracing::info!(mirror, digest, "a locked digest is where its line says again");
        }
    }
}

/// Counts what is known of the lock in force.
fn count(admission: &Admission) {
    let lock = admission.lock.load();
    let (mut missing, mut moved) = (0, 0);
    for line in lock.lines() {
        match lock.finding(line) {
            Finding::Missing => missing += 1,
            Finding::Moved => moved += 1,
            Finding::Present => {}
        }
    }
    admission.metrics.lock_missing.set(missing);
    admission.metrics.lock_moved.set(moved);
}

/// How far apart news are counted at the least: it is a walk over all lines.
const COUNT_PAUSE: Duration = Duration::from_secs(1);

/// How many references an Event names of each kind.
const NAMED: usize = 3;

/// How many lines are looked for at once, over all registries.
const AT_ONCE: usize = 4;

/// At most fifty lines are begun in a second, however many there are.
const SHORTEST_PACE: Duration = Duration::from_millis(20);

/// In the first round of a lock, at least five.
const FIRST_PACE: Duration = Duration::from_millis(200);

/// How long it is looked away at most: an edited lock is seen after it.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(600);

    fn lock(lines: usize) -> Arc<Lock> {
        let digest = format!("sha256:{}", "a".repeat(64));
        let lines: Vec<_> = (0..lines).map(|number| format!("r.corp/app:{number} {digest}\n")).collect();
        Arc::new(Lock::parse(&lines.concat()).unwrap())
    }

    /// The lines that are begun, and when, in milliseconds after the start.
    fn begun(round: &mut Round, start: Instant, times: usize) -> Vec<(usize, u128)> {
        let mut now = round.last.unwrap_or(start);
        let mut begun = Vec::new();
        while begun.len() < times {
            match round.next(now, EVERY) {
                Next::Line(position) => {
                    round.begin(now);
                    begun.push((position, now.duration_since(start).as_millis()));
                }
                Next::Pause(pause) => now += pause.max(Duration::from_millis(1)),
            }
        }
        begun
    }

    #[test]
    fn a_new_lock_is_looked_at_soon_and_later_rounds_are_spread() {
        let start = Instant::now();
        let mut round = Round::of(lock(3), start);
        let expected =
            [(0, 0), (1, 200), (2, 400), (0, 600_000), (1, 800_000), (2, 1_000_000), (0, 1_200_000)];
        assert_eq!(begun(&mut round, start, 7), expected);
    }

    #[test]
    fn an_edited_lock_begins_a_round_at_once_and_goes_on_where_the_old_one_was() {
        let start = Instant::now();
        let mut round = Round::of(lock(4), start);
        assert_eq!(begun(&mut round, start, 2), [(0, 0), (1, 200)]);
        let mut round = round.renewed(lock(3));
        assert_eq!(begun(&mut round, start, 3), [(2, 400), (0, 600), (1, 800)]);
        assert!(matches!(round.next(start + Duration::from_secs(1), EVERY), Next::Pause(_)));
        let mut round = round.renewed(lock(2));
        assert_eq!(begun(&mut round, start, 2), [(0, 1000), (1, 1200)]);
    }

    #[test]
    fn an_event_names_the_first_few_of_each_kind_and_counts_the_rest() {
        let text = wording(&["a:1"], &["b:1", "b:2", "b:3", "b:4", "b:5"]);
        assert_eq!(
            text,
            "the mirror does not have the locked digest of `a:1`; the tag leads elsewhere than the locked digest, or is \
             gone, of `b:1`, `b:2`, `b:3` and 2 more; `portolan check` says what would become of it, `portolan lock` \
             writes the lock anew"
        );
        assert!(wording(&[], &["b:1"]).starts_with("the tag leads elsewhere"));
    }

    #[test]
    fn a_huge_lock_takes_longer_and_an_empty_one_nothing() {
        let start = Instant::now();
        let mut round = Round::of(lock(40_000), start);
        assert_eq!(begun(&mut round, start, 40_001).last(), Some(&(0, 800_000)));
        let mut round = Round::of(lock(0), start);
        assert!(matches!(round.next(start + 2 * EVERY, EVERY), Next::Pause(_)));
    }
}
