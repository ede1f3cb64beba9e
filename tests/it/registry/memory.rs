//! What is asked, what is remembered, and for how long.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use portolan::registry::{Answer, AnswerSource, CachePolicy, Question, Resolver};

use super::{found, references, remembered, resolve, resolve_within, resolver};
use crate::support::{
    eventually,
    fake_registry::{FakeRegistry, Fault, manifest},
};

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn fifty_askers_cause_one_request() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    registry.fault(Fault::Delay(Duration::from_millis(100)));
    let resolver = resolver(CachePolicy::default(), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    let asked = (0..50).map(|_| async { resolve(&resolver, &[&image]).await });
    for answer in futures::future::join_all(asked).await {
        assert!(matches!(&answer, Answer::Found { digest: found, .. } if *found == digest), "{answer:?}");
    }
    assert_eq!(registry.requests().len(), 1);
}

/// Askers come and go while answers come in: whoever just missed a fetch must find what it left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_pods_of_twenty_images_cause_twenty_requests() {
    let registry = FakeRegistry::start().await;
    registry.fault(Fault::Delay(Duration::from_millis(20)));
    for number in 0..20 {
        registry.put("team/app", &format!("v{number}"), &manifest(&number.to_string()));
    }
    let resolver = resolver(CachePolicy::default(), &[&registry]);
    let pods: Vec<_> = (0..500)
        .map(|pod| {
            let (resolver, image) = (resolver.clone(), format!("{}/team/app:v{}", registry.host(), pod % 20));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(pod * 97)).await;
                resolve(&resolver, &[&image]).await
            })
        })
        .collect();
    for pod in pods {
        assert!(matches!(pod.await.unwrap(), Answer::Found { .. }));
    }
    assert_eq!(registry.requests().len(), 20);
}

#[tokio::test]
async fn an_answer_is_used_unasked_while_it_is_fresh() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let resolver = resolver(CachePolicy::default(), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    assert_eq!(remembered(&resolver, &[&image], Instant::now()), None);
    assert_eq!(resolve(&resolver, &[&image]).await, found(0, &digest, AnswerSource::Registry));
    let now = Instant::now();
    let memory = found(0, &digest, AnswerSource::Memory);
    for (age, expected) in [(0, Some(&memory)), (58, Some(&memory)), (60, None)] {
        let remembered = remembered(&resolver, &[&image], now + Duration::from_secs(age));
        assert_eq!(remembered.as_ref(), expected, "{age} s");
    }
    assert_eq!(resolve(&resolver, &[&image]).await, memory);
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn always_asks_unless_the_answer_is_under_five_seconds_old() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let policy = CachePolicy { always_fresh_for: Duration::ZERO, ..CachePolicy::default() };
    let (default, eager) = (resolver(CachePolicy::default(), &[&registry]), resolver(policy, &[&registry]));
    let image = references(&[&format!("{}/team/app:v1", registry.host())]);
    let question = Question { mirrors: &[&image[0]], always: true };
    for from in [AnswerSource::Registry, AnswerSource::Memory] {
        let answer = default.resolve(&question, Instant::now() + LONG).await;
        assert_eq!(answer, found(0, &digest, from));
    }
    assert!(default.remembered(&question, Instant::now() + Duration::from_secs(5)).is_none());
    for _ in 0..2 {
        let answer = eager.resolve(&question, Instant::now() + LONG).await;
        assert_eq!(answer, found(0, &digest, AnswerSource::Registry));
    }
}

#[tokio::test]
async fn a_refusal_is_remembered_for_ten_seconds() {
    for (fault, expected) in [
        (Fault::Status(404), Answer::Missing),
        (Fault::Status(403), Answer::Unauthorized { mirror: 0 }),
        (Fault::Status(401), Answer::Unauthorized { mirror: 0 }),
    ] {
        let registry = FakeRegistry::start().await;
        registry.fault(fault);
        let resolver = resolver(CachePolicy::default(), &[&registry]);
        let image = format!("{}/team/app:v1", registry.host());
        assert_eq!(resolve(&resolver, &[&image]).await, expected);
        assert_eq!(resolve(&resolver, &[&image]).await, expected);
        assert_eq!(registry.requests().len(), 1);
        let now = Instant::now();
        assert_eq!(remembered(&resolver, &[&image], now + Duration::from_secs(8)), Some(expected));
        assert_eq!(remembered(&resolver, &[&image], now + Duration::from_secs(10)), None);
    }
}

