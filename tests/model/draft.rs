//! Random tables: each made around one image and one namespace, so that rules collide.

use std::fmt::Write as _;

use super::{
    generate::{REGISTRIES, TAGS, Theme, image_in},
    image::{Image, split_port},
    random::Random,
    rule::ModelRule,
    world::digest_of,
};

/// A table before it is read: the text of each rule, and what it is to mean.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) defaults: Policies,
    pub(crate) rules: Vec<DraftRule>,
}

#[derive(Clone, Debug)]
pub(crate) struct DraftRule {
    pub(crate) source: String,
    pub(crate) namespaces: Option<Vec<String>>,
    /// None: an exception.
    pub(crate) mirrors: Vec<String>,
    pub(crate) policies: Policies,
}

/// What a table or a rule says beside places; empty: nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Policies {
    pub(crate) pin: &'static str,
    pub(crate) on_missing: &'static str,
    pub(crate) on_unavailable: &'static str,
    pub(crate) lock: &'static str,
}

impl Draft {
    pub(crate) fn random(theme: &Theme, random: &mut Random) -> Self {
        let defaults = if random.chance(50) { Policies::default() } else { policies(random, 50) };
        // Mirrors of one text must be pinned and locked alike, so each text belongs to one of two ways to do that.
        let ways = [way(random, defaults), way(random, defaults)];
        let way_of: Vec<usize> = MIRRORS.iter().map(|_| random.below(2)).collect();
        // Wildcards with and without a port, of several lengths, meet too seldom by chance alone.
        let least = if theme.image.registry.contains(':') && random.chance(40) { WILDCARDS } else { 0 };
        let mut rules: Vec<DraftRule> = Vec::new();
        for _ in 0..=random.below(9) {
            let source = match random.below(100) {
                0..38 if !rules.is_empty() => random.pick(&rules).source.clone(),
                0..85 => source_around(&theme.image, least, random),
                _ => {
                    let registry = random.word(REGISTRIES);
                    source_around(&image_in(registry, random), 0, random)
                }
            };
            let namespaces = random.chance(62).then(|| {
                (0..=random.below(3))
                    .map(|_| {
                        let known = if random.chance(45) { &*theme.namespace } else { random.word(PATTERNS) };
                        known.to_owned()
                    })
                    .collect()
            });
            let mut policies = policies(random, 35);
            let chosen = random.below(2);
            (policies.pin, policies.lock) = ways[chosen];
            let mirrors = mirrors(&source, chosen, &way_of, random);
            rules.push(DraftRule { source, namespaces, mirrors, policies });
        }
        Self { defaults, rules }
    }

    /// The document, a rule a line.
    pub(crate) fn text(&self) -> String {
        let mut text = "apiVersion: portolan.dev/v1\nkind: MappingTable\n".to_owned();
        writeln!(text, "defaults: {{{}}}\nrules:", self.defaults.text().join(", ")).unwrap();
        for rule in &self.rules {
            let mut parts = vec![format!("source: '{}'", rule.source)];
            if rule.mirrors.is_empty() {
                parts.push("keep: true".to_owned());
            } else {
                parts.push(format!("mirrors: ['{}']", rule.mirrors.join("', '")));
            }
            if let Some(namespaces) = &rule.namespaces {
                parts.push(format!("namespaces: ['{}']", namespaces.join("', '")));
            }
            parts.extend(rule.policies.text());
            writeln!(text, "  - {{{}}}", parts.join(", ")).unwrap();
        }
        if self.rules.is_empty() { text.replace("rules:\n", "rules: []\n") } else { text }
    }

    /// The line of the first rule, from 1.
    pub(crate) const FIRST_LINE: usize = 5;

    /// What the rules mean, that is what a parsed rule is to say.
    pub(crate) fn meaning(&self) -> Vec<ModelRule> {
        let or = |own: &'static str, default: &'static str, shipped| match (own, default) {
            ("", "") => shipped,
            ("", default) => default,
            (own, _) => own,
        };
        let meaning = |(number, rule): (usize, &DraftRule)| ModelRule {
            number,
            source: rule.source.clone(),
            namespaces: rule.namespaces.clone(),
            mirrors: rule.mirrors.clone(),
            keep: rule.mirrors.is_empty(),
            pin: or(rule.policies.pin, self.defaults.pin, "tag-and-digest"),
            on_missing: or(rule.policies.on_missing, self.defaults.on_missing, "keep"),
            on_unavailable: or(rule.policies.on_unavailable, self.defaults.on_unavailable, "rewrite"),
            lock: or(rule.policies.lock, self.defaults.lock, "prefer"),
        };
        self.rules.iter().enumerate().map(meaning).collect()
    }
}

impl Policies {
    fn text(&self) -> Vec<String> {
        [
            ("pin", self.pin),
            ("onMissing", self.on_missing),
            ("onUnavailable", self.on_unavailable),
            ("lock", self.lock),
        ]
        .into_iter()
        .filter(|(_, word)| !word.is_empty())
        .map(|(key, word)| format!("{key}: {word}"))
        .collect()
    }
}
const FALLBACKS: &[&str] = &["keep", "rewrite", "deny"];
const PINS: &[&str] = &["tag-and-digest", "tag-and-digest", "digest", "digest", "off"];
const LOCKS: &[&str] = &["prefer", "require", "ignore"];

