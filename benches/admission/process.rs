//! A server's process: pinned to core 0, ended with its handle; what it has used.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// A running server.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a command on core 0.
    pub(crate) fn start(command: &Command) -> Self {
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", "0"]).arg(command.get_program()).args(command.get_args());
        // The default log level, and no login or proxy of whoever runs this.
        pinned.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        Self { child: pinned.spawn().expect("taskset (util-linux) is installed") }
    }

    /// CPU used so far by all threads: user, and user and system.
    pub(crate) fn cpu(&self) -> [Duration; 2] {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // Behind the name, which ends with the last parenthesis, `state` is field 3; `utime` is 14, `stime` 15.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let [user, system] = [14, 15].map(|number| fields[number - 3].parse::<u64>().unwrap());
        // `USER_HZ` is 100 on every architecture that we build for.
        [user, user + system].map(|ticks| Duration::from_millis(ticks * 10))
    }

    /// A line of `/proc/PID/status` in MiB: `VmRSS` or `VmHWM`.
    pub(crate) fn memory(&self, name: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Empties a file that another process writes to the end of.
pub(crate) fn empty_over_and_over(file: &Path) -> ! {
    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
    loop {
        file.set_len(0).unwrap();
        thread::sleep(TIDIED_EVERY);
    }
}

/// Half a megabyte of audit log, which fits into a core's cache.
const TIDIED_EVERY: Duration = Duration::from_millis(5);
