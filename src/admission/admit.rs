//! One review, from its bytes to its answer.

use std::time::Instant;

use super::{
    Admission, Asking, Reply,
    decide::recall,
    guard::Call,
    message,
    scratch::{self, Scratch},
    sighting,
};
use crate::{
    audit::Head,
    lock::Lock,
    metrics::Verdict as Counted,
    review::{Answer, Envelope, Metadata, Pod, Request, Review, Verdict},
    rewrite::{
        Change, Decision, Extent, Field, Judged, Mode, Outcome, Plan, PodOptOut, Reason, Scope, Sources,
        exemption, fields, plan, same_name, standing, whole_pod,
    },
    table::{Mirror, Table},
};

/// Answers one review. Ready at its first poll if every image is known.
pub(super) async fn admit(call: Call<'_>) -> Reply {
    let Call { state, body, mode, deadline } = call;
    let request = match Review::parse(body) {
        Ok(review) => match review.into_request() {
            Ok(request) => request,
            Err(error) => return call.refuse(&error),
        },
        Err(_) => return unreadable(call),
    };
    let Some(case) = Case::of(&request) else { return allow(&request) };
    let case = match case {
        Ok(case) => case,
        Err(cause) => return call.fail_open(cause),
    };
    let (table, lock) = (state.table.load_full(), state.lock.load_full());
    let circumstances = Circumstances {
        table: &table,
        lock: &lock,
        own_namespace: state.options.own_namespace.as_deref(),
        pod_opt_out: state.options.pod_opt_out,
        asking: Asking::Registries { resolver: &state.resolver, deadline: deadline.resolve },
    };
    let images = case.judge(circumstances).await;
    let body = case.answer(&images, circumstances, mode, |answer| answer.to_json());
    keep_record(state, &request, case.pod, images, mode, deadline.started);
    Reply { status: 200, body }
}

/// What an admission is decided by, beside its request.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The mapping table.
    pub table: &'a Table,
    /// The lock.
    pub lock: &'a Lock,
    /// The namespace in which Portolan runs, which is always left alone.
    pub own_namespace: Option<&'a str>,
    /// Whether Pods may opt out by their label.
    pub pod_opt_out: PodOptOut,
    /// Who is asked about images, and until when.
    pub asking: Asking<'a>,
}

/// What a review is about.
pub(super) struct Case<'a> {
    request: &'a Request<'a>,
    scope: Scope,
    pod: &'a Pod<'a>,
    old: Option<&'a Pod<'a>>,
    /// The annotation of the Pod as it was.
    old_sources: Sources,
}

