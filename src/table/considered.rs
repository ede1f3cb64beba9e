//! Why a rule won, for people who ask: every rule that has to do with a reference, and what became of it.
//!
//! It goes through all rules and puts texts together, which a lookup never does; a property test sees to it that the
//! two agree on who wins.

use std::sync::Arc;

use super::{
    Table,
    mirror::Mirror,
    problem::{listed, quoted},
    rule::Rule,
    scope::{Fit, fit},
    source::Closeness,
};
use crate::image::Reference;

/// A rule whose source or mirror holds a reference, and what became of it in the choice.
#[derive(Clone, Debug)]
pub struct Considered<'t> {
    /// The rule.
    pub rule: &'t Arc<Rule>,
    /// The mirror of the rule that the image is inside; `None`: the rule's source holds the image.
    pub mirror: Option<&'t Mirror>,
    /// What became of it.
    pub fate: Fate,
    /// Why, in one clause; `None` where there is nothing to add.
    pub why: Option<String>,
}

/// Why a rule that has to do with a reference did or did not win.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// The image is inside its mirror, but an exception leaves the image as written.
    ExceptionFirst,
    /// It would have won, but the image is inside a mirror already.
    InsideMirror,
    /// Another rule is more specific, or equally so and written first.
    LessSpecific,
    /// Its namespaces do not admit the request's.
    OtherNamespace,
    /// Its source is a wildcard, which passes by registries that hold a mirror and local ones.
    OwnRegistry,
    /// It is for some namespaces only, and none was given.
    ScopedOnly,
    /// It won.
    Won,
}

impl Fate {
    /// The fate in words, as `explain` prints it.
    pub fn word(self) -> &'static str {
        match self {
            Self::ExceptionFirst => "an exception goes first",
            Self::InsideMirror => "inside a mirror already",
            Self::LessSpecific => "less specific",
            Self::OtherNamespace => "other namespace",
            Self::OwnRegistry => "wildcards pass by this registry",
            Self::ScopedOnly => "for some namespaces only",
            Self::Won => "won",
        }
    }
}

impl Table {
    /// Every rule whose source or mirror holds `reference`, the best first, and what became of each.
    ///
    /// If the image is inside a mirror, the rules whose mirrors hold it come before those whose sources do, unless an
    /// exception speaks of it.
    pub fn considered<'t>(&'t self, reference: &Reference, namespace: Option<&str>) -> Vec<Considered<'t>> {
        let mut by_source = self.holding_by_source(reference, namespace);
        // Stable: rules that are equal in both stay as written, and those that are not admitted come last.
        by_source.sort_by_key(|held| std::cmp::Reverse((held.closeness, held.fit)));
        let passed_by = self.passed_by(reference.registry());
        let winner = by_source
            .iter()
            .find(|held| held.fit.is_some() && !(held.is_wildcard() && passed_by.is_some()))
            .copied();
        let by_mirror = self.holding_by_mirror(reference.name(), namespace);
        let inside = by_mirror.iter().find(|held| held.fit.is_some()).copied();

        let exception = winner.filter(|winner| winner.rule.keep());
        let around = by_mirror.first().copied().filter(|_| exception.is_none());
        let sources = by_source.into_iter().map(|held| {
            let (fate, why) = match (held.fit, &passed_by) {
                (_, Some(why)) if held.is_wildcard() => (Fate::OwnRegistry, Some(why.clone())),
                (None, _) => not_admitted(held.rule, namespace),
                (Some(_), _) => match (winner, around) {
                    (Some(winner), _) if winner.rule.id() != held.rule.id() => {
                        (Fate::LessSpecific, Some(held.less_specific_than(winner)))
                    }
                    (_, Some(around)) => (Fate::InsideMirror, Some(around.is_around())),
                    _ => (Fate::Won, None),
                },
            };
            Considered { rule: held.rule, mirror: None, fate, why }
        });
        let mirrors = by_mirror.iter().map(|held| {
            let (fate, why) = match (held.fit, exception, inside) {
                (_, Some(exception), _) => {
                    let why = format!("line {} leaves the image as written", exception.rule.line());
                    (Fate::ExceptionFirst, Some(why))
                }
                (None, ..) => not_admitted(held.rule, namespace),
                (Some(_), None, Some(winner)) if winner.rule.id() != held.rule.id() => {
                    (Fate::LessSpecific, Some(held.less_specific_than(winner)))
                }
                (Some(_), ..) => (Fate::Won, Some(INSIDE.into())),
            };
            Considered { rule: held.rule, mirror: Some(held.mirror), fate, why }
        });
        if exception.is_some() { sources.chain(mirrors).collect() } else { mirrors.chain(sources).collect() }
    }

    fn holding_by_source<'t>(&'t self, reference: &Reference, namespace: Option<&str>) -> Vec<BySource<'t>> {
        let held = |rule: &'t Arc<Rule>| {
            let closeness = rule.source.closeness(reference)?;
            Some(BySource { rule, closeness, fit: fit(rule.namespaces(), namespace) })
        };
        self.rules.iter().filter_map(held).collect()
    }

    /// The rules with a mirror that holds `name`, each with the longest of them: the longest first, then as written.
    fn holding_by_mirror<'t>(&'t self, name: &str, namespace: Option<&str>) -> Vec<ByMirror<'t>> {
        let held = |rule: &'t Arc<Rule>| {
            let holding = rule.mirrors().iter().filter(|mirror| mirror.holds(name));
            // Of equal ones the first.
            let mirror = holding.rev().max_by_key(|mirror| mirror.prefix().len())?;
            Some(ByMirror { rule, mirror, fit: fit(rule.namespaces(), namespace) })
        };
        let mut holding: Vec<_> = self.rules.iter().filter_map(held).collect();
        holding.sort_by_key(|held| std::cmp::Reverse(held.mirror.prefix().len()));
        holding
    }

    /// Why wildcards pass a registry by; `None`: they do not.
    fn passed_by(&self, registry: &str) -> Option<String> {
        if !self.index.passed_by(registry, &mut 0) {
            return None;
        }
        let holds_one = |rule: &&Arc<Rule>| rule.mirrors().iter().any(|mirror| mirror.registry() == registry);
        Some(match self.rules.iter().find(holds_one) {
            Some(rule) => format!("{} holds a mirror of line {}", quoted(registry), rule.line()),
            None => format!("{} is a registry of the cluster or the machine itself", quoted(registry)),
        })
    }
}

