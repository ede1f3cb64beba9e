//! The third of three steps: what the document's values mean, alone and together.
//!
//! It reads sources, mirrors and registries, and then looks across the rules: two that say the same, a source that
//! is inside a mirror (rewriting twice would move an image twice), mirrors of one text whose rules disagree. Every
//! problem points at the value that it came from; a rule with a problem still takes part in the checks across rules,
//! so that one reading finds everything.

use std::sync::Arc;

use super::{
    Parsed, Table, document,
    document::{OwnPolicies, Placed, RuleText},
    find::Finds,
    lookup::Index,
    mirror::Mirror,
    overlap,
    policy::{LockMode, Pin, Policies},
    problem::{Collector, Place, Problems, quoted},
    registry::{RegistryEntry, check_certificates, check_secret_name},
    rule::Rule,
    scope::Seat,
    source::{Shape, Source, check_host, is_local_suffix},
    tree::{Node, Tree},
};

/// Reads a table.
pub(super) fn read(text: &str) -> Result<Parsed, Problems> {
    let mut problems = Collector::default();
    let tree = match Tree::read(text, &mut problems) {
        Ok(tree) => tree.filter(|tree| !document::is_nothing(tree.root())),
        Err(syntax) => {
            // It stands alone: what was found before it may be its consequence.
            problems = Collector::default();
            problems.add(syntax);
            None
        }
    };
    let Some(tree) = tree else {
        if problems.len() == 0 {
            problems.add(Place::START.shape("the table is empty", EMPTY));
        }
        return Err(problems.verdict().err().unwrap_or_default());
    };
    let document = document::document(tree.root(), &mut problems);
    let mut reader = Reader::new(&tree, problems, document.rules);
    if let Some(node) = document.defaults {
        reader.defaults(node);
    }
    for node in document.rules.into_iter().flat_map(Node::items) {
        reader.rule(node);
    }
    for node in document.registries.into_iter().flat_map(Node::items) {
        reader.registry(node);
    }
    reader.sources_inside_mirrors();
    reader.finish()
}

/// A table that is being read.
struct Reader<'t> {
    tree: &'t Tree<'t>,
    problems: Collector,
    warnings: Collector,
    defaults: Policies,
    rules: Vec<Arc<Rule>>,
    marks: Vec<Mark>,
    registries: Vec<RegistryEntry>,
    index: Index,
    scratch: String,
}

/// Where a rule stands in the document, for problems that come to light later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    node: u32,
    /// Its source, or the rule itself if that could not be read.
    pub(super) source: Place,
    /// Whether the source could be read.
    pub(super) sound: bool,
}

impl Mark {
    /// Where the pattern with the number `number` stands.
    pub(super) fn pattern(self, number: usize, tree: &Tree<'_>) -> Place {
        let rule = document::rule(tree.node(self.node), &mut Collector::default());
        let place = rule.namespaces.and_then(|list| document::texts(list).nth(number)).map(|text| text.place);
        place.unwrap_or(self.source)
    }
}

impl<'t> Reader<'t> {
    fn new(tree: &'t Tree<'t>, problems: Collector, rules: Option<Node<'t>>) -> Self {
        let count = rules.map_or(0, |rules| rules.items().count());
        Self {
            tree,
            problems,
            warnings: Collector::default(),
            defaults: Policies::CONTRACT,
            rules: Vec::with_capacity(count),
            marks: Vec::with_capacity(count),
            registries: Vec::new(),
            index: Index::with_capacity(count),
            scratch: String::new(),
        }
    }

    fn defaults(&mut self, node: Node<'t>) {
        let own = document::defaults(node, &mut self.problems);
        self.defaults = self.policies(&own);
    }

    /// The policies of a rule, or of the defaults themselves.
    fn policies(&mut self, own: &OwnPolicies) -> Policies {
        let policies = Policies {
            pin: own.pin.map_or(self.defaults.pin, |pin| pin.value),
            on_missing: own.on_missing.map_or(self.defaults.on_missing, |fallback| fallback.value),
            on_unavailable: own
                .on_unavailable
                .map_or(self.defaults.on_unavailable, |fallback| fallback.value),
            lock: own.lock.map_or(self.defaults.lock, |lock| lock.value),
        };
        // Where neither is the section's own, it was reported in the defaults.
        let place = own.lock.map(|lock| lock.place).or_else(|| own.pin.map(|pin| pin.place));
        if let (LockMode::Require, Pin::Off, Some(place)) = (policies.lock, policies.pin, place) {
            let remedy = "`pin: off` ignores the lock: write `lock: ignore` beside it, or pin";
            self.problems.add(place.problem("`lock: require` with `pin: off`", remedy));
        }
        policies
    }

