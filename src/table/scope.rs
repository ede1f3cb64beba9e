//! Which of several rules of one source speaks for a namespace.
//!
//! In a pattern, `*` stands for any characters and nothing else is special. An exact name goes before a pattern with
//! `*`; of those, the one with the longer text before its first `*`; then the rule written first.
//!
//! Names and the texts before the first `*` are found by hashing, so a thousand tenants with a rule each cost a look
//! at no more than the length of a namespace. Only patterns with the same text before their first `*` and more text
//! behind it are tried one by one.

use crate::image::TextMap;

/// The rules of one source, or the mirrors of one text.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    unscoped: Option<Seat>,
    scoped: Option<Box<Scoped>>,
}

/// A rule by its place in the table, and one of its mirrors. Ordered as written.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Seat {
    pub(super) rule: u32,
    pub(super) mirror: u32,
}

#[derive(Debug, Default)]
struct Scoped {
    names: TextMap<Seat>,
    /// By the text before the first `*`: what follows that `*`, in the order of the rules.
    globs: TextMap<Vec<(Box<str>, Seat)>>,
    /// The lengths of the keys of `globs`, longest first, each once.
    lengths: Vec<usize>,
}

impl Scopes {
    /// Adds a rule; rules are added in the order in which they are written. Gives the unscoped rule that is there
    /// already if this one is unscoped as well; that one stays.
    pub(super) fn insert(&mut self, seat: Seat, namespaces: Option<&[Box<str>]>) -> Option<Seat> {
        let Some(patterns) = namespaces else {
            if self.unscoped.is_none() {
                self.unscoped = Some(seat);
                return None;
            }
            return self.unscoped;
        };
        let scoped = self.scoped.get_or_insert_default();
        for pattern in patterns {
            match pattern.split_once('*') {
                None => {
                    scoped.names.entry(pattern.clone()).or_insert(seat);
                }
                Some((before, behind)) => {
                    // Most texts begin one pattern only.
                    let globs = scoped.globs.entry(before.into()).or_insert_with(|| Vec::with_capacity(1));
                    // What comes behind a pattern that takes every name is never reached.
                    if globs.last().is_none_or(|(behind, _)| !takes_all(behind)) {
                        globs.push((behind.into(), seat));
                    }
                    if let Err(at) = scoped.lengths.binary_search_by(|length| before.len().cmp(length)) {
                        scoped.lengths.insert(at, before.len());
                    }
                }
            }
        }
        None
    }

    /// The rule that speaks for `namespace`; `None` as a namespace is admitted by unscoped rules only.
    pub(super) fn best(&self, namespace: Option<&str>, probes: &mut usize) -> Option<Seat> {
        let scoped = self.scoped.as_ref().zip(namespace).and_then(|(scoped, namespace)| {
            *probes += 1;
            let named = scoped.names.get(namespace).copied();
            named.or_else(|| scoped.globs(namespace, probes).next())
        });
        scoped.or(self.unscoped)
    }

    /// Every rule that speaks for any namespace, as written.
    pub(super) fn seats(&self) -> Vec<Seat> {
        let scoped = self.scoped.iter().flat_map(|scoped| {
            let globs = scoped.globs.values().flatten().map(|(_, seat)| seat);
            scoped.names.values().chain(globs)
        });
        let mut seats: Vec<_> = scoped.chain(&self.unscoped).copied().collect();
        seats.sort_unstable();
        seats.dedup();
        seats
    }

    /// Whether a rule speaks for all namespaces.
    pub(super) fn is_for_all(&self) -> bool {
        self.unscoped.is_some()
    }

    /// The first rule as written that admits `namespace`.
    pub(super) fn first(&self, namespace: Option<&str>, probes: &mut usize) -> Option<Seat> {
        let scoped = self.scoped.as_ref().zip(namespace).and_then(|(scoped, namespace)| {
            *probes += 1;
            let named = scoped.names.get(namespace).copied();
            named.into_iter().chain(scoped.globs(namespace, probes)).min()
        });
        scoped.into_iter().chain(self.unscoped).min()
    }
}

impl Scoped {
    /// Of each text before a `*` that `namespace` begins with, longest first, the first rule that admits it.
    fn globs(&self, namespace: &str, probes: &mut usize) -> impl Iterator<Item = Seat> {
        self.lengths.iter().filter_map(move |length| {
            let (before, rest) = namespace.split_at_checked(*length)?;
            *probes += 1;
            let globs = self.globs.get(before)?;
            globs.iter().find(|(behind, _)| ends_in(rest, behind)).map(|(_, seat)| *seat)
        })
    }
}

