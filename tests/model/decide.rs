//! What becomes of one image, by product.md §1 and §3 and nothing else: slow and obvious.

use super::{
    asking::{Standing, Together, together},
    image::Image,
    rule::{Kind, ModelRule, Scope, holds, registry_of},
    world::World,
};

/// What becomes of one image.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Decided {
    pub(crate) outcome: &'static str,
    pub(crate) reason: &'static str,
    /// What the Pod runs instead; `None`: the text stays, or the Pod is refused.
    pub(crate) result: Option<String>,
    /// The rule that decided.
    pub(crate) rule: Option<usize>,
    /// Of a result: the mirror that it names.
    pub(crate) mirror: Option<usize>,
    /// Of a result: where its digest is known from.
    pub(crate) from: Option<&'static str>,
}

/// What the model went by, for the report.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    /// The kind and the scope of the rule whose source won, and whether it is an exception.
    pub(crate) winner: Option<(Kind, Scope, bool)>,
    /// Those of the rules that would have won without it.
    pub(crate) losers: Vec<(Kind, Scope)>,
    /// How else the rules were gone by.
    pub(crate) notes: Vec<&'static str>,
}

/// One image to decide about.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) rules: &'a [ModelRule],
    pub(crate) world: &'a World,
    pub(crate) written: &'a str,
    pub(crate) namespace: Option<&'a str>,
}

/// Decides, from §3 step 2's `placeholder` on.
pub(crate) fn decide(asked: &Asked<'_>) -> (Decided, Trace) {
    let mut trace = Trace::default();
    let decided = decide_traced(asked, &mut trace);
    (decided, trace)
}

fn decide_traced(asked: &Asked<'_>, trace: &mut Trace) -> Decided {
    let Asked { rules, world, written, namespace } = *asked;
    if written.is_empty() || written == "auto" {
        return kept("placeholder", None);
    }
    let Some(image) = Image::read(written).filter(|_| written.len() <= 4096) else {
        return kept("invalid-reference", None);
    };
    let winner = winner(rules, &image, namespace, trace);
    if let Some(rule) = winner.filter(|rule| rule.keep) {
        return kept("exception", Some(rule));
    }
    match around(rules, &image, namespace) {
        Around::Nothing => {}
        Around::Nobodys => {
            trace.notes.push("inside a mirror of no rule that admits the namespace");
            return kept("no-rule", None);
        }
        Around::Mirror { rule, mirror } => {
            trace.notes.push(match rule.scope(namespace) {
                Some((Scope::Unscoped, _)) | None => "inside a mirror of an unscoped rule",
                Some((Scope::Glob, _)) => "inside a mirror of a rule for a pattern",
                Some((Scope::Name, _)) => "inside a mirror of a rule for a name",
            });
            if winner.is_some() {
                trace.notes.push("inside a mirror, and a rule holds it too");
            }
            return pin_in_place(rule, mirror, &image, world, trace);
        }
    }
    match winner {
        None => kept("no-rule", None),
        Some(rule) => bring_into_mirror(rule, &image, world, trace),
    }
}

/// §1, "Which rule".
fn winner<'r>(
    rules: &'r [ModelRule],
    image: &Image,
    namespace: Option<&str>,
    trace: &mut Trace,
) -> Option<&'r ModelRule> {
    let why_passed_by = passed_by(rules, &image.registry);
    let mut holding = Vec::new();
    for rule in rules {
        let is_wildcard = matches!(rule.kind(), Kind::Everything | Kind::Wildcard | Kind::WildcardPort);
        match (rule.closeness(image, namespace), why_passed_by) {
            (None, _) if rule.rest(image).is_some() => trace.notes.push(match namespace {
                None => "a scoped rule without a namespace",
                Some(_) => "a rule of another namespace",
            }),
            (None, _) => {}
            (Some(_), Some(why)) if is_wildcard => trace.notes.push(why),
            (Some(closeness), _) => holding.push((closeness, rule)),
        }
    }
    // Stable: of equals the first written stays first.
    holding.sort_by(|(left, _), (right, _)| right.cmp(left));
    let mut holding = holding.into_iter().map(|((.., scope, _), rule)| (rule, scope));
    let (winner, scope) = holding.next()?;
    trace.winner = Some((winner.kind(), scope, winner.keep));
    trace.losers = holding.map(|(rule, scope)| (rule.kind(), scope)).collect();
    Some(winner)
}

