//! `portolan serve --tls-self` in a cluster: the certificate that replicas share, against an API server of our own.

use std::{io, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use portolan::{
    cluster::{CERTIFICATE_SECRET, CertificateSecret, Lease, LeasePolicy, Written},
    metrics::Metrics,
    tls::{Authority, Bundle, Lives, SecretData, Shared, wall_clock},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{FakeApiServer, Mood, NAMESPACE, restart::Serve};
use crate::support::eventually;

#[tokio::test]
async fn from_nothing_a_secret_is_made_and_trusted_and_a_second_replica_serves_the_same() {
    let server = FakeApiServer::start().await;
    server.put_configurations(None);
    let first = Serve::start_sharing(&server, &[]);
    first.says(&["[+] certificate ok\n", "\nready\n"]).await;
    let bundles = server.bundles();
    assert_eq!(bundles.len(), 4);
    assert!(bundles.iter().all(|bundle| *bundle == bundles[0] && bundle.is_string()), "{bundles:?}");
    let kept = kept(&server).expect("a certificate is kept");
    assert_eq!(shown(&server, &first).await.unwrap(), serial(&kept));

    let second = Serve::start_sharing(&server, &[]);
    second.says(&["[+] certificate ok\n", "\nready\n"]).await;
    assert_eq!(shown(&server, &second).await.unwrap(), serial(&kept));
    assert_eq!(writes(&server), 1, "{:?}", server.requests());
    second.measures("portolan_certificate_untrusted 0").await;
    second.measures("portolan_certificate_errors_total 0").await;
    let metrics = second.ops("/metrics").await;
    let expiry = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap().parse::<f64>().unwrap()
    };
    let day = 24.0 * 3600.0;
    let now = wall_clock().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    for (name, days) in [
        ("portolan_certificate_expiry_timestamp_seconds", 90.0),
        ("portolan_certificate_authority_expiry_timestamp_seconds", 730.0),
    ] {
        let left = (expiry(name) - now) / day;
        assert!((days - 0.1..=days).contains(&left), "{name}: {left} days");
    }
}

#[tokio::test]
async fn it_does_not_wait_for_ever_for_a_holder_of_the_lease_who_has_no_part_in_it() {
    let server = FakeApiServer::start().await;
    server.put_configurations(None);
    // As an older replica does that reads its certificate from files.
    let metrics = Arc::new(Metrics::new());
    let other = Lease::follow(&server.client().await, NAMESPACE, LeasePolicy::default(), metrics);
    eventually("it holds the Lease", async || other.is_held()).await;

    let replicas = [(); 2].map(|()| Serve::start_sharing(&server, &["--tls-self-pace", "300ms"]));
    for replica in &replicas {
        replica.says(&["[+] certificate ok\n", "\nready\n"]).await;
        replica.measures("portolan_lease_held 0").await;
    }
    let serial = serial(&kept(&server).expect("a certificate is kept"));
    for replica in &replicas {
        assert_eq!(shown(&server, replica).await.unwrap(), serial);
    }
    assert!(other.is_held());
}

#[tokio::test]
async fn a_bundle_that_somebody_removed_is_put_back_and_what_somebody_added_stays_for_a_while() {
    let server = FakeApiServer::start().await;
    server.put_configurations(None);
    let serve = Serve::start_sharing(&server, &["--tls-self-pace", "300ms"]);
    serve.says(&["\nready\n"]).await;
    let ours = server.bundles()[0].clone();

    server.put_configurations(None);
    eventually("it is put back", async || server.bundles().iter().all(|bundle| *bundle == ours)).await;

    let other = Authority::new(wall_clock()).unwrap().certificate();
    server.put_configurations(Some(&STANDARD.encode(&other)));
    let both = |bundle: &Value| {
        let bundle = bundle_of(bundle);
        let holds = |pem: &str| Bundle::parse(pem.as_bytes()).into_iter().all(|one| bundle.holds(&one));
        holds(&other) && bundle_of(&ours).into_iter().all(|one| bundle.holds(&one))
    };
    eventually("both are trusted", async || server.bundles().iter().all(both)).await;
    eventually("ours alone", async || server.bundles().iter().all(|bundle| *bundle == ours)).await;
    assert_eq!(writes(&server), 1, "the certificate is another matter: {:?}", server.requests());
}

#[tokio::test]
async fn a_secret_that_is_deleted_or_rubbish_is_made_anew_and_no_client_is_lost_meanwhile() {
    let server = FakeApiServer::start().await;
    server.put("secrets", CERTIFICATE_SECRET, &json!({"ca.crt": "cnViYmlzaA==", "ca.key": ""}));
    server.put_configurations(None);
    let serve = Serve::start_sharing(&server, &["--tls-self-pace", "500ms"]);
    serve.says(&["\nready\n"]).await;
    let said = "the authority's certificate cannot be read";
    assert!(serve.log().contains(said), "{}", serve.log());
    let before = shown(&server, &serve).await.unwrap();

    server.delete("secrets", CERTIFICATE_SECRET);
    // Whoever trusts what the configurations say now is never turned away.
    let mut now = before.clone();
    eventually("another certificate", async || {
        now = shown(&server, &serve).await.unwrap();
        now != before
    })
    .await;
    assert_eq!(now, serial(&kept(&server).unwrap()));
}

#[tokio::test]
async fn a_pair_that_is_torn_or_called_by_another_name_is_renewed_by_the_same_authority() {
    let server = FakeApiServer::start().await;
    let names = [format!("other.{NAMESPACE}.svc")];
    let made = Shared::begin(&names, Lives::default(), wall_clock()).unwrap();
    let mut torn = made.to_data();
    torn.remove("tls.key");
    for data in [torn, made.to_data()] {
        server.put("secrets", CERTIFICATE_SECRET, &encoded(&data));
        server.put_configurations(None);
        let serve = Serve::start_sharing(&server, &[]);
        serve.says(&["\nready\n"]).await;
        eventually("renewed", async || shown(&server, &serve).await.is_ok()).await;
        let kept = kept(&server).unwrap();
        assert_eq!(kept.authority(), made.authority());
        assert_eq!(shown(&server, &serve).await.unwrap(), serial(&kept));
    }
}

#[tokio::test]
async fn a_missing_right_is_said_with_its_remedy_and_waited_for() {
    let server = FakeApiServer::start().await;
    server.put_configurations(None);
    server.set_mood(Mood::RefuseSecrets);
    let serve = Serve::start_sharing(&server, &["--tls-self-pace", "300ms"]);
    serve
        .says(&[
            "[-] certificate missing: cannot read Secret `portolan/portolan-tls-self`: the API server answered 403: ",
            "needs the rights of manifests/base/rbac.yaml",
            "\nnot ready\n",
        ])
        .await;
    assert!(serve.log().contains("the shared certificate cannot be kept, trying again"), "{}", serve.log());
    drop(serve);
    // One that started before may hold a watch that goes on.
    server.set_mood(Mood::RefuseConfigurations);
    let serve = Serve::start_sharing(&server, &["--tls-self-pace", "300ms"]);
    serve
        .says(&[
            "the webhook configurations cannot be read: the API server answered 403: ",
            "manifests/base/rbac.yaml",
        ])
        .await;
    server.set_mood(Mood::Well);
    serve.says(&["[+] certificate ok\n", "\nready\n"]).await;
}

#[tokio::test]
async fn certificates_go_by_the_api_servers_clock() {
    let server = FakeApiServer::start().await;
    server.put_configurations(None);
    // Two thirds of two years later, and a little: also the authority is due then.
    server.set_date("Mon, 01 Jan 2035 00:00:00 GMT");
    let serve = Serve::start_sharing(&server, &["--tls-self-pace", "300ms"]);
    let days = |days: i64| (2_051_222_400 + days * 24 * 3600).to_string();
    serve.measures(&format!("portolan_certificate_expiry_timestamp_seconds {}.0", days(90))).await;
    assert!(serve.log().contains("our clock and the API server's are apart"), "{}", serve.log());
    let first = kept(&server).unwrap();
    server.set_date("Tue, 01 May 2035 00:00:00 GMT");
    serve.measures(&format!("portolan_certificate_expiry_timestamp_seconds {}.0", days(120 + 90))).await;
    assert_eq!(kept(&server).unwrap().authority(), first.authority());
    server.set_date("Fri, 01 Aug 2036 00:00:00 GMT");
    eventually("another authority", async || {
        kept(&server).is_some_and(|kept| kept.authority() != first.authority() && kept.next().is_none())
    })
    .await;
    // And set back before all of that: nobody would accept any of it.
    server.set_date("Mon, 01 Jan 2035 00:00:00 GMT");
    serve.measures(&format!("portolan_certificate_expiry_timestamp_seconds {}.0", days(90))).await;
}

#[tokio::test]
async fn of_two_that_write_at_once_one_is_told_so() {
    let server = FakeApiServer::start().await;
    let secret = CertificateSecret::new(&server.client().await, NAMESPACE);
    let (one, other) = (secret.read().await.unwrap(), secret.read().await.unwrap());
    let data = |text: &str| SecretData::from([("ca.crt".to_owned(), text.as_bytes().to_vec())]);
    assert_eq!(secret.replace(&one, &data("one")).await.unwrap(), Written::Done);
    assert_eq!(secret.replace(&other, &data("other")).await.unwrap(), Written::Outrun);
    let read = secret.read().await.unwrap();
    assert_eq!(read.data, data("one"));
    assert_eq!(secret.replace(&read, &data("two")).await.unwrap(), Written::Done);
    assert_eq!(secret.replace(&read, &data("three")).await.unwrap(), Written::Outrun);
    server.delete("secrets", CERTIFICATE_SECRET);
    assert_eq!(secret.replace(&read, &data("four")).await.unwrap(), Written::Outrun);
    assert_eq!(secret.read().await.unwrap().data, SecretData::new());
}

/// The serial number that a client sees which trusts what the first webhook configuration says.
async fn shown(server: &FakeApiServer, serve: &Serve) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    for authority in bundle_of(&server.bundles()[0]) {
        roots.add(authority).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let address = serve.address("webhook").expect("it listens");
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("portolan.portolan.svc").unwrap();
    let limit = Duration::from_secs(10);
    let stream =
        tokio::time::timeout(limit, TlsConnector::from(Arc::new(config)).connect(name, stream)).await??;
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    Ok(x509_parser::parse_x509_certificate(&chain[0]).unwrap().1.raw_serial_as_string())
}

fn bundle_of(bundle: &Value) -> Bundle {
    let pem = STANDARD.decode(bundle.as_str().unwrap_or_default()).unwrap();
    CertificateDer::pem_slice_iter(&pem).map(Result::unwrap).collect()
}

/// What the Secret holds, if it is of use.
fn kept(server: &FakeApiServer) -> Option<Shared> {
    let object = server.object("secrets", CERTIFICATE_SECRET)?;
    let decode = |(key, value): (&String, &Value)| {
        (key.clone(), STANDARD.decode(value.as_str().unwrap_or_default()).unwrap())
    };
    let data: SecretData = object["data"].as_object()?.iter().map(decode).collect();
    Shared::read(&data).ok()
}

fn encoded(data: &SecretData) -> Value {
    data.iter()
        .map(|(key, value)| (key.clone(), json!(STANDARD.encode(value))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn serial(shared: &Shared) -> String {
    shared.pair().unwrap().serial().to_owned()
}

fn writes(server: &FakeApiServer) -> usize {
    let write = format!("replace secrets/{CERTIFICATE_SECRET}");
    server.requests().iter().filter(|request| **request == write).count()
}
