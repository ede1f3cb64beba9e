//! No review panics; the patch that comes of it applies to its object, says what was decided, and is idempotent: the
//! patched object, decided again, needs none.
//!
//! The first byte chooses a table and what mirrors say; the rest is the body. What mirrors say hangs on the
//! mirror's reference alone, so that both passes hear the same.

use std::collections::BTreeSet;

use portolan::{
    image::{Digest, Reference},
    lock::Lock,
    review::{Envelope, Pod, Review},
    rewrite::{
        Answer, Change, Decision, Extent, Field, Judged, Outcome, Plan, Question, ResolvedFrom, Scope,
        Sources, exemption, fields, plan, same_name, standing, whole_pod,
    },
    table::Table,
};
use serde_json::Value;

/// Panics if the patch to the review in `data` is wrong.
pub(crate) fn check(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let table = TABLES[usize::from(*choice) % TABLES.len()];
    let table = Table::parse(table).expect("the tables here are sound").table;
    let Some(first) = decided(&table, *choice, body) else { return };
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
    json_patch::patch(object, &patch).unwrap_or_else(|error| panic!("{error}: {operations}"));
    for (pointer, to) in first.rewritten {
        assert_eq!(object.pointer(&pointer).and_then(Value::as_str), Some(&*to), "{pointer}");
    }
    let again = decided(&table, *choice, review.to_string().as_bytes()).expect("it is a review still");
    let second = again.patch.map(|patch| String::from_utf8_lossy(&patch).into_owned());
    assert_eq!(second, None, "a second pass after {operations}");
}

/// What comes of a review.
struct Decided {
    patch: Option<Vec<u8>>,
    /// The pointers to the images changed, and what to.
    rewritten: Vec<(String, String)>,
    /// Whether two elements of one list have one name.
    doubled: bool,
}

/// The webhook's way through the pure rooms; `None` where it makes no patch whatever the images are.
fn decided(table: &Table, choice: u8, body: &[u8]) -> Option<Decided> {
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
    let old_sources = old.map(Sources::of).unwrap_or_default();
    let mut scratch = String::new();
    let decide = |field: &Field<'_>| {
        let old_image = old.and_then(|old| same_name(old, field.place.list, field.name));
        if let Some(decision) = standing(field, old_image, &old_sources) {
            return decision;
        }
        if let Some(reason) = exemption(pod, field, &request.namespace, Some("portolan")) {
            return Decision::kept(reason);
        }
        match plan(table, &Lock::default(), field.image, field.pull, Some(&request.namespace), &mut scratch) {
            Plan::Ask(question) => {
                let answer = answer(&question, choice);
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
        (Scope::Pod, None) if whole_pod(pod, &request.namespace, Some("portolan")).is_some() => {
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
    Some(Decided { patch, rewritten, doubled: is_doubled(pod) || old.is_some_and(is_doubled) })
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
    let sum = reference.without_digest().bytes().fold(choice / 8, u8::wrapping_add);
    if choice >= 128 { 0 } else { sum % 4 }
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
];
