//! The control plane's own bad days: its API server restarts, its etcd does not answer.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::Command,
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::{Load, installation::LIMIT, span};
use crate::{
    support::{Api, ControlPlane, Missing, Outcome, Plane, Process, Scene, eventually, folder, free_port},
    trials,
};

trials!["bad_days::plane";
    an_api_server_that_restarts_finds_everything_as_it_was_and_its_edits_are_seen,
    while_etcd_does_not_answer_pods_wait_for_it_and_all_are_rewritten,
];

fn an_api_server_that_restarts_finds_everything_as_it_was_and_its_edits_are_seen() -> Outcome {
    let scene = Scene::with_rules(RULES).with_table_in_configmap().start()?;
    let expected = scene.push("hub/library/nginx", "1.25");
    let mut server = ApiServer::beside(&scene.plane)?;
    let portolan = scene.portolan.start_beside_with(&[("KUBECONFIG", server.kubeconfig.clone().into())])?;
    scene.call(&portolan);
    let load = load(&scene, &server.api, expected);
    load.wait_rewritten();
    let followed = || portolan.ops("/metrics").map(|(_, text)| text.contains("\nportolan_table_rules 2\n"));
    let (back, record) = load.during("API server restart, resource versions too old", |clock| {
        thread::sleep(Duration::from_secs(1));
        server.process.kill();
        // What it will not have in its memory, and etcd forgets.
        let table = Scene::table(&scene.registry, &format!("{RULES}{MORE_RULES}"), &[]);
        let patch = json!({"data": {"table.yaml": table}}).to_string();
        scene.kubectl(&["patch", "configmap/portolan-table", "--type=merge", "--patch", &patch], "");
        compact(&server.etcd);
        thread::sleep(span(2, 20));
        assert_eq!(portolan.ops("/readyz").unwrap().0, 200);
        server.start();
        let back = clock.now();
        eventually(LIMIT, || match followed() {
            Ok(true) => Ok(()),
            other => Err(other),
        });
        eprintln!(
            "  (the edit was in force {:.1} s after the return)",
            clock.now().saturating_sub(back).as_secs_f64()
        );
        thread::sleep(Duration::from_secs(2));
        back
    });
    record.none_failed().none_unrewritten();
    assert!(record.answered_after(back) >= 20, "the load goes on by then");
    Ok(())
}

fn while_etcd_does_not_answer_pods_wait_for_it_and_all_are_rewritten() -> Outcome {
    let scene =
        Scene::with_rules(RULES).with_table_in_configmap().in_own_namespace().on(Plane::Own).start()?;
    let expected = scene.push("hub/library/nginx", "1.25");
    let load = load(&scene, scene.api(), expected);
    load.wait_rewritten();
    let away = span(5, 20);
    let ((), record) = load.during(&format!("etcd away for {} s", away.as_secs()), |_| {
        thread::sleep(Duration::from_secs(1));
        let etcd = Frozen::new(scene.plane.ready["pids"]["etcd"].as_u64().unwrap());
        thread::sleep(away);
        assert_eq!(scene.portolan.ops("/readyz").unwrap().0, 200);
        drop(etcd);
        thread::sleep(Duration::from_secs(3));
    });
    record.none_failed().all_answered().none_unrewritten();
    assert!(record.slowest() > away / 2, "nobody waited for etcd: {:?}", record.slowest());
    Ok(())
}

fn load(scene: &Scene, api: &Api, expected: String) -> Load {
    let namespace = scene.namespace.clone();
    Load { api: api.clone(), namespace, written: "nginx:1.25".to_owned(), expected }
}

/// Another API server on the same etcd, which may be ended without ending the control plane.
struct ApiServer {
    process: Process,
    api: Api,
    kubeconfig: PathBuf,
    /// Where etcd is: host and port.
    etcd: String,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
}

impl ApiServer {
    fn beside(plane: &ControlPlane) -> Result<Self, Missing> {
        let folder = folder("api-server");
        let id = plane.ready["pids"]["kube-apiserver"].as_u64().unwrap();
        let line = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap();
        let mut words = line.trim_end_matches('\0').split('\0').map(str::to_owned);
        let program = PathBuf::from(words.next().unwrap());
        let mut arguments: Vec<_> = words.collect();
        let port = free_port("127.0.0.1");
        let mut set = |flag: &str, value: String| {
            let at = arguments.iter().position(|argument| argument == flag).unwrap();
            arguments[at + 1] = value;
        };
        set("--secure-port", port.to_string());
        set("--audit-log-path", folder.join("audit.log").display().to_string());
        let at = arguments.iter().position(|argument| argument == "--etcd-servers").unwrap();
        let etcd = arguments[at + 1].trim_start_matches("http://").to_owned();

        let text = fs::read_to_string(&plane.kubectl.kubeconfig).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["clusters"][0]["cluster"]["server"] = json!(format!("https://127.0.0.1:{port}"));
        // Beside the other: it names files by relative paths, if it does.
        let kubeconfig = plane.kubectl.kubeconfig.with_file_name(format!("beside-{port}.kubeconfig"));
        fs::write(&kubeconfig, config.to_string()).unwrap();
        let api = Api::connect(&kubeconfig);
        let log = folder.join("log");
        let process = launch(&program, &arguments, &log)?;
        let server = Self { process, api, kubeconfig, etcd, program, arguments, log };
        server.wait();
        Ok(server)
    }

    /// Starts it again, at the same port.
    fn start(&mut self) {
        self.process = launch(&self.program, &self.arguments, &self.log).unwrap();
        self.wait();
    }

    fn wait(&self) {
        eventually(LIMIT, || self.api.read("/api/v1/namespaces/default/serviceaccounts/default"));
    }
}

fn launch(
    program: &std::path::Path,
    arguments: &[String],
    log: &std::path::Path,
) -> Result<Process, Missing> {
    let arrange = |command: &mut Command| _ = command.args(arguments);
    Process::start(program, arrange, log.to_owned())
}

/// Has etcd forget all that is not now.
fn compact(etcd: &str) {
    let ask = |path: &str, body: &Value| -> Value {
        let (mut connection, body) = (TcpStream::connect(etcd).unwrap(), body.to_string());
        let length = body.len();
        write!(
            connection,
            "POST {path} HTTP/1.1\r\nHost: {etcd}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{answer}");
        serde_json::from_str(body).unwrap()
    };
    // `a` in base64.
    let now = ask("/v3/kv/range", &json!({"key": "YQ=="}));
    ask("/v3/kv/compaction", &json!({"revision": now["header"]["revision"], "physical": true}));
}

/// A process that is stopped as long as this is held.
struct Frozen(u64);

impl Frozen {
    fn new(process: u64) -> Self {
        signal(process, "-STOP");
        Self(process)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal(self.0, "-CONT");
    }
}

fn signal(process: u64, signal: &str) {
    let status = Command::new("kill").args([signal, &process.to_string()]).status().unwrap();
    assert!(status.success(), "cannot send {signal} to {process}");
}

const RULES: &str = "rules:\n  - source: docker.io\n    mirrors: [MIRROR/hub]\n";
const MORE_RULES: &str = "  - source: quay.io\n    mirrors: [MIRROR/quay]\n";
