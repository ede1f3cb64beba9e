//! The table as CEL: variables that take a Pod's images apart and look them up.
//!
//! Each variable is a list made of the one before, since CEL has no functions of one's own: an image is a list of texts,
//! and each step knows more about it. A variable is evaluated once for each request, and only if it is needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use crate::table::{Mirror, Rule, Table};

/// A variable's name and expression.
pub(super) type Variable = (String, String);

/// What the expressions are made from.
pub(super) struct Program {
    /// By the normalised source: scopes as the map has them, for a policy that judges.
    judging: BTreeMap<String, String>,
    /// The same for one that rewrites.
    rewriting: BTreeMap<String, String>,
    /// What every image in a mirror begins with.
    inside: BTreeSet<String>,
    /// The registries that hold a mirror.
    registries: BTreeSet<String>,
    depth: Depth,
}

/// How far keys have to be looked for.
#[derive(Default)]
struct Depth {
    /// The most segments of a source without a tag, or of a mirror.
    segments: usize,
    /// The most labels behind the `*.` of a source.
    labels: usize,
    has_exact: bool,
    has_everything: bool,
}

impl Program {
    pub(super) fn of(table: &Table) -> Self {
        let mut by_source: BTreeMap<String, Vec<&Rule>> = BTreeMap::new();
        let mut depth = Depth { segments: 1, ..Depth::default() };
        for rule in table.rules() {
            let source = rule.normalised_source();
            match source.strip_prefix("*.") {
                Some(host) => depth.labels = depth.labels.max(host.split('.').count()),
                None if source == "*" => depth.has_everything = true,
                None if rule.is_exact() => depth.has_exact = true,
                None => depth.segments = depth.segments.max(source.split('/').count()),
            }
            by_source.entry(source).or_default().push(rule);
        }
        let mirrors = || table.rules().iter().flat_map(|rule| rule.mirrors());
        let inside: BTreeSet<_> = mirrors().map(|mirror| mirror.prefix().to_owned()).collect();
        for prefix in &inside {
            depth.segments = depth.segments.max(prefix.split('/').count());
        }
        let scopes = |action: fn(&Rule) -> &str| {
            by_source.iter().map(|(source, rules)| (source.clone(), scopes(rules, action))).collect()
        };
        Self {
            judging: scopes(judged),
            rewriting: scopes(|rule| rule.mirrors().first().map_or(KEPT, Mirror::as_str)),
            inside,
            registries: mirrors().map(|mirror| mirror.registry().to_owned()).collect(),
            depth,
        }
    }

    /// Up to `moved`: the images, as written, that a rule would have moved.
    pub(super) fn judged(&self) -> Vec<Variable> {
        let mut variables = self.looked_up(&self.judging);
        let moved = format!("variables.found.filter(f, {MOVES}).map(f, f[1].substring(1))");
        variables.push(("moved".into(), moved));
        variables
    }

    /// Up to `moved`: the key of each field that changes, with its new text.
    pub(super) fn rewritten(&self) -> Vec<Variable> {
        let mut variables = self.looked_up(&self.rewriting);
        variables.push(("moved".into(), format!("variables.found.filter(f, {MOVES})\n{MOVED}")));
        variables
    }