#[tokio::test]
async fn the_existence_of_a_digest_is_remembered_for_an_hour() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let resolver = resolver(CachePolicy::default(), &[&registry]);
    let image = format!("{}/team/app@{digest}", registry.host());
    assert_eq!(resolve(&resolver, &[&image]).await, found(0, &digest, AnswerSource::Registry));
    let now = Instant::now();
    assert!(remembered(&resolver, &[&image], now + Duration::from_secs(3598)).is_some());
    assert!(remembered(&resolver, &[&image], now + Duration::from_hours(1)).is_none());
}

#[tokio::test]
async fn an_old_answer_is_asked_again_and_used_only_if_nobody_answers() {
    let registry = FakeRegistry::start().await;
    let old = registry.put("team/app", "v1", &manifest("old"));
    let policy =
        CachePolicy { fresh_for: Duration::ZERO, leave_alone_for: Duration::ZERO, ..CachePolicy::default() };
    let resolver = resolver(policy, &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    assert_eq!(resolve(&resolver, &[&image]).await, found(0, &old, AnswerSource::Registry));
    let new = registry.put("team/app", "v1", &manifest("new"));
    assert_eq!(resolve(&resolver, &[&image]).await, found(0, &new, AnswerSource::Registry));
    for fault in [Fault::Close, Fault::Status(500), Fault::Status(401), Fault::Html] {
        registry.fault(fault.clone());
        let answer = resolve(&resolver, &[&image]).await;
        assert_eq!(answer, found(0, &new, AnswerSource::Stale), "{fault:?}");
    }
    registry.fault(Fault::Stall);
    let answer = resolve_within(&resolver, &[&image], Duration::from_millis(200)).await;
    assert_eq!(answer, found(0, &new, AnswerSource::Stale));
}

#[tokio::test]
async fn an_old_answer_is_never_used_for_a_mirror_that_just_said_404() {
    let registry = FakeRegistry::start().await;
    registry.put("team/app", "v1", &manifest("app"));
    let policy = CachePolicy {
        fresh_for: Duration::ZERO,
        negative_for: Duration::ZERO,
        leave_alone_for: Duration::ZERO,
        ..CachePolicy::default()
    };
    let resolver = resolver(policy, &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    assert!(matches!(resolve(&resolver, &[&image]).await, Answer::Found { .. }));
    registry.clear();
    assert_eq!(resolve(&resolver, &[&image]).await, Answer::Missing);
    registry.fault(Fault::Close);
    assert_eq!(
        resolve(&resolver, &[&image]).await,
        Answer::Unavailable { mirror: 0 },
        "what was there is gone"
    );
}

#[tokio::test]
async fn an_answer_older_than_all_limits_is_not_used() {
    let registry = FakeRegistry::start().await;
    registry.put("team/app", "v1", &manifest("app"));
    let resolver = resolver(super::forgetful(), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    assert!(matches!(resolve(&resolver, &[&image]).await, Answer::Found { .. }));
    registry.fault(Fault::Close);
    assert_eq!(resolve(&resolver, &[&image]).await, Answer::Unavailable { mirror: 0 });
}

#[tokio::test]
async fn a_registry_that_stalls_does_not_delay_the_answer_and_its_own_is_kept_when_it_comes() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    registry.fault(Fault::Stall);
    let policy = CachePolicy { leave_alone_for: Duration::from_hours(1), ..CachePolicy::default() };
    let resolver = resolver(policy, &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    let answer = resolve_within(&resolver, &[&image], Duration::from_millis(200)).await;
    assert_eq!(answer, Answer::Unavailable { mirror: 0 });
    assert!(resolver.status(Instant::now()).registries[0].left_alone_for.is_some());

    registry.heal();
    let memory = Some(found(0, &digest, AnswerSource::Memory));
    eventually("the resolver comes to it", async || {
        remembered(&resolver, &[&image], Instant::now()) == memory
    })
    .await;
    assert_eq!(registry.requests().len(), 1, "the asker gave up, the fetch did not");
    eventually("the resolver comes to it", async || {
        resolver.status(Instant::now()).registries[0].left_alone_for.is_none()
    })
    .await;
}

#[tokio::test]
async fn sibling_images_have_each_their_own_answer() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/quick", "v1", &manifest("quick"));
    registry.fault_at("team/slow", Fault::Stall);
    let resolver = resolver(CachePolicy::default(), &[&registry]);
    let (quick, slow) =
        (format!("{}/team/quick:v1", registry.host()), format!("{}/team/slow:v1", registry.host()));
    let time = Duration::from_millis(300);
    let asked = [&slow, &quick].map(|image| async { resolve_within(&resolver, &[image], time).await });
    let [slow, quick] = <[Answer; 2]>::try_from(futures::future::join_all(asked).await).unwrap();
    assert_eq!(slow, Answer::Unavailable { mirror: 0 });
    assert_eq!(quick, found(0, &digest, AnswerSource::Registry));
}

#[tokio::test]
async fn a_digest_that_is_not_there_is_looked_for_under_the_tag_beside_it() {
    let registry = FakeRegistry::start().await;
    let (app, other) = (manifest("app"), manifest("other"));
    registry.put_at("team/cache", "v1", &app);
    let digest = portolan::image::Digest::of(app.as_bytes());
    registry.put_at("team/moved", "v1", &other);
    let resolver = resolver(super::forgetful(), &[&registry]);
    let host = registry.host();
    for (image, expected) in [
        (format!("{host}/team/cache:v1@{digest}"), found(0, &digest, AnswerSource::Registry)),
        (format!("{host}/team/cache@{digest}"), Answer::Missing),
        (format!("{host}/team/moved:v1@{digest}"), Answer::Missing),
        (format!("{host}/team/none:v1@{digest}"), Answer::Missing),
    ] {
        assert_eq!(resolve(&resolver, &[&image]).await, expected, "{image}");
    }
    registry.fault_at("manifests/v1", Fault::Status(503));
    let answer = resolve(&resolver, &[&format!("{host}/team/cache:v1@{digest}")]).await;
    assert_eq!(answer, Answer::Unavailable { mirror: 0 });
}

#[tokio::test]
async fn memory_is_bounded_and_says_what_it_holds() {
    let registry = FakeRegistry::start().await;
    let policy = CachePolicy { entries: 3, negative_entries: 2, ..CachePolicy::default() };
    let resolver = resolver(policy, &[&registry]);
    for number in 0..6 {
        registry.put("team/app", &format!("v{number}"), &manifest("app"));
        for tag in [format!("v{number}"), format!("none{number}")] {
            resolve(&resolver, &[&format!("{}/team/app:{tag}", registry.host())]).await;
        }
    }
    let status = resolver.status(Instant::now());
    assert_eq!((status.entries, status.negative_entries), (3, 2));
    assert_eq!((status.counts.asked, status.counts.found, status.counts.missing), (12, 6, 6));
    let hosts: BTreeSet<_> = status.registries.into_iter().map(|registry| registry.host).collect();
    assert_eq!(hosts, BTreeSet::from([registry.host()]));
}

/// The warm path of an admission: nothing is awaited, spawned or locked for long.
#[tokio::test]
async fn what_is_fresh_is_remembered_within_microseconds() {
    let registry = FakeRegistry::start().await;
    registry.put("team/app", "v1", &manifest("app"));
    let resolver: Resolver = resolver(CachePolicy::default(), &[&registry]);
    let image = references(&[&format!("{}/team/app:v1", registry.host())]);
    let question = Question { mirrors: &[&image[0]], always: false };
    resolver.resolve(&question, Instant::now() + LONG).await;
    let (now, rounds) = (Instant::now(), 20_000);
    for _ in 0..rounds {
        assert!(resolver.remembered(&question, now).is_some());
    }
    let each = now.elapsed() / rounds;
    println!("{each:?} each");
    // An unoptimised build on a busy machine; a request would take a hundred times as long.
    assert!(each < Duration::from_micros(100), "{each:?} each");
}
