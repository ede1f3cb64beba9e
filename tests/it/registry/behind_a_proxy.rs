//! The proxy of the environment: used for registries elsewhere, never for this machine's, and `NO_PROXY` counts.
//!
//! A process's environment cannot be changed safely while threads run, so each case is a run of this test binary of
//! its own, which asks what it is told to ask and prints the answer.

use std::process::Command;

use portolan::registry::{CachePolicy, Resolver};

use super::{dead_host, plain, resolve};
use crate::support::fake_registry::{FakeRegistry, manifest};

/// What the child is to ask for.
const IMAGE: &str = "PORTOLAN_TEST_IMAGE";

/// The child of the tests below; alone it does nothing.
#[tokio::test]
async fn asks_what_its_environment_says() {
    let Ok(image) = std::env::var(IMAGE) else { return };
    let resolver = Resolver::new(CachePolicy::default());
    let host = image.split('/').next().unwrap();
    resolver.configure(vec![plain(host)], None).unwrap();
    println!("answer: {:?}", resolve(&resolver, &[&image]).await);
}

/// Runs the child with these variables and no others that name proxies; its output.
async fn child(image: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "registry::behind_a_proxy::asks_what_its_environment_says", "--nocapture"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.env(IMAGE, image).envs(variables.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_registry_elsewhere_is_reached_through_the_proxy() {
    let proxy = FakeRegistry::start().await;
    let digest = proxy.put("team/app", "v1", &manifest("app"));
    for name in ["HTTP_PROXY", "http_proxy"] {
        let output = child("mirror.invalid:5000/team/app:v1", &[(name, proxy.url())]).await;
        assert!(output.contains(digest.as_str()), "{name}: {output}");
    }
    assert_eq!(proxy.requests()[0].header("host"), "mirror.invalid:5000");
}

#[tokio::test]
async fn no_proxy_names_what_is_reached_without_it() {
    let proxy = FakeRegistry::start().await;
    proxy.put("team/app", "v1", &manifest("app"));
    let variables =
        [("HTTP_PROXY", proxy.url()), ("NO_PROXY", "other.invalid,.mirror.invalid,mirror.invalid")];
    let output = child("mirror.invalid:5000/team/app:v1", &variables).await;
    assert!(output.contains("Unavailable"), "{output}");
    assert_eq!(proxy.requests().len(), 0);
}

#[tokio::test]
async fn a_registry_on_this_machine_is_never_reached_through_a_proxy() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let dead = format!("http://{}", dead_host().await);
    let output = child(&format!("{}/team/app:v1", registry.host()), &[("HTTP_PROXY", &dead)]).await;
    assert!(output.contains(digest.as_str()), "{output}");
}
