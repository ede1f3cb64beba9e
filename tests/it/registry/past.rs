//! Answers that outlive the process: used where no mirror answers, for the login that they were got with, and never
//! after a 404.

use std::time::{Duration, Instant};

use portolan::registry::{
    Answer, AnswerSource, CachePolicy, Credentials, EndpointConfig, LoginName, Resolver,
};

use super::{eager, found, password, plain, resolve, resolver};
use crate::support::fake_registry::{FakeRegistry, Fault, manifest};

const HOUR: Duration = Duration::from_secs(3600);

/// What a resolver would leave to the next process.
fn left(resolver: &Resolver) -> Vec<portolan::registry::PastAnswer> {
    resolver.answers(100, Instant::now())
}

#[tokio::test]
async fn a_wrong_digest_in_a_header_does_not_displace_them() {
    let registry = FakeRegistry::start().await;
    let (old, host) = (registry.put("team/app", "v1", &manifest("old")), registry.host());
    let image = format!("{host}/team/app:v1");
    let before = resolver(eager(), &[&registry]);
    resolve(&before, &[&image]).await;
    let after = resolver(eager(), &[&registry]);
    after.restore(left(&before), Instant::now());
    registry.fault(Fault::DigestHeader(portolan::image::Digest::of(b"something else").to_string()));
    assert_eq!(resolve(&after, &[&image]).await, found(0, &old, AnswerSource::Stale));
}

#[tokio::test]
async fn they_are_used_where_no_mirror_answers_and_the_mirror_is_asked_first() {
    let registry = FakeRegistry::start().await;
    let (old, host) = (registry.put("team/app", "v1", &manifest("old")), registry.host());
    let (tag, by_digest) = (format!("{host}/team/app:v1"), format!("{host}/team/app@{old}"));
    let before = resolver(eager(), &[&registry]);
    for image in [&tag, &by_digest] {
        resolve(&before, &[image]).await;
    }
    let answers = left(&before);
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(|answer| answer.login == LoginName::Anonymous && answer.digest == old));

    registry.fault(Fault::Status(503));
    let after = resolver(eager(), &[&registry]);
    assert_eq!(resolve(&after, &[&tag]).await, Answer::Unavailable { mirror: 0 });
    assert_eq!(after.restore(answers.clone(), Instant::now()), 2);
    let asked = registry.requests().len();
    for image in [&tag, &by_digest] {
        assert_eq!(resolve(&after, &[image]).await, found(0, &old, AnswerSource::Stale));
    }
    assert_eq!(registry.requests().len(), asked + 2, "the mirror is asked first");
    // What is not known of is not made up, and what was not asked again is left to the next once more.
    assert_eq!(resolve(&after, &[&format!("{host}/team/app:v2")]).await, Answer::Unavailable { mirror: 0 });
    assert_eq!(left(&after).len(), 2);

    // It answers again: what it says now counts, also when it is silent once more.
    let new = registry.put("team/app", "v1", &manifest("new"));
    registry.heal();
    assert_eq!(resolve(&after, &[&tag]).await, found(0, &new, AnswerSource::Registry));
    registry.fault(Fault::Status(503));
    assert_eq!(resolve(&after, &[&tag]).await, found(0, &new, AnswerSource::Stale));
    let answers: Vec<_> =
        left(&after).into_iter().map(|answer| (answer.reference.to_string(), answer.digest)).collect();
    assert_eq!(answers, [(tag, new), (by_digest, old)]);
}

#[tokio::test]
async fn after_a_404_they_are_not_used() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let image = format!("{}/team/app:v1", registry.host());
    let before = resolver(eager(), &[&registry]);
    resolve(&before, &[&image]).await;
    let answers = left(&before);

    registry.clear();
    let after = resolver(eager(), &[&registry]);
    after.restore(answers.clone(), Instant::now());
    assert_eq!(resolve(&after, &[&image]).await, Answer::Missing);
    registry.fault(Fault::Status(503));
    assert_eq!(resolve(&after, &[&image]).await, Answer::Unavailable { mirror: 0 });
    assert!(left(&after).is_empty());
    // Nor when they come later than the 404.
    assert_eq!(after.restore(answers.clone(), Instant::now()), 0);
    assert_eq!(resolve(&after, &[&image]).await, Answer::Unavailable { mirror: 0 });
    let missing: Vec<_> =
        after.missing(Instant::now()).into_iter().map(|(reference, _)| reference.to_string()).collect();
    assert_eq!(missing, std::slice::from_ref(&image));

    // Nor do they take the place of what this process was told.
    registry.heal();
    let moved = registry.put("team/app", "v1", &manifest("moved"));
    assert_ne!(moved, digest);
    resolve(&after, &[&image]).await;
    assert_eq!(after.restore(answers, Instant::now()), 0);
    registry.fault(Fault::Status(503));
    assert_eq!(resolve(&after, &[&image]).await, found(0, &moved, AnswerSource::Stale));
}

