//! The proxy of the environment: used for registries elsewhere, never for this machine's, and `NO_PROXY` counts.
//!
//! A process's environment cannot be changed safely while threads run, so each case is a run of this test binary of
//! its own, which asks what it is told to ask and prints the answer.

use std::{
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
};

use portolan::registry::{CachePolicy, EndpointConfig, Resolver};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::{dead_host, plain, resolve};
use crate::support::{
    authority::Authority,
    fake_registry::{FakeRegistry, manifest},
};

/// What the child is to ask for.
const IMAGE: &str = "PORTOLAN_TEST_IMAGE";

/// The authority that it is to trust; without one it asks without TLS.
const AUTHORITY: &str = "PORTOLAN_TEST_AUTHORITY";

/// The child of the tests below; alone it does nothing.
#[tokio::test]
async fn asks_what_its_environment_says() {
    let Ok(image) = std::env::var(IMAGE) else { return };
    let resolver = Resolver::new(CachePolicy::default());
    let host = image.split('/').next().unwrap();
    let endpoint = match std::env::var(AUTHORITY) {
        Ok(pem) => EndpointConfig { ca_pem: Some(pem), ..EndpointConfig::new(host) },
        Err(_) => plain(host),
    };
    resolver.configure(vec![endpoint], None).unwrap();
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

#[tokio::test]
async fn a_registry_with_tls_is_reached_through_a_tunnel_that_the_proxy_cannot_look_into() {
    let authority = Authority::new();
    let registry =
        FakeRegistry::builder().tls_with(authority.server(&["mirror.invalid"], None)).start().await;
    let digest = registry.put("team/app", "v1", &manifest("app"));
    let (proxy, asked) = tunnel(registry.address()).await;
    let image = "mirror.invalid:5000/team/app:v1";
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let output = child(image, &[(name, &proxy), (AUTHORITY, authority.pem())]).await;
        assert!(output.contains(digest.as_str()), "{name}: {output}");
        assert_eq!(
            std::mem::take(&mut *asked.lock().unwrap()),
            ["CONNECT mirror.invalid:5000 HTTP/1.1"],
            "{name}"
        );
    }
    for (name, value) in [("HTTP_PROXY", proxy.as_str()), ("NO_PROXY", "mirror.invalid")] {
        let variables = [(name, value), (AUTHORITY, authority.pem())];
        let with_both = [&variables[..], &[("HTTPS_PROXY", &*proxy)]].concat();
        let output = child(image, if name == "NO_PROXY" { &with_both } else { &variables }).await;
        assert!(output.contains("Unavailable"), "{name}: {output}");
    }
    assert_eq!(*asked.lock().unwrap(), Vec::<String>::new());
}

/// A proxy that leads every tunnel to one address; its URL, and the first lines of what it was asked.
async fn tunnel(to: SocketAddr) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let noted = Arc::clone(&noted);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
                noted.lock().unwrap().push(line);
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                copy_bidirectional(&mut client, &mut TcpStream::connect(to).await?).await
            });
        }
    });
    (url, asked)
}
