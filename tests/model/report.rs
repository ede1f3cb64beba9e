//! How often everything that is to be hit was hit.

use std::{collections::BTreeMap, fmt::Write as _};

use portolan::rewrite::{Reason, ResolvedFrom};

use super::{
    decide::{Decided, Trace},
    rule::{Kind, Scope},
};

/// The counts of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) cases: usize,
    winners: BTreeMap<(Kind, Scope, bool), usize>,
    pairs: BTreeMap<(Side, Side), usize>,
    decisions: BTreeMap<(&'static str, &'static str), usize>,
    sources: BTreeMap<&'static str, usize>,
    notes: BTreeMap<&'static str, usize>,
}

/// One side of a precedence pair.
type Side = (Kind, Scope);

const KINDS: [Kind; 7] = [
    Kind::ExactDigest,
    Kind::ExactTag,
    Kind::Path,
    Kind::Host,
    Kind::WildcardPort,
    Kind::Wildcard,
    Kind::Everything,
];
const SCOPES: [Scope; 3] = [Scope::Name, Scope::Glob, Scope::Unscoped];

/// Every outcome with every reason that product.md §3 gives it, and those of `explain --offline`.
const DECISIONS: &[(&str, &str)] = &[
    ("denied", "missing"),
    ("denied", "not-locked"),
    ("denied", "unauthorized"),
    ("denied", "unavailable"),
    ("kept", "exception"),
    ("kept", "invalid-reference"),
    ("kept", "mirror-pod"),
    ("kept", "mirrored"),
    ("kept", "missing"),
    ("kept", "no-rule"),
    ("kept", "offline"),
    ("kept", "opted-out"),
    ("kept", "own-namespace"),
    ("kept", "placeholder"),
    ("kept", "pull-never"),
    ("kept", "unauthorized"),
    ("kept", "unavailable"),
    ("kept", "unchanged"),
    ("kept", "unrepresentable"),
    ("rewritten", "carried"),
    ("rewritten", "mirrored"),
    ("rewritten", "missing"),
    ("rewritten", "offline"),
    ("rewritten", "pin-off"),
    ("rewritten", "pinned"),
    ("rewritten", "restored"),
    ("rewritten", "unauthorized"),
    ("rewritten", "unavailable"),
];

/// The reasons that no random case can have. `internal-error` is what the guard around an admission says when the code
/// panics or does not end; neither may happen here.
const NEVER: &[&str] = &["internal-error"];

const NOTES: &[&str] = &[
    "a locked digest that its mirror lacks is not used",
    "a rule of another namespace",
    "a scoped rule without a namespace",
    "a wildcard passes by *.svc",
    "a wildcard passes by *.svc.cluster.local",
    "a wildcard passes by 127.0.0.0/8",
    "a wildcard passes by [::1]",
    "a wildcard passes by a registry that holds a mirror",
    "a wildcard passes by localhost",
    "inside a mirror of a rule for a name",
    "inside a mirror of a rule for a pattern",
    "inside a mirror of an unscoped rule",
    "inside a mirror of no rule that admits the namespace",
    "inside a mirror, and a rule holds it too",
    "the first mirror that did not say 404 is not the first",
    "the first mirror with a line is not the first",
    "valid in some of the mirrors only",
];

impl Report {
    pub(crate) fn count(&mut self, decided: &Decided, trace: &Trace) {
        self.cases += 1;
        *self.decisions.entry((decided.outcome, decided.reason)).or_default() += 1;
        if let Some(from) = decided.from {
            *self.sources.entry(from).or_default() += 1;
        }
        for note in &trace.notes {
            *self.notes.entry(note).or_default() += 1;
        }
        let Some((kind, scope, is_exception)) = trace.winner else { return };
        *self.winners.entry((kind, scope, is_exception)).or_default() += 1;
        for loser in &trace.losers {
            *self.pairs.entry(((kind, scope), *loser)).or_default() += 1;
        }
    }

