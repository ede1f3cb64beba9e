//! No review panics; the patch that comes of it applies to its object, says what was decided, and is idempotent: the
//! patched object, decided again, needs none.
//!
//! The first byte chooses a table and whether there is a lock, the second what mirrors say; the rest is the body, as it
//! comes from the network. What mirrors say and what is locked hangs on the mirror's reference alone, so that both
//! passes hear the same.

use std::collections::BTreeSet;

use portolan::{
    image::{Digest, Reference},
    lock::{Finding, Lock},
    review::{Envelope, Pod, Review},
    rewrite::{
        Answer, Change, Decision, Extent, Field, Judged, Outcome, Plan, PodOptOut, Question, ResolvedFrom,
        Scope, Sources, exemption, fields, plan, same_name, standing, whole_pod,
    },
    table::{Lookup, Table},
};
use serde_json::{Map, Value};

/// Panics if the patch to the review in `data` is wrong.
pub(crate) fn check(data: &[u8]) {
    let [choice, says, body @ ..] = data else { return };
    let table = TABLES[usize::from(*choice) % TABLES.len()];
    let table = Table::parse(table).expect("the tables here are sound").table;
    let is_locked = usize::from(*choice) / TABLES.len() % 2 == 1;
    let lock = if is_locked { locked(&table, body) } else { Lock::default() };
    let scene = Scene { table, lock, says: *says };
    let Some(first) = decided(&scene, body) else { return };
    // What the API server cannot have sent: it reads the object itself, and refuses names that are there twice.
    let Ok(mut review) = serde_json::from_slice::<Value>(body) else { return };
    if first.doubled {
        return;
    }
    let object = &mut review["request"]["object"];
    let Some(patch) = first.patch else { return };
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("it is a JSON Patch");
    assert!(!patch.0.is_empty(), "a patch that changes nothing is none");
    let operations = serde_json::to_string(&patch).expect("it was read from text");
    assert!(!operations.contains(r#""op":"test""#), "{operations}");
    let before = object.clone();
    json_patch::patch(object, &patch).unwrap_or_else(|error| panic!("{error}: {operations}"));
    for (pointer, to) in &first.rewritten {
        assert_eq!(object.pointer(pointer).and_then(Value::as_str), Some(&**to), "{pointer}");
    }
    check_rest(before, object.clone(), &first.rewritten, &operations);
    let again = decided(&scene, review.to_string().as_bytes()).expect("it is a review still");
    let second = again.patch.map(|patch| String::from_utf8_lossy(&patch).into_owned());
    assert_eq!(second, None, "a second pass after {operations}");
    assert!(!again.denied, "denied at a second pass after {operations}");
}

/// The patch leaves alone what it has no business with, and appends to the pull Secrets.
fn check_rest(mut before: Value, mut after: Value, rewritten: &[(String, String)], operations: &str) {
    let [had, has] = [&before, &after].map(|object| match &object["spec"]["imagePullSecrets"] {
        Value::Array(secrets) => secrets.clone(),
        _ => Vec::new(),
    });
    assert!(has.starts_with(&had), "pull Secrets are appended: {operations}");
    for object in [&mut before, &mut after] {
        for (pointer, _) in rewritten {
            *object.pointer_mut(pointer).expect("it was replaced, not added") = Value::Null;
        }
        if let Some(spec) = object["spec"].as_object_mut() {
            spec.remove("imagePullSecrets");
        }
        // Missing parents may have been added.
        let is_nothing = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
        if let Some(metadata) = object["metadata"].as_object_mut() {
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove("portolan.dev/sources");
            }
            metadata.retain(|key, value| key != "annotations" || !is_nothing(value));
        }
        if is_nothing(&object["metadata"]) {
            object["metadata"] = Value::Null;
        }
    }
    assert_eq!(before, after, "beside images, annotation and pull Secrets: {operations}");
}

/// What decides beside the review.
struct Scene {
    table: Table,
    lock: Lock,
    says: u8,
}

/// A lock with lines for some of the places where the images of a review may be; some of what they name is gone.
fn locked(table: &Table, body: &[u8]) -> Lock {
    let request = Review::parse(body).ok().and_then(|review| review.into_request().ok());
    let Some(request) = &request else { return Lock::default() };
    let mut lines = BTreeSet::new();
    let pods = [&request.object, &request.old_object];
    for pod in pods.into_iter().flatten() {
        for field in [Scope::Pod, Scope::EphemeralContainers].into_iter().flat_map(|scope| fields(pod, scope))
        {
            let Ok(reference) = Reference::parse(field.image) else { continue };
            let places: Vec<_> = match table.lookup(&reference, Some(&request.namespace)) {
                Lookup::Inside { .. } => vec![reference],
                Lookup::Rule(rule) => {
                    (0..rule.mirrors().len()).filter_map(|mirror| rule.place(mirror, &reference)).collect()
                }
                Lookup::Exception(_) | Lookup::InsideNoRule | Lookup::NoRule => Vec::new(),
            };
            lines.extend(places.iter().filter(|place| !sum(place).is_multiple_of(3)).map(|place| {
                match place.digest() {
                    Some(digest) => format!("{}@{digest} {digest}\n", place.name()),
                    None => format!("{place} {}\n", Digest::of(b"locked").as_str()),
                }
            }));
        }
    }
    let lock = Lock::parse(&lines.into_iter().collect::<String>()).expect("no two lines disagree");
    for line in lock.lines().iter().filter(|line| sum(line.reference()).is_multiple_of(4)) {
        lock.note(line, Finding::Missing);
    }
    lock
}

/// What comes of a review.
struct Decided {
    patch: Option<Vec<u8>>,
    /// The pointers to the images changed, and what to.
    rewritten: Vec<(String, String)>,
    denied: bool,
    /// Whether two elements of one list have one name.
    doubled: bool,
}

/// The webhook's way through the pure rooms; `None` where it makes no patch whatever the images are.
fn decided(scene: &Scene, body: &[u8]) -> Option<Decided> {
    let Ok(review) = Review::parse(body) else {
        // Must not panic either.
        let _ = Envelope::parse(body);
        return None;
    };
    let request = review.into_request().ok()?;
    let scope = match (&*request.operation, &*request.sub_resource) {
        ("CREATE" | "UPDATE", "") => Scope::Pod,
        ("UPDATE", "ephemeralcontainers") => Scope::EphemeralContainers,
        _ => return None,
    };
    let pod = request.object.as_deref().filter(|_| request.is_pod())?;
    let old = match &*request.operation {
        "UPDATE" => Some(request.old_object.as_deref()?),
        _ => None,
    };
    let Scene { table, lock, says } = scene;
    let old_sources = old.map(Sources::of).unwrap_or_default();
    let decide = |field: &Field<'_>| {
        let old_image = old.and_then(|old| same_name(old, field.place.list, field.name));
        if let Some(decision) = standing(field, old_image, &old_sources) {
            return decision;
        }
        if let Some(reason) = exemption(pod, field, &request.namespace, Some("portolan"), PodOptOut::Honoured)
        {
            return Decision::kept(reason);
        }
        match plan(table, lock, field.image, field.pull, Some(&request.namespace)) {
            Plan::Ask(question) => {
                let answer = answer(&question, *says);
                question.conclude(answer)
            }
            Plan::Settled(decision) => decision,
        }
    };
    let all: Vec<_> = fields(pod, scope).collect();
    let decisions: Vec<_> = all.iter().map(decide).collect();
    let images: Vec<_> =
        all.into_iter().zip(decisions).map(|(field, decision)| Judged { field, decision }).collect();
    let extent = match (scope, old) {
        (Scope::EphemeralContainers, _) => Extent::ImagesOnly,
        (Scope::Pod, Some(_)) => Extent::Update(&old_sources),
        (Scope::Pod, None)
            if whole_pod(pod, &request.namespace, Some("portolan"), PodOptOut::Honoured).is_some() =>
        {
            Extent::ImagesOnly
        }
        (Scope::Pod, None) => Extent::Create,
    };
    let denied = images.iter().any(|image| image.decision.outcome == Outcome::Denied);
    let rewritten = images
        .iter()
        .filter_map(|image| Some((image.field.place.to_string(), image.decision.result()?.to_owned())))
        .collect();
    let change = Change { pod, images: &images, extent, table, namespace: &request.namespace };
    let patch = if denied { None } else { change.to_patch() };
    Some(Decided { patch, rewritten, denied, doubled: is_doubled(pod) || old.is_some_and(is_doubled) })
}

