use std::sync::{
    Condvar,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::*;
use crate::{
    audit::Head,
    rewrite::{Decision, List, Place, Reason},
};

/// A place to write to that can stop, fail and panic.
#[derive(Clone, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    stalled: Arc<(Mutex<bool>, Condvar)>,
    full: Arc<AtomicBool>,
    panics: Arc<AtomicUsize>,
    writes: Arc<AtomicUsize>,
}

impl Disk {
    fn stall(&self, stalled: bool) {
        *self.stalled.0.lock().unwrap() = stalled;
        self.stalled.1.notify_all();
    }

    fn uids(&self) -> Vec<String> {
        let text = String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).expect(line);
                line["uid"].as_str().unwrap().to_owned()
            })
            .collect()
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        let panics = self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(panics.is_err(), "the disk burns");
        let stalled = self.stalled.0.lock().unwrap();
        let _stalled = self.stalled.1.wait_while(stalled, |stalled| *stalled).unwrap();
        // Less than asked for, so that lines are torn where a writer tears them.
        let part = &bytes[..bytes.len().min(100)];
        let mut held = self.bytes.lock().unwrap();
        if self.full.load(Ordering::SeqCst) && held.len() >= 250 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        held.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn record(uid: usize) -> Record {
    let mut record = Record::new(&Head { uid: &uid.to_string(), ..Head::default() });
    record.push(
        Place { list: List::Containers, index: 0 },
        "app",
        "auto",
        Decision::kept(Reason::Placeholder),
    );
    record
}

fn log(disk: &Disk, queue: usize) -> (Log, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    (Log::start_with(disk.clone(), queue, Arc::clone(&metrics)).unwrap(), metrics)
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn no_line_is_lost_when_the_log_is_closed() {
    let disk = Disk::default();
    let (log, metrics) = log(&disk, 10_000);
    thread::scope(|scope| {
        for task in 0..4 {
            let log = log.clone();
            scope.spawn(move || (0..1000).for_each(|n| log.record(record(task * 1000 + n))));
        }
    });
    log.close(LIMIT).unwrap();
    let mut uids: Vec<usize> = disk.uids().iter().map(|uid| uid.parse().unwrap()).collect();
    uids.sort_unstable();
    assert_eq!(uids, (0..4000).collect::<Vec<_>>());
    assert_eq!(metrics.audit_dropped.get(), 0);
    // What comes too late is counted, and closing twice is no fault.
    log.record(record(0));
    assert_eq!(metrics.audit_dropped.get(), 1);
    log.close(LIMIT).unwrap();
}

#[test]
fn a_line_is_written_without_waiting_for_the_next() {
    let disk = Disk::default();
    let (log, _metrics) = log(&disk, 8);
    for n in 0..3 {
        log.record(record(n));
        eventually("the line is there", || disk.uids().len() == n + 1);
    }
}

#[test]
fn a_disk_that_stalls_blocks_nobody_and_a_full_queue_drops_and_counts() {
    let disk = Disk::default();
    disk.stall(true);
    let (log, metrics) = log(&disk, 10);
    log.record(record(0));
    eventually("the writer is stuck", || disk.writes.load(Ordering::SeqCst) == 1);
    let handing_over = thread::spawn({
        let log = log.clone();
        move || (1..=100).for_each(|n| log.record(record(n)))
    });
    eventually("all are handed over", || handing_over.is_finished());
    assert_eq!(metrics.audit_dropped.get(), 90);
    assert!(log.close(Duration::from_millis(20)).is_err());
    disk.stall(false);
    log.close(LIMIT).unwrap();
    assert_eq!(disk.uids(), (0..=10).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn after_a_full_disk_has_room_again_no_line_is_torn_or_lost() {
    let disk = Disk::default();
    disk.full.store(true, Ordering::SeqCst);
    let (log, metrics) = log(&disk, 100);
    (0..20).for_each(|n| log.record(record(n)));
    eventually("the disk is full", || metrics.audit_errors.get() >= 2);
    disk.full.store(false, Ordering::SeqCst);
    log.close(LIMIT).unwrap();
    assert_eq!(disk.uids(), (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_writer_that_panics_is_started_again_and_counted() {
    let disk = Disk::default();
    disk.panics.store(1, Ordering::SeqCst);
    let (log, metrics) = log(&disk, 100);
    log.record(record(0));
    eventually("the panic is counted", || metrics.audit_errors.get() == 1);
    log.record(record(1));
    log.close(LIMIT).unwrap();
    assert_eq!(disk.uids(), ["1"]);
}

#[test]
fn under_load_many_lines_are_one_write() {
    let disk = Disk::default();
    disk.stall(true);
    let (log, _metrics) = log(&disk, 1000);
    log.record(record(0));
    eventually("the writer is stuck", || disk.writes.load(Ordering::SeqCst) == 1);
    (1..=999).for_each(|n| log.record(record(n)));
    disk.stall(false);
    log.close(LIMIT).unwrap();
    let length = disk.bytes.lock().unwrap().len();
    assert_eq!(disk.uids().len(), 1000);
    // The disk takes 100 bytes at a time; only the ends of the few batches are shorter.
    assert!(disk.writes.load(Ordering::SeqCst) <= length / 100 + 10);
}

#[test]
fn a_file_that_cannot_be_opened_is_said_with_its_name() {
    let destination = Destination::File("/nonexistent/audit.log".into());
    let error = Log::start(&destination, 8, Arc::new(Metrics::new())).unwrap_err();
    assert_eq!(error.to_string(), "cannot open the audit log `/nonexistent/audit.log`");
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "No such file or directory (os error 2)"
    );
}

#[test]
fn a_file_is_continued() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    for _ in 0..2 {
        let log = Log::start(&Destination::File(path.clone()), 8, Arc::new(Metrics::new())).unwrap();
        log.record(record(7));
        log.close(LIMIT).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 2);
}

#[test]
fn drops_are_said_with_their_number_but_not_each_time() {
    let mut dropped = Dropped::default();
    let start = Instant::now();
    assert_eq!(dropped.report(0, start), None);
    assert_eq!(dropped.report(5, start), Some(5));
    assert_eq!(dropped.report(9, start + REPORT_EVERY / 2), None);
    assert_eq!(dropped.report(12, start + REPORT_EVERY), Some(7));
}
