//! The registry room against fake registries on loopback.

use std::time::{Duration, Instant};

use portolan::{
    image::{Digest, Reference},
    registry::{Answer, AnswerSource, CachePolicy, Credentials, EndpointConfig, Question, Resolver},
};

use crate::support::fake_registry::FakeRegistry;

mod behind_a_proxy;
mod crowd;
mod defects;
mod lies;
mod login;
mod memory;
mod mirrors;
mod past;
mod pause;
mod push;
mod refresh;
mod secrets;
mod tls;
mod verify;

/// A resolver that reaches these registries over plain HTTP, anonymously.
fn resolver(policy: CachePolicy, registries: &[&FakeRegistry]) -> Resolver {
    let resolver = Resolver::new(policy);
    resolver.configure(registries.iter().map(|registry| plain(&registry.host())).collect(), None).unwrap();
    resolver
}

/// A resolver that reaches one registry over plain HTTP with this login.
fn with_login(policy: CachePolicy, registry: &FakeRegistry, credentials: Credentials) -> Resolver {
    let resolver = Resolver::new(policy);
    let endpoint = EndpointConfig { credentials: Some(credentials), ..plain(&registry.host()) };
    resolver.configure(vec![endpoint], None).unwrap();
    resolver
}

fn plain(host: &str) -> EndpointConfig {
    EndpointConfig { plain_http: true, ..EndpointConfig::new(host) }
}

/// The login of `user` for a registry.
fn password(registry: &FakeRegistry, user: &str, password: &str) -> Credentials {
    entry(registry, &format!(r#"{{"username": "{user}", "password": "{password}"}}"#))
}

fn entry(registry: &FakeRegistry, entry: &str) -> Credentials {
    Credentials::parse(format!(r#"{{"auths": {{"{}": {entry}}}}}"#, registry.host()).as_bytes()).unwrap()
}

/// No answer is used unasked or when stale, and a registry that failed is asked again at once.
fn forgetful() -> CachePolicy {
    let none = Duration::ZERO;
    CachePolicy {
        fresh_for: none,
        stale_for: none,
        negative_for: none,
        digest_exists_for: none,
        leave_alone_for: none,
        ..CachePolicy::default()
    }
}

/// Asks again each time, and remembers what was old.
fn eager() -> CachePolicy {
    CachePolicy { stale_for: CachePolicy::default().stale_for, ..forgetful() }
}

/// Asks about an image in its mirrors, with time enough.
async fn resolve(resolver: &Resolver, mirrors: &[&str]) -> Answer {
    resolve_within(resolver, mirrors, Duration::from_secs(20)).await
}

/// Asks about an image in its mirrors, and fails if the answer comes long after the time given.
async fn resolve_within(resolver: &Resolver, mirrors: &[&str], time: Duration) -> Answer {
    let references = references(mirrors);
    let mirrors: Vec<_> = references.iter().collect();
    let question = Question { mirrors: &mirrors, always: false };
    let answer = resolver.resolve(&question, Instant::now() + time);
    tokio::time::timeout(time + Duration::from_secs(10), answer).await.expect("an answer by the deadline")
}

/// What needs no asking at a moment.
fn remembered(resolver: &Resolver, mirrors: &[&str], now: Instant) -> Option<Answer> {
    let references = references(mirrors);
    let mirrors: Vec<_> = references.iter().collect();
    resolver.remembered(&Question { mirrors: &mirrors, always: false }, now)
}

fn references(mirrors: &[&str]) -> Vec<Reference> {
    mirrors.iter().map(|mirror| mirror.parse().unwrap()).collect()
}

fn found(mirror: usize, digest: &Digest, from: AnswerSource) -> Answer {
    Answer::Found { mirror, digest: digest.clone(), from }
}

/// A host at which nobody listens.
async fn dead_host() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}
