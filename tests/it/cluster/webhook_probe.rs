//! Whether the API server calls the webhook: a yes is Portolan's refusal alone. (That one takes a real API server: it is in
//! tests/cluster/release.rs.)

use portolan::cluster::{CallError, LAST_GOOD, webhook_answers};

use super::{FakeApiServer, Mood, NAMESPACE};

#[tokio::test]
async fn what_is_admitted_is_a_no_and_stored_by_nobody() {
    let server = FakeApiServer::start().await;

    assert!(!webhook_answers(&server.client().await, NAMESPACE).await.unwrap());
    assert_eq!(server.requests(), [format!("apply configmaps/{LAST_GOOD}")]);
    assert_eq!(server.object("configmaps", LAST_GOOD), None);
}

#[tokio::test]
async fn a_missing_right_is_neither_yes_nor_no() {
    let server = FakeApiServer::start().await;
    server.set_mood(Mood::Refuse(403));

    let error = webhook_answers(&server.client().await, NAMESPACE).await.unwrap_err();
    assert!(matches!(error, CallError::Refused { code: 403, .. }), "{error:?}");
}