fn is_doubled(pod: &Pod<'_>) -> bool {
    let mut names = BTreeSet::new();
    [Scope::Pod, Scope::EphemeralContainers]
        .into_iter()
        .flat_map(|scope| fields(pod, scope))
        .any(|field| !names.insert((field.place.list.word(), field.name.to_owned())))
}

/// What the mirrors say together, as the resolver would have it.
fn answer(question: &Question, choice: u8) -> Answer {
    let mut first = None;
    for (candidate, reference) in question.candidates().enumerate() {
        match says(reference, choice) {
            0 => {
                let own = reference.digest().and_then(|digest| digest.parse().ok());
                let digest = own.unwrap_or_else(|| Digest::of(reference.as_str().as_bytes()));
                return Answer::Found { candidate, digest, from: ResolvedFrom::Registry };
            }
            1 => {}
            other => first = first.or(Some((candidate, other))),
        }
    }
    match first {
        None => Answer::Missing,
        Some((candidate, 2)) => Answer::Unauthorized { candidate },
        Some((candidate, _)) => Answer::Unavailable { candidate },
    }
}

/// 0: found, 1: missing, 2: unauthorized, else unavailable.
fn says(reference: &Reference, choice: u8) -> u8 {
    if choice >= 128 { 0 } else { sum(reference).wrapping_add(choice) % 4 }
}

