//! A registry that does not answer is left alone for a while, then probed once.

use std::time::{Duration, Instant};

use portolan::registry::{Answer, AnswerSource, CachePolicy};

use super::{found, remembered, resolve, resolve_within, resolver};
use crate::support::{
    eventually,
    fake_registry::{FakeRegistry, Fault, manifest},
    logs::Logs,
};

const LONG: Duration = Duration::from_secs(20);
const UNAVAILABLE: Answer = Answer::Unavailable { mirror: 0 };

fn pausing(pause: Duration) -> CachePolicy {
    CachePolicy { leave_alone_for: pause, fresh_for: Duration::ZERO, ..CachePolicy::default() }
}

#[tokio::test]
async fn what_is_no_answer_of_a_registry_has_it_left_alone_and_what_is_one_has_not() {
    for (fault, left_alone) in [
        (Fault::None, false),
        (Fault::Status(401), false),
        (Fault::Status(403), false),
        (Fault::Status(404), false),
        (Fault::Html, false),
        (Fault::Status(429), true),
        (Fault::Status(500), true),
        (Fault::Status(302), true),
        (Fault::Close, true),
        (Fault::Stall, true),
    ] {
        let registry = FakeRegistry::start().await;
        registry.put("team/app", "v1", &manifest("app"));
        registry.fault(fault.clone());
        let resolver = resolver(CachePolicy::default(), &[&registry]);
        let time = if fault == Fault::Stall { Duration::from_millis(200) } else { LONG };
        resolve_within(&resolver, &[&format!("{}/team/app:v1", registry.host())], time).await;
        let now = Instant::now();
        assert_eq!(resolver.status(now).registries[0].left_alone_for.is_some(), left_alone, "{fault:?}");
        // Then nobody is asked, about any image, and the answer is there at once.
        let other = format!("{}/team/other:v1", registry.host());
        let expected = left_alone.then_some(UNAVAILABLE);
        assert_eq!(remembered(&resolver, &[&other], now), expected, "{fault:?}");
        assert_eq!(remembered(&resolver, &[&other], now + Duration::from_secs(11)), None, "{fault:?}");
    }
}

#[tokio::test]
async fn while_it_is_left_alone_admissions_answer_from_memory_at_once() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let resolver = resolver(pausing(Duration::from_hours(1)), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    resolve(&resolver, &[&image]).await;
    registry.fault(Fault::Stall);
    let stale = found(0, &digest, AnswerSource::Stale);
    assert_eq!(
        resolve_within(&resolver, &[&image], Duration::from_millis(200)).await,
        stale,
        "after waiting"
    );
    let requests = registry.requests().len();
    assert_eq!(remembered(&resolver, &[&image], Instant::now()), Some(stale.clone()));
    assert_eq!(resolve(&resolver, &[&image]).await, stale);
    assert_eq!(registry.requests().len(), requests);
}

#[tokio::test]
async fn after_the_pause_one_asker_probes_and_the_others_go_on_as_before() {
    let registry = FakeRegistry::start().await;
    registry.put("team/app", "v1", &manifest("app"));
    registry.fault(Fault::Status(503));
    let resolver = resolver(pausing(Duration::from_millis(1500)), &[&registry]);
    let images: Vec<_> = (0..20).map(|number| format!("{}/team/app{number}:v1", registry.host())).collect();
    assert_eq!(resolve(&resolver, &[&images[0]]).await, UNAVAILABLE);
    assert_eq!(resolve(&resolver, &[&images[1]]).await, UNAVAILABLE);
    assert_eq!(registry.requests().len(), 1);
    eventually("the resolver comes to it", async || {
        remembered(&resolver, &[&images[0]], Instant::now()).is_none()
    })
    .await;
    // The probe takes a while, so that all askers are there before it is over.
    registry.fault(Fault::Stall);
    let asked = images
        .iter()
        .map(|image| async { resolve_within(&resolver, &[image], Duration::from_millis(300)).await });
    for answer in futures::future::join_all(asked).await {
        assert_eq!(answer, UNAVAILABLE);
    }
    assert_eq!(registry.requests().len(), 2, "one probe");
    // The probe's own late answer ends the pause.
    registry.heal();
    eventually("the resolver comes to it", async || {
        remembered(&resolver, &[&images[5]], Instant::now()).is_none()
    })
    .await;
    assert_eq!(resolve(&resolver, &[&images[5]]).await, Answer::Missing);
}