/// Each policy that often; `require` never beside `off`, which is refused.
fn policies(random: &mut Random, percent: usize) -> Policies {
    let mut one = |from: &'static [&'static str]| if random.chance(percent) { random.word(from) } else { "" };
    let (pin, lock) = (one(PINS), one(LOCKS));
    let lock = if pin == "off" && lock == "require" { "prefer" } else { lock };
    Policies { pin, on_missing: one(FALLBACKS), on_unavailable: one(FALLBACKS), lock }
}

/// A rule's `pin` and `lock`, such that they go with the defaults.
fn way(random: &mut Random, defaults: Policies) -> (&'static str, &'static str) {
    loop {
        let Policies { pin, lock, .. } = policies(random, 60);
        let or = |own: &'static str, default| if own.is_empty() { default } else { own };
        if (or(pin, defaults.pin), or(lock, defaults.lock)) != ("off", "require") {
            return (pin, lock);
        }
    }
}

/// A source that holds the image, or all but. `least` leaves out the kinds before it.
fn source_around(image: &Image, least: usize, random: &mut Random) -> String {
    let Image { registry, path, .. } = image;
    // `index.docker.io` counts as `docker.io`; the name of an official image may be written without `library/`.
    let written = if registry == "docker.io" && random.chance(20) { "index.docker.io" } else { registry };
    let short = match path.strip_prefix("library/") {
        Some(rest) if registry == "docker.io" && !rest.contains('/') && random.chance(50) => rest,
        _ => path,
    };
    match least + random.below(100 - least) {
        0..26 => {
            let tag = match &image.tag {
                Some(tag) if random.chance(85) => tag,
                _ => random.word(TAGS),
            };
            match &image.digest {
                Some(digest) if random.chance(50) => format!("{written}/{short}@{digest}"),
                Some(digest) if random.chance(80) => format!("{written}/{short}:{tag}@{digest}"),
                _ => format!("{written}/{short}:{tag}"),
            }
        }
        26..48 => {
            let segments: Vec<&str> = path.split('/').collect();
            let some = segments[..=random.below(segments.len())].join("/");
            let off = if random.chance(6) { "x" } else { "" };
            format!("{written}/{some}{off}")
        }
        48..WILDCARDS => written.to_owned(),
        WILDCARDS..88 => {
            let (host, port) = split_port(registry);
            let labels: Vec<&str> = host.split('.').collect();
            if labels.len() < 2 || host.starts_with('[') {
                return "*".to_owned();
            }
            let suffix = labels[1 + random.below(labels.len() - 1)..].join(".");
            match (random.below(10), port) {
                (0..7, Some(port)) => format!("*.{suffix}:{port}"),
                (7, _) => format!("*.{suffix}:6000"),
                _ => format!("*.{suffix}"),
            }
        }
        _ => "*".to_owned(),
    }
}

/// Where the wildcards begin among the kinds of sources.
const WILDCARDS: usize = 62;

/// None (an exception) or some, each fit for the source and of the way chosen.
fn mirrors(source: &str, chosen: usize, way_of: &[usize], random: &mut Random) -> Vec<String> {
    if random.chance(14) {
        return Vec::new();
    }
    let is_exact = source.split_once('/').is_some_and(|(_, path)| path.contains([':', '@']));
    let count = 1 + random.below(3);
    let mut mirrors = Vec::new();
    for _ in 0..count * 3 {
        let number = random.below(MIRRORS.len());
        if mirrors.len() == count || way_of[number] != chosen {
            continue;
        }
        let mut mirror = MIRRORS[number].replace("/{sub}", "");
        if random.chance(3) {
            mirror = format!("long.corp/{}", long(random));
        }
        if is_exact {
            let tag = random.word(TAGS);
            let digest = digest_of(random.below(4));
            mirror = match random.below(10) {
                0..6 => format!("{mirror}/fixed:{tag}"),
                6..8 => format!("{mirror}/fixed@{digest}"),
                _ => format!("{mirror}/fixed:{tag}@{digest}"),
            };
        }
        mirrors.push(mirror);
    }
    if mirrors.is_empty() {
        vec![if is_exact { "z.corp/fixed:1".into() } else { "z.corp/hub".into() }]
    } else {
        mirrors
    }
}

/// A path so long that what is put behind it is too long, or just not.
fn long(random: &mut Random) -> String {
    let segments = vec!["l".repeat(19); 11].join("/");
    format!("{segments}/{}", "m".repeat(1 + random.below(26)))
}

const PATTERNS: &[&str] = &[
    "team-a", "team-b", "shop", "te", "team-", "*", "team-*", "te*", "*-a", "t*m-*", "team-*a", "*a*", "**",
    "s*", "*p",
];
const MIRRORS: &[&str] = &[
    "m.corp",
    "m.corp/hub",
    "m.corp/{registry}",
    "m.corp/hub/{registry}",
    "m.corp/{registry}/sub",
    "m.corp/hub/x",
    "n.corp:5000",
    "n.corp:5000/{registry}",
    "n.corp:5000/a/b",
    "o.corp/hub",
    "p.corp/hub",
    "r.corp/{registry}/{sub}",
    "quay.io/mirror",
    "a.b.io/m",
    "localhost:5000/m",
    "reg.ns.svc:5000/{registry}",
    "docker.io",
    "docker.io/mirror/{registry}",
];