/// A number that hangs on the reference without its digest alone, so that it is the same at a second pass.
fn sum(reference: &Reference) -> u8 {
    reference.without_digest().bytes().fold(0, u8::wrapping_add)
}

/// Mirrors inside mirrors are left out where their rules pin differently: the contract lets a second pass go by the
/// inner one.
const TABLES: &[&str] = &[
    "apiVersion: portolan.dev/v1
kind: MappingTable
rules:
  - {source: docker.io, mirrors: [r.corp/hub]}
  - {source: 'docker.io/library/nginx:1.25', mirrors: ['r.corp/hardened/nginx:1.25-fips']}
  - {source: ghcr.io/acme/debug, keep: true}
  - {source: '*', mirrors: ['r.corp/all/{registry}', 'b.corp:5000/{registry}'], namespaces: ['team-*', shop], onMissing: rewrite}
registries:
  - {host: r.corp, pullSecret: pull}
  - {host: 'b.corp:5000', pullSecret: other}
",
    "apiVersion: portolan.dev/v1
kind: MappingTable
defaults: {pin: digest, onMissing: rewrite, onUnavailable: rewrite}
rules:
  - {source: docker.io, mirrors: [r.corp/hub, s.corp/hub]}
  - {source: '*.gcr.io', mirrors: ['r.corp/gcr/{registry}']}
registries:
  - {host: s.corp, pullSecret: pull}
",
    "apiVersion: portolan.dev/v1
kind: MappingTable
defaults: {pin: off}
rules:
  - {source: docker.io, mirrors: [r.corp/hub]}
",
    "apiVersion: portolan.dev/v1
kind: MappingTable
defaults: {onMissing: deny, onUnavailable: keep}
rules:
  - {source: docker.io, mirrors: [r.corp/hub]}
  - {source: quay.io, mirrors: ['localhost:5000/quay'], onMissing: keep}
",
    "apiVersion: portolan.dev/v1
kind: MappingTable
defaults: {lock: require}
rules:
  - {source: docker.io, mirrors: [r.corp/hub, s.corp/hub]}
  - {source: 'docker.io/library/nginx:1.25', mirrors: ['r.corp/hardened/nginx:1.25-fips']}
  - {source: docker.io/debug, keep: true, namespaces: [shop, 'team-*']}
  - {source: quay.io, mirrors: [t.corp/quay], lock: ignore, onUnavailable: keep}
  - {source: '*.gcr.io:5000', mirrors: ['u.corp/{registry}/x'], lock: prefer, onMissing: rewrite}
registries:
  - {host: docker.io, pullSecret: hub}
  - {host: r.corp, pullSecret: pull}
  - {host: s.corp, pullSecret: pull}
",
    "apiVersion: portolan.dev/v1
kind: MappingTable
defaults: {pin: digest, lock: require, onMissing: rewrite}
rules:
  - {source: '*', mirrors: ['r.corp/{registry}', s.corp], namespaces: ['*']}
  - {source: ghcr.io/acme, mirrors: ['t.corp:5000'], lock: prefer, onUnavailable: deny}
registries:
  - {host: 't.corp:5000', pullSecret: a}
  - {host: r.corp, pullSecret: a}
  - {host: s.corp, pullSecret: b}
",
];
