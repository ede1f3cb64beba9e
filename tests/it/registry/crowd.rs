//! Many askers and a registry that fails: who waits, for what, how many at once, and who does not.

use std::time::{Duration, Instant};

use futures::{FutureExt as _, future::join_all};
use portolan::registry::{Answer, AnswerSource, CachePolicy, EndpointConfig, Resolver};

use super::{found, password, plain, remembered, resolve, resolve_within, resolver, with_login};
use crate::support::{
    eventually,
    fake_registry::{FakeRegistry, Fault, manifest},
};

const UNAVAILABLE: Answer = Answer::Unavailable { mirror: 0 };

/// Longer than any test waits: an answer that comes did not wait for this.
const NEVER: Duration = Duration::from_hours(1);

const LONG: Duration = Duration::from_secs(20);

fn policy(pause: Duration) -> CachePolicy {
    CachePolicy { leave_alone_for: pause, fresh_for: Duration::ZERO, ..CachePolicy::default() }
}

/// Asks with time without end; fails if the answer is waited for.
async fn at_once(resolver: &Resolver, mirrors: &[&str]) -> Answer {
    let answer = resolve_within(resolver, mirrors, NEVER);
    tokio::time::timeout(Duration::from_secs(10), answer).await.expect("it is not waited for")
}

/// The same about one image in one mirror.
async fn one_at_once(resolver: &Resolver, image: &str) -> Answer {
    at_once(resolver, &[image]).await
}

/// Asks about one image in one mirror.
async fn within(resolver: &Resolver, image: &str, time: Duration) -> Answer {
    resolve_within(resolver, &[image], time).await
}

async fn until_asked_again(resolver: &Resolver, image: &str) {
    eventually("the resolver comes to it", async || remembered(resolver, &[image], Instant::now()).is_none())
        .await;
}

#[tokio::test]
async fn a_registry_is_left_alone_for_as_long_as_it_says_within_bounds() {
    for (said, seconds) in [(0, 1), (3, 3), (60, 60), (86_400, 300)] {
        let registry = FakeRegistry::start().await;
        let resolver = resolver(CachePolicy::default(), &[&registry]);
        registry.fault(Fault::LimitOnce(said));
        assert_eq!(resolve(&resolver, &[&format!("{}/team/app:v1", registry.host())]).await, UNAVAILABLE);
        let left = resolver.status(Instant::now()).registries[0].left_alone_for.unwrap();
        let before = Duration::from_secs(seconds - 1);
        assert!(before < left && left <= Duration::from_secs(seconds), "{said} s were said: {left:?}");
    }
}

#[tokio::test]
async fn a_token_service_that_says_for_how_long_is_left_alone_with_its_registry() {
    let registry = FakeRegistry::builder().tokens("robot", "s3cret").start().await;
    let resolver = with_login(CachePolicy::default(), &registry, password(&registry, "robot", "s3cret"));
    registry.fault_at("/token", Fault::LimitOnce(120));
    assert_eq!(resolve(&resolver, &[&format!("{}/team/app:v1", registry.host())]).await, UNAVAILABLE);
    let left = resolver.status(Instant::now()).registries[0].left_alone_for.unwrap();
    assert!(left > Duration::from_secs(110), "{left:?}");
}

#[tokio::test]
async fn when_a_registry_is_found_to_be_silent_nobody_waits_for_it_any_longer() {
    let registry = FakeRegistry::start().await;
    registry.fault(Fault::Stall);
    let resolver = resolver(policy(NEVER), &[&registry]);
    let images: Vec<_> = (0..5).map(|number| format!("{}/team/app:v{number}", registry.host())).collect();
    let waiting = join_all(images[1..].iter().map(|image| one_at_once(&resolver, image)));
    let first = within(&resolver, &images[0], Duration::from_millis(300));
    let (first, others) = futures::join!(first, waiting);
    assert_eq!((first, others), (UNAVAILABLE, vec![UNAVAILABLE; 4]));
}

