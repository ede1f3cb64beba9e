//! Portolan as it ships: a process with its flags, files, signals and exit code.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use serde_json::Value;

use super::{
    Missing,
    authority::{self, Pair},
    folder::folder,
    process::{Process, free_port, is_static},
    waiting::eventually,
};

/// A running `portolan serve`.
#[derive(Debug)]
pub struct Portolan {
    /// The process itself.
    pub process: Process,
    /// Where `/mutate` is: host and port.
    pub address: String,
    /// The file with its table, unless it reads a ConfigMap.
    pub table: PathBuf,
    /// Where `/metrics` is: host and port.
    pub ops: String,
    /// Where `/status` is: host and port.
    pub status: String,
    /// The file with its audit lines.
    pub audit_log: PathBuf,
    folder: PathBuf,
    options: Options,
}

/// How to start one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The table's text, put into a file; without it `arguments` must say where the table is.
    pub table: Option<String>,
    /// A folder with `tls.crt` and `tls.key`, instead of a certificate made for it.
    pub tls_folder: Option<PathBuf>,
    /// With the certificate that replicas share, instead of either.
    pub tls_self: bool,
    /// A program that starts Portolan, which it is given with its arguments; without it, it is started as it is.
    pub starter: Option<PathBuf>,
    /// More flags of `serve`.
    pub arguments: Vec<String>,
    /// More variables.
    pub variables: Vec<(&'static str, OsString)>,
    /// Another program than the binary under test.
    pub program: Option<PathBuf>,
}

impl Portolan {
    /// Starts it and waits until it is ready.
    pub fn start(options: &Options) -> Result<Self, Missing> {
        let portolan = Self::launch(options)?;
        Ok(portolan.wait_ready())
    }

    /// Starts another with the same flags, at addresses of its own, and waits until it is ready.
    pub fn start_beside(&self) -> Result<Self, Missing> {
        Self::start(&self.options)
    }

