//! The process under load while its certificate is swapped, and while it ends. No API server is needed for these:
//! what matters is that every connection is as hard on Portolan as the API server's are.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    support::{Answer, Connection, Done, Outcome, Portolan, PortolanOptions, eventually, folder, issue},
    trials,
};

trials!["serving";
    open_connections_do_not_notice_ten_swapped_certificates,
    every_request_before_the_end_of_the_drain_is_answered_and_audited,
];

fn open_connections_do_not_notice_ten_swapped_certificates() -> Outcome {
    let secret = SecretVolume::new();
    secret.swap(1);
    let portolan = Portolan::start(&PortolanOptions {
        table: Some(TABLE.to_owned()),
        tls_folder: Some(secret.folder.clone()),
        ..Default::default()
    })?;
    let (done, answered) = (Done::default(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for number in 0..4 {
            let (done, answered, portolan) = (&done, &answered, &portolan);
            scope.spawn(move || {
                let mut connection = Connection::open(&portolan.address).unwrap();
                assert_eq!(connection.serial(), 1);
                while !done.is_set() {
                    let uid = format!("{number}-{}", answered.fetch_add(1, Ordering::Relaxed));
                    connection.write("/mutate?timeout=3s", &review(&uid)).unwrap();
                    let answer = connection.read().unwrap();
                    check(&answer, &uid);
                    assert!(!answer.close, "the connection stays open");
                    // Without it four connections would take all of a small machine.
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let _end = done.when_dropped();
        for serial in 2..=11 {
            secret.swap(serial);
            eventually(Duration::from_secs(60), || {
                let seen = Connection::open(&portolan.address).unwrap().serial();
                if seen == serial { Ok(()) } else { Err(format!("serial {seen}, not {serial}")) }
            });
        }
    });
    let answered = answered.into_inner();
    assert!(answered >= 200, "only {answered} admissions during ten swaps");
    Ok(())
}

fn every_request_before_the_end_of_the_drain_is_answered_and_audited() -> Outcome {
    let mut portolan = Portolan::start(&PortolanOptions {
        table: Some(TABLE.to_owned()),
        arguments: ["--drain-delay", &format!("{}s", (ANSWERED + LAST_MOMENT).as_secs())]
            .map(str::to_owned)
            .into(),
        ..Default::default()
    })?;
    let address = portolan.address.clone();
    // Some time before the end that Portolan itself sees: what is written in its last moment may not have been read.
    let drain_end = Mutex::new(None::<Instant>);
    let is_over = |moment: Instant| drain_end.lock().unwrap().is_some_and(|end| moment >= end);
    let answered = Mutex::new(BTreeSet::new());
    let told_to_leave = AtomicUsize::new(0);
    let started = Instant::now();
    let client = |number: usize| {
        for round in 0.. {
            assert!(started.elapsed() < Duration::from_secs(120), "Portolan does not end");
            let mut connection = match Connection::open(&address) {
                Ok(connection) => connection,
                // A connection that was not taken in time; no request was on it.
                Err(_) if is_over(Instant::now()) => return,
                Err(error) => panic!("connection {round} of client {number}: {error}"),
            };
            for request in 0.. {
                let uid = format!("{number}-{round}-{request}");
                if let Err(error) = connection.write("/mutate?timeout=3s", &review(&uid)) {
                    assert!(is_over(Instant::now()), "{uid} could not be written: {error}");
                    return;
                }
                let written = Instant::now();
                let answer = match connection.read() {
                    Ok(answer) => answer,
                    Err(_) if is_over(written) => return,
                    Err(error) => panic!("{uid} was written and not answered: {error}"),
                };
                check(&answer, &uid);
                answered.lock().unwrap().insert(uid);
                if answer.close {
                    told_to_leave.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        }
    };
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            scope.spawn(move || client(number));
        }
        eventually(Duration::from_secs(60), || {
            let count = answered.lock().unwrap().len();
            if count > 10 * CLIENTS { Ok(()) } else { Err(count) }
        });
        *drain_end.lock().unwrap() = Some(Instant::now() + ANSWERED);
        portolan.process.signal("TERM");
        eventually(ANSWERED, || match portolan.ops("/readyz") {
            Ok((status, _)) if status != 200 => Ok(()),
            other => Err(format!("still ready: {other:?}")),
        });
    });
    let status = portolan.process.wait(Duration::from_secs(60));
    assert!(status.success(), "{status}");
    let told = told_to_leave.into_inner();
    assert!(told >= CLIENTS, "only {told} answers said that the connection closes");
    let answered = answered.into_inner().unwrap();
    let audited: BTreeSet<_> =
        portolan.audit().iter().map(|line| line["uid"].as_str().unwrap().to_owned()).collect();
    let lost: Vec<_> = answered.difference(&audited).take(5).collect();
    assert!(lost.is_empty(), "answered and not audited: {lost:?}");
    Ok(())
}

/// A folder as the kubelet mounts a Secret: what is in it changes whole, by one symlink.
struct SecretVolume {
    folder: PathBuf,
}

impl SecretVolume {
    fn new() -> Self {
        let folder = folder("secret");
        for file in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(file), folder.join(file)).unwrap();
        }
        Self { folder }
    }

    fn swap(&self, serial: u64) {
        let version = format!("..version_{serial}");
        fs::create_dir(self.folder.join(&version)).unwrap();
        issue(&self.folder.join(&version), serial);
        symlink(&version, self.folder.join("..data_tmp")).unwrap();
        fs::rename(self.folder.join("..data_tmp"), self.folder.join("..data")).unwrap();
    }
}

fn review(uid: &str) -> String {
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": uid, "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "default", "name": "web", "operation": "CREATE", "dryRun": false,
            "userInfo": {"username": "somebody"},
            "object": {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
                "spec": {"containers": [{"name": "web", "image": "nginx:1.25"}]},
            },
        },
    })
    .to_string()
}

#[track_caller]
fn check(answer: &Answer, uid: &str) {
    assert_eq!(answer.status, 200, "{uid}");
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&answer["response"]["uid"], &answer["response"]["allowed"]), (&json!(uid), &json!(true)));
    let patch = STANDARD.decode(answer["response"]["patch"].as_str().unwrap()).unwrap();
    let patch = String::from_utf8(patch).unwrap();
    assert!(patch.contains("registry.example.com/hub/library/nginx:1.25"), "{patch}");
}

/// Asks no registry.
const TABLE: &str = "apiVersion: portolan.dev/v1
kind: MappingTable
defaults: {pin: off}
rules:
  - source: docker.io
    mirrors: [registry.example.com/hub]
";

const CLIENTS: usize = 32;

/// Of `--drain-delay`, the time in which every request is answered.
const ANSWERED: Duration = Duration::from_secs(4);

/// The rest of it: for Portolan to read what was written, on a machine that may have other things to do.
const LAST_MOMENT: Duration = Duration::from_secs(2);
