//! Pushing: where uploads go, with which login, and what refusals say.

use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use futures::StreamExt as _;
use portolan::{
    image::{Digest, Reference},
    registry::{Body, ByteStream, Content, ContentError, Credentials, Mounted, Repository},
};

use super::{password, plain};
use crate::support::fake_registry::{FakeRegistry, Fault};

fn content(registries: &[&FakeRegistry], logins: Option<Credentials>) -> Content {
    let content = Content::new();
    content.configure(registries.iter().map(|registry| plain(&registry.host())).collect(), logins).unwrap();
    content
}

fn target(content: &Content, registry: &FakeRegistry, repository: &str) -> Repository {
    let reference = Reference::parse(&format!("{}/{repository}:1", registry.host())).unwrap();
    content.target(&reference).unwrap()
}

/// Asks for an upload and sends bytes in pieces.
async fn upload(repository: &Repository, bytes: &Bytes) -> Result<(), ContentError> {
    let upload = repository.begin_upload().await?;
    let (pieces, sent) = (bytes.clone(), AtomicU64::new(0));
    let open = move || -> ByteStream {
        let pieces: Vec<_> = pieces.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        futures::stream::iter(pieces).boxed()
    };
    let body = Body { size: bytes.len() as u64, open: &open, sent: &sent };
    repository.put_blob(upload, &Digest::of(bytes), body).await
}

#[tokio::test]
async fn a_blob_goes_in_one_piece_with_its_length_to_where_the_registry_says() {
    let registry = FakeRegistry::start().await;
    let content = content(&[&registry], None);
    let repository = target(&content, &registry, "team/app");
    for bytes in [Bytes::from(vec![7; 10_500]), Bytes::new()] {
        let digest = Digest::of(&bytes);
        assert!(!repository.has_blob(&digest).await.unwrap());
        upload(&repository, &bytes).await.unwrap();
        assert!(repository.has_blob(&digest).await.unwrap());
        assert_eq!(registry.stored_blob("team/app", &digest).unwrap(), bytes);
        let put = registry.requests().into_iter().rfind(|request| request.method == "PUT").unwrap();
        assert_eq!(put.header("content-length"), bytes.len().to_string());
        assert_eq!(put.header("transfer-encoding"), "", "in one piece");
        assert!(put.header("user-agent").starts_with("portolan-transfer/"));
    }
    assert_eq!(
        (registry.count("POST", ""), registry.count("PUT", ""), registry.count("PATCH", "")),
        (2, 2, 0)
    );
}

#[tokio::test]
async fn an_answer_without_location_is_an_error_and_no_panic() {
    let registry = FakeRegistry::start().await;
    registry.fault_at("POST", Fault::NoLocation);
    let content = content(&[&registry], None);
    let error = upload(&target(&content, &registry, "app"), &Bytes::from("x")).await.unwrap_err();
    assert_eq!(error.to_string(), "the registry's answer to an upload has no `Location`");
    assert!(!error.is_passing());
}

#[tokio::test]
async fn a_login_never_goes_to_another_host_that_takes_the_upload() {
    for tokens in [false, true] {
        let builder = FakeRegistry::builder();
        let builder =
            if tokens { builder.tokens("robot", "s3cret") } else { builder.basic("robot", "s3cret") };
        let (registry, store) = (builder.start().await, FakeRegistry::start().await);
        registry.fault_at("POST", Fault::Location(store.url().to_owned()));
        let content = content(&[&registry], Some(password(&registry, "robot", "s3cret")));
        upload(&target(&content, &registry, "app"), &Bytes::from("x")).await.unwrap();
        assert_eq!(store.stored_blob("app", &Digest::of(b"x")).unwrap(), "x");
        let requests = store.requests();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].header("authorization"), "");
        assert_ne!(registry.requests().last().unwrap().header("authorization"), "");
    }
}

#[tokio::test]
async fn a_mount_asks_for_both_repositories_and_falls_back_to_an_upload() {
    let registry = FakeRegistry::builder().tokens("robot", "s3cret").start().await;
    let digest = registry.put_blob("one", "x");
    let content = content(&[&registry], Some(password(&registry, "robot", "s3cret")));
    let two = target(&content, &registry, "two");
    assert!(matches!(two.mount(&digest, "one").await.unwrap(), Mounted::Done));
    assert_eq!(registry.stored_blob("two", &digest).unwrap(), "x");
    let asked = registry.requests().into_iter().find(|request| request.path.starts_with("/token")).unwrap();
    assert!(
        asked.path.ends_with("scope=repository%3Atwo%3Apull%2Cpush&scope=repository%3Aone%3Apull"),
        "{}",
        asked.path
    );
    registry.fault_at("mount=", Fault::NoMount);
    let Mounted::Upload(upload) = target(&content, &registry, "three").mount(&digest, "one").await.unwrap()
    else {
        panic!()
    };
    let (open, sent) = (|| futures::stream::iter([Ok(Bytes::from("x"))]).boxed(), AtomicU64::new(0));
    let body = Body { size: 1, open: &open, sent: &sent };
    target(&content, &registry, "three").put_blob(upload, &digest, body).await.unwrap();
    assert_eq!(registry.stored_blob("three", &digest).unwrap(), "x");
}

#[tokio::test]
async fn refusals_say_what_the_registry_says() {
    let registry = FakeRegistry::start().await;
    let content = content(&[&registry], None);
    let repository = target(&content, &registry, "app");
    let manifest = Bytes::from(r#"{"schemaVersion":2,"layers":[{"digest":"sha256:x"}]}"#);
    let put = async || {
        repository.put_manifest("1", &Digest::of(&manifest), "application/x", manifest.clone()).await
    };
    let error = put().await.unwrap_err().to_string();
    assert_eq!(error, "the registry answered with status 400: MANIFEST_BLOB_UNKNOWN: as it is");
    registry.fault(Fault::Status(403));
    let error = put().await.unwrap_err().to_string();
    assert_eq!(error, "the registry refused us with status 403: as the test wanted it");
    registry.heal();
    // Before the body has come, as a proxy with a limit does.
    registry.fault_at("PUT", Fault::Early(413));
    let error = upload(&repository, &Bytes::from(vec![0; 20_000_000])).await.unwrap_err();
    assert!(matches!(error, ContentError::Refused { status: 413, .. }), "{error:?}");
}

#[tokio::test]
async fn a_registry_that_took_other_bytes_is_found_out() {
    let registry = FakeRegistry::start().await;
    registry.fault(Fault::DigestHeader(Digest::of(b"other").to_string()));
    let content = content(&[&registry], None);
    let manifest = Bytes::from(r#"{"schemaVersion":2,"layers":[]}"#);
    let put = target(&content, &registry, "app");
    let error = put.put_manifest("1", &Digest::of(&manifest), "application/x", manifest).await.unwrap_err();
    assert!(error.to_string().contains("names another digest"), "{error}");
}
