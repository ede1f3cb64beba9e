//! What a warm admission takes from the heap, and that it never waits.
//!
//! A binary of its own, because its allocator counts. Only this thread's allocations are counted, so that the audit
//! log's thread does not disturb.
#![allow(clippy::unwrap_used, reason = "tests say what is wrong by panicking")]

#[path = "../benches/admission/registry.rs"]
mod registry;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use allocation_counter::measure;
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::FutureExt as _;
use portolan::{
    admission::{Admission, Fights, Options, Reply},
    audit::{Destination, Log},
    lock::Lock,
    metrics::Metrics,
    registry::{CachePolicy, Resolver},
    rewrite::Mode,
    server::endpoints,
    table::Table,
};
use serde_json::{Value, json};

/// A Pod's review: that many images, and about as many bytes of all that Pods have beside them.
fn review(images: usize, padding: usize) -> Bytes {
    let pieces = padding / 256;
    let container = |number| {
        json!({
            "name": format!("c{number}"),
            "image": format!("team/app-{number}:1.0"),
            "imagePullPolicy": "IfNotPresent",
            "env": (0..pieces / images)
                .map(|number| json!({"name": format!("VARIABLE_{number}"), "value": "a \"quoted\" value".repeat(4)}))
                .collect::<Vec<_>>(),
        })
    };
    let labels: serde_json::Map<_, _> =
        (0..pieces / 20).map(|number| (format!("label-{number}"), json!("value"))).collect();
    let review = json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "5f1c8c1e-0000-4000-8000-000000000001",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "name": "",
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": {
                "metadata": {
                    "generateName": "web-5d8c",
                    "labels": labels,
                    "annotations": labels,
                    "managedFields": (0..pieces / 4).map(|n| json!({"n": n})).collect::<Vec<_>>(),
                    "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d8c", "controller": true}],
                },
                "spec": {
                    "containers": (0..images).map(container).collect::<Vec<_>>(),
                    "tolerations": (0..pieces / 4).map(|n| json!({"key": n})).collect::<Vec<_>>(),
                },
            },
            "oldObject": null,
            "dryRun": false,
        },
    });
    review.to_string().into()
}

/// An admission whose table sends everything to a registry that has everything.
fn admission() -> Admission {
    admission_at(registry::start())
}

fn admission_at(registry: SocketAddr) -> Admission {
    let table = format!(
        "apiVersion: portolan.dev/v1\nkind: MappingTable\n\
         rules: [{{source: docker.io, mirrors: ['{registry}/hub']}}]\n\
         registries: [{{host: '{registry}', plainHttp: true}}]\n"
    );
    let table = Table::parse(&table).unwrap().table;
    let resolver =
        Resolver::new(CachePolicy { fresh_for: Duration::from_hours(1), ..CachePolicy::default() });
    resolver.configure(endpoints(&table, |_| None), None).unwrap();
    let metrics = Arc::new(Metrics::new());
    let log = Log::start(&Destination::File("/dev/null".into()), Log::QUEUE, Arc::clone(&metrics)).unwrap();
    Admission {
        table: ArcSwap::from_pointee(table),
        lock: ArcSwap::default(),
        resolver,
        log,
        fights: Fights::default(),
        metrics,
        options: Options::default(),
    }
}

/// Answers at the first poll, or panics.
fn at_once(admission: &Admission, body: &Bytes) -> Reply {
    let timeout = Some(Duration::from_secs(3));
    let reply = admission.answer(body.clone(), Mode::Enforce, timeout).now_or_never();
    reply.expect("an admission whose images are all known does not wait")
}

#[test]
fn a_warm_admission_never_waits_and_takes_little_from_the_heap_whatever_the_body_s_size() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let admission = admission();
    for images in [1, 2, 8, 24] {
        for padding in [0, 16 << 10, 200 << 10, 1 << 20] {
            let body = review(images, padding);
            // No runtime is entered below: whatever would spawn or wait for time would panic.
            runtime.block_on(admission.answer(body.clone(), Mode::Enforce, None));
            let reply = at_once(&admission, &body);
            let answer: Value = serde_json::from_slice(&reply.body).unwrap();
            assert!(answer["response"]["patch"].is_string(), "{answer}");
            let most = (0..20).map(|_| measure(|| drop(at_once(&admission, &body))).count_total).max();
            let limit = 12 + 4 * images as u64;
            println!("{images:>3} images, {:>8} bytes: {most:?} allocations of {limit}", body.len());
            assert!(most <= Some(limit), "{most:?} allocations for {images} images in {} bytes", body.len());
        }
    }
}

#[test]
fn what_is_locked_takes_no_more_and_never_waits_though_nobody_was_ever_asked() {
    // What is asked about after all is waited for, and fails the test.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    // Nobody listens there.
    let admission = admission_at(([127, 0, 0, 1], 1).into());
    let digest = format!("sha256:{}", "a".repeat(64));
    let lines: Vec<_> =
        (0..1000).map(|number| format!("127.0.0.1:1/hub/team/app-{number}:1.0 {digest}\n")).collect();
    admission.lock.store(Arc::new(Lock::parse(&lines.concat()).unwrap()));
    for images in [1, 8, 24] {
        let body = review(images, 16 << 10);
        at_once(&admission, &body);
        let answer: Value = serde_json::from_slice(&at_once(&admission, &body).body).unwrap();
        assert!(
            answer["response"]["patch"].is_string() && answer["response"]["warnings"].is_null(),
            "{answer}"
        );
        let most = (0..20).map(|_| measure(|| drop(at_once(&admission, &body))).count_total).max();
        let limit = 12 + 4 * images as u64;
        println!("{images:>3} images, locked: {most:?} allocations of {limit}");
        assert!(most <= Some(limit), "{most:?} allocations for {images} locked images");
    }
}