    fn rule(&mut self, node: Node<'t>) {
        let text = document::rule(node, &mut self.problems);
        let policies = self.policies(&text.policies);
        let source = text.source.and_then(|written| {
            let source = Source::read(written.value, &mut self.scratch);
            source.map_err(|fault| self.problems.add(fault.at(written.place))).ok()
        });
        let keep = text.keep.is_some_and(|keep| keep.value);
        let namespaces = self.namespaces(&text);
        self.check_keep(&text);
        let number = u32::try_from(self.rules.len()).expect("a tree has fewer than 2^32 nodes");
        let mut mirrors = Vec::with_capacity(1);
        for written in text.mirrors.into_iter().flat_map(document::texts) {
            let mirror = match Mirror::read(written.value, &mut self.scratch) {
                Ok(mirror) => mirror,
                Err(fault) => {
                    self.problems.add(fault.at(written.place));
                    continue;
                }
            };
            if let Some(source) = &source {
                self.check_exact(source, &mirror, written.place);
            }
            let seat = Seat { rule: number, mirror: u32::try_from(mirrors.len()).unwrap_or(u32::MAX) };
            if let Some(first) = self.index.add_mirror(&mirror, seat, namespaces.as_deref()) {
                self.check_agreement(first, policies, &mirror, written.place);
            }
            mirrors.push(mirror);
        }
        let place = text.source.map_or(text.place, |source| source.place);
        if let Some(source) = &source {
            let earlier = self.index.add_source(source, number, namespaces.as_deref());
            let earlier = earlier.and_then(|earlier| self.rules.get(earlier as usize));
            if let Some(earlier) = earlier {
                self.problems.add(already_mapped(place, source, earlier));
            }
        }
        self.marks.push(Mark { node: node.number(), source: place, sound: source.is_some() });
        self.rules.push(Arc::new(Rule {
            id: self.rules.len(),
            line: text.place.line as usize,
            source: source.unwrap_or_else(Source::unread),
            namespaces,
            mirrors: mirrors.into(),
            keep,
            policies,
        }));
    }

    fn namespaces(&mut self, text: &RuleText<'t>) -> Option<Box<[Box<str>]>> {
        let list = text.namespaces?;
        if list.items().next().is_none() {
            let remedy = "name at least one, or remove the key: the rule is then for all";
            self.problems.add(list.place().shape("`namespaces` is empty", remedy));
        }
        Some(document::texts(list).map(|text| text.value.into()).collect())
    }

    /// A rule has mirrors or says `keep: true`.
    fn check_keep(&mut self, text: &RuleText<'t>) {
        match (text.keep, text.mirrors) {
            (Some(Placed { value: true, place }), Some(_)) => {
                let remedy = "remove one of them: `keep: true` leaves images as written";
                self.problems.add(place.shape("both `keep: true` and `mirrors`", remedy));
            }
            (Some(Placed { value: true, .. }), None) => {}
            (_, Some(list)) if list.items().next().is_none() => {
                let remedy = "list at least one, or write `keep: true` to leave images as written";
                self.problems.add(list.place().shape("`mirrors` is empty", remedy));
            }
            (_, None) if !text.broken => {
                let remedy = "list `mirrors`, or write `keep: true` to leave images as written";
                self.problems.add(text.place.shape("neither `mirrors` nor `keep: true`", remedy));
            }
            _ => {}
        }
    }

    /// A whole reference is replaced by a whole reference, and a prefix by a prefix.
    fn check_exact(&mut self, source: &Source, mirror: &Mirror, place: Place) {
        let (says, remedy) = match (matches!(source.shape(), Shape::Exact { .. }), mirror.is_exact()) {
            (true, false) => (
                "names no tag or digest, as its source does",
                "add one: nothing is carried over from a source that is a whole reference",
            ),
            (false, true) => (
                "names a tag or a digest, as its source does not",
                "remove it: those of the image are carried over",
            ),
            _ => return,
        };
        self.problems.add(place.problem(format!("mirror {} {says}", quoted(mirror.as_str())), remedy));
    }

    /// An image inside a mirror is pinned as the mirror's rule says, so rules that share one must say the same.
    fn check_agreement(&mut self, first: Seat, policies: Policies, mirror: &Mirror, place: Place) {
        // A mirror that the same rule has twice is not among the rules yet, and agrees.
        let Some(first) = self.rules.get(first.rule as usize) else {
            return;
        };
        let mut differences = Vec::new();
        if first.pin() != policies.pin {
            differences.push(format!("`pin: {}`", first.pin().as_str()));
        }
        if first.lock() != policies.lock {
            differences.push(format!("`lock: {}`", first.lock().as_str()));
        }
        if !differences.is_empty() {
            let said = differences.join(" and ");
            let message = format!(
                "images in {} are under {said} by the rule on line {}, and not by this one",
                quoted(mirror.prefix()),
                first.line(),
            );
            self.problems.add(place.problem(message, "let both rules say the same, or use another mirror"));
        }
    }