/// How well a pattern describes a namespace that it matches; the greater wins.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Fit {
    // In ascending order: product.md §1, "Which rule".
    Unscoped,
    /// The length of the text before the first `*`.
    Glob(usize),
    Name,
}

/// How well the best of a rule's patterns describes `namespace`; `None`: the rule does not admit it.
pub(super) fn fit(namespaces: Option<&[Box<str>]>, namespace: Option<&str>) -> Option<Fit> {
    let Some(patterns) = namespaces else {
        return Some(Fit::Unscoped);
    };
    let namespace = namespace?;
    let of = |pattern: &str| match pattern.split_once('*') {
        None => (pattern == namespace).then_some(Fit::Name),
        Some((before, behind)) => {
            ends_in(namespace.strip_prefix(before)?, behind).then_some(Fit::Glob(before.len()))
        }
    };
    patterns.iter().filter_map(|pattern| of(pattern)).max()
}

/// Whether what follows a `*` lets every name pass.
pub(super) fn takes_all(behind: &str) -> bool {
    behind.bytes().all(|byte| byte == b'*')
}

/// Whether `text` is any characters and then what `behind` describes, in which each `*` stands for any characters.
fn ends_in(text: &str, behind: &str) -> bool {
    let Some((middle, end)) = behind.rsplit_once('*') else {
        return text.ends_with(behind);
    };
    let Some(mut text) = text.strip_suffix(end) else {
        return false;
    };
    // The leftmost place for each piece leaves the most room for the next.
    middle.split('*').all(|piece| match text.split_once(piece) {
        Some((_, rest)) => {
            text = rest;
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn admits(pattern: &str, namespace: &str) -> bool {
        fit(Some(&[pattern.into()]), Some(namespace)).is_some()
    }

    #[test]
    fn a_star_stands_for_any_characters_and_nothing_else_is_special() {
        for (pattern, namespace, expected) in [
            ("team-*", "team-a", true),
            ("team-*", "team-", true),
            ("team-*", "team", false),
            ("*", "", true),
            ("*", "default", true),
            ("*-prod", "shop-prod", true),
            ("*-prod", "shop-prod-eu", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*aa", "aa", false),
            ("a*b*bc", "abc", false),
            ("**", "x", true),
            ("te?m", "team", false),
            ("te?m", "te?m", true),
            ("te[a]m", "team", false),
            ("te.m", "team", false),
        ] {
            assert_eq!(admits(pattern, namespace), expected, "`{pattern}` on `{namespace}`");
        }
    }

    #[test]
    fn without_a_namespace_only_unscoped_rules_are_admitted() {
        assert_eq!(fit(None, None), Some(Fit::Unscoped));
        assert_eq!(fit(Some(&["*".into()]), None), None);
    }

    /// The plain definition of a pattern, by trying every split.
    fn slowly(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|at| slowly(rest, &text[at..])),
            [byte, rest @ ..] => text.first() == Some(byte) && slowly(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_its_definition_says(pattern in "[ab*]{0,7}", text in "[ab]{0,8}") {
            prop_assert_eq!(admits(&pattern, &text), slowly(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn the_best_and_the_first_rule_are_those_of_a_linear_scan(
            rules in proptest::collection::vec(
                proptest::option::of(proptest::collection::vec("[ab*]{1,4}", 1..3)), 0..8),
            namespace in proptest::option::of("[ab]{0,5}"),
        ) {
            let rules: Vec<Option<Box<[Box<str>]>>> = rules
                .into_iter()
                .map(|rule| rule.map(|patterns| patterns.into_iter().map(Into::into).collect()))
                .collect();
            let mut scopes = Scopes::default();
            for (rule, patterns) in (0..).zip(&rules) {
                scopes.insert(Seat { rule, mirror: 0 }, patterns.as_deref());
            }
            let admitting: Vec<(Fit, u32)> = (0..)
                .zip(&rules)
                .filter_map(|(rule, patterns)| Some((fit(patterns.as_deref(), namespace.as_deref())?, rule)))
                .collect();
            let best = admitting.iter().copied().max_by_key(|(fit, rule)| (*fit, std::cmp::Reverse(*rule)));
            let found = scopes.best(namespace.as_deref(), &mut 0).map(|seat| seat.rule);
            prop_assert_eq!(found, best.map(|(_, rule)| rule));
            let first = scopes.first(namespace.as_deref(), &mut 0).map(|seat| seat.rule);
            prop_assert_eq!(first, admitting.first().map(|(_, rule)| *rule));
        }
    }
}
