//! Certificates: verified always, against the system's roots and the registry's own CA.

use portolan::registry::{Answer, AnswerSource, ClientCertificate, EndpointConfig, Resolver};

use super::{forgetful, found, resolve};
use crate::support::{
    authority::Authority,
    fake_registry::{FakeRegistry, manifest},
};

/// What comes of asking `registry` with this configuration.
async fn ask(registry: &FakeRegistry, endpoint: EndpointConfig) -> Answer {
    let resolver = Resolver::new(forgetful());
    resolver.configure(vec![endpoint], None).unwrap();
    resolve(&resolver, &[&format!("{}/team/app:v1", registry.host())]).await
}

fn trusting(registry: &FakeRegistry, authority: &Authority) -> EndpointConfig {
    EndpointConfig { ca_pem: Some(authority.pem().into()), ..EndpointConfig::new(registry.host()) }
}

#[tokio::test]
async fn a_private_ca_is_trusted_for_its_registry_and_for_no_other() {
    let authority = Authority::new();
    let registry = FakeRegistry::builder().tls(&authority).start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let unavailable = Answer::Unavailable { mirror: 0 };
    assert_eq!(
        ask(&registry, trusting(&registry, &authority)).await,
        found(0, &digest, AnswerSource::Registry)
    );
    assert_eq!(
        ask(&registry, EndpointConfig::new(registry.host())).await,
        unavailable,
        "unknown to the system"
    );
    assert_eq!(ask(&registry, trusting(&registry, &Authority::new())).await, unavailable, "another CA");

    let other = FakeRegistry::builder().tls(&authority).start().await;
    other.put("team/app", "v1", &manifest("app"));
    let resolver = Resolver::new(forgetful());
    resolver
        .configure(vec![trusting(&registry, &authority), EndpointConfig::new(other.host())], None)
        .unwrap();
    assert_eq!(resolve(&resolver, &[&format!("{}/team/app:v1", other.host())]).await, unavailable);
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test]
async fn several_certificates_in_one_text_are_all_trusted() {
    let (old, new) = (Authority::new(), Authority::new());
    let registry = FakeRegistry::builder().tls(&new).start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let ca_pem = Some(format!("# the old one\n{}\n# the new one\n{}", old.pem(), new.pem()));
    let answer = ask(&registry, EndpointConfig { ca_pem, ..EndpointConfig::new(registry.host()) }).await;
    assert_eq!(answer, found(0, &digest, AnswerSource::Registry));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let registry =
        FakeRegistry::builder().tls_with(authority.server(&["registry.example.com"], None)).start().await;
    registry.put("team/app", "v1", &manifest("app"));
    assert_eq!(ask(&registry, trusting(&registry, &authority)).await, Answer::Unavailable { mirror: 0 });
    assert_eq!(registry.requests().len(), 0);
}

#[tokio::test]
async fn a_registry_that_wants_a_certificate_of_ours_gets_it() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let tls = authority.server(&["127.0.0.1"], Some(&clients));
    let registry = FakeRegistry::builder().tls_with(tls).start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let with = |pair: crate::support::authority::Pair| EndpointConfig {
        client_certificate: Some(ClientCertificate { chain_pem: pair.chain, key_pem: pair.key }),
        ..trusting(&registry, &authority)
    };
    let unavailable = Answer::Unavailable { mirror: 0 };
    assert_eq!(ask(&registry, with(clients.issue(&["us"]))).await, found(0, &digest, AnswerSource::Registry));
    assert_eq!(ask(&registry, trusting(&registry, &authority)).await, unavailable);
    assert_eq!(ask(&registry, with(authority.issue(&["us"]))).await, unavailable, "not signed for clients");
}
