//! `portolan serve` as a process that starts while its table is broken, or what it keeps in the cluster cannot be read.

use std::{fs, process::Stdio};

use portolan::cluster::LAST_GOOD;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
};

use super::{FakeApiServer, Mood, NAMESPACE, TABLE};
use crate::support::eventually;

const GOOD: &str = "apiVersion: portolan.dev/v1\nkind: MappingTable\nrules:\n  - source: docker.io\n    mirrors: [r.example/hub]\n";

/// A running `portolan serve`; it ends with this value.
pub(super) struct Serve {
    _process: Child,
    folder: TempDir,
}

impl Serve {
    fn start(server: &FakeApiServer) -> Self {
        Self::start_with(server, &[])
    }

    pub(super) fn start_with(server: &FakeApiServer, arguments: &[&str]) -> Self {
        Self::start_in(server, Some(NAMESPACE), arguments)
    }

    /// One that shares its certificate with other replicas, with a good table.
    pub(super) fn start_sharing(server: &FakeApiServer, arguments: &[&str]) -> Self {
        if server.object("configmaps", TABLE).is_none() {
            server.put("configmaps", TABLE, &table(GOOD));
        }
        Self::start_as(server, Some(NAMESPACE), &[&["--tls-self"], arguments].concat())
    }

    /// `namespace` is the one that it runs in.
    fn start_in(server: &FakeApiServer, namespace: Option<&str>, arguments: &[&str]) -> Self {
        Self::start_as(server, namespace, &[&["--tls-self=ca.crt"], arguments].concat())
    }

