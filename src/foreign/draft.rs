//! A table that is being put together from another tool's words.
//!
//! Readers say what they found. What cannot stand beside the other rules is left out here, each with a warning, so that
//! what is printed can always be read.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use super::{
    import::{File, ImportError, Imported},
    text::{List, is_within, name_of, yaml_word},
};
use crate::{
    image::{DEFAULT_REGISTRY, excerpt},
    table::{Problem, Table},
};

/// Rules, registries and warnings as they are found.
#[derive(Debug, Default)]
pub(super) struct Draft {
    rules: Vec<DraftRule>,
    registries: BTreeMap<String, Reach>,
    warnings: Vec<String>,
}

/// A rule that was found.
#[derive(Clone, Debug)]
pub(super) struct DraftRule {
    /// Where.
    pub(super) at: At,
    /// Its source, as a table has it.
    pub(super) source: String,
    /// Its mirrors; none: images are left as they are written.
    pub(super) mirrors: Vec<String>,
    /// The namespaces that it is for; none: all.
    pub(super) namespaces: Vec<String>,
    /// What becomes of images that no mirror has.
    pub(super) otherwise: Otherwise,
}

/// What becomes of images that no mirror has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Otherwise {
    /// They are not to be had.
    #[default]
    Nothing,
    /// They are pulled from their source.
    Source,
}

/// How a registry is reached, as far as a table can say it.
#[derive(Clone, Debug, Default)]
struct Reach {
    plain_http: bool,
    ca: Option<String>,
}

/// Where something stands: the file, the line and the key, as far as they are known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct At {
    pub(super) file: String,
    pub(super) line: Option<usize>,
    pub(super) key: String,
}

impl At {
    pub(super) fn new(file: &File<'_>, line: impl Into<Option<usize>>, key: impl Into<String>) -> Self {
        Self { file: file.name.to_owned(), line: line.into(), key: key.into() }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.file)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if self.key.is_empty() { Ok(()) } else { write!(f, ", `{}`", self.key) }
    }
}

impl Draft {
    /// Something that the table will not say, or not quite.
    pub(super) fn warn(&mut self, at: &At, text: impl fmt::Display) {
        self.say(&format!("{at}: {text}"));
    }

    /// A rule. Without mirrors it is an exception, and only kept where there would be mirrors otherwise.
    pub(super) fn rule(&mut self, rule: DraftRule) {
        self.rules.push(rule);
    }

    /// A rule for every namespace.
    pub(super) fn moved(
        &mut self,
        at: At,
        source: impl Into<String>,
        mirrors: Vec<String>,
        otherwise: Otherwise,
    ) {
        self.rules.push(DraftRule { at, source: source.into(), mirrors, namespaces: Vec::new(), otherwise });
    }

    /// An exception for every namespace, as far as one is needed.
    pub(super) fn kept(&mut self, at: At, source: impl Into<String>) {
        self.moved(at, source, Vec::new(), Otherwise::Source);
    }

    /// A registry that speaks HTTP without TLS.
    pub(super) fn plain_http(&mut self, host: &str) {
        self.registries.entry(host.to_owned()).or_default().plain_http = true;
    }

    /// Certificates to trust for a registry.
    pub(super) fn ca(&mut self, host: &str, pem: &str) {
        let ca = self.registries.entry(host.to_owned()).or_default().ca.get_or_insert_default();
        if !ca.contains(pem) {
            ca.push_str(pem);
        }
    }

