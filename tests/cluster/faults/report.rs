//! What a fault did, counted from the load's own record; a row of the table.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use super::load::{Admitted, Result};

/// What happened in one fault, and before it.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub healthy: Vec<Admitted>,
    pub faulty: Vec<Admitted>,
    /// Requests that reached the registry in the fault, or connections where those are more.
    pub reached: usize,
}

/// Times of admissions.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
}

impl Times {
    pub fn of<'a>(admitted: impl IntoIterator<Item = &'a Admitted>) -> Self {
        let mut times: Vec<_> = admitted.into_iter().map(|one| one.took).collect();
        times.sort_unstable();
        let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
        let at = |percent| at(percent).copied().unwrap_or_default();
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

impl Row {
    /// How many of the known (or unknown) ones in the fault came out so.
    pub fn count(&self, known: bool, result: Result) -> usize {
        self.faulty.iter().filter(|one| one.known == known && one.result == result).count()
    }

    pub fn known(&self) -> Times {
        Times::of(self.faulty.iter().filter(|one| one.known))
    }

    pub fn known_healthy(&self) -> Times {
        Times::of(self.healthy.iter().filter(|one| one.known))
    }

    pub fn text(&self) -> String {
        let all = Times::of(&self.faulty);
        let (known, healthy) = (self.known(), self.known_healthy());
        let both = |result| self.count(true, result) + self.count(false, result);
        let ratio = known.p99.as_secs_f64() / healthy.p99.as_secs_f64().max(1e-9);
        let wrong = both(Result::PinnedWrong);
        let pinned = |known| self.count(known, Result::Pinned) + self.count(known, Result::PinnedWrong);
        format!(
            "| {} | {} / {} / {} | {} / {} / {} | {} | {ratio:.2} | {} / {} | {} / {} | {wrong} | {} | {} | {} |",
            self.name,
            millis(all.p50),
            millis(all.p99),
            millis(all.max),
            millis(known.p50),
            millis(known.p99),
            millis(known.max),
            millis(healthy.p99),
            pinned(true),
            self.count(true, Result::Unpinned),
            pinned(false),
            self.count(false, Result::Unpinned),
            both(Result::Denied),
            both(Result::Failed) + both(Result::Late),
            self.reached,
        )
    }
}

/// The table of these rows.
pub fn table(rows: &[Row]) -> String {
    let mut text = HEAD.to_owned();
    for row in rows {
        writeln!(text, "{}", row.text()).unwrap();
    }
    text
}

/// Puts the table in place of what stands between the two marks of a page.
pub fn write(page: &Path, table: &str) {
    let text = fs::read_to_string(page).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the page has the first mark");
    let (_, after) = rest.split_once(END).expect("the page has the second mark");
    fs::write(page, format!("{before}{BEGIN}\n\n{table}\n{END}{after}")).unwrap();
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}

const HEAD: &str = "\
| fault | all: p50 / p99 / max, ms | known: p50 / p99 / max, ms | healthy p99, ms | ratio | known: pinned / unpinned | unknown: pinned / unpinned | pinned wrong | denied | failed | requests |
|---|---|---|---|---|---|---|---|---|---|---|
";

const BEGIN: &str = "<!-- faults: written by `make faults` -->";
const END: &str = "<!-- end of faults -->";
