//! Certificates and handshakes on real sockets.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc, time::Duration};

use portolan::tls::{FollowFiles, Issued, PairFiles};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    eventually,
    http::{Connection, trusting},
    service::{Service, echo, issue},
};

/// A directory as the kubelet mounts a Secret: links through `..data`, which is swapped as a whole.
struct Mounted {
    directory: tempfile::TempDir,
    version: usize,
}

impl Mounted {
    fn new(issued: &Issued) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for file in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(file), directory.path().join(file)).unwrap();
        }
        let mut mounted = Self { directory, version: 0 };
        mounted.swap(issued.certificate(), issued.key());
        mounted
    }

    fn swap(&mut self, certificate: &str, key: &str) {
        self.version += 1;
        let root = self.directory.path();
        let version = format!("..version-{}", self.version);
        fs::create_dir(root.join(&version)).unwrap();
        fs::write(root.join(&version).join("tls.crt"), certificate).unwrap();
        fs::write(root.join(&version).join("tls.key"), key).unwrap();
        symlink(&version, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        if self.version > 1 {
            fs::remove_dir_all(root.join(format!("..version-{}", self.version - 1))).unwrap();
        }
    }

    fn follow(&self, service: &Service) -> tokio::task::JoinHandle<()> {
        let files = PairFiles::in_directory(self.directory.path());
        let follow = FollowFiles::start(files, Arc::clone(&service.live), Arc::clone(&service.metrics));
        tokio::spawn(follow.unwrap().with_interval(Duration::from_millis(10)).run())
    }
}

async fn serial(service: &Service) -> String {
    service.connect().await.expect("a new connection").serial()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_swaps_of_a_mounted_secret_fail_no_request() {
    let service = Arc::new(echo().start());
    let first = issue(&service.authority);
    let mut mounted = Mounted::new(&first);
    let following = mounted.follow(&service);

    // Open connections that post all the time, and new ones all the time.
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut posting = tokio::task::JoinSet::new();
    for client in 0..8 {
        let (service, stopped) = (Arc::clone(&service), stopped.clone());
        posting.spawn(async move {
            let mut answered = 0;
            let mut connection = service.connect().await.expect("a connection");
            while !*stopped.borrow() {
                if client >= 6 {
                    connection = service.connect().await.expect("a new connection");
                }
                let answer = connection.post("/mutate", b"{}").await.expect("an answer");
                assert_eq!((answer.status, answer.closes()), (200, false));
                answered += 1;
            }
            answered
        });
    }
    let mut before = serial(&service).await;
    for swap in 0..10 {
        let next = issue(&service.authority);
        mounted.swap(next.certificate(), next.key());
        eventually("new connections get the new certificate", async || serial(&service).await != before)
            .await;
        let now = serial(&service).await;
        assert_eq!(now, service.live.current().unwrap().serial(), "swap {swap}");
        before = now;
    }
    stop.send(true).unwrap();
    let answered: Vec<usize> = posting.join_all().await;
    assert!(answered.iter().all(|answered| *answered > 0), "{answered:?}");
    assert_eq!(service.metrics.certificate_errors.get(), 0);
    following.abort();
}

#[tokio::test]
async fn a_wrong_key_does_not_replace_the_pair() {
    let service = echo().start();
    let mut mounted = Mounted::new(&issue(&service.authority));
    let following = mounted.follow(&service);
    let before = serial(&service).await;
    let (one, other) = (issue(&service.authority), issue(&service.authority));
    mounted.swap(one.certificate(), other.key());
    eventually("it is said", async || service.metrics.certificate_errors.get() == 1).await;
    assert_eq!(serial(&service).await, before);
    mounted.swap(one.certificate(), one.key());
    eventually("the right key is used", async || serial(&service).await != before).await;
    assert_eq!(service.metrics.certificate_errors.get(), 1);
    following.abort();
}

#[tokio::test]
async fn http_1_1_is_the_only_protocol() {
    let service = echo().start();
    let offering = |protocols: &[&[u8]]| {
        let mut config = trusting(&service.authority.certificate());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Connection::open(service.address, Arc::new(config))
    };
    let agreed =
        |connection: &Connection| connection.stream.get_ref().get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    assert_eq!(agreed(&offering(&[b"h2", b"http/1.1"]).await.unwrap()), Some(b"http/1.1".to_vec()));
    assert_eq!(agreed(&offering(&[]).await.unwrap()), None);
    assert!(offering(&[b"h2"]).await.is_err());
    assert_eq!(service.handshake_errors("protocol"), 1);
}

#[tokio::test]
async fn no_session_is_resumed() {
    let service = echo().start();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let roots = {
            use rustls::pki_types::{CertificateDer, pem::PemObject};
            let mut roots = rustls::RootCertStore::empty();
            let authority = service.authority.certificate();
            roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
            roots
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        for _ in 0..3 {
            let mut connection = Connection::open(service.address, Arc::clone(&config)).await.unwrap();
            // The answer comes after any ticket.
            connection.post("/mutate", b"{}").await.unwrap();
            let session = connection.stream.get_ref().get_ref().1;
            assert_eq!(session.protocol_version(), Some(version.version));
            assert_ne!(session.handshake_kind(), Some(rustls::HandshakeKind::Resumed), "{version:?}");
            assert_eq!(session.tls13_tickets_received(), 0);
        }
    }
}

#[tokio::test]
async fn a_stalled_handshake_is_closed_and_holds_nobody_up() {
    let service = echo().limits(|limits| limits.handshake = Duration::from_millis(50)).start();
    let mut silent = TcpStream::connect(service.address).await.unwrap();
    let mut half = TcpStream::connect(service.address).await.unwrap();
    // The first bytes of a handshake record.
    half.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.unwrap();
    assert_eq!(service.connect().await.unwrap().post("/mutate", b"{}").await.unwrap().status, 200);
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap(), 0);
    let _closed = half.read(&mut [0; 8]).await;
    eventually("both are counted", async || service.handshake_errors("timeout") == 2).await;
}

#[tokio::test]
async fn failed_handshakes_are_counted_by_their_cause() {
    let service = echo().start();
    let stranger = portolan::tls::Authority::new(portolan::tls::wall_clock()).unwrap();
    let config = Arc::new(trusting(&stranger.certificate()));
    assert!(Connection::open(service.address, config).await.is_err());
    eventually("a client that does not trust us", async || {
        service.handshake_errors("certificate-refused") == 1
    })
    .await;

    let mut plain = TcpStream::connect(service.address).await.unwrap();
    plain.write_all(b"POST /mutate HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    eventually("a client that speaks no TLS", async || service.handshake_errors("not-tls") == 1).await;

    drop(TcpStream::connect(service.address).await.unwrap());
    eventually("a probe of the port", async || service.handshake_errors("closed") == 1).await;
}