    /// What should have been hit and was not, and what was hit though it cannot be.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |name: String, expected: bool, count: usize| match (expected, count) {
            (true, 0) => faults.push(format!("never hit: {name}")),
            (false, 1..) => faults.push(format!("cannot be, and was hit {count} times: {name}")),
            _ => {}
        };
        for (kind, scope) in sides() {
            for is_exception in [false, true] {
                let count = self.winners.get(&(kind, scope, is_exception)).copied().unwrap_or_default();
                check(format!("{kind:?} {scope:?}, exception: {is_exception}"), true, count);
            }
            for loser in sides() {
                let count = self.pairs.get(&((kind, scope), loser)).copied().unwrap_or_default();
                check(format!("{kind:?} {scope:?} before {loser:?}"), can_win((kind, scope), loser), count);
            }
        }
        for reason in Reason::ALL {
            let count =
                self.decisions.iter().filter(|((_, one), _)| *one == reason.word()).map(|(_, n)| n).sum();
            check(reason.word().to_owned(), !NEVER.contains(&reason.word()), count);
        }
        for decision in DECISIONS {
            check(format!("{decision:?}"), true, self.decisions.get(decision).copied().unwrap_or_default());
        }
        for (decision, count) in &self.decisions {
            check(format!("{decision:?}"), DECISIONS.contains(decision), *count);
        }
        for from in ResolvedFrom::ALL {
            check(from.word().to_owned(), true, self.sources.get(from.word()).copied().unwrap_or_default());
        }
        for note in NOTES {
            check((*note).to_owned(), true, self.notes.get(note).copied().unwrap_or_default());
        }
        for (note, count) in &self.notes {
            check((*note).to_owned(), NOTES.contains(note), *count);
        }
        faults
    }

    pub(crate) fn print(&self) -> String {
        let mut text = format!("{} cases\n\nwinning rules           with mirrors  exceptions\n", self.cases);
        for (kind, scope) in sides() {
            let count =
                |is_exception| self.winners.get(&(kind, scope, is_exception)).copied().unwrap_or_default();
            let name = format!("{kind:?} {scope:?}");
            writeln!(text, "{name:<24}{:>12}{:>12}", count(false), count(true)).unwrap();
        }
        text.push_str("\ndecisions\n");
        for ((outcome, reason), count) in &self.decisions {
            writeln!(text, "{outcome:<10} {reason:<20}{count:>10}").unwrap();
        }
        text.push_str("\ndigests known from\n");
        for (from, count) in &self.sources {
            writeln!(text, "{from:<31}{count:>10}").unwrap();
        }
        text.push_str("\nhow rules were gone by\n");
        for (note, count) in &self.notes {
            writeln!(text, "{note:<60}{count:>10}").unwrap();
        }
        text.push_str("\nprecedence: the row won before the column (`.`: cannot be)\n");
        let short = |(kind, scope): Side| {
            let kind = match kind {
                Kind::ExactDigest => "@",
                Kind::ExactTag => ":",
                Kind::Path => "path",
                Kind::Host => "host",
                Kind::WildcardPort => "*.x:1",
                Kind::Wildcard => "*.x",
                Kind::Everything => "*",
            };
            let scope = match scope {
                Scope::Name => "name",
                Scope::Glob => "glob",
                Scope::Unscoped => "all",
            };
            format!("{kind} {scope}")
        };
        for winner in sides() {
            writeln!(text, "{}:", short(winner)).unwrap();
            let mut line = String::from("   ");
            for loser in sides().filter(|loser| can_win(winner, *loser)) {
                let count = self.pairs.get(&(winner, loser)).copied().unwrap_or_default();
                let cell = format!(" {} {count};", short(loser));
                if line.len() + cell.len() > 118 {
                    writeln!(text, "{line}").unwrap();
                    line = String::from("   ");
                }
                line.push_str(&cell);
            }
            writeln!(text, "{line}").unwrap();
        }
        text
    }
}

fn sides() -> impl Iterator<Item = Side> {
    KINDS.into_iter().flat_map(|kind| SCOPES.map(|scope| (kind, scope)))
}

/// Whether a rule of one kind and scope can win before one of another, both holding the reference and admitting the
/// namespace: every precedence that there is.
fn can_win((kind, scope): Side, (other_kind, other_scope): Side) -> bool {
    // A shorter path is another source of the same kind, and so is a shorter wildcard host, with a port or without.
    let is_wildcard = |kind| matches!(kind, Kind::Wildcard | Kind::WildcardPort);
    if kind == Kind::Path && other_kind == Kind::Path || is_wildcard(kind) && is_wildcard(other_kind) {
        return true;
    }
    if kind == other_kind {
        // Of equal source: a scoped rule before an unscoped one, a name before a pattern, and of two alike the longer
        // literal prefix or the first written. Two unscoped ones are refused.
        return scope >= other_scope && (scope, other_scope) != (Scope::Unscoped, Scope::Unscoped);
    }
    // A reference with a digest is held by an exact source with a digest, one without by one with a tag.
    kind > other_kind && (kind, other_kind) != (Kind::ExactDigest, Kind::ExactTag)
}
