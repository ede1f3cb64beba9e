//! Answers of registries, kept in ConfigMaps.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use portolan::{
    cluster::{Answers, CallError, KeptAnswer, LineProblem},
    image::Digest,
};
use serde_json::json;

use super::{FakeApiServer, Mood, NAMESPACE};

async fn answers(server: &FakeApiServer) -> Answers {
    Answers::new(&server.client().await, NAMESPACE)
}

fn answer(reference: &str, login: Option<&str>) -> KeptAnswer {
    KeptAnswer {
        reference: reference.parse().unwrap(),
        digest: Digest::of(reference.as_bytes()),
        asked: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        login: login.map(|login| Arc::new(login.into())),
    }
}

fn writes(server: &FakeApiServer) -> usize {
    server.requests().iter().filter(|request| request.starts_with("apply ")).count()
}

#[tokio::test]
async fn what_is_written_is_read_back_and_written_again_only_where_it_differs() {
    let server = FakeApiServer::start().await;
    let ours = answers(&server).await;
    let nothing = ours.read().await.unwrap();
    assert!(nothing.answers.is_empty() && nothing.problems.is_empty() && nothing.plan(&[]).is_empty());

    let mut both = vec![answer("r.corp/a:1", None), answer("r.corp/b:1", Some("5f3c.7"))];
    let plan = nothing.plan(&both);
    assert_eq!(plan.answers, 2);
    ours.write(plan).await.unwrap();
    assert_eq!(writes(&server), 1);
    let map = server.object("configmaps", "portolan-answers-1").unwrap();
    let keys: BTreeSet<_> = map["data"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["anonymous", "login-5f3c.7"]));
    assert_eq!(map["metadata"]["labels"]["app.kubernetes.io/managed-by"], "portolan");

    // As another process.
    let kept = answers(&server).await.read().await.unwrap();
    assert!(both.iter().all(|answer| kept.answers.contains(answer)), "{:?}", kept.answers);
    both.reverse();
    assert!(kept.plan(&both).is_empty());
    // Without any the ConfigMap stays and is empty: no right to delete is needed.
    ours.write(kept.plan(&[])).await.unwrap();
    assert_eq!(writes(&server), 2);
    assert!(ours.read().await.unwrap().answers.is_empty());
}

#[tokio::test]
async fn whoever_comes_second_writes_nothing() {
    let server = FakeApiServer::start().await;
    let ours = answers(&server).await;
    ours.write(ours.read().await.unwrap().plan(&[answer("r.corp/a:1", None)])).await.unwrap();
    let seen = ours.read().await.unwrap();
    ours.write(seen.plan(&[answer("r.corp/b:1", None)])).await.unwrap();

    let error = ours.write(seen.plan(&[answer("r.corp/c:1", None)])).await.unwrap_err();
    assert!(matches!(error, CallError::Refused { code: 409, .. }), "{error:?}");
    assert_eq!(ours.read().await.unwrap().answers, [answer("r.corp/b:1", None)]);
}

#[tokio::test]
async fn what_others_put_there_is_named_and_costs_nothing_else() {
    let server = FakeApiServer::start().await;
    let ours = answers(&server).await;
    ours.write(ours.read().await.unwrap().plan(&[answer("r.corp/a:1", None)])).await.unwrap();
    server.edit("configmaps", "portolan-answers-1", |map| {
        let text = map["data"]["anonymous"].as_str().unwrap();
        map["data"]["anonymous"] = json!(format!("nonsense\n{text}"));
    });
    server.put("configmaps", "portolan-answers-5", &json!({"table.yaml": "rules: []"}));
    server.put("configmaps", "portolan-answers-9", &json!({"anonymous": "not one of ours"}));

    let kept = ours.read().await.unwrap();
    assert_eq!(kept.answers, [answer("r.corp/a:1", None)]);
    let problems: Vec<_> =
        kept.problems.iter().map(|at| (at.map.as_str(), at.key.as_str(), at.line, at.problem)).collect();
    let expected = [
        ("portolan-answers-1", "anonymous", 1, LineProblem::WrongWords),
        ("portolan-answers-5", "table.yaml", 1, LineProblem::UnknownKey),
    ];
    assert_eq!(problems, expected);
    assert!(!kept.plan(&kept.answers).is_empty(), "the nonsense goes with the next write");
}

#[tokio::test]
async fn an_api_server_that_says_no_is_no_empty_answer() {
    let server = FakeApiServer::start().await;
    let ours = answers(&server).await;
    for mood in [Mood::Refuse(403), Mood::Refuse(404), Mood::Babble] {
        server.set_mood(mood);
        ours.read().await.unwrap_err();
    }
}