    /// Up to `found`: of each image that a rule speaks of its key, its text, registry, name, what follows that, and the
    /// rule's action (a mirror, or `-`) with its source. The first five cannot be keys of a map: a blank or a colon
    /// begins them.
    fn looked_up(&self, sources: &BTreeMap<String, String>) -> Vec<Variable> {
        let chunks = chunks("sources", sources.iter().map(|(source, scopes)| (&**source, &**scopes)));
        let names = |texts: &BTreeSet<String>, name| {
            chunks_of(name, texts.iter().map(|text| (&**text, "")).collect::<Vec<_>>())
        };
        let (inside, registries) = (names(&self.inside, "mirrors"), names(&self.registries, "registries"));
        let mut variables: Vec<Variable> =
            [("called", CALLED), ("now", NOW), ("before", BEFORE), ("images", IMAGES), ("split", SPLIT)]
                .map(|(name, expression)| (name.to_owned(), expression.to_owned()))
                .into();
        variables.push(("references".into(), REFERENCES.into()));
        for (name, expression) in chunks.iter().chain(&inside).chain(&registries) {
            variables.push((name.clone(), expression.clone()));
        }
        let prefixes = self.depth.prefixes();
        variables.push((
            "outside".into(),
            format!("variables.references.filter(r, !{prefixes}.exists(p, {}))", is_in(&inside, "p")),
        ));
        // The keys of an image in the order in which sources win; what comes before them begins with a blank.
        let mut keys = vec![prefixes];
        if self.depth.has_exact {
            keys.insert(0, "[r[3] + (r[5] == '' ? ':' + r[4] : '@' + r[5])]".to_owned());
        }
        let wildcards = self.depth.wildcards();
        if !wildcards.is_empty() {
            keys.push(format!("({} || {LOCAL} ? [] : {wildcards})", is_in(&registries, "r[2]")));
        }
        variables.push((
            "keys".into(),
            format!(
                "variables.outside.map(r, [' ' + r[0], ' ' + r[1], ' ' + r[2], ' ' + r[3], {TAIL}]\n  + {})",
                keys.join("\n  + ")
            ),
        ));
        // Of each key that has a rule for the namespace: `action source`.
        let scopes = look_up(&chunks, "k");
        variables.push((
            "found".into(),
            format!(
                "variables.keys.map(r, [r[0], r[1], r[2], r[3], r[4]]\n  \
                 + r.filter(k, {is_known} && {scopes}.split(',').exists(s, {ADMITTED}))\n  \
                 .map(k, {scopes}.split(',').filter(s, {ADMITTED})[0].split(' ')[0] + ' ' + k))\n\
                 .filter(f, size(f) > 5)",
                is_known = is_in(&chunks, "k"),
            ),
        ));
        variables
    }
}

impl Depth {
    /// What is left of the name `r[3]` when segments are taken from its end, as far as any source or mirror is long.
    fn prefixes(&self) -> String {
        let counts: Vec<_> = (1..=self.segments).rev().map(|count| count.to_string()).collect();
        format!(
            "[{}].filter(n, n <= size(r[3].split('/')))\n  .map(n, n == size(r[3].split('/')) ? r[3] : \
             r[3].substring(0, size(r[3]) - 1 - size(r[3].split('/', n + 1)[n])))",
            counts.join(", ")
        )
    }

    /// What is left of the registry `r[2]` when labels are taken from its front, each with its port and then without;
    /// then `*`. Empty if no source is a wildcard.
    fn wildcards(&self) -> String {
        let mut keys = Vec::new();
        for count in (1..=self.labels).rev() {
            // A port has no dot, so that it stays with the last label.
            let suffix = format!(
                "r[2].split('.', size(r[2].split('.')) - {count} + 1)[size(r[2].split('.')) - {count}]"
            );
            keys.push(format!(
                "({count} < size(r[2].split('.')) ? ['*.' + {suffix}, '*.' + {suffix}.split(':')[0]] : [])"
            ));
        }
        if self.has_everything {
            keys.push("['*']".to_owned());
        }
        keys.join(" + ")
    }
}

/// What a policy that only judges has to know of a rule: whether it moves images, and whether it cannot move some.
fn judged(rule: &Rule) -> &str {
    if rule.keep() {
        KEPT
    } else if rule.mirrors().iter().all(|mirror| mirror.as_str().contains(PLACEHOLDER)) {
        PLACEHOLDER
    } else {
        "+"
    }
}

/// The rules of one source as one text: `action pattern`, by commas, the most specific pattern first; no pattern: all
/// namespaces. A pattern that no namespace can have is left out.
fn scopes(rules: &[&Rule], action: fn(&Rule) -> &str) -> String {
    let mut scopes = Vec::new();
    for rule in rules {
        let Some(patterns) = rule.namespaces() else {
            scopes.push((Specific::All, format!("{} ", action(rule))));
            continue;
        };
        for pattern in patterns.iter().filter(|pattern| pattern.bytes().all(is_of_namespace)) {
            let specific = match pattern.split_once('*') {
                None => Specific::Name,
                Some((before, _)) => Specific::Glob(std::cmp::Reverse(before.len())),
            };
            scopes.push((specific, format!("{} ^{}$", action(rule), pattern.replace('*', ".*"))));
        }
    }
    // Stable: of equal ones the first written goes first.
    scopes.sort_by_key(|(specific, _)| *specific);
    scopes.into_iter().map(|(_, scope)| scope).collect::<Vec<_>>().join(",")
}

