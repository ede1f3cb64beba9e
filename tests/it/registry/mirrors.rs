//! Several mirrors: the order, the time of each, and what they say together.

use std::time::{Duration, Instant};

use portolan::registry::{Answer, AnswerSource, CachePolicy};

use super::{dead_host, found, plain, remembered, resolve, resolve_within, resolver};
use crate::support::fake_registry::{FakeRegistry, Fault, manifest};

/// Two registries, a resolver for both, and the image in each.
async fn two(policy: CachePolicy) -> (FakeRegistry, FakeRegistry, portolan::registry::Resolver, [String; 2]) {
    let (first, second) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let resolver = resolver(policy, &[&first, &second]);
    let images = [&first, &second].map(|registry| format!("{}/team/app:v1", registry.host()));
    (first, second, resolver, images)
}

#[tokio::test]
async fn the_first_mirror_that_has_the_image_is_used() {
    let (first, second, resolver, [a, b]) = two(CachePolicy::default()).await;
    let digest = second.put("team/app", "v1", &manifest("app"));
    assert_eq!(resolve(&resolver, &[&a, &b]).await, found(1, &digest, AnswerSource::Registry));
    assert_eq!(first.requests().len(), 1);
    let digest = first.put("team/both", "v1", &manifest("first"));
    second.put("team/both", "v1", &manifest("second"));
    let [a, b] = [a, b].map(|image| image.replace("app", "both"));
    assert_eq!(resolve(&resolver, &[&a, &b]).await, found(0, &digest, AnswerSource::Registry));
    assert_eq!(second.requests().len(), 1, "not asked about what the first has");
}

#[tokio::test]
async fn a_fresh_answer_of_any_mirror_comes_before_asking_any() {
    let (first, second, resolver, [a, b]) = two(CachePolicy::default()).await;
    first.put("team/app", "v1", &manifest("app"));
    let digest = second.put("team/app", "v1", &manifest("app"));
    resolve(&resolver, &[&b]).await;
    assert_eq!(
        remembered(&resolver, &[&a, &b], Instant::now()),
        Some(found(1, &digest, AnswerSource::Memory))
    );
    assert_eq!(resolve(&resolver, &[&a, &b]).await, found(1, &digest, AnswerSource::Memory));
    assert_eq!(first.requests().len(), 0);
}

#[tokio::test]
async fn a_mirror_with_another_behind_it_gets_half_of_the_time_left() {
    let (first, second, resolver, [a, b]) = two(CachePolicy::default()).await;
    first.fault(Fault::Stall);
    let digest = second.put("team/app", "v1", &manifest("app"));
    let answer = resolve_within(&resolver, &[&a, &b], Duration::from_secs(1)).await;
    assert_eq!(answer, found(1, &digest, AnswerSource::Registry));
    // The first is left alone now, so the next image does not wait for it.
    let digest = second.put("team/other", "v1", &manifest("other"));
    let [a, b] = [a, b].map(|image| image.replace("app", "other"));
    assert_eq!(resolve(&resolver, &[&a, &b]).await, found(1, &digest, AnswerSource::Registry));
    assert_eq!(first.requests().len(), 1);
}

#[tokio::test]
async fn a_dead_mirror_is_passed_over() {
    let second = FakeRegistry::start().await;
    let digest = second.put("team/app", "v1", &manifest("app"));
    let resolver = resolver(CachePolicy::default(), &[&second]);
    let dead = dead_host().await;
    resolver.configure(vec![plain(&dead), plain(&second.host())], None).unwrap();
    let [a, b] = [dead, second.host()].map(|host| format!("{host}/team/app:v1"));
    assert_eq!(resolve(&resolver, &[&a, &b]).await, found(1, &digest, AnswerSource::Registry));
}

#[tokio::test]
async fn what_mirrors_say_together_names_the_first_that_did_not_say_404() {
    for (faults, expected) in [
        ([404, 404], Answer::Missing),
        ([404, 401], Answer::Unauthorized { mirror: 1 }),
        ([403, 404], Answer::Unauthorized { mirror: 0 }),
        ([401, 403], Answer::Unauthorized { mirror: 0 }),
        ([404, 500], Answer::Unavailable { mirror: 1 }),
        ([401, 500], Answer::Unavailable { mirror: 0 }),
        ([500, 401], Answer::Unavailable { mirror: 0 }),
        ([503, 404], Answer::Unavailable { mirror: 0 }),
    ] {
        let (first, second, resolver, [a, b]) = two(CachePolicy::default()).await;
        first.fault(Fault::Status(faults[0]));
        second.fault(Fault::Status(faults[1]));
        assert_eq!(resolve(&resolver, &[&a, &b]).await, expected, "{faults:?}");
        // All of it is remembered: nobody is asked twice.
        assert_eq!(remembered(&resolver, &[&a, &b], Instant::now()), Some(expected), "{faults:?}");
        assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
    }
}

#[tokio::test]
async fn a_stale_answer_of_the_second_serves_where_the_first_never_had_one() {
    let policy = CachePolicy { fresh_for: Duration::ZERO, ..CachePolicy::default() };
    let (first, second, resolver, [a, b]) = two(policy).await;
    let digest = second.put("team/app", "v1", &manifest("app"));
    assert_eq!(resolve(&resolver, &[&a, &b]).await, found(1, &digest, AnswerSource::Registry));
    first.fault(Fault::Close);
    second.fault(Fault::Close);
    assert_eq!(resolve(&resolver, &[&a, &b]).await, found(1, &digest, AnswerSource::Stale));
}

#[tokio::test]
async fn no_mirror_at_all_is_missing() {
    let registry = FakeRegistry::start().await;
    let resolver = resolver(CachePolicy::default(), &[&registry]);
    assert_eq!(resolve(&resolver, &[]).await, Answer::Missing);
}