    fn say(&mut self, text: &str) {
        let text = excerpt(text, LONGEST);
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    fn say_all(&mut self, texts: &[String]) {
        for text in texts {
            self.say(text);
        }
    }

    /// The table, which is read once before it is handed out.
    pub(super) fn finish(mut self, kind: &str, files: &[File<'_>]) -> Result<Imported, ImportError> {
        for rule in &mut self.rules {
            rule.source = normalised(&rule.source);
            for mirror in &mut rule.mirrors {
                *mirror = normalised(mirror);
            }
        }
        self.drop_unreadable();
        self.drop_doubles();
        self.drop_inside_mirrors();
        self.drop_idle_exceptions();
        self.tell_collisions();
        if self.rules.is_empty() {
            self.say("no rule comes of it: nothing would be moved");
        }
        let names: Vec<_> = files.iter().map(|file| excerpt(file.name, 80)).collect();
        let about = format!("Made by `portolan import` from {} ({kind}).", List(&names));
        let text = self.write(&about);
        let parsed = Table::parse(&text).map_err(ImportError::NoTable)?;
        for Problem { message, remedy, .. } in &parsed.warnings {
            let remedy = remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
            self.say(&format!("of the table: {message}{remedy}"));
        }
        Ok(Imported { text, warnings: self.warnings })
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
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(rule.clone());
                    true
                }
                std::collections::hash_map::Entry::Occupied(earlier) => {
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
    fn places(&self) -> HashSet<String> {
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

    fn write(&self, about: &str) -> String {
        let mut lines = vec![format!("# {about}")];
        lines.extend(["apiVersion: portolan.dev/v1".to_owned(), "kind: MappingTable".to_owned()]);
        let mut moved = self.rules.iter().filter(|rule| !rule.mirrors.is_empty());
        let common = moved.next().map(|rule| rule.otherwise);
        let common = common.filter(|first| moved.all(|rule| rule.otherwise == *first));
        if let Some(otherwise) = common {
            lines.push("defaults:".to_owned());
            lines.extend(otherwise.lines(1));
        }
        if self.rules.is_empty() {
            lines.push("rules: []".to_owned());
        } else {
            lines.push("rules:".to_owned());
        }
        for rule in &self.rules {
            lines.push(format!("  - source: {}", yaml_word(&rule.source)));
            if rule.mirrors.is_empty() {
                lines.push("    keep: true".to_owned());
            } else {
                let mirrors: Vec<_> = rule.mirrors.iter().map(|mirror| yaml_word(mirror)).collect();
                if let [mirror] = &*mirrors {
                    lines.push(format!("    mirrors: [{mirror}]"));
                } else {
                    lines.push("    mirrors:".to_owned());
                    lines.extend(mirrors.iter().map(|mirror| format!("      - {mirror}")));
                }
                if common.is_none() {
                    lines.extend(rule.otherwise.lines(2));
                }
            }
            if !rule.namespaces.is_empty() {
                let namespaces: Vec<_> = rule.namespaces.iter().map(|name| yaml_word(name)).collect();
                lines.push(format!("    namespaces: [{}]", namespaces.join(", ")));
            }
        }
        lines.extend(self.write_registries());
        lines.push(String::new());
        lines.join("\n")
    }

    /// How to reach the registries that hold a mirror; of others the table need not know.
    fn write_registries(&self) -> Vec<String> {
        let places = self.places();
        let holding: HashSet<&str> =
            places.iter().map(|place| place.split('/').next().unwrap_or(place)).collect();
        let mut lines = Vec::new();
        for (host, reach) in self.registries.iter().filter(|(host, _)| holding.contains(host.as_str())) {
            if lines.is_empty() {
                lines.push("registries:".to_owned());
            }
            lines.push(format!("  - host: {}", yaml_word(host)));
            if reach.plain_http {
                lines.push("    plainHttp: true".to_owned());
            }
            if let Some(ca) = &reach.ca {
                lines.push("    ca: |".to_owned());
                lines.extend(ca.lines().map(|line| format!("      {line}")));
            }
        }
        lines
    }
}

impl Otherwise {
    fn lines(self, depth: usize) -> [String; 2] {
        let word = match self {
            Self::Nothing => "rewrite",
            Self::Source => "keep",
        };
        let indent = "  ".repeat(depth);
        [format!("{indent}onMissing: {word}"), format!("{indent}onUnavailable: {word}")]
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

/// The other name of Docker Hub as the usual one.
fn normalised(text: &str) -> String {
    match text.strip_prefix("index.docker.io") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{DEFAULT_REGISTRY}{rest}"),
        _ => text.to_owned(),
    }
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

/// The longest warning, in characters.
const LONGEST: usize = 600;