    /// The same with other variables, too; of two with one name the later counts.
    pub fn start_beside_with(&self, variables: &[(&'static str, OsString)]) -> Result<Self, Missing> {
        let mut options = self.options.clone();
        options.variables.extend_from_slice(variables);
        Self::start(&options)
    }

    /// The same from another program and with other variables, too.
    pub fn start_beside_from(
        &self,
        program: PathBuf,
        variables: &[(&'static str, OsString)],
    ) -> Result<Self, Missing> {
        let mut options = Options { program: Some(program), ..self.options.clone() };
        options.variables.extend_from_slice(variables);
        Self::start(&options)
    }

    /// Starts it and waits for nothing.
    pub fn launch(options: &Options) -> Result<Self, Missing> {
        let folder = folder("portolan");
        let address = format!("127.0.0.1:{}", free_port("127.0.0.1"));
        let ops = format!("127.0.0.1:{}", free_port("127.0.0.1"));
        let status = format!("127.0.0.1:{}", free_port("127.0.0.1"));
        let audit_log = folder.join("audit.jsonl");
        let table = folder.join("table.yaml");
        if let Some(text) = &options.table {
            fs::write(&table, text).unwrap();
        }
        let process = start(&folder, [&address, &ops, &status], options)?;
        Ok(Self { process, address, table, ops, status, audit_log, folder, options: options.clone() })
    }

    /// Ends it and starts it anew, with the same flags and files, at the same addresses; waits for nothing.
    pub fn restart(&mut self) {
        self.terminate();
        self.start_anew();
    }

    /// Starts it anew after it ended, with the same flags and files, at the same addresses; waits for nothing.
    pub fn start_anew(&mut self) {
        let addresses = [&*self.address, &self.ops, &self.status];
        self.process = start(&self.folder, addresses, &self.options).unwrap();
    }

    /// Waits until `/readyz` says so.
    pub fn wait_ready(mut self) -> Self {
        self.until_ready();
        self
    }

    /// Waits until `/readyz` says so.
    pub fn until_ready(&mut self) {
        eventually(READY_LIMIT, || {
            if let Some(status) = self.process.ended() {
                panic!("portolan ended with {status}: {}", self.process.output());
            }
            match self.ops("/readyz") {
                Ok((200, _)) => Ok(()),
                other => Err(other),
            }
        });
    }

    /// Asks the ops port; status and body.
    pub fn ops(&self, path: &str) -> Result<(u16, String), std::io::Error> {
        ask(&self.ops, path)
    }

    /// What `/status` says.
    #[track_caller]
    pub fn status(&self) -> Value {
        let (status, body) = ask(&self.status, "/status").unwrap();
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The lines of its audit log until now.
    pub fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.audit_log).unwrap_or_default();
        // The last line may still be on its way.
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The audit lines that fit, as soon as there is one.
    #[track_caller]
    pub fn audited(&self, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        eventually(AUDIT_LIMIT, || {
            let lines: Vec<_> = self.audit().into_iter().filter(|line| fits(line)).collect();
            if lines.is_empty() { Err("no such line in the audit log") } else { Ok(lines) }
        })
    }

    /// The last of the audit lines that fit, as soon as there are more than so many: what is written a moment after an
    /// answer is not mistaken for what was there before it.
    #[track_caller]
    pub fn audited_beyond(&self, before: usize, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(AUDIT_LIMIT, || {
            let mut lines: Vec<_> = self.audit().into_iter().filter(|line| fits(line)).collect();
            if lines.len() > before { lines.pop().ok_or(0) } else { Err(lines.len()) }
        })
    }

    /// How many audit lines fit until now.
    pub fn audit_count(&self, fits: impl Fn(&Value) -> bool) -> usize {
        self.audit().iter().filter(|line| fits(line)).count()
    }

    /// Ends it as Kubernetes does.
    pub fn terminate(&mut self) -> ExitStatus {
        self.process.terminate(Duration::from_secs(60))
    }
}

/// Asks a port without TLS; status and body.
pub fn ask(address: &str, path: &str) -> Result<(u16, String), std::io::Error> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Ok((status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}

fn start(folder: &Path, [address, ops, status]: [&str; 3], options: &Options) -> Result<Process, Missing> {
    let program = options.program.clone().unwrap_or_else(binary);
    Process::start(
        options.starter.as_ref().unwrap_or(&program),
        |command| {
            if options.starter.is_some() {
                command.arg(&program);
            }
            command
                .arg("serve")
                .args(["--listen", address, "--ops-listen", ops, "--status-listen", status])
                .args([Path::new("--audit-log"), &folder.join("audit.jsonl")])
                // What the person who runs the tests has set up must not matter.
                .env_clear()
                .env("DOCKER_CONFIG", folder)
                .env("HOME", folder)
                .env("XDG_RUNTIME_DIR", folder)
                .env("NO_COLOR", "1");
            if options.tls_self {
                command.arg("--tls-self");
            } else if let Some(folder) = &options.tls_folder {
                command.args([Path::new("--tls-dir"), folder]);
            } else {
                let Pair { certificate, key } = authority::issue(folder, 1);
                command.args([Path::new("--tls-cert"), &certificate, Path::new("--tls-key"), &key]);
            }
            if options.table.is_some() {
                command.args([Path::new("--table"), &folder.join("table.yaml")]);
            }
            command.args(&options.arguments).envs(options.variables.iter().cloned());
        },
        folder.join("log"),
    )
}

/// The binary under test: the one that ships if the caller built it, else the one that cargo just built.
pub fn binary() -> PathBuf {
    // Cargo says where its own is to tests, not to examples.
    env::var_os("PORTOLAN_BINARY")
        .or_else(|| option_env!("CARGO_BIN_EXE_portolan").map(OsString::from))
        .map(PathBuf::from)
        .expect("PORTOLAN_BINARY names the binary")
}

/// The one that cargo just built for this machine, whatever the caller built.
pub fn dynamic_binary() -> Option<PathBuf> {
    option_env!("CARGO_BIN_EXE_portolan").map(PathBuf::from).filter(|program| !is_static(program))
}

const READY_LIMIT: Duration = Duration::from_secs(60);
const AUDIT_LIMIT: Duration = Duration::from_secs(30);
