//! The load: `wrk` on a core of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use crate::process::Process;

/// How a body is posted over and over.
pub(crate) struct Load {
    script: PathBuf,
    connections: usize,
}

/// What one turn showed.
pub(crate) struct Turn {
    /// Microseconds of CPU, user and system, per request.
    pub(crate) cpu: f64,
    /// Microseconds of it outside the kernel.
    pub(crate) user: f64,
    /// Requests answered in a second.
    pub(crate) throughput: f64,
    /// The part of its core that the server was running on.
    pub(crate) busy: f64,
    /// Microseconds within which 99 of 100 answers came.
    pub(crate) p99: f64,
}

impl Load {
    pub(crate) fn new(folder: &Path, connections: usize) -> Self {
        let script = folder.join("post.lua");
        std::fs::write(&script, SCRIPT).unwrap();
        Self { script, connections }
    }

    /// Posts `body` for `time` and looks at what it cost the server.
    pub(crate) fn turn(&self, server: &Process, address: SocketAddr, body: &Path, time: Duration) -> Turn {
        let before = server.cpu();
        let output = Command::new("taskset")
            .args(["-c", "1", "wrk", "--threads", "1", "--timeout", "10s"])
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", time.as_secs())])
            .arg("--script")
            .arg(&self.script)
            .arg(format!("https://{address}/mutate?timeout=3s"))
            .env("BODY", body)
            .output()
            .expect("taskset (util-linux) and wrk are installed; `make packages` does");
        // The audit log's thread writes the last batch.
        thread::sleep(Duration::from_millis(20));
        let after = server.cpu();
        let [user, used] = [0, 1].map(|part| after[part].saturating_sub(before[part]));
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("TURN "));
        let line = line.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
        let figures: Vec<f64> = line.split(' ').map(|figure| figure.parse().unwrap()).collect();
        let [requests, micros, errors, p99] = figures[..] else { panic!("{line}") };
        assert!(requests > 0.0 && errors == 0.0, "{errors} of {requests} requests failed");
        Turn {
            cpu: used.as_secs_f64() * 1e6 / requests,
            user: user.as_secs_f64() * 1e6 / requests,
            throughput: requests / micros * 1e6,
            busy: used.as_secs_f64() * 1e6 / micros,
            p99,
        }
    }
}

const SCRIPT: &str = r#"
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Accept"] = "application/json, */*"
wrk.headers["User-Agent"] = "kube-apiserver-admission"
file:close()

function done(summary, latency)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    print(string.format("TURN %d %d %d %d", summary.requests, summary.duration, failed, latency:percentile(99)))
end
"#;