impl<'a> Case<'a> {
    /// `None`: another kind, operation or subresource, which is none of our business.
    pub(super) fn of(request: &'a Request<'a>) -> Option<Result<Self, &'static str>> {
        let scope = match (&*request.operation, &*request.sub_resource) {
            ("CREATE" | "UPDATE", "") => Scope::Pod,
            ("UPDATE", "ephemeralcontainers") => Scope::EphemeralContainers,
            _ => return None,
        };
        if !request.is_pod() {
            return None;
        }
        let Some(pod) = request.object.as_deref() else { return Some(Err("the review has no object")) };
        let old = if &*request.operation == "UPDATE" { request.old_object.as_deref() } else { None };
        if old.is_none() && &*request.operation == "UPDATE" {
            return Some(Err("the review of an UPDATE has no oldObject"));
        }
        let old_sources = old.map(Sources::of).unwrap_or_default();
        Some(Ok(Self { request, scope, pod, old, old_sources }))
    }

    /// Decides about every image, in the order of the lists. Ready at its first poll if every image is known.
    pub(super) async fn judge(&self, circumstances: Circumstances<'_>) -> Vec<Judged<'a>> {
        let Circumstances { table, lock, own_namespace, pod_opt_out, asking } = circumstances;
        let (pod, old, namespace) = (self.pod, self.old, &*self.request.namespace);
        let plan_of = |field: &Field<'_>| {
            let old_image = old.and_then(|old| same_name(old, field.place.list, field.name));
            if let Some(decision) = standing(field, old_image, &self.old_sources) {
                return Plan::Settled(decision);
            }
            if let Some(reason) = exemption(pod, field, namespace, own_namespace, pod_opt_out) {
                return Plan::Settled(Decision::kept(reason));
            }
            plan(table, lock, field.image, field.pull, Some(namespace))
        };
        let recalled = {
            let scope = self.scope;
            let asked_about = fields(pod, scope).filter(|field| is_asked_about(field, scope, old));
            recall(asked_about.map(|field| (field, plan_of(&field))), asking)
        };
        recalled.complete().await
    }

    /// Puts the answer together and hands it to `finish`.
    pub(super) fn answer<T>(
        &self,
        images: &[Judged<'_>],
        circumstances: Circumstances<'_>,
        mode: Mode,
        finish: impl FnOnce(Answer<'_>) -> T,
    ) -> T {
        let warnings = message::warnings(images, mode);
        let answer = Answer { warnings: &warnings, ..allowed(&self.request.uid) };
        if mode == Mode::Audit {
            return finish(answer);
        }
        scratch::with(|Scratch { patch, sources, audited, audit_key }| {
            message::audit_annotation(images, audit_key, audited);
            let audit_annotation = (!audited.is_empty()).then_some((&**audit_key, &*audited));
            let answer = Answer { audit_annotation, ..answer };
            if let Some(message) = message::denial(images) {
                return finish(Answer { verdict: Verdict::Denied(&message), ..answer });
            }
            let change = Change {
                pod: self.pod,
                images,
                extent: self.extent(&circumstances),
                table: circumstances.table,
                namespace: &self.request.namespace,
            };
            change.write_patch(patch, sources);
            finish(Answer { patch: Some(&**patch).filter(|patch| !patch.is_empty()), ..answer })
        })
    }

    /// What else may be changed beside the images.
    fn extent(&self, circumstances: &Circumstances<'_>) -> Extent<'_> {
        let Circumstances { own_namespace, pod_opt_out, .. } = *circumstances;
        let is_left_alone =
            || whole_pod(self.pod, &self.request.namespace, own_namespace, pod_opt_out).is_some();
        match (self.scope, self.old) {
            (Scope::EphemeralContainers, _) => Extent::ImagesOnly,
            (Scope::Pod, Some(_)) => Extent::Update(&self.old_sources),
            (Scope::Pod, None) if is_left_alone() => Extent::ImagesOnly,
            (Scope::Pod, None) => Extent::Create,
        }
    }
}

/// Through the subresource only what is new is looked at: the others cannot change.
fn is_asked_about(field: &Field<'_>, scope: Scope, old: Option<&Pod<'_>>) -> bool {
    match scope {
        Scope::EphemeralContainers => {
            old.is_none_or(|old| same_name(old, field.place.list, field.name) != Some(field.image))
        }
        Scope::Pod => true,
    }
}

/// A review whose objects could not be read as Pods: fine if they are none.
fn unreadable(call: Call<'_>) -> Reply {
    match Envelope::parse(call.body) {
        Ok(envelope) if envelope.is_pod => call.fail_open("the Pod in the review could not be read"),
        Ok(envelope) => Reply { status: 200, body: allowed(&envelope.uid).to_json() },
        Err(error) => call.refuse(&error),
    }
}

fn allow(request: &Request<'_>) -> Reply {
    Reply { status: 200, body: allowed(&request.uid).to_json() }
}

fn allowed(uid: &str) -> Answer<'_> {
    Answer { uid, verdict: Verdict::Allowed, patch: None, audit_annotation: None, warnings: &[] }
}

/// Logs an image whose mirrors did not give what the table asks for.
fn warn_if_unlike_the_table(head: &Head<'_>, field: &Field<'_>, decision: &Decision) {
    if !matches!(
        decision.reason,
        Reason::Missing | Reason::NotLocked | Reason::Unauthorized | Reason::Unavailable
    ) {
        return;
    }
    tracing::warn!(
        uid = head.uid,
        namespace = head.namespace,
        pod = head.pod,
        source = &*message::shortened(field.image, message::MAX_AUDITED),
        mirror = decision.named_mirror().map(Mirror::as_str),
        rule = decision.rule().map(|rule| rule.source()),
        outcome = decision.outcome.word(),
        reason = decision.reason.word(),
        "image not pinned as the table asks"
    );
}

/// Counts the admission and hands its decisions to the audit log.
fn keep_record(
    state: &Admission,
    request: &Request<'_>,
    pod: &Pod<'_>,
    images: Vec<Judged<'_>>,
    mode: Mode,
    started: Instant,
) {
    let metadata = pod.metadata.as_ref();
    let owner = metadata.and_then(Metadata::owner);
    let pod_name = match metadata {
        _ if !request.name.is_empty() => &request.name,
        Some(metadata) if !metadata.name.is_empty() => &metadata.name,
        Some(metadata) => &metadata.generate_name,
        None => &request.name,
    };
    let head = Head {
        uid: &request.uid,
        operation: &request.operation,
        namespace: &request.namespace,
        pod: pod_name,
        owner: owner.map(|owner| (&*owner.kind, &*owner.name)),
        user: request.user_info.as_ref().map_or("", |user| &user.username),
        dry_run: request.dry_run.unwrap_or_default(),
        mode,
    };
    for Judged { field, decision } in &images {
        warn_if_unlike_the_table(&head, field, decision);
    }
    let is_denied = images.iter().any(|image| image.decision.outcome == Outcome::Denied);
    let elapsed = started.elapsed();
    if !head.dry_run {
        let verdict = if is_denied { Counted::Denied } else { Counted::Allowed };
        state.metrics.admission(mode, verdict, elapsed);
        for Judged { decision, .. } in &images {
            state.metrics.image(&decision.outcome, decision.reason);
            if let Some(from) = decision.resolved_from {
                state.metrics.resolved(from);
            }
        }
        if mode == Mode::Enforce && !is_denied {
            sighting::show(&state.fights, request, pod, &images, started);
        }
    }
    if images.is_empty() {
        return;
    }
    let mut record = state.log.begin(&head);
    for Judged { field, decision } in images {
        record.push(field.place, field.name, field.image, decision);
    }
    record.set_elapsed(elapsed);
    state.log.record(record);
}