#[tokio::test]
async fn a_probe_is_a_request_of_its_own_though_an_old_one_still_hangs() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    registry.fault(Fault::Stall);
    let resolver = resolver(pausing(Duration::from_millis(300)), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    assert_eq!(resolve_within(&resolver, &[&image], Duration::from_millis(150)).await, UNAVAILABLE);
    assert_eq!(registry.requests().len(), 1);
    eventually("the resolver comes to it", async || {
        remembered(&resolver, &[&image], Instant::now()).is_none()
    })
    .await;
    let probe = resolve_within(&resolver, &[&image], Duration::from_millis(150)).await;
    assert_eq!((probe, registry.requests().len()), (UNAVAILABLE, 2));
    registry.heal();
    let now_found = found(0, &digest, AnswerSource::Registry);
    eventually("the resolver comes to it", async || resolve(&resolver, &[&image]).await == now_found).await;
}

#[tokio::test]
async fn a_registry_that_was_away_is_asked_again_when_it_is_back() {
    let registry = FakeRegistry::start().await;
    let address = registry.address();
    let resolver = resolver(pausing(Duration::from_millis(100)), &[&registry]);
    let image = format!("{address}/team/app:v1");
    drop(registry);
    eventually("the resolver comes to it", async || resolve(&resolver, &[&image]).await == UNAVAILABLE).await;
    let registry = FakeRegistry::builder().at(address).start().await;
    let back = found(0, &registry.put("team/app", "v1", &manifest("app")), AnswerSource::Registry);
    eventually("the resolver comes to it", async || resolve(&resolver, &[&image]).await == back).await;
}

#[tokio::test]
async fn an_admission_without_time_has_no_registry_left_alone() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    registry.fault(Fault::Delay(Duration::from_millis(50)));
    let resolver = resolver(CachePolicy::default(), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    assert_eq!(resolve_within(&resolver, &[&image], Duration::ZERO).await, UNAVAILABLE);
    assert_eq!(resolver.status(Instant::now()).registries[0].left_alone_for, None);
    assert_eq!(resolve(&resolver, &[&image]).await, found(0, &digest, AnswerSource::Registry));
    assert_eq!(registry.requests().len(), 1, "the second joined the fetch of the first");
}

#[tokio::test]
async fn one_warning_when_it_is_left_alone_and_one_word_when_it_is_back() {
    let logs = Logs::capture();
    let registry = FakeRegistry::start().await;
    registry.put("team/app", "v1", &manifest("app"));
    let resolver = resolver(pausing(Duration::from_millis(50)), &[&registry]);
    let image = format!("{}/team/app:v1", registry.host());
    registry.fault(Fault::Status(503));
    // Several pauses and probes are one outage.
    eventually("the resolver comes to it", async || {
        resolve(&resolver, &[&image]).await;
        registry.requests().len() >= 4
    })
    .await;
    registry.heal();
    eventually("the resolver comes to it", async || {
        matches!(resolve(&resolver, &[&image]).await, Answer::Found { .. })
    })
    .await;
    assert_eq!(logs.count("WARN", "registry is left alone"), 1, "{}", logs.text());
    assert_eq!(logs.count("INFO", "registry is back"), 1, "{}", logs.text());
    assert_eq!((logs.count("WARN", "portolan"), logs.count("ERROR", "portolan")), (1, 0), "{}", logs.text());
    assert!(logs.text().contains("the registry answered with status 503"), "{}", logs.text());
}
