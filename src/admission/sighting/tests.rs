use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::{
    admission::{Admission, Options},
    audit::Log,
    metrics::Metrics,
    registry::Resolver,
    rewrite::Mode,
    table::Table,
};

/// One that rewrites images of `docker.io`, asks no registry, and refuses those of `quay.io`.
fn admission(mode: Mode) -> Admission {
    let table = "apiVersion: portolan.dev/v1\nkind: MappingTable\ndefaults: {pin: off}\nrules:\n\
                 - {source: docker.io, mirrors: [r.corp/hub]}\n\
                 - {source: quay.io, mirrors: [r.corp/quay], pin: digest, lock: require}\n";
    let metrics = Arc::new(Metrics::new());
    Admission {
        table: ArcSwap::from_pointee(Table::parse(table).unwrap().table),
        lock: ArcSwap::default(),
        resolver: Resolver::new(crate::registry::CachePolicy::default()),
        log: Log::start_with(std::io::sink(), 1000, Arc::clone(&metrics)).unwrap(),
        fights: Fights::default(),
        metrics,
        options: Options { mode, ..Options::default() },
    }
}

/// The CREATE of a Pod that a cluster of an operator's owns.
fn create() -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "namespace": "shop", "operation": "CREATE", "dryRun": false,
            "object": {
                "metadata": {"name": "pg-1", "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Secret", "name": "beside", "uid": "s-1"},
                    {
                        "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "name": "pg", "uid": "c-1",
                        "controller": true,
                    },
                ]},
                "spec": {"containers": [
                    {"name": "db", "image": "postgres:17"}, {"name": "kept", "image": "r.corp/hub/other:1"},
                ]},
            },
        },
    })
}

/// The same Pod's images set to what was written.
fn set_back() -> Value {
    let mut review = create();
    let request = &mut review["request"];
    request["operation"] = json!("UPDATE");
    request["name"] = json!("pg-1");
    request["object"]["metadata"]["uid"] = json!("p-1");
    request["oldObject"] = request["object"].clone();
    let (key, image) = ("portolan.dev/sources", "r.corp/hub/library/postgres:17");
    let sources = json!({"containers/db": {"written": "postgres:17", "image": image}}).to_string();
    request["oldObject"]["metadata"]["annotations"][key] = json!(sources);
    request["oldObject"]["spec"]["containers"][0]["image"] = json!(image);
    review
}

async fn answer(admission: &Admission, review: &Value, mode: Mode) {
    let body = Bytes::from(review.to_string());
    assert_eq!(admission.answer(body, mode, None).await.status, 200);
}

/// The fight that this request begins when it comes again and again, with what is told of it.
fn fight(review: &Value) -> Option<super::super::Fight> {
    let body = review.to_string();
    let (fights, begin) = (Fights::default(), Instant::now());
    let request = crate::review::Review::parse(body.as_bytes()).unwrap().into_request().unwrap();
    let pod = request.object.as_deref().unwrap();
    let fields = crate::rewrite::fields(pod, crate::rewrite::Scope::Pod);
    let images: Vec<_> = fields
        .map(|field| {
            let mut decision = crate::rewrite::Decision::kept(crate::rewrite::Reason::Mirrored);
            if !field.image.starts_with("r.corp") {
                let to = format!("r.corp/hub/library/{}", field.image).into();
                decision.outcome = crate::rewrite::Outcome::Rewritten { to };
            }
            Judged { field, decision }
        })
        .collect();
    for second in 0..1200 {
        show(&fights, &request, pod, &images, begin + Duration::from_secs(second));
    }
    fights.news().pop()
}

