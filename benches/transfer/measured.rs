//! What commands cost: wall time, CPU time and memory.

use std::{
    collections::HashSet,
    fs,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What some commands cost together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// User and system, of all processes.
    pub(crate) cpu: Duration,
    /// The most KiB that were resident: the high water marks of the processes that ran at that time, together.
    pub(crate) memory: u64,
}

/// Runs commands to their ends, so many at once.
pub(crate) fn run_all(commands: Vec<Command>, at_once: usize) -> Cost {
    let (waiting, running) = (Mutex::new(commands.into_iter()), Mutex::new(HashSet::new()));
    let is_over = AtomicBool::new(false);
    let before = children_cpu();
    let mut cost = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut memory = 0;
            while !is_over.load(Ordering::Relaxed) {
                let now = running.lock().unwrap().iter().filter_map(|pid| high_water(*pid)).sum();
                memory = memory.max(now);
                thread::sleep(LOOKED_EVERY);
            }
            memory
        });
        let started = Instant::now();
        let workers: Vec<_> = (0..at_once)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let Some(command) = waiting.lock().unwrap().next() else { return };
                        run(command, &running);
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        let wall = started.elapsed();
        is_over.store(true, Ordering::Relaxed);
        Cost { wall, cpu: Duration::ZERO, memory: watcher.join().unwrap() }
    });
    cost.cpu = children_cpu().saturating_sub(before);
    cost
}

fn run(mut command: Command, running: &Mutex<HashSet<u32>>) {
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    running.lock().unwrap().insert(child.id());
    // Before it is reaped its number is nobody else's.
    let status = child.wait();
    running.lock().unwrap().remove(&child.id());
    let status = status.unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// `VmHWM` of a process, unless it is still a copy of this one, or has ended.
fn high_water(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let own = fs::read_to_string("/proc/self/comm").ok()?;
    if field("Name:")? == own.trim() {
        return None;
    }
    field("VmHWM:")?.split_whitespace().next()?.parse().ok()
}

/// What the children used that this process has waited for: `cutime` and `cstime`.
fn children_cpu() -> Duration {
    cpu("self", [16, 17])
}

/// What a process has used itself: `utime` and `stime`.
pub(crate) fn own_cpu(pid: u32) -> Duration {
    cpu(&pid.to_string(), [14, 15])
}

/// The sum of two times of `/proc/PROCESS/stat`, by their numbers in proc(5).
fn cpu(process: &str, fields: [usize; 2]) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // Behind the name, which ends with the last parenthesis, `state` is field 3.
    let texts: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields.iter().map(|number| texts[number - 3].parse::<u64>().unwrap()).sum();
    // `USER_HZ` is 100 on every architecture that we build for.
    Duration::from_millis(ticks * 10)
}

const LOOKED_EVERY: Duration = Duration::from_millis(5);