/// What goes first among the rules of one source (product.md §1, "Which rule").
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Specific {
    Name,
    Glob(std::cmp::Reverse<usize>),
    All,
}

fn is_of_namespace(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'*')
}

/// A map in as many variables as it takes: an expression has no more than 100,000 characters.
fn chunks<'a>(name: &str, entries: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Variable> {
    chunks_of(name, entries.filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>())
}

fn chunks_of(name: &str, entries: Vec<(&str, &str)>) -> Vec<Variable> {
    let mut chunks: Vec<String> = vec!["{".to_owned()];
    for (key, value) in entries {
        if chunks.last().is_some_and(|chunk| chunk.len() > CHUNK) {
            chunks.push("{".to_owned());
        }
        if let Some(chunk) = chunks.last_mut() {
            // Neither has a quote or a backslash: references and patterns of namespaces have none.
            let _ = write!(chunk, "\n  '{key}': '{value}',");
        }
    }
    let ended = chunks.into_iter().map(|mut chunk| {
        if chunk.ends_with(',') {
            chunk.pop();
            chunk.push_str("\n}");
        } else {
            // CEL would not know the type of an empty one.
            chunk.push_str("'': ''}");
        }
        chunk
    });
    ended.enumerate().map(|(number, chunk)| (format!("{name}{number}"), chunk)).collect()
}

/// Whether `key` is in any of the maps.
fn is_in(chunks: &[Variable], key: &str) -> String {
    let tests: Vec<_> = chunks.iter().map(|(name, _)| format!("{key} in variables.{name}")).collect();
    if tests.len() == 1 { tests.concat() } else { format!("({})", tests.join(" || ")) }
}

/// What one of the maps has for `key`.
fn look_up(chunks: &[Variable], key: &str) -> String {
    let (last, others) = chunks.split_last().expect("there is a map, if only an empty one");
    let mut text = String::from("(");
    for (name, _) in others {
        let _ = write!(text, "{key} in variables.{name} ? variables.{name}[{key}] : ");
    }
    let _ = write!(text, "variables.{}[{key}])", last.0);
    text
}

/// Whether what was found moves its image: not as an exception, nor where a registry is no segment of a path.
const MOVES: &str = "\
!f[5].startsWith('- ') && !(f[5].split(' ')[0].contains('{registry}') && f[2].matches('[A-Z[]'))";

/// Stands for the registry in a mirror.
const PLACEHOLDER: &str = "{registry}";

/// The action of a rule with `keep: true`.
const KEPT: &str = "-";

/// Whether a scope `s` admits the namespace.
const ADMITTED: &str = "s.endsWith(' ') || request.namespace.matches(s.split(' ')[1])";

/// Whether the webhook would be called, beside what selectors say.
const CALLED: &str = "\
has(namespaceObject.metadata.labels) && 'portolan.dev/rewrite' in namespaceObject.metadata.labels
  && namespaceObject.metadata.labels['portolan.dev/rewrite'] == 'enabled'
|| !request.namespace.startsWith('kube-') && !request.namespace.startsWith('openshift-')";

/// Every image that the request is about: a key, the text, how it is pulled.
const NOW: &str = "\
has(request.subResource) && request.subResource == 'ephemeralcontainers'
? (has(object.spec.ephemeralContainers) ? object.spec.ephemeralContainers : [])
  .map(c, ['ephemeralContainers/' + c.name, has(c.image) ? string(c.image) : '', has(c.imagePullPolicy) ? string(c.imagePullPolicy) : ''])
: object.spec.containers
  .map(c, ['containers/' + c.name, has(c.image) ? string(c.image) : '', has(c.imagePullPolicy) ? string(c.imagePullPolicy) : ''])
+ (has(object.spec.initContainers) ? object.spec.initContainers : [])
  .map(c, ['initContainers/' + c.name, has(c.image) ? string(c.image) : '', has(c.imagePullPolicy) ? string(c.imagePullPolicy) : ''])
+ (has(object.spec.volumes) ? object.spec.volumes : []).filter(v, has(v.image))
  .map(v, ['volumes/' + v.name, has(v.image.reference) ? string(v.image.reference) : '',
    has(v.image.pullPolicy) ? string(v.image.pullPolicy) : ''])";