#[tokio::test]
async fn one_request_that_fails_does_not_cost_the_others_their_answers() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    registry.fault(Fault::Stall);
    let resolver = resolver(policy(NEVER), &[&registry]);
    let [good, bad] = ["app:v1", "bad:v1"].map(|name| format!("{}/team/{name}", registry.host()));
    let good = within(&resolver, &good, LONG);
    let bad = async {
        eventually("the other is under way", async || registry.requests().len() == 1).await;
        registry.fault_at("bad", Fault::Status(500));
        let answer = resolve(&resolver, &[&bad]).await;
        registry.heal();
        answer
    };
    assert_eq!(futures::join!(good, bad), (found(0, &digest, AnswerSource::Registry), UNAVAILABLE));
}

#[tokio::test]
async fn who_has_an_older_answer_does_not_wait_for_a_probe() {
    let registry = FakeRegistry::start().await;
    let old = registry.put("team/app", "v1", &manifest("old"));
    let resolver = resolver(policy(Duration::from_millis(300)), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    resolve(&resolver, &[&image]).await;
    registry.fault(Fault::Stall);
    let stale = found(0, &old, AnswerSource::Stale);
    assert_eq!(resolve_within(&resolver, &[&image], Duration::from_millis(200)).await, stale);
    until_asked_again(&resolver, &image).await;
    assert_eq!(at_once(&resolver, &[&image]).await, stale);
    eventually("it is probed all the same", async || registry.requests().len() == 3).await;
    // What the probe brings ends the pause, and is there for the next one.
    let new = registry.put("team/app", "v1", &manifest("new"));
    registry.heal();
    let new = found(0, &new, AnswerSource::Registry);
    eventually("it is back", async || resolve(&resolver, &[&image]).await == new).await;
}

#[tokio::test]
async fn who_has_a_mirror_behind_does_not_wait_for_a_probe() {
    let (first, second) = (FakeRegistry::start().await, FakeRegistry::start().await);
    first.fault(Fault::Stall);
    let pause = Duration::from_millis(300);
    let resolver = resolver(policy(pause), &[&first, &second]);
    let digest = second.put("team/app", "v1", &manifest("app"));
    let [a, b] = [&first, &second].map(|registry| format!("{}/team/app:v1", registry.host()));
    let from_second = found(1, &digest, AnswerSource::Registry);
    assert_eq!(resolve_within(&resolver, &[&a, &b], Duration::from_millis(500)).await, from_second);
    for probes in 1..4 {
        eventually("the pause is over", async || {
            resolver.status(Instant::now()).registries.iter().all(|known| known.left_alone_for.is_none())
        })
        .await;
        assert_eq!(at_once(&resolver, &[&a, &b]).await, from_second);
        eventually("it is probed", async || first.requests().len() == 1 + probes).await;
    }
}

#[tokio::test]
async fn who_has_an_older_answer_does_not_wait_where_the_last_one_was_a_refusal() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    for refusal in [Fault::Status(401), Fault::Html] {
        let policy = CachePolicy { negative_for: Duration::from_millis(200), ..policy(NEVER) };
        let resolver = resolver(policy, &[&registry]);
        let image = format!("{}/team/app:v1", registry.host());
        registry.heal();
        resolve(&resolver, &[&image]).await;
        registry.fault(refusal);
        let stale = found(0, &digest, AnswerSource::Stale);
        assert_eq!(resolve(&resolver, &[&image]).await, stale);
        registry.fault(Fault::Stall);
        until_asked_again(&resolver, &image).await;
        let asked = registry.requests().len();
        assert_eq!(at_once(&resolver, &[&image]).await, stale);
        eventually("it is asked beside that", async || registry.requests().len() == asked + 1).await;
    }
}

#[tokio::test]
async fn who_has_an_older_answer_does_not_wait_for_a_registry_that_is_slow() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let resolver = resolver(policy(NEVER), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    resolve(&resolver, &[&image]).await;
    registry.fault(Fault::Delay(Duration::from_millis(1100)));
    let stale = found(0, &digest, AnswerSource::Stale);
    assert_eq!(resolve_within(&resolver, &[&image], Duration::from_millis(200)).await, stale);
    // The late answer ends the pause.
    until_asked_again(&resolver, &image).await;
    registry.fault(Fault::Stall);
    assert_eq!(at_once(&resolver, &[&image]).await, stale);
    eventually("it is asked beside that", async || registry.requests().len() == 3).await;
    // One quick answer, and it is waited for again.
    registry.heal();
    let other = format!("{}/team/other:v1", registry.host());
    assert_eq!(resolve(&resolver, &[&other]).await, Answer::Missing);
    eventually("it is waited for", async || {
        resolve(&resolver, &[&image]).await == found(0, &digest, AnswerSource::Registry)
    })
    .await;
}