/// A rule whose source holds the reference.
#[derive(Clone, Copy)]
struct BySource<'t> {
    rule: &'t Arc<Rule>,
    closeness: Closeness,
    /// `None`: it does not admit the namespace.
    fit: Option<Fit>,
}

/// A rule whose mirror holds the image.
#[derive(Clone, Copy)]
struct ByMirror<'t> {
    rule: &'t Arc<Rule>,
    mirror: &'t Mirror,
    /// `None`: it does not admit the namespace.
    fit: Option<Fit>,
}

impl BySource<'_> {
    fn is_wildcard(&self) -> bool {
        matches!(self.closeness, Closeness::Everything | Closeness::Wildcard(..))
    }

    fn less_specific_than(&self, winner: BySource<'_>) -> String {
        let (line, source) = (winner.rule.line(), quoted(winner.rule.source()));
        if self.closeness != winner.closeness {
            return match (winner.closeness, self.closeness) {
                (Closeness::Exact, _) => format!("line {line} names exactly this reference"),
                (Closeness::Prefix(_), Closeness::Prefix(_)) => format!("{source} of line {line} is longer"),
                (Closeness::Prefix(_), _) => format!("{source} of line {line} names the registry"),
                (Closeness::Wildcard(length, _), Closeness::Wildcard(other, _)) if length == other => {
                    format!("{source} of line {line} names the port, too")
                }
                (Closeness::Wildcard(..), Closeness::Wildcard(..)) => {
                    format!("{source} of line {line} is a longer host")
                }
                _ => format!("{source} of line {line} names a part of the host"),
            };
        }
        let same = format!("line {line} has the same source");
        match (winner.fit, self.fit) {
            (winner, own) if winner == own => format!("{same}, is as specific and was written first"),
            (_, Some(Fit::Unscoped)) => format!("{same} and speaks for this namespace"),
            (Some(Fit::Name), _) => format!("{same} and names the namespace"),
            _ => format!("{same} and a pattern for the namespace that is longer before its `*`"),
        }
    }
}

impl ByMirror<'_> {
    fn less_specific_than(&self, winner: ByMirror<'_>) -> String {
        let line = winner.rule.line();
        if winner.mirror.prefix().len() > self.mirror.prefix().len() {
            return format!("the mirror {} of line {line} is longer", quoted(winner.mirror.as_str()));
        }
        format!("line {line} has the same mirror and was written first")
    }

    fn is_around(&self) -> String {
        format!(
            "the image is inside the mirror {} of line {}",
            quoted(self.mirror.as_str()),
            self.rule.line()
        )
    }
}

/// The fate of a rule whose namespaces do not admit the request's.
fn not_admitted(rule: &Rule, namespace: Option<&str>) -> (Fate, Option<String>) {
    let patterns = listed(rule.namespaces().unwrap_or_default().iter().map(AsRef::as_ref), "and");
    match namespace {
        Some(namespace) => {
            (Fate::OtherNamespace, Some(format!("it is for {patterns}, not for {}", quoted(namespace))))
        }
        None => (Fate::ScopedOnly, Some(format!("it is for {patterns}, and no namespace was given"))),
    }
}

/// What it means that a rule won because of its mirror.
const INSIDE: &str = "the image is inside this mirror: it is not moved, only pinned as this rule says";