/// Why `*` and `*.x` never match a registry: it "holds a mirror of any rule", or is "`localhost`, loopback addresses,
/// `*.svc`, `*.svc.cluster.local` (any port)".
fn passed_by(rules: &[ModelRule], registry: &str) -> Option<&'static str> {
    let (host, _) = super::image::split_port(registry);
    if rules.iter().flat_map(|rule| &rule.mirrors).any(|mirror| registry_of(mirror) == registry) {
        Some("a wildcard passes by a registry that holds a mirror")
    } else if host == "localhost" {
        Some("a wildcard passes by localhost")
    } else if host.starts_with("127.") {
        Some("a wildcard passes by 127.0.0.0/8")
    } else if host == "[::1]" {
        Some("a wildcard passes by [::1]")
    } else if is_below(host, "svc.cluster.local") {
        Some("a wildcard passes by *.svc.cluster.local")
    } else if is_below(host, "svc") {
        Some("a wildcard passes by *.svc")
    } else {
        None
    }
}

/// Whether the host is below the domain.
fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|labels| labels.ends_with('.'))
}

enum Around<'r> {
    Nothing,
    Nobodys,
    Mirror { rule: &'r ModelRule, mirror: usize },
}

/// §1, "Inside a mirror": "the rule, among those whose `namespaces` admit the request, whose mirror holds it (longest,
/// then first written)".
fn around<'r>(rules: &'r [ModelRule], image: &Image, namespace: Option<&str>) -> Around<'r> {
    let mut around = Around::Nothing;
    let mut longest = 0;
    for rule in rules {
        for (mirror, text) in rule.mirrors.iter().enumerate() {
            let Some(length) = holds(text, image) else { continue };
            if rule.scope(namespace).is_some() {
                if length > longest {
                    longest = length;
                    around = Around::Mirror { rule, mirror };
                }
            } else if matches!(around, Around::Nothing) {
                around = Around::Nobodys;
            }
        }
    }
    around
}

/// "It is not moved, only pinned, with `pin` and `lock` of the rule."
fn pin_in_place(rule: &ModelRule, mirror: usize, image: &Image, world: &World, trace: &mut Trace) -> Decided {
    if rule.pin == "off" {
        return kept("mirrored", Some(rule));
    }
    let locked = match consult(rule, &[(mirror, image.clone())], world, trace) {
        Consulted::NotLocked => return denied("not-locked", rule),
        Consulted::Locked { digest, .. } => Some(digest),
        Consulted::Silent => None,
    };
    let found = |digest: String, from| Decided {
        outcome: "rewritten",
        reason: "mirrored",
        result: Some(pinned(rule, image, &digest)),
        rule: Some(rule.number),
        mirror: Some(mirror),
        from: Some(from),
    };
    match (&image.digest, locked) {
        // "A digest already there under `pin: digest`: the tag beside it is dropped." Else there is nothing to add.
        (Some(digest), _) if rule.pin == "digest" && image.tag.is_some() => {
            found(digest.clone(), "reference")
        }
        (Some(_), _) => kept("mirrored", Some(rule)),
        (None, Some(digest)) => found(digest, "lock"),
        // "Missing or nobody answers: `kept` with that reason and a warning, whatever the policies."
        (None, None) if world.offline => kept("offline", Some(rule)),
        (None, None) => match together(&[world.standing(&image.text())]) {
            Together::Found { digest, from, .. } => found(digest, from),
            Together::Missing => kept("missing", Some(rule)),
            Together::Unauthorized { .. } => kept("unauthorized", Some(rule)),
            Together::Unavailable { .. } => kept("unavailable", Some(rule)),
        },
    }
}

/// The places that are valid references, each with its mirror's number: "no valid reference (255 characters of host
/// and path; an upper-case or bracketed host as a path)".
///
/// A place that a reader would take for another one (`docker.io/nginx`, which is `library/nginx`) is none either.
pub(crate) fn places(rule: &ModelRule, image: &Image) -> Vec<(usize, Image)> {
    (0..rule.mirrors.len())
        .filter_map(|mirror| Some((mirror, rule.place(mirror, image)?)))
        .filter(|(_, place)| place.name().len() <= 255 && Image::read(&place.text()).as_ref() == Some(place))
        .collect()
}