/// The same of the Pod as it was, without how it is pulled.
const BEFORE: &str = "\
request.operation != 'UPDATE' ? []
: oldObject.spec.containers.map(c, ['containers/' + c.name, has(c.image) ? string(c.image) : ''])
+ (has(oldObject.spec.initContainers) ? oldObject.spec.initContainers : [])
  .map(c, ['initContainers/' + c.name, has(c.image) ? string(c.image) : ''])
+ (has(oldObject.spec.ephemeralContainers) ? oldObject.spec.ephemeralContainers : [])
  .map(c, ['ephemeralContainers/' + c.name, has(c.image) ? string(c.image) : ''])
+ (has(oldObject.spec.volumes) ? oldObject.spec.volumes : []).filter(v, has(v.image))
  .map(v, ['volumes/' + v.name, has(v.image.reference) ? string(v.image.reference) : ''])";

/// Those that are new and that nothing about them leaves alone.
const IMAGES: &str = "\
!variables.called ? [] : variables.now.filter(i, i[1] != '' && i[1] != 'auto' && i[2] != 'Never'
  && !variables.before.exists(b, b[0] == i[0] && b[1] == i[1]))";

/// Key, text, the text without a digest, its first segment, the digest.
const SPLIT: &str = "\
variables.images.map(i, [i[0], i[1], i[1].split('@')[0], i[1].split('@')[0].split('/')[0],
  i[1].contains('@') ? i[1].split('@')[1] : ''])
.map(i, i[2].contains('/') && (i[3].contains('.') || i[3].contains(':') || i[3] == 'localhost' || i[3].lowerAscii() != i[3])
  ? [i[0], i[1], i[3] == 'index.docker.io' ? 'docker.io' : i[3], i[2].substring(size(i[3]) + 1), i[4]]
  : [i[0], i[1], 'docker.io', i[2], i[4]])";

/// Key, text, registry, name (registry and repository), tag, digest.
const REFERENCES: &str = "\
variables.split.map(i, [i[0], i[1], i[2],
  i[2] + '/' + (i[2] == 'docker.io' && !i[3].contains('/') ? 'library/' : '') + i[3].split(':')[0],
  i[3].contains(':') ? i[3].split(':')[1] : i[4] == '' ? 'latest' : '', i[4]])";

/// What follows the name in a whole reference; it begins with a `:`, so that it is no key.
const TAIL: &str = "(r[4] == '' ? '' : ':' + r[4]) + (r[5] == '' ? '' : '@' + r[5])";

/// Whether the registry `r[2]` can only be this machine or this cluster.
const LOCAL: &str = "\
r[2].lowerAscii().matches('^(localhost|127([.][0-9]+){3}|.*[.]svc([.]cluster[.]local)?|[[](0*:)*:?0*1[]]|[[]::ffff:127[.][0-9.]+[]])(:[0-9]+)?$')";

/// The key of each field that changes, and its new text. Of a source longer than the name, which is a whole reference,
/// nothing is carried over.
const MOVED: &str = "\
.map(f, [f[0].substring(1), f[5].split(' ')[0].replace('{registry}', f[2].substring(1).replace(':', '_')), f[5].split(' ')[1],
  f[2].substring(1), f[3].substring(1), f[4]])
.map(m, [m[0], m[2].startsWith('*') ? m[1] + m[4].substring(size(m[3])) + m[5]
  : size(m[2]) > size(m[4]) ? m[1] : m[1] + m[4].substring(size(m[2])) + m[5]])";

/// Sets the images that change.
pub(super) const APPLY: &str = "\
has(request.subResource) && request.subResource == 'ephemeralcontainers'
? Object{spec: Object.spec{
    ephemeralContainers: variables.moved.filter(m, m[0].startsWith('ephemeralContainers/'))
      .map(m, Object.spec.ephemeralContainers{name: m[0].split('/')[1], image: m[1]})}}
: Object{spec: Object.spec{
    containers: variables.moved.filter(m, m[0].startsWith('containers/'))
      .map(m, Object.spec.containers{name: m[0].split('/')[1], image: m[1]}),
    initContainers: variables.moved.filter(m, m[0].startsWith('initContainers/'))
      .map(m, Object.spec.initContainers{name: m[0].split('/')[1], image: m[1]}),
    volumes: variables.moved.filter(m, m[0].startsWith('volumes/'))
      .map(m, Object.spec.volumes{name: m[0].split('/')[1], image: Object.spec.volumes.image{reference: m[1]}})}}";

/// How long one map of a large table gets, in bytes: far below the limit.
const CHUNK: usize = 60_000;
