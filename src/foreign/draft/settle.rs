//! What of the rules that were found can stand beside the others.

use std::collections::{BTreeMap, HashMap, HashSet, hash_map::Entry};

use super::{Draft, DraftRule};
use crate::{
    foreign::text::{List, is_within, name_of},
    table::{Problem, Table},
};

impl Draft {
    /// Leaves out what a table cannot have and what would never count, and says what collides.
    pub(super) fn settle(&mut self) {
        self.drop_unreadable();
        self.drop_doubles();
        self.drop_inside_mirrors();
        self.drop_idle_exceptions();
        self.tell_collisions();
    }

    /// Leaves out rules, mirrors and registries that a table cannot have.
    fn drop_unreadable(&mut self) {
        let mut said = Vec::new();
        let mut known = HashMap::new();
        let mut faults = |rule: &DraftRule, mirror: Option<&str>| -> Option<String> {
            let key = (mirror.is_some(), mirror.unwrap_or(&rule.source).to_owned());
            let exact = is_exact(&rule.source);
            known.entry((key, exact)).or_insert_with(|| fault(rule, mirror)).clone()
        };
        self.rules.retain_mut(|rule| {
            if let Some(fault) = faults(rule, None) {
                said.push(format!("{}: left out: {fault}", rule.at));
                return false;
            }
            let had = rule.mirrors.len();
            let mirrors = std::mem::take(&mut rule.mirrors);
            for mirror in mirrors {
                match faults(rule, Some(&mirror)) {
                    Some(fault) => said.push(format!("{}: left out: {fault}", rule.at)),
                    None if rule.mirrors.contains(&mirror) => {}
                    None => rule.mirrors.push(mirror),
                }
            }
            had == 0 || !rule.mirrors.is_empty()
        });
        self.say_all(&said);
    }

    /// Leaves out rules of a source and namespaces that an earlier rule has.
    fn drop_doubles(&mut self) {
        let mut said = Vec::new();
        let mut first: HashMap<(String, Vec<String>), DraftRule> = HashMap::new();
        self.rules.retain(|rule| {
            let mut namespaces = rule.namespaces.clone();
            namespaces.sort_unstable();
            match first.entry((rule.source.clone(), namespaces)) {
                Entry::Vacant(entry) => {
                    entry.insert(rule.clone());
                    true
                }
                Entry::Occupied(earlier) => {
                    let earlier = earlier.get();
                    if earlier.mirrors != rule.mirrors || earlier.otherwise != rule.otherwise {
                        let source = &rule.source;
                        said.push(format!("{}: left out: {} has `{source}` already", rule.at, earlier.at));
                    }
                    false
                }
            }
        });
        self.say_all(&said);
    }

    /// Leaves out rules whose source is inside a mirror: images there are not moved.
    fn drop_inside_mirrors(&mut self) {
        let places = self.places();
        let mut said = Vec::new();
        self.rules.retain(|rule| {
            let is_moved = !rule.mirrors.is_empty() && !rule.source.starts_with('*');
            let around = is_moved.then(|| around(name_of(&rule.source), &places)).flatten();
            if let Some(place) = around {
                said.push(format!(
                    "{}: left out: `{}` is inside the mirror `{place}`, and what is there is not moved",
                    rule.at, rule.source
                ));
            }
            around.is_none()
        });
        self.say_all(&said);
    }

    /// Leaves out exceptions from nothing, and such that are in a mirror or hold one: those images are not moved anyway.
    fn drop_idle_exceptions(&mut self) {
        let places = self.places();
        let moved: HashSet<String> = self
            .rules
            .iter()
            .filter(|rule| !rule.mirrors.is_empty())
            .map(|rule| rule.source.clone())
            .collect();
        self.rules.retain(|rule| {
            if !rule.mirrors.is_empty() || !rule.namespaces.is_empty() {
                return true;
            }
            let name = name_of(&rule.source);
            let holds_mirror = places.iter().any(|place| is_within(place, name));
            !holds_mirror && around(name, &places).is_none() && is_held(&rule.source, &moved)
        });
    }

