//! Rules of equal source side by side: the same scope twice is an error, and a rule that another one always goes
//! before, or a tie that only the order decides, is worth a warning.
//!
//! Every step is by hashing, so that 100,000 rules of one source, one for each tenant, are no slower to read than
//! as many sources.

use std::{collections::HashMap, sync::Arc};

use super::{
    meaning::{Mark, already_mapped},
    problem::{Collector, quoted},
    rule::Rule,
    scope::takes_all,
    source::Shape,
    tree::Tree,
};

/// Finds scoped rules of equal source and equal namespaces, whatever their order (two unscoped ones are found while
/// rules are put into the index), and warns of rules that can never win and of ties.
pub(super) fn check(
    rules: &[Arc<Rule>],
    marks: &[Mark],
    tree: &Tree<'_>,
    problems: &mut Collector,
    warnings: &mut Collector,
) {
    let mut groups: HashMap<_, Group<'_>> = HashMap::new();
    let sound = || rules.iter().zip(marks).filter(|(_, mark)| mark.sound);
    for (rule, mark) in sound() {
        let Some(namespaces) = rule.namespaces() else { continue };
        let group = groups.entry(identity(rule)).or_default();
        match group.duplicate(namespaces, rule) {
            Some(earlier) => problems.add(already_mapped(mark.source, &rule.source, earlier)),
            None => group.take(namespaces, rule, *mark, tree, warnings),
        }
    }
    if groups.is_empty() {
        return;
    }
    for (rule, mark) in sound().filter(|(rule, _)| rule.namespaces.is_none()) {
        let all = groups.get(&identity(rule)).and_then(|group| group.whole.get(""));
        if let Some(all) = all {
            let message = never(&format!("line {} has the same source for every namespace", all.line()));
            warnings.add(mark.source.problem(message, REMOVE));
        }
    }
}

/// The patterns that earlier rules of one source have, each with the first rule that has it.
#[derive(Default)]
struct Group<'r> {
    /// By all patterns of a rule, in order and each once.
    scopes: HashMap<Vec<&'r str>, &'r Rule>,
    names: HashMap<&'r str, &'r Rule>,
    /// By the text before the first `*`: patterns that have nothing else. They take whatever later patterns that
    /// begin alike could match, so they are in none of the maps below.
    whole: HashMap<&'r str, &'r Rule>,
    patterns: HashMap<&'r str, &'r Rule>,
    /// By the texts before the first `*` and behind the last one.
    ends: HashMap<(&'r str, &'r str), &'r Rule>,
    /// By the text before the first `*` and each text that what stands behind the last one ends in.
    tails: HashMap<(&'r str, &'r str), &'r Rule>,
}

/// What earlier rules leave of a pattern.
enum Left<'r> {
    Everything,
    Nothing(&'r Rule),
    /// No namespace has such a name.
    Nowhere,
    /// All but what this rule holds as well.
    Some(&'r Rule),
}

impl<'r> Group<'r> {
    /// Gives the earlier rule that is for the same namespaces.
    fn duplicate(&mut self, namespaces: &'r [Box<str>], rule: &'r Rule) -> Option<&'r Rule> {
        let mut scope: Vec<&str> = namespaces.iter().map(AsRef::as_ref).collect();
        scope.sort_unstable();
        scope.dedup();
        let earlier = *self.scopes.entry(scope).or_insert(rule);
        (earlier.id() != rule.id()).then_some(earlier)
    }

    fn take(
        &mut self,
        patterns: &'r [Box<str>],
        rule: &'r Rule,
        mark: Mark,
        tree: &Tree<'_>,
        warnings: &mut Collector,
    ) {
        let left: Vec<Left<'r>> = patterns.iter().map(|pattern| self.left(pattern)).collect();
        let dead = |left: &Left<'_>| matches!(left, Left::Nothing(_) | Left::Nowhere);
        if left.iter().all(dead) {
            let earlier = left.iter().find_map(|left| match left {
                Left::Nothing(earlier) => Some(earlier.line()),
                _ => None,
            });
            let message = match earlier {
                Some(line) => {
                    never(&format!("line {line} has the same source and speaks for its namespaces"))
                }
                None => never("no namespace can have a name that its patterns match"),
            };
            warnings.add(mark.source.problem(message, REMOVE));
        } else {
            for (number, (pattern, left)) in patterns.iter().zip(&left).enumerate() {
                if let Left::Nothing(earlier) | Left::Some(earlier) = left {
                    let message = format!(
                        "namespaces that {} matches are matched as well by line {}, which was written first and wins",
                        quoted(pattern),
                        earlier.line(),
                    );
                    let remedy =
                        "make one of the patterns longer before its first `*`, or name the namespace";
                    warnings.add(mark.pattern(number, tree).problem(message, remedy));
                }
            }
        }
        for pattern in patterns {
            self.remember(pattern, rule);
        }
    }

    fn left(&self, pattern: &str) -> Left<'r> {
        if !can_match(pattern) {
            return Left::Nowhere;
        }
        let Some((before, behind)) = pattern.split_once('*') else {
            return self.names.get(pattern).map_or(Left::Everything, |earlier| Left::Nothing(earlier));
        };
        if let Some(earlier) = self.whole.get(before).or_else(|| self.patterns.get(pattern)) {
            return Left::Nothing(earlier);
        }
        // Two patterns that begin alike have a name in common exactly if one's end is the other's tail: what stands
        // between can follow one after the other.
        let end = last(behind);
        let shorter = tails(end).find_map(|tail| self.ends.get(&(before, tail)));
        let common = shorter.or_else(|| self.tails.get(&(before, end)));
        common.map_or(Left::Everything, |earlier| Left::Some(earlier))
    }

    fn remember(&mut self, pattern: &'r str, rule: &'r Rule) {
        let Some((before, behind)) = pattern.split_once('*') else {
            self.names.entry(pattern).or_insert(rule);
            return;
        };
        if takes_all(behind) {
            self.whole.entry(before).or_insert(rule);
            return;
        }
        self.patterns.entry(pattern).or_insert(rule);
        if can_match(pattern) {
            self.ends.entry((before, last(behind))).or_insert(rule);
            for tail in tails(last(behind)) {
                self.tails.entry((before, tail)).or_insert(rule);
            }
        }
    }
}

/// What makes two sources equal.
fn identity(rule: &Rule) -> (bool, &str) {
    (rule.source.shape() == Shape::Wildcard, rule.source.key())
}

/// Whether a namespace can have a name that the pattern matches: a DNS label (RFC 1123).
fn can_match(pattern: &str) -> bool {
    let letters = pattern.bytes().filter(|byte| *byte != b'*').count();
    letters <= 63
        && !pattern.is_empty()
        && !pattern.starts_with('-')
        && !pattern.ends_with('-')
        && pattern
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-*".contains(&byte))
}

/// What stands behind the last `*`.
fn last(behind: &str) -> &str {
    behind.rsplit_once('*').map_or(behind, |(_, last)| last)
}

/// A text, and what is left when letters are taken from its front.
fn tails(text: &str) -> impl Iterator<Item = &str> {
    (0..=text.len()).filter_map(|at| text.get(at..))
}

fn never(why: &str) -> String {
    format!("the rule can never win: {why}")
}

const REMOVE: &str = "remove it, or give it other namespaces";