    fn registry(&mut self, node: Node<'t>) {
        let text = document::registry(node, &mut self.problems);
        if let Some(ca) = text.ca
            && let Err(fault) = check_certificates(ca.value)
        {
            self.problems.add(fault.at(ca.place));
        }
        for name in [text.credentials, text.client_certificate, text.pull_secret].into_iter().flatten() {
            if let Err(fault) = check_secret_name(name.value) {
                self.problems.add(fault.at(name.place));
            }
        }
        let plain_http = text.plain_http.filter(|plain_http| plain_http.value);
        if let (Some(plain_http), Some(_)) = (plain_http, text.credentials) {
            let message = "`plainHttp` with `credentials`: the login is sent unencrypted";
            self.warnings.add(plain_http.place.problem(message, "use TLS, with a `ca` if it is your own"));
        }
        let Some(host) = text.host else { return };
        let registry = match check_host(host.value, &mut self.scratch) {
            Ok(registry) => registry,
            Err(fault) => return self.problems.add(fault.at(host.place)),
        };
        if let Some(earlier) = self.registries.iter().find(|earlier| *earlier.host == *registry) {
            let message = format!("registry {} is already on line {}", quoted(host.value), earlier.line);
            self.problems.add(host.place.problem(message, "put everything about it into one of them"));
        }
        let owned = |text: Option<document::Text<'_>>| text.map(|text| text.value.into());
        self.registries.push(RegistryEntry {
            host: registry,
            plain_http: plain_http.is_some(),
            ca: owned(text.ca),
            credentials: owned(text.credentials),
            client_certificate: owned(text.client_certificate),
            pull_secret: owned(text.pull_secret),
            line: text.place.line as usize,
        });
    }

    /// What is inside a mirror is never moved, so a source there would be without effect.
    fn sources_inside_mirrors(&mut self) {
        for (rule, mark) in self.rules.iter().zip(&self.marks) {
            if rule.keep || !mark.sound {
                continue;
            }
            let around = rule.source.name().and_then(|name| self.index.mirror_around(name));
            let Some(around) = around else { continue };
            let Some(owner) = self.rules.get(around.rule as usize) else {
                continue;
            };
            let mirror = owner.mirrors.get(around.mirror as usize).map_or("", Mirror::as_str);
            let message = format!(
                "source {} is inside the mirror {} of line {}",
                quoted(rule.source()),
                quoted(mirror),
                owner.line(),
            );
            let remedy =
                "images in a mirror are not moved: remove the rule, or write `keep: true` instead of mirrors";
            self.problems.add(mark.source.problem(message, remedy));
        }
    }

    fn finish(mut self) -> Result<Parsed, Problems> {
        overlap::check(&self.rules, &self.marks, self.tree, &mut self.problems, &mut self.warnings);
        self.problems.verdict()?;
        for (rule, mark) in self.rules.iter().zip(&self.marks) {
            if rule.source.shape() == Shape::Wildcard && is_local_suffix(rule.source.key()) {
                let message = format!(
                    "the rule can never win: {} is passed by in favour of the cluster's own registries",
                    quoted(rule.source()),
                );
                self.warnings.add(mark.source.problem(message, "name the registry itself as the source"));
            }
        }
        let requires_lock = self.rules.iter().any(|rule| !rule.keep() && rule.lock() == LockMode::Require);
        let is_scoped = self.rules.iter().any(|rule| rule.namespaces().is_some());
        let table = Table {
            rules: self.rules,
            registries: self.registries,
            index: self.index,
            requires_lock,
            is_scoped,
            finds: Finds::default(),
        };
        Ok(Parsed { table, warnings: self.warnings.sorted() })
    }
}

/// Two rules of equal source and scope.
pub(super) fn already_mapped(place: Place, source: &Source, earlier: &Rule) -> super::Problem {
    let line = earlier.line();
    let message = format!("source {} is already mapped on line {line}", quoted(source.as_str()));
    place.problem(
        message,
        format!("to try several mirrors in order, list them under line {line} as `mirrors: [..]`"),
    )
}

const EMPTY: &str = "write at least `apiVersion: portolan.dev/v1`, `kind: MappingTable` and `rules: []`";
