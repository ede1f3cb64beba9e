//! The code under test: `plan` and `conclude` of `portolan::rewrite`, and before them what the webhook does with a Pod.

use portolan::{
    image::Digest,
    lock::{Finding, Lock},
    review::Review,
    rewrite::{
        Answer, Decision, Field, Outcome, Plan, PodOptOut, Pull, Question, ResolvedFrom, Scope, Sources,
        exemption, fields, plan, same_name, standing,
    },
    table::Table,
};

use super::{
    asking::{Standing, Together, together},
    decide::Decided,
    generate::Case,
    pod::Pod,
    world::World,
};

/// The lock as Portolan reads it, with what its mirrors were found to have.
pub(crate) fn lock_of(world: &World) -> Lock {
    let lines: Vec<String> = world.lock.iter().map(|line| line.text() + "\n").collect();
    let lock = Lock::parse(&lines.concat()).expect("the generator writes sound locks");
    for line in lock.lines() {
        let text = line.reference().as_str();
        let ours = world.lock.iter().find(|ours| ours.place.text() == text).expect("it was read from these");
        if world.is_gone(ours) {
            lock.note(line, Finding::Missing);
        } else if ours.has_moved {
            lock.note(line, Finding::Moved);
        }
    }
    lock
}

/// What the code decides.
pub(crate) fn decide(table: &Table, lock: &Lock, case: &Case) -> Decided {
    let decision = match &case.pod {
        None => concluded(plan_of(table, lock, case, Pull::Sometimes), &case.world),
        Some(pod) => decide_in(pod, table, lock, case),
    };
    told(&decision)
}

/// Through a whole review, in the order of `portolan::admission`.
fn decide_in(pod: &Pod, table: &Table, lock: &Lock, case: &Case) -> Decision {
    let namespace = case.namespace.as_deref().unwrap_or_default();
    let body = pod.review(&case.written, namespace).to_string();
    let request = Review::parse(body.as_bytes()).unwrap().into_request().unwrap();
    let now = request.object.as_deref().unwrap();
    let old = request.old_object.as_deref();
    let old_sources = old.map(Sources::of).unwrap_or_default();
    let all: Vec<Field<'_>> = fields(now, Scope::Pod).collect();
    let [field] = &all[..] else { panic!("the Pod has one image: {all:?}") };
    assert_eq!(field.image, case.written, "it is read as it was written");
    let old_image = old.and_then(|old| same_name(old, field.place.list, field.name));
    if let Some(decision) = standing(field, old_image, &old_sources) {
        return decision;
    }
    let own_namespace = if pod.is_in_own_namespace { namespace } else { "portolan" };
    if let Some(reason) = exemption(now, field, namespace, Some(own_namespace), PodOptOut::Honoured) {
        return Decision::kept(reason);
    }
    let plan = plan_of(table, lock, case, field.pull);
    if let Plan::Ask(question) = &plan {
        assert_eq!(question.is_always(), pod.pull == "Always");
    }
    concluded(plan, &case.world)
}

fn plan_of(table: &Table, lock: &Lock, case: &Case, pull: Pull) -> Plan {
    plan(table, lock, &case.written, pull, case.namespace.as_deref())
}

fn concluded(plan: Plan, world: &World) -> Decision {
    match plan {
        Plan::Settled(decision) => decision,
        Plan::Ask(question) => {
            let answer = answer(&question, world);
            question.conclude(answer)
        }
    }
}

/// What the resolver would bring: it is compared with [`together`] in the unit tests of `portolan::registry`.
fn answer(question: &Question, world: &World) -> Answer {
    assert_eq!(question.is_single(), question.candidates().count() == 1);
    assert_eq!(Some(question.first()), question.candidates().next());
    if world.offline {
        return Answer::Offline;
    }
    let standings: Vec<Standing> =
        question.candidates().map(|place| world.standing(place.as_str())).collect();
    match together(&standings) {
        Together::Found { mirror, digest, from } => {
            let from = ResolvedFrom::ALL.into_iter().find(|one| one.word() == from).unwrap();
            Answer::Found { candidate: mirror, digest: digest.parse().unwrap(), from }
        }
        Together::Missing => Answer::Missing,
        Together::Unauthorized { first } => Answer::Unauthorized { candidate: first },
        Together::Unavailable { first } => Answer::Unavailable { candidate: first },
    }
}

fn told(decision: &Decision) -> Decided {
    let result = decision.result().map(str::to_owned);
    let is_rewritten = result.is_some();
    if let Some(result) = &result {
        let digest = result.split_once('@').map(|(_, digest)| digest);
        let told = decision.digest.as_ref().map(Digest::as_str);
        assert_eq!(told, digest, "the digest told is the one that the result has");
    }
    assert_eq!(is_rewritten, matches!(decision.outcome, Outcome::Rewritten { .. }));
    Decided {
        outcome: decision.outcome.word(),
        reason: decision.reason.word(),
        result,
        rule: decision.rule().map(|rule| rule.id()),
        mirror: decision.mirror.filter(|_| is_rewritten),
        from: decision.resolved_from.filter(|_| is_rewritten).map(ResolvedFrom::word),
    }
}