#[tokio::test]
async fn only_what_is_carried_out_and_changes_an_image_is_shown() {
    let seen = async |admission: Admission, review: &Value, mode| {
        answer(&admission, review, mode).await;
        // One run is the owner's, one the Pod's.
        admission.fights.runs() / 2
    };
    for review in [create(), set_back()] {
        assert_eq!(seen(admission(Mode::Enforce), &review, Mode::Enforce).await, 1);
        assert_eq!(
            seen(admission(Mode::Enforce), &review, Mode::Audit).await,
            0,
            "through the path for audit"
        );
        assert_eq!(seen(admission(Mode::Audit), &review, Mode::Enforce).await, 0, "by the flag");
        let change = |pointer: &str, value: Value| {
            let mut review = review.clone();
            *review.pointer_mut(pointer).unwrap() = value;
            review
        };
        let dry = change("/request/dryRun", json!(true));
        assert_eq!(seen(admission(Mode::Enforce), &dry, Mode::Enforce).await, 0, "a dry run");
    }
    let change = |pointer: &str, key: &str, value: Value| {
        let mut review = create();
        review.pointer_mut(pointer).unwrap()[key] = value;
        review
    };
    for (what, review) in [
        (
            "opted out",
            change("/request/object/metadata", "labels", json!({"portolan.dev/rewrite": "disabled"})),
        ),
        ("nothing to change", change("/request/object/spec/containers/0", "image", json!("ghcr.io/a/b:1"))),
        ("denied", change("/request/object/spec/containers/1", "image", json!("quay.io/a/b:1"))),
        ("nobody's", change("/request/object/metadata", "ownerReferences", Value::Null)),
        ("a controller of Kubernetes'", {
            let owner =
                json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "controller": true}]);
            let mut review = change("/request/object/metadata", "ownerReferences", owner);
            review["request"]["object"]["metadata"]["name"] = json!("");
            review["request"]["object"]["metadata"]["generateName"] = json!("web-");
            review
        }),
        ("a debugging container", {
            let mut review = set_back();
            review["request"]["subResource"] = json!("ephemeralcontainers");
            review["request"]["object"]["spec"]["ephemeralContainers"] =
                json!([{"name": "debugger", "image": "busybox"}]);
            review
        }),
    ] {
        assert_eq!(seen(admission(Mode::Enforce), &review, Mode::Enforce).await, 0, "{what}");
    }
}

#[test]
fn the_owner_that_manages_the_pod_is_told_of_with_the_images_that_change() {
    let fight = fight(&create()).unwrap();
    assert_eq!((&*fight.namespace, &*fight.pod, fight.act), ("shop", "pg-1", Act::MadeSame));
    let owner = &fight.owner;
    assert_eq!(
        (&*owner.api_version, &*owner.kind, &*owner.name, &*owner.uid),
        ("postgresql.cnpg.io/v1", "Cluster", "pg", "c-1")
    );
    assert_eq!(fight.images, [("postgres:17".into(), "r.corp/hub/library/postgres:17".into())]);
}

#[test]
fn a_pod_is_recognised_by_its_name_or_by_the_host_name_that_it_asks_for() {
    let mut generated = create();
    generated["request"]["object"]["metadata"]["name"] = Value::Null;
    generated["request"]["object"]["metadata"]["generateName"] = json!("nifi-1-node");
    assert_eq!(fight(&generated).unwrap().act, Act::MadeOneOfMany);
    generated["request"]["object"]["spec"]["hostname"] = json!("nifi-1-node");
    let fight = fight(&generated).unwrap();
    assert_eq!((fight.act, &*fight.pod), (Act::MadeSame, "nifi-1-node"));
}

#[test]
fn images_set_back_in_a_pod_that_nobody_owns_are_told_of_on_the_pod() {
    let mut review = set_back();
    assert_eq!(fight(&review).unwrap().owner.kind, "Cluster".into());
    review["request"]["object"]["metadata"]["ownerReferences"] = Value::Null;
    let fight = fight(&review).unwrap();
    let owner = &fight.owner;
    assert_eq!(
        (&*owner.api_version, &*owner.kind, &*owner.name, &*owner.uid, fight.act),
        ("v1", "Pod", "pg-1", "p-1", Act::SetBack)
    );
}