    /// What mirrors begin with.
    pub(super) fn places(&self) -> HashSet<String> {
        let mirrors = self.rules.iter().flat_map(|rule| &rule.mirrors);
        mirrors
            .map(|mirror| mirror.split("/{").next().unwrap_or(mirror))
            .map(|text| name_of(text).to_owned())
            .collect()
    }

    /// Images of two sources with equal paths have one place in a mirror without `{registry}`.
    fn tell_collisions(&mut self) {
        let mut by_mirror: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for rule in self.rules.iter().filter(|rule| !is_exact(&rule.source)) {
            for mirror in rule.mirrors.iter().filter(|mirror| !mirror.contains('{')) {
                by_mirror.entry(mirror).or_default().push(&rule.source);
            }
        }
        let mut said = Vec::new();
        for (mirror, mut sources) in by_mirror {
            sources.dedup();
            // Official images are written both ways, and are the same.
            let official = ["docker.io", "docker.io/library"];
            if sources.len() == 2 && sources.iter().all(|source| official.contains(source)) {
                continue;
            }
            let several = sources.iter().find(|source| source.starts_with('*'));
            if let Some(source) = several {
                said.push(format!(
                    "images with equal paths of all registries that `{source}` holds have one place in `{mirror}`: only one \
                     of them can be there (`{mirror}/{{registry}}` keeps them apart)"
                ));
            } else if sources.len() > 1 {
                let names: Vec<_> = sources.iter().map(|source| format!("`{source}`")).collect();
                said.push(format!(
                    "images with equal paths below {} have one place in `{mirror}`: only one of them can be there",
                    List(&names)
                ));
            }
        }
        self.say_all(&said);
    }
}

/// Why a table cannot have the source of a rule, or one of its mirrors.
fn fault(rule: &DraftRule, mirror: Option<&str>) -> Option<String> {
    let stand_in = if is_exact(&rule.source) { "mirror.invalid/x:x" } else { "mirror.invalid" };
    let alone = DraftRule { mirrors: vec![mirror.unwrap_or(stand_in).to_owned()], ..rule.clone() };
    let draft = Draft { rules: vec![alone], ..Draft::default() };
    // A source may be inside its own mirror, of which something is said later.
    let inside = |problem: &&Problem| !problem.message.contains("is inside the mirror");
    let problems = Table::parse(&draft.write("")).err()?;
    let problem = problems.iter().find(inside)?;
    let remedy = problem.remedy.as_ref().map(|remedy| format!(" ({remedy})")).unwrap_or_default();
    Some(format!("{}{remedy}", problem.message))
}

/// The longest of the places that hold all of `name`.
fn around<'p>(name: &str, places: &'p HashSet<String>) -> Option<&'p str> {
    let mut part = name;
    loop {
        if let Some(place) = places.get(part) {
            return Some(place);
        }
        part = part.rsplit_once('/')?.0;
    }
}

/// Whether one of the sources is less specific than `source` and holds it.
fn is_held(source: &str, others: &HashSet<String>) -> bool {
    if others.contains("*") && source != "*" {
        return true;
    }
    let name = name_of(source);
    let is_whole = is_exact(source);
    let mut part = if is_whole { Some(name) } else { name.rsplit_once('/').map(|(before, _)| before) };
    while let Some(text) = part {
        if others.contains(text) {
            return true;
        }
        part = text.rsplit_once('/').map(|(before, _)| before);
    }
    let host = source.strip_prefix("*.").unwrap_or_else(|| name.split('/').next().unwrap_or(name));
    let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
    [host, bare].iter().any(|host| {
        let mut rest = *host;
        while let Some((_, behind)) = rest.split_once('.') {
            if others.contains(&format!("*.{behind}")) {
                return true;
            }
            rest = behind;
        }
        false
    })
}

/// Whether a source is a whole reference.
fn is_exact(source: &str) -> bool {
    source.split_once('/').is_some_and(|(_, path)| path.contains([':', '@']))
}