fn bring_into_mirror(rule: &ModelRule, image: &Image, world: &World, trace: &mut Trace) -> Decided {
    let places = places(rule, image);
    let Some((first_mirror, first)) = places.first() else {
        return kept("unrepresentable", Some(rule));
    };
    if places.len() < rule.mirrors.len() {
        trace.notes.push("valid in some of the mirrors only");
    }
    let rewritten = |mirror: usize, reason, result, from| Decided {
        outcome: "rewritten",
        reason,
        result: Some(result),
        rule: Some(rule.number),
        mirror: Some(mirror),
        from,
    };
    let own = |place: &Image| place.digest.is_some().then_some("reference");
    if rule.pin == "off" {
        return rewritten(*first_mirror, "pin-off", first.text(), own(first));
    }
    let found = |position: usize, digest: &str, from| {
        let (mirror, place) = &places[position];
        // "`carried` (the reference's own digest)".
        let (reason, from) = if place.digest.is_some() { ("carried", "reference") } else { ("pinned", from) };
        rewritten(*mirror, reason, pinned(rule, place, digest), Some(from))
    };
    match consult(rule, &places, world, trace) {
        Consulted::Locked { position, digest } => return found(position, &digest, "lock"),
        Consulted::NotLocked => return denied("not-locked", rule),
        Consulted::Silent => {}
    }
    // "An image that would need a registry is `rewritten` with reason `offline`, the result being the first mirror's
    // reference; a digest in the reference counts as existing (`carried`)."
    if world.offline {
        return match &first.digest {
            Some(digest) => found(0, digest, "reference"),
            None => rewritten(*first_mirror, "offline", first.text(), None),
        };
    }
    let standings: Vec<Standing> = places.iter().map(|(_, place)| world.standing(&place.text())).collect();
    let (reason, policy, position) = match together(&standings) {
        Together::Found { mirror, digest, from } => return found(mirror, &digest, from),
        Together::Missing => ("missing", rule.on_missing, 0),
        Together::Unauthorized { first } => ("unauthorized", rule.on_unavailable, first),
        Together::Unavailable { first } => ("unavailable", rule.on_unavailable, first),
    };
    match policy {
        "keep" => kept(reason, Some(rule)),
        "deny" => denied(reason, rule),
        // "`rewrite` then names the first mirror that did not say 404 (`missing`: the first)"; "policy rewrite keeps
        // the digest".
        _ => {
            if position > 0 {
                trace.notes.push("the first mirror that did not say 404 is not the first");
            }
            let (mirror, place) = &places[position];
            let result = match &place.digest {
                Some(digest) => pinned(rule, place, digest),
                None => place.text(),
            };
            rewritten(*mirror, reason, result, own(place))
        }
    }
}

enum Consulted {
    Locked { position: usize, digest: String },
    NotLocked,
    Silent,
}

/// "The first mirror of the rule with a line is used"; of a digest, "a lock line of that mirror's repository with that
/// digest"; "`prefer` then stops using a missing one, `require` keeps it".
fn consult(rule: &ModelRule, places: &[(usize, Image)], world: &World, trace: &mut Trace) -> Consulted {
    if rule.lock == "ignore" {
        return Consulted::Silent;
    }
    for (position, (_, place)) in places.iter().enumerate() {
        for line in &world.lock {
            let is_about = match &place.digest {
                Some(digest) => line.place.name() == place.name() && line.digest == *digest,
                None => line.place.name() == place.name() && line.place.tag == place.tag,
            };
            if !is_about {
                continue;
            }
            if world.is_gone(line) && rule.lock == "prefer" {
                trace.notes.push("a locked digest that its mirror lacks is not used");
                continue;
            }
            if position > 0 {
                trace.notes.push("the first mirror with a line is not the first");
            }
            return Consulted::Locked { position, digest: line.digest.clone() };
        }
    }
    if rule.lock == "require" { Consulted::NotLocked } else { Consulted::Silent }
}

/// `repo:tag@sha256:…` or, under `pin: digest`, `repo@sha256:…`.
fn pinned(rule: &ModelRule, place: &Image, digest: &str) -> String {
    let tag = place.tag.clone().filter(|_| rule.pin != "digest");
    Image { tag, digest: Some(digest.to_owned()), ..place.clone() }.text()
}

pub(crate) fn kept(reason: &'static str, rule: Option<&ModelRule>) -> Decided {
    Decided { outcome: "kept", reason, rule: rule.map(|rule| rule.number), ..Decided::default() }
}

fn denied(reason: &'static str, rule: &ModelRule) -> Decided {
    Decided { outcome: "denied", ..kept(reason, Some(rule)) }
}