    fn start_as(server: &FakeApiServer, namespace: Option<&str>, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("kubeconfig"), server.kubeconfig().to_string()).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_portolan"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(["--ops-listen", "127.0.0.1:0", "--status-listen", "127.0.0.1:0"])
            .args(["--table-configmap", &format!("{NAMESPACE}/{TABLE}")])
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .env("HOME", folder.path())
            .env("KUBECONFIG", folder.path().join("kubeconfig"))
            .envs(namespace.map(|namespace| ("POD_NAMESPACE", namespace)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { _process: process, folder }
    }

    /// Asks the ops port; empty until it answers.
    pub(super) async fn ops(&self, path: &str) -> String {
        let Some(ops) = self.ops_address() else { return String::new() };
        let Ok(mut connection) = TcpStream::connect(&ops).await else { return String::new() };
        let request = format!("GET {path} HTTP/1.1\r\nHost: {ops}\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Where it says that its ops port is.
    fn ops_address(&self) -> Option<String> {
        self.address("ops")
    }

    /// Where it says that one of its ports is.
    pub(super) fn address(&self, port: &str) -> Option<String> {
        self.log().lines().find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(line[port].as_str()?.to_owned())
        })
    }

    /// Waits until `/readyz?verbose` says all of these.
    pub(super) async fn says(&self, expected: &[&str]) {
        let what = format!("{expected:?}\n{}", self.log());
        eventually(&what, async || {
            let report = self.ops("/readyz?verbose").await;
            expected.iter().all(|text| report.contains(text))
        })
        .await;
    }

    /// What its status port says now.
    pub(super) async fn status(&self) -> serde_json::Value {
        let address = self.address("status").expect("it listens");
        let mut connection = TcpStream::connect(&address).await.unwrap();
        let request = format!("GET /status HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    pub(super) async fn measures(&self, line: &str) {
        eventually(line, async || self.ops("/metrics").await.lines().any(|found| found == line)).await;
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

fn table(text: &str) -> serde_json::Value {
    json!({"table.yaml": text})
}

#[tokio::test]
async fn a_start_with_a_broken_or_missing_table_goes_by_the_last_good_one_and_says_so() {
    let server = FakeApiServer::start().await;
    server.put("configmaps", TABLE, &table(GOOD));
    let first = Serve::start(&server);
    first.says(&["[+] table ok\n"]).await;
    first.measures("portolan_table_last_good_in_force 0").await;
    eventually("it is kept", async || server.object("configmaps", LAST_GOOD).is_some()).await;
    assert!(server.events().is_empty());
    drop(first);

    server.put("configmaps", TABLE, &table(&GOOD.replace("source", "sorce")));
    let second = Serve::start(&server);
    let expected =
        ["[+] table ok: line 4", "sorce", "as kept in ConfigMap `portolan-table-last-good`", "\nready\n"];
    second.says(&expected).await;
    second.measures("portolan_table_last_good_in_force 1").await;
    second.measures("portolan_table_rules 1").await;
    second.measures("portolan_table_errors_total 1").await;
    eventually("an Event", async || server.events().len() == 1).await;
    assert!(server.events()[0]["note"].as_str().unwrap().contains("line 4"), "{:?}", server.events());
    let said = "mapping table refused, the kept last good one is used";
    assert!(second.log().contains(said), "{}", second.log());
    // Still so after another broken edit, and over with a good one.
    server.put("configmaps", TABLE, &table("rules: ["));
    second.says(&["line 1", "as kept in ConfigMap"]).await;
    server.put("configmaps", TABLE, &table(&GOOD.replace("hub", "other")));
    second.says(&["[+] table ok\n"]).await;
    second.measures("portolan_table_last_good_in_force 0").await;
    eventually("the new one is kept", async || {
        server.object("configmaps", LAST_GOOD).unwrap()["data"]["table.yaml"]
            .as_str()
            .unwrap()
            .contains("other")
    })
    .await;
    drop(second);

    server.delete("configmaps", TABLE);
    let third = Serve::start(&server);
    third.says(&["[+] table ok: there is no ConfigMap", "as kept in ConfigMap", "\nready\n"]).await;
}

#[tokio::test]
async fn without_a_last_good_table_it_is_not_ready_and_goes_on_watching() {
    let server = FakeApiServer::start().await;
    server.put("configmaps", TABLE, &table("rules: ["));
    let serve = Serve::start(&server);
    serve.says(&["[-] table missing: line 1", "no last good table is kept", "\nnot ready\n"]).await;
    assert!(serve.ops("/readyz").await.starts_with("HTTP/1.1 503"));
    assert!(server.object("configmaps", LAST_GOOD).is_none(), "a broken one is never kept");

    server.put("configmaps", TABLE, &table(GOOD));
    serve.says(&["[+] table ok\n", "\nready\n"]).await;
}

#[tokio::test]
async fn a_start_waits_for_the_kept_answers_a_moment_and_no_longer() {
    let server = FakeApiServer::start().await;
    server.put("configmaps", TABLE, &table(GOOD));
    server.set_mood(Mood::StallAnswers);
    let serve = Serve::start(&server);
    serve.says(&["[+] table ok\n", "\nready\n"]).await;
    assert!(serve.log().contains("the answers kept in the cluster could not be read yet"), "{}", serve.log());
    // It goes on trying.
    server.set_mood(Mood::Well);
    eventually("they are read", async || serve.log().contains("answers kept in the cluster are there")).await;
    serve.measures("portolan_lease_held 1").await;
}

#[tokio::test]
async fn a_start_does_not_wait_for_answers_that_it_may_not_read() {
    let server = FakeApiServer::start().await;
    server.put("configmaps", TABLE, &table(GOOD));
    server.set_mood(Mood::RefuseAnswers);
    let serve = Serve::start(&server);
    serve.says(&["[+] table ok\n", "\nready\n"]).await;
    let log = serve.log();
    assert!(log.contains("cannot read or write the answers kept in the cluster"), "{log}");
    assert!(!log.contains("could not be read yet"), "{log}");
    server.set_mood(Mood::Well);
    eventually("they are read", async || serve.log().contains("answers kept in the cluster are there")).await;
}

#[tokio::test]
async fn kept_answers_can_be_switched_off() {
    let server = FakeApiServer::start().await;
    server.put("configmaps", TABLE, &table(GOOD));
    // What else the Lease is for.
    let serve = Serve::start_with(&server, &["--keep-answers", "0", "--find-unrewritten", "0s"]);
    serve.says(&["\nready\n"]).await;
    serve.measures("portolan_lease_held 0").await;
    assert_eq!(of_answers(&server), Vec::<String>::new());
}

#[tokio::test]
async fn outside_a_cluster_no_answers_are_kept() {
    let server = FakeApiServer::start().await;
    server.put("configmaps", TABLE, &table(GOOD));
    let serve = Serve::start_in(&server, None, &[]);
    serve.says(&["\nready\n"]).await;
    serve.measures("portolan_lease_held 0").await;
    assert_eq!(of_answers(&server), Vec::<String>::new());
}

/// Every request that has to do with kept answers.
fn of_answers(server: &FakeApiServer) -> Vec<String> {
    let is_one = |request: &String| request.contains("portolan-answers-") || request.contains("leases");
    server.requests().into_iter().filter(is_one).collect()
}