#[tokio::test]
async fn a_registry_gets_sixty_four_requests_at_once_and_who_waits_in_line_does_not_judge_it() {
    let registry = FakeRegistry::start().await;
    registry.fault(Fault::Stall);
    let resolver = resolver(policy(NEVER), &[&registry]);
    let images: Vec<_> = (0..200).map(|number| format!("{}/team/app:v{number}", registry.host())).collect();
    let asked = join_all(images.iter().map(|image| within(&resolver, image, LONG)));
    let look = async {
        eventually("the places are taken", async || registry.requests().len() == 64).await;
        let late = format!("{}/team/app:late", registry.host());
        assert_eq!(resolve_within(&resolver, &[&late], Duration::from_millis(200)).await, UNAVAILABLE);
        assert_eq!(resolver.status(Instant::now()).registries[0].left_alone_for, None);
        assert_eq!(registry.requests().len(), 64);
        registry.heal();
    };
    let (answers, ()) = futures::join!(asked, look);
    assert_eq!(answers, vec![Answer::Missing; 200]);
    assert_eq!(registry.requests().len(), 201, "the late one is asked for, too");
}

#[tokio::test]
async fn who_waits_in_line_when_the_registry_is_left_alone_is_not_sent() {
    let registry = FakeRegistry::start().await;
    registry.fault(Fault::Stall);
    let resolver = resolver(policy(Duration::from_secs(3)), &[&registry]);
    let images: Vec<_> = (0..200).map(|number| format!("{}/team/app:v{number}", registry.host())).collect();
    let time = Duration::from_millis(300);
    let asked = images.iter().map(|image| within(&resolver, image, time));
    assert_eq!(join_all(asked).await, vec![UNAVAILABLE; 200]);
    // The first end, and their places are free. By the time of the next probe, who was in line is long gone.
    registry.fault(Fault::Status(500));
    eventually("all are over", async || resolver.status(Instant::now()).counts.unavailable == 64).await;
    until_asked_again(&resolver, &images[0]).await;
    assert_eq!(resolve(&resolver, &[&images[0]]).await, UNAVAILABLE);
    assert_eq!(registry.requests().len(), 65);
}

#[tokio::test]
async fn too_many_to_wait_for_are_answered_at_once() {
    let registry = FakeRegistry::start().await;
    registry.fault(Fault::Stall);
    let resolver = resolver(policy(NEVER), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    let waits = || Box::pin(within(&resolver, &image, NEVER));
    let mut waiting: Vec<_> = (0..4096).map(|_| waits()).collect();
    assert!(waiting.iter_mut().all(|one| one.now_or_never().is_none()));
    assert_eq!(waits().now_or_never(), Some(UNAVAILABLE));
    // Whoever goes makes room.
    waiting.pop();
    assert_eq!(waits().now_or_never(), None);
}

#[tokio::test]
async fn too_many_fetches_of_one_registry_are_not_begun_and_another_registry_does_not_mind() {
    let (full, other) = (FakeRegistry::start().await, FakeRegistry::start().await);
    full.fault(Fault::Stall);
    let resolver = Resolver::new(policy(NEVER));
    let endpoints: Vec<EndpointConfig> = [&full, &other].map(|registry| plain(&registry.host())).into();
    resolver.configure(endpoints, None).unwrap();
    let images: Vec<_> = (0..2049).map(|number| format!("{}/team/app:v{number}", full.host())).collect();
    for (number, image) in images.iter().enumerate() {
        let answer = within(&resolver, image, NEVER).now_or_never();
        assert_eq!(answer, (number == 2048).then_some(UNAVAILABLE), "{number}");
    }
    let image = format!("{}/team/app:v1", other.host());
    assert_eq!(resolve(&resolver, &[&image]).await, Answer::Missing);
}
