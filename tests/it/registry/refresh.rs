//! Asking again in the background.

use std::time::{Duration, Instant};

use portolan::registry::{Answer, AnswerSource, CachePolicy, Resolver};

use super::{found, remembered, resolve, resolver};
use crate::support::{
    eventually,
    fake_registry::{FakeRegistry, Fault, manifest},
};

fn quick() -> CachePolicy {
    CachePolicy {
        fresh_for: Duration::from_millis(400),
        negative_for: Duration::from_millis(50),
        ..CachePolicy::default()
    }
}

/// Runs the background task until the test ends.
fn refreshing(resolver: &Resolver) -> tokio::task::JoinHandle<()> {
    let resolver = resolver.clone();
    tokio::spawn(async move { resolver.refresh_forever().await })
}

#[tokio::test]
async fn what_is_in_use_is_asked_again_before_it_ages() {
    let registry = FakeRegistry::start().await;
    let old = registry.put("team/app", "v1", &manifest("old"));
    let resolver = resolver(quick(), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    assert_eq!(resolve(&resolver, &[&image]).await, found(0, &old, AnswerSource::Registry));
    let new = registry.put("team/app", "v1", &manifest("new"));
    let task = refreshing(&resolver);
    // Nobody asks in an admission, and yet memory has the new digest.
    let memory = found(0, &new, AnswerSource::Memory);
    eventually("the resolver comes to it", async || {
        remembered(&resolver, &[&image], Instant::now()) == Some(memory.clone())
    })
    .await;
    let counts = resolver.status(Instant::now()).counts;
    assert!(counts.refreshed >= 1 && counts.asked == 1 + counts.refreshed, "{counts:?}");
    task.abort();
}

#[tokio::test]
async fn what_nobody_uses_any_more_is_not_asked_again() {
    let registry = FakeRegistry::start().await;
    for tag in ["used", "unused"] {
        registry.put("team/app", tag, &manifest(tag));
    }
    let policy = CachePolicy { refresh_used_within: Duration::from_secs(1), ..quick() };
    let resolver = resolver(policy, &[&registry]);
    let [used, unused] = ["used", "unused"].map(|tag| format!("{}/team/app:{tag}", registry.host()));
    resolve(&resolver, &[&unused]).await;
    let task = refreshing(&resolver);
    let refreshed = async |times: usize| {
        let enough = registry.count("HEAD", "manifests/used") + times;
        eventually("the resolver comes to it", async || {
            resolve(&resolver, &[&used]).await;
            registry.count("HEAD", "manifests/used") >= enough
        })
        .await;
    };
    // One refresh takes 200 ms at least: after ten, the unused one's second is long over.
    refreshed(10).await;
    let unused = registry.count("HEAD", "manifests/unused");
    refreshed(4).await;
    assert_eq!(registry.count("HEAD", "manifests/unused"), unused);
    task.abort();
}

#[tokio::test]
async fn what_has_gone_meanwhile_is_no_longer_remembered() {
    let registry = FakeRegistry::start().await;
    registry.put("team/app", "v1", &manifest("app"));
    let policy = CachePolicy { negative_for: Duration::from_hours(1), ..quick() };
    let resolver = resolver(policy, &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    resolve(&resolver, &[&image]).await;
    registry.clear();
    let task = refreshing(&resolver);
    eventually("the resolver comes to it", async || {
        remembered(&resolver, &[&image], Instant::now()) == Some(Answer::Missing)
    })
    .await;
    task.abort();
}

#[tokio::test]
async fn few_requests_are_under_way_at_once() {
    let registry = FakeRegistry::start().await;
    let resolver = resolver(quick(), &[&registry]);
    let images: Vec<_> = (0..40).map(|number| format!("{}/team/app:v{number}", registry.host())).collect();
    for (number, image) in images.iter().enumerate() {
        registry.put("team/app", &format!("v{number}"), &manifest("app"));
        resolve(&resolver, &[image]).await;
    }
    registry.fault(Fault::Stall);
    let before = registry.requests().len();
    let task = refreshing(&resolver);
    eventually("the resolver comes to it", async || registry.requests().len() == before + 8).await;
    // The stalled ones hold all the places: the count of those begun stays where it is.
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(registry.requests().len(), before + 8);
    task.abort();
}

#[tokio::test]
async fn a_registry_comes_back_without_an_admission_having_waited_for_it() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let policy = CachePolicy { leave_alone_for: Duration::from_millis(100), ..quick() };
    let resolver = resolver(policy, &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    resolve(&resolver, &[&image]).await;
    registry.fault(Fault::Status(503));
    let task = refreshing(&resolver);
    eventually("the resolver comes to it", async || {
        resolver.status(Instant::now()).registries[0].left_alone_for.is_some()
    })
    .await;
    registry.heal();
    let memory = Some(found(0, &digest, AnswerSource::Memory));
    eventually("the resolver comes to it", async || {
        remembered(&resolver, &[&image], Instant::now()) == memory
    })
    .await;
    task.abort();
}
