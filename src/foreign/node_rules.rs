//! What of a table nodes can be told: rules without namespaces, with places that are known beforehand. What cannot be
//! told comes out as warnings.

use std::collections::{BTreeMap, HashSet};

use super::{draft::Otherwise, rules_of_lines, text::is_within};
use crate::table::{Fallback, LockMode, Mirror, Pin, Rule, Table};

/// Rules for nodes, in the order of the table.
pub(super) struct NodeRules<'t> {
    /// Those with mirrors.
    pub(super) rules: Vec<NodeRule>,
    /// The sources of exceptions from them.
    pub(super) exceptions: Vec<NodeRule>,
    table: &'t Table,
    /// Why rules were left out or say less, each with the lines of the rules.
    losses: BTreeMap<String, Vec<usize>>,
    warnings: Vec<String>,
}

/// A rule for nodes.
#[derive(Clone, Debug)]
pub(super) struct NodeRule {
    /// `*`, `*.` and a host, a registry, or a registry and a path.
    pub(super) source: String,
    /// Its mirrors, without placeholders; of an exception none.
    pub(super) mirrors: Vec<String>,
    pub(super) otherwise: Otherwise,
    pub(super) line: usize,
}

/// What a format has words for.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is about a kind of rule of its own")]
pub(super) struct Speaks {
    /// `*`.
    pub(super) everything: bool,
    /// Sources that are left alone.
    pub(super) exceptions: bool,
    /// Sources with a path.
    pub(super) paths: bool,
    /// That a source is never contacted.
    pub(super) refusal: bool,
    /// `*.host`.
    pub(super) wildcards: bool,
}

impl<'t> NodeRules<'t> {
    pub(super) fn of(table: &'t Table, speaks: Speaks) -> Self {
        let mut rules = Self {
            rules: Vec::new(),
            exceptions: Vec::new(),
            table,
            losses: BTreeMap::new(),
            warnings: Vec::new(),
        };
        for rule in table.rules() {
            rules.take(rule, speaks);
        }
        rules
    }

    fn take(&mut self, rule: &Rule, speaks: Speaks) {
        let source = rule.normalised_source();
        let line = rule.line();
        let has_path = source.contains('/');
        let cannot = if rule.namespaces().is_some() {
            Some("a node knows no namespaces")
        } else if rule.is_exact() {
            Some("a node knows no rules for one tag or digest")
        } else if source == "*" && !speaks.everything {
            Some("`*` cannot be said: name the registries")
        } else if source.starts_with("*.") && !speaks.wildcards {
            Some("a wildcard cannot be said: name the registries")
        } else if has_path && !speaks.paths {
            Some("a source with a path cannot be said: only whole registries can")
        } else if rule.keep() && !speaks.exceptions {
            Some("an exception cannot be said")
        } else if rule.keep() && self.meets_mirrors(&source) {
            Some("an exception in a mirror cannot be said")
        } else {
            None
        };
        if let Some(why) = cannot {
            return self.lose(&format!("left out: {why}"), line);
        }
        if rule.keep() {
            self.exceptions.push(NodeRule {
                source,
                mirrors: Vec::new(),
                otherwise: Otherwise::Source,
                line,
            });
            return;
        }
        let mut mirrors: Vec<String> = Vec::new();
        for mirror in rule.mirrors() {
            if mirror.prefix() != mirror.as_str() && !source.starts_with('*') {
                self.lose("`{registry}` is written out: other folders beside it no longer count as inside the mirror", line);
            }
            match place(mirror, &source) {
                Some(mirror) if !mirrors.contains(&mirror) => mirrors.push(mirror),
                Some(_) => {}
                None => self.lose(
                    "a mirror with `{registry}` is left out: what stands there is known for a named registry alone",
                    line,
                ),
            }
        }
        if mirrors.is_empty() {
            return self.lose("left out: no mirror is left of it", line);
        }
        let otherwise = self.otherwise(rule, speaks);
        self.tell_policies(rule);
        self.rules.push(NodeRule { source, mirrors, otherwise, line });
    }