#[tokio::test]
async fn their_age_counts_from_when_they_were_asked_for() {
    let registry = FakeRegistry::start().await;
    registry.put("team/app", "v1", &manifest("app"));
    let image = format!("{}/team/app:v1", registry.host());
    let before = resolver(CachePolicy::default(), &[&registry]);
    resolve(&before, &[&image]).await;
    let answer = left(&before).remove(0);
    assert!(answer.age < Duration::from_secs(60), "{answer:?}");
    registry.fault(Fault::Status(503));

    for (age, expected) in
        [(7 * 24 * HOUR, 1), (7 * 24 * HOUR + Duration::from_secs(60), 0), (Duration::MAX, 0)]
    {
        let after = resolver(CachePolicy::default(), &[&registry]);
        let aged = portolan::registry::PastAnswer { age, ..answer.clone() };
        assert_eq!(after.restore([aged], Instant::now()), expected, "{age:?}");
        let resolved = resolve(&after, &[&image]).await;
        assert_eq!(
            matches!(resolved, Answer::Found { from: AnswerSource::Stale, .. }),
            expected == 1,
            "{resolved:?}"
        );
    }
    // And goes on from there.
    let after = resolver(CachePolicy::default(), &[&registry]);
    let aged = portolan::registry::PastAnswer { age: 7 * 24 * HOUR, ..answer };
    after.restore([aged], Instant::now());
    assert_eq!(after.answers(100, Instant::now() + Duration::from_secs(59)).len(), 1);
    assert_eq!(after.answers(100, Instant::now() + Duration::from_secs(61)).len(), 0);
}

#[tokio::test]
async fn they_count_for_the_login_that_they_were_got_with_alone() {
    let registry = FakeRegistry::builder().basic("robot", "s3cret").start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let image = format!("{}/team/app:v1", registry.host());
    let with = |credentials: Option<Credentials>| {
        let resolver = Resolver::new(eager());
        reach(&resolver, &registry, credentials);
        resolver
    };
    let robot = || password(&registry, "robot", "s3cret");
    let before = with(Some(robot().with_origin(Some("5f3c.1"))));
    resolve(&before, &[&image]).await;
    let answers = left(&before);
    assert_eq!(answers.len(), 1);
    assert!(!format!("{answers:?}").contains("s3cret"), "{answers:?}");
    // One whose origin is not known stays in the process, and so does what another login was told.
    let unknown = with(Some(robot()));
    resolve(&unknown, &[&image]).await;
    assert!(left(&unknown).is_empty());
    reach(&before, &registry, Some(password(&registry, "other", "s3cret").with_origin(Some("5f3c.2"))));
    assert!(left(&before).is_empty());
    reach(&before, &registry, Some(robot().with_origin(Some("5f3c.3"))));
    assert_eq!(
        left(&before)[0].login,
        LoginName::Origin(std::sync::Arc::new("5f3c.3".into())),
        "edited, and the same"
    );

    registry.fault(Fault::Status(503));
    let unavailable = Answer::Unavailable { mirror: 0 };
    let stale = found(0, &digest, AnswerSource::Stale);
    for (credentials, expected) in [
        (None, &unavailable),
        (Some(robot()), &unavailable),
        (Some(robot().with_origin(Some("5f3c.2"))), &unavailable),
        (Some(robot().with_origin(Some("5f3c.1"))), &stale),
    ] {
        let after = with(credentials);
        after.restore(answers.clone(), Instant::now());
        assert_eq!(resolve(&after, &[&image]).await, *expected);
    }
    // It is known which login counts when an admission asks, not only at the start.
    let after = with(None);
    after.restore(answers.clone(), Instant::now());
    assert_eq!(resolve(&after, &[&image]).await, unavailable);
    reach(&after, &registry, Some(robot().with_origin(Some("5f3c.1"))));
    assert_eq!(resolve(&after, &[&image]).await, stale);
    // Refused is not missing.
    registry.heal();
    let after = with(Some(password(&registry, "robot", "wrong").with_origin(Some("5f3c.1"))));
    assert_eq!(resolve(&after, &[&image]).await, Answer::Unauthorized { mirror: 0 });
    after.restore(answers, Instant::now());
    assert_eq!(resolve(&after, &[&image]).await, stale);
}

#[tokio::test]
async fn the_latest_used_are_left_where_there_is_no_room_for_all() {
    let registry = FakeRegistry::start().await;
    let resolver = resolver(CachePolicy::default(), &[&registry]);
    let images: Vec<_> = (0..4)
        .map(|number| {
            registry.put("team/app", &format!("v{number}"), &manifest(&number.to_string()));
            format!("{}/team/app:v{number}", registry.host())
        })
        .collect();
    for number in [0, 1, 2, 3, 1] {
        resolve(&resolver, &[&images[number]]).await;
        // Use is counted in milliseconds.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let left: Vec<_> =
        resolver.answers(2, Instant::now()).into_iter().map(|answer| answer.reference.to_string()).collect();
    assert_eq!(left, [images[1].clone(), images[3].clone()]);
}

fn reach(resolver: &Resolver, registry: &FakeRegistry, credentials: Option<Credentials>) {
    let endpoint = EndpointConfig { credentials, ..plain(&registry.host()) };
    resolver.configure(vec![endpoint], None).unwrap();
}
