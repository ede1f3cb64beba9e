//! Finding the rule for a reference.
//!
//! Sources and mirrors lie in hash maps by their normalised text, and a lookup asks for slices of the reference's
//! own text: the name, then what is left when segments are taken from its end, then the host when labels are taken
//! from its front. So it allocates nothing, a match is on a segment boundary by construction, and it costs the same
//! with 100,000 rules as with ten.

use std::sync::Arc;

use crate::image::{Reference, TextMap, TextSet};

use super::{
    mirror::Mirror,
    rule::Rule,
    scope::{Scopes, Seat},
    source::{Shape, Source, is_local, split_port, version},
};

/// What a table says about a reference.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'t> {
    /// The winning rule says `keep: true`: the image is left as written.
    Exception(&'t Arc<Rule>),
    /// The image is inside a mirror: it is not moved, only pinned.
    Inside {
        /// The rule that the mirror is of, with its `pin` and `lock`.
        rule: &'t Arc<Rule>,
        /// Which of the rule's mirrors holds the image.
        mirror: usize,
    },
    /// The image is inside a mirror, but of no rule whose namespaces admit the request.
    InsideNoRule,
    /// No rule speaks of it.
    NoRule,
    /// The winning rule, which has mirrors.
    Rule(&'t Arc<Rule>),
}

/// Where the rules are, by source and by mirror.
#[derive(Debug, Default)]
pub(super) struct Index {
    everything: Scopes,
    /// By the host behind `*.`, with its port if the source has one.
    wildcards: TextMap<Scopes>,
    /// By registry, or registry and path.
    prefixes: TextMap<Scopes>,
    /// By name, then by tag or digest (which has a colon, and a tag has none).
    exact: TextMap<TextMap<Scopes>>,
    /// By what every image in the mirror begins with.
    mirrors: TextMap<Held>,
    /// The registries that hold a mirror.
    registries: TextSet,
}

/// The mirrors of one text.
#[derive(Debug)]
struct Held {
    first: Seat,
    scopes: Scopes,
}

/// What is found about a reference inside a mirror.
pub(super) enum Inside {
    No,
    /// In none whose rule admits the namespace.
    Nobodys,
    Of(Seat),
}

impl Index {
    /// Room for as many rules of the commonest kind.
    pub(super) fn with_capacity(rules: usize) -> Self {
        Self { prefixes: TextMap::with_capacity_and_hasher(rules, <_>::default()), ..Self::default() }
    }

    /// Adds a rule by its source; gives the earlier unscoped rule of the same source if both are unscoped.
    pub(super) fn add_source(
        &mut self,
        source: &Source,
        rule: u32,
        namespaces: Option<&[Box<str>]>,
    ) -> Option<u32> {
        let scopes = match (source.shape(), source.name(), source.version()) {
            (Shape::Exact { .. }, Some(name), Some(version)) => {
                self.exact.entry(name.into()).or_default().entry(version.into()).or_default()
            }
            (Shape::Everything, ..) => &mut self.everything,
            (Shape::Wildcard, ..) => self.wildcards.entry(source.key().into()).or_default(),
            (Shape::Exact { .. } | Shape::Prefix, ..) => {
                self.prefixes.entry(source.key().into()).or_default()
            }
        };
        scopes.insert(Seat { rule, mirror: 0 }, namespaces).map(|earlier| earlier.rule)
    }

    /// Adds a mirror; gives the first mirror of the same text, if there is one already.
    pub(super) fn add_mirror(
        &mut self,
        mirror: &Mirror,
        seat: Seat,
        namespaces: Option<&[Box<str>]>,
    ) -> Option<Seat> {
        if let Some(held) = self.mirrors.get_mut(mirror.prefix()) {
            held.scopes.insert(seat, namespaces);
            return Some(held.first);
        }
        if !self.registries.contains(mirror.registry()) {
            self.registries.insert(mirror.registry().into());
        }
        let mut scopes = Scopes::default();
        scopes.insert(seat, namespaces);
        self.mirrors.insert(mirror.prefix().into(), Held { first: seat, scopes });
        None
    }

    /// The most specific rule whose source holds `reference` and which admits `namespace`.
    pub(super) fn closest(
        &self,
        reference: &Reference,
        namespace: Option<&str>,
        probes: &mut usize,
    ) -> Option<Seat> {
        if !self.exact.is_empty() {
            *probes += 1;
            if let Some(versions) = self.exact.get(reference.name()) {
                *probes += 1;
                let scopes = version(reference).and_then(|version| versions.get(version));
                if let Some(seat) = scopes.and_then(|scopes| scopes.best(namespace, probes)) {
                    return Some(seat);
                }
            }
        }
        for prefix in prefixes(reference.name()) {
            *probes += 1;
            let scopes = self.prefixes.get(prefix);
            if let Some(seat) = scopes.and_then(|scopes| scopes.best(namespace, probes)) {
                return Some(seat);
            }
        }
        if self.passed_by(reference.registry(), probes) {
            return None;
        }
        if !self.wildcards.is_empty() {
            for suffix in suffixes(reference.registry()) {
                *probes += 1;
                let scopes = self.wildcards.get(suffix);
                if let Some(seat) = scopes.and_then(|scopes| scopes.best(namespace, probes)) {
                    return Some(seat);
                }
            }
        }
        self.everything.best(namespace, probes)
    }

    /// The rules of every source that holds `reference`, the most specific first, as [`Index::closest`] goes through them.
    pub(super) fn levels<'i>(&'i self, reference: &'i Reference) -> impl Iterator<Item = &'i Scopes> {
        let exact = self.exact.get(reference.name()).zip(version(reference));
        let exact = exact.and_then(|(versions, version)| versions.get(version));
        let by_prefix = prefixes(reference.name()).filter_map(|prefix| self.prefixes.get(prefix));
        let is_passed_by = self.passed_by(reference.registry(), &mut 0);
        let wild = suffixes(reference.registry()).filter_map(|suffix| self.wildcards.get(suffix));
        let wild = wild.chain([&self.everything]).filter(move |_| !is_passed_by);
        exact.into_iter().chain(by_prefix).chain(wild)
    }

    /// The rules of every mirror that holds `reference`, the longest first, as [`Index::inside`] goes through them.
    pub(super) fn levels_around<'i>(&'i self, reference: &'i Reference) -> impl Iterator<Item = &'i Scopes> {
        let is_own = self.registries.contains(reference.registry());
        let held = prefixes(reference.name()).filter_map(|prefix| self.mirrors.get(prefix));
        held.filter(move |_| is_own).map(|held| &held.scopes)
    }

    /// The mirror that `reference` is inside: the longest, then the first written, of a rule that admits
    /// `namespace`.
    pub(super) fn inside(
        &self,
        reference: &Reference,
        namespace: Option<&str>,
        probes: &mut usize,
    ) -> Inside {
        *probes += 1;
        let mut inside = Inside::No;
        if !self.registries.contains(reference.registry()) {
            return inside;
        }
        for prefix in prefixes(reference.name()) {
            *probes += 1;
            let Some(held) = self.mirrors.get(prefix) else {
                continue;
            };
            if let Some(seat) = held.scopes.first(namespace, probes) {
                return Inside::Of(seat);
            }
            inside = Inside::Nobodys;
        }
        inside
    }

    /// The first mirror that holds all of `name`, whatever its rule's namespaces: the longest one.
    pub(super) fn mirror_around(&self, name: &str) -> Option<Seat> {
        let registry = name.split_once('/').map_or(name, |(registry, _)| registry);
        if !self.registries.contains(registry) {
            return None;
        }
        prefixes(name).find_map(|prefix| self.mirrors.get(prefix)).map(|held| held.first)
    }

    /// Whether `*` and `*.x` pass a registry by.
    pub(super) fn passed_by(&self, registry: &str, probes: &mut usize) -> bool {
        *probes += 1;
        self.registries.contains(registry) || is_local(registry)
    }
}

/// A name, and what is left of it when segments are taken from its end, down to the registry.
fn prefixes(name: &str) -> impl Iterator<Item = &str> {
    // Names are so short that looking at one byte after the other is faster than what the standard library does.
    std::iter::successors(Some(name), |name| name.get(..name.bytes().rposition(|byte| byte == b'/')?))
}

/// What is left of a registry when labels are taken from its front, at least one: each with the port, if there is
/// one, and then without.
fn suffixes(registry: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(behind_a_label(registry), |suffix| behind_a_label(suffix)).flat_map(|suffix| {
        let (host, port) = split_port(suffix);
        port.map(|_| suffix).into_iter().chain([host])
    })
}

fn behind_a_label(host: &str) -> Option<&str> {
    host.split_once('.').map(|(_, behind)| behind)
}
