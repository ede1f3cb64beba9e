//! The audit log on files that are slow or full.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use portolan::{
    audit::{Destination, Head, Log, Record},
    metrics::Metrics,
    rewrite::{Decision, List, Place, Reason},
};

use crate::support::{LIMIT, eventually};

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

#[tokio::test]
async fn a_full_disk_is_counted_and_blocks_nobody() {
    let metrics = Arc::new(Metrics::new());
    let log = Log::start(&Destination::File("/dev/full".into()), 10, Arc::clone(&metrics)).unwrap();
    log.record(record(0));
    eventually("the error is counted", async || metrics.audit_errors.get() > 0).await;
    (0..1000).for_each(|n| log.record(record(n)));
    let error = log.close(Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.to_string(), "the audit log could not be written within 50ms");
}

#[test]
fn a_pipe_that_nobody_reads_blocks_nobody_and_every_line_is_written_or_counted() {
    const RECORDS: usize = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let (read, reading) = std::sync::mpsc::channel::<()>();
    let reader = thread::spawn({
        let path = path.clone();
        move || {
            let file = File::open(path).unwrap();
            reading.recv().unwrap();
            BufReader::new(file).lines().map(Result::unwrap).collect::<Vec<_>>()
        }
    });
    let metrics = Arc::new(Metrics::new());
    let log = Log::start(&Destination::File(path), 100, Arc::clone(&metrics)).unwrap();
    // The pipe holds 64 KiB and the queue 100: this would never return if handing over could wait.
    (0..RECORDS).for_each(|n| log.record(record(n)));
    read.send(()).unwrap();
    log.close(LIMIT).unwrap();
    drop(log);
    let lines = reader.join().unwrap();
    let dropped = usize::try_from(metrics.audit_dropped.get()).unwrap();
    assert!(dropped > 0);
    assert_eq!(lines.len() + dropped, RECORDS);
    for line in lines {
        serde_json::from_str::<serde_json::Value>(&line).expect(&line);
    }
}