    /// What a node does when no mirror helps.
    fn otherwise(&mut self, rule: &Rule, speaks: Speaks) -> Otherwise {
        let (missing, unavailable) = (rule.on_missing(), rule.on_unavailable());
        let otherwise = if missing == Fallback::Keep { Otherwise::Source } else { Otherwise::Nothing };
        if otherwise == Otherwise::Nothing && !speaks.refusal {
            self.lose(
                "`onMissing` cannot be said here: a node goes on to the source when no mirror helps",
                rule.line(),
            );
            return Otherwise::Source;
        }
        match (missing, unavailable) {
            (Fallback::Keep, Fallback::Keep) | (Fallback::Rewrite, Fallback::Rewrite) => {}
            (Fallback::Keep, _) => self.lose(
                "`onUnavailable` is as `onMissing`: a node goes on to the source also while no mirror answers",
                rule.line(),
            ),
            _ => self.lose(
                "`onMissing` and `onUnavailable` are one: a node never goes to the source, and denies nothing",
                rule.line(),
            ),
        }
        otherwise
    }

    fn tell_policies(&mut self, rule: &Rule) {
        if rule.pin() != Pin::TagAndDigest {
            self.lose("`pin` cannot be said: a node pulls what is written", rule.line());
        }
        if rule.lock() != LockMode::Prefer {
            self.lose("`lock` cannot be said: a node knows no lock", rule.line());
        }
    }

    /// Whether a source is in a mirror of the table, or one is in it.
    fn meets_mirrors(&self, source: &str) -> bool {
        let mirrors = self.table.rules().iter().flat_map(|rule| rule.mirrors());
        let mut prefixes = mirrors.map(Mirror::prefix);
        prefixes.any(|prefix| is_within(prefix, source) || is_within(source, prefix))
    }

    /// Leaves out the rules that a format has no words for.
    pub(super) fn leave_out_if(&mut self, why: &str, cannot: impl Fn(&NodeRule) -> bool) {
        let mut lines = Vec::new();
        for rules in [&mut self.rules, &mut self.exceptions] {
            lines.extend(rules.iter().filter(|rule| cannot(rule)).map(|rule| rule.line));
            rules.retain(|rule| !cannot(rule));
        }
        for line in lines {
            self.lose(&format!("left out: {why}"), line);
        }
    }

    pub(super) fn lose(&mut self, why: &str, line: usize) {
        let lines = self.losses.entry(why.to_owned()).or_default();
        if !lines.contains(&line) {
            lines.push(line);
        }
    }

    pub(super) fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    pub(super) fn warnings_about_ca(&mut self, host: &str, path: &str) {
        self.warn(format!("`ca` of `{host}` goes into a file of its own: {path}"));
    }

    /// Logins and client certificates are in Secrets, and a table has but their names.
    pub(super) fn warn_about_logins(&mut self, place: &str) {
        for entry in self.table.registries() {
            let host = &entry.host;
            let keys = [
                ("credentials", &entry.credentials),
                ("clientCertificate", &entry.client_certificate),
                ("pullSecret", &entry.pull_secret),
            ];
            for (key, _) in keys.iter().filter(|(_, value)| value.is_some()) {
                self.warnings.push(format!(
                    "`{key}` of `{host}` is a Secret, which nodes do not read: see to {place}"
                ));
            }
        }
    }

    /// The registries that hold mirrors of these rules, in the order of the rules.
    pub(super) fn mirror_hosts(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        let hosts = self.rules.iter().flat_map(|rule| &rule.mirrors);
        let hosts = hosts.map(|mirror| mirror.split('/').next().unwrap_or(mirror));
        hosts.filter(|host| seen.insert(*host)).collect()
    }

    /// How registries are reached.
    pub(super) fn reached(&self) -> Reached<'t> {
        Reached { table: self.table }
    }

    pub(super) fn into_warnings(self) -> Vec<String> {
        let losses = self.losses.iter();
        let losses = losses.filter_map(|(why, lines)| Some(format!("{}: {why}", rules_of_lines(lines)?)));
        losses.chain(self.warnings).collect()
    }
}

/// How registries are reached, by their hosts.
#[derive(Clone, Copy)]
pub(super) struct Reached<'t> {
    table: &'t Table,
}

impl<'t> Reached<'t> {
    pub(super) fn is_plain_http(self, host: &str) -> bool {
        self.table.registries().iter().any(|entry| &*entry.host == host && entry.plain_http)
    }

    pub(super) fn ca(self, host: &str) -> Option<&'t str> {
        self.table.registries().iter().find(|entry| &*entry.host == host)?.ca.as_deref()
    }
}

/// A mirror's text for a source; `None`: that depends on the image.
fn place(mirror: &Mirror, source: &str) -> Option<String> {
    let text = mirror.as_str();
    if !text.contains("{registry}") {
        return Some(text.to_owned());
    }
    if source.starts_with('*') {
        return None;
    }
    let registry = source.split('/').next().unwrap_or(source);
    Some(text.replace("{registry}", &registry.replace(':', "_")))
}
