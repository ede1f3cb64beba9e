//! A process that a test starts: its output goes to a file, and it never outlives the test.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    net::TcpListener,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::Duration,
};

use super::{Missing, waiting::eventually};

/// A running process. Dropped, it is killed; if the test is failing then, the end of its output is shown.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts `program`, both outputs going to `output`; a relative program is looked for on the path.
    pub fn start(
        program: &Path,
        arrange: impl FnOnce(&mut Command),
        output: PathBuf,
    ) -> Result<Self, Missing> {
        // The kernel ends the process with the thread that started it, also when the tests themselves are killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        arrange(&mut command);
        let file = File::options().create(true).append(true).open(&output).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let name = program.display().to_string();
        match command.spawn() {
            Ok(child) => Ok(Self { name, child, output }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Missing("setpriv is not installed (Debian: util-linux)".to_owned()))
            }
            Err(error) => panic!("cannot start {name}: {error}"),
        }
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, signal: &str) {
        let status =
            Command::new("kill").arg(format!("-{signal}")).arg(self.id().to_string()).status().unwrap();
        assert!(status.success(), "cannot send {signal} to {}", self.name);
    }

    /// Asks it to end and waits until it did.
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal("TERM");
        self.wait(limit)
    }

    /// Waits until it ended by itself.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let Self { name, child, .. } = self;
        eventually(limit, || child.try_wait().unwrap().ok_or_else(|| format!("{name} is still running")))
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        // A stopped process dies as well; one that ended already is not an error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it wrote until now.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let output = self.output();
            let lines: Vec<_> = output.lines().collect();
            let end = lines.len().saturating_sub(SHOWN_LINES);
            eprintln!("── the last lines of {}:\n{}", self.name, lines[end..].join("\n"));
        }
    }
}

const SHOWN_LINES: usize = 40;

/// Runs a command to its end with `input` on its stdin.
pub fn output_of(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Whoever reads no input closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Whether a program is on the path, as `Missing` says it otherwise.
pub fn installed(program: &str, package: &str) -> Result<PathBuf, Missing> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .chain(["/usr/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| Missing(format!("{program} is not installed (Debian: {package})")))
}

/// Whether a program runs without the libraries of the machine that it was built on.
pub fn is_static(program: &Path) -> bool {
    let bytes = fs::read(program).unwrap();
    let number = |at: usize, size: usize| {
        bytes[at..at + size].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    // ELF64: place, size and number of the program headers; one of type PT_INTERP names a dynamic linker.
    let (place, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).all(|header| number(place + header * size, 4) != 3)
}

/// The ports that tests listen on: below those that the kernel gives to outgoing connections and to whoever lets
/// it choose, so that none is taken between its choice and its use, and below the ports of Services.
const PORTS: RangeInclusive<u16> = 20_000..=29_999;

/// A port of that address on which nothing listens now, and that no other test of this run is given.
pub fn free_port(address: &str) -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end() - PORTS.start() + 1;
    // Two runs on one machine begin at different ports.
    let first = u16::try_from(std::process::id() * 97 % u32::from(count)).unwrap();
    (0..count)
        .map(|_| PORTS.start() + (first + TAKEN.fetch_add(1, Ordering::Relaxed) % count) % count)
        .find(|port| TcpListener::bind((address, *port)).is_ok())
        .expect("a port on which nobody listens")
}
