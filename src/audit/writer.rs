//! The thread that writes the audit log.
//!
//! Under load it sleeps between batches instead of waiting on the queue, so that handing over a record does not wake
//! it each time; idle, it waits on the queue and writes a line as soon as it comes. Bytes that could not be written
//! are kept and tried again: after a full disk has room again, no line is torn.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::fd::AsFd,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    record::{Head, Record},
    spares::Spares,
};
use crate::metrics::Metrics;

/// The audit log: a handle that is cheap to clone.
///
/// ```no_run
/// use std::{sync::Arc, time::Duration};
///
/// use portolan::{audit::{Destination, Log}, metrics::Metrics};
///
/// let log = Log::start(&Destination::Stdout, Log::QUEUE, Arc::new(Metrics::new()))?;
/// // … log.record(log.begin(&head)) …
/// log.close(Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Log {
    queue: SyncSender<Message>,
    spares: Arc<Spares>,
    metrics: Arc<Metrics>,
    /// Says once that the writer is done: nobody sends on it, it only ends.
    done: Arc<Mutex<Receiver<()>>>,
}

/// Where the lines go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Destination {
    /// To the end of this file, which is made if it is not there.
    File(PathBuf),
    /// To standard output.
    Stdout,
}

/// Why the audit log cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the audit log {destination}")]
pub struct OpenLogError {
    destination: Destination,
    source: io::Error,
}

/// The log was not closed in time: lines may be lost.
#[derive(Debug, thiserror::Error)]
#[error("the audit log could not be written within {limit:?}")]
pub struct CloseLogError {
    limit: Duration,
}

impl Log {
    /// How many records wait, unless said otherwise. At 50,000 admissions a second and a pause of 2 ms between
    /// batches, 100 are usual; the rest is for a disk that hesitates. A waiting record of one image takes about 1 KiB.
    pub const QUEUE: usize = 8192;

    /// Opens the destination and starts the writer.
    pub fn start(
        destination: &Destination,
        queue: usize,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenLogError> {
        destination
            .open()
            .and_then(|file| Self::start_with(file, queue, metrics))
            .map_err(|source| OpenLogError { destination: destination.clone(), source })
    }

    /// Starts the writer on something else than a file.
    pub fn start_with(
        output: impl Write + Send + 'static,
        queue: usize,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(queue);
        let (running, done) = sync_channel(0);
        let spares = Arc::new(Spares::default());
        let mut writer = Writer {
            queue: receiver,
            spares: Arc::clone(&spares),
            done: Vec::new(),
            output,
            metrics: Arc::clone(&metrics),
            buffer: Vec::new(),
            closing: false,
            failing: false,
            dropped: Dropped::default(),
        };
        thread::Builder::new().name("audit".to_owned()).spawn(move || {
            let _running: SyncSender<()> = running;
            writer.run();
        })?;
        Ok(Self { queue: sender, spares, metrics, done: Arc::new(Mutex::new(done)) })
    }

    /// Begins the record of one admission now.
    pub fn begin(&self, head: &Head<'_>) -> Box<Record> {
        let mut record = self.spares.take();
        record.begin(head);
        record
    }

    /// Hands over a record; never waits. One that finds the queue full is dropped and counted.
    pub fn record(&self, record: impl Into<Box<Record>>) {
        let record = record.into();
        if record.is_empty() {
            return;
        }
        if self.queue.try_send(Message::Record(record)).is_err() {
            self.metrics.audit_dropped.inc();
        }
    }

    /// Writes what is queued and ends the writer; blocks, at most for `limit`. Records that come later are dropped
    /// and counted.
    pub fn close(&self, limit: Duration) -> Result<(), CloseLogError> {
        let deadline = Instant::now() + limit;
        loop {
            match self.queue.try_send(Message::Close) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => break,
                Err(TrySendError::Full(_)) if Instant::now() >= deadline => {
                    return Err(CloseLogError { limit });
                }
                // The writer is awake already, there is nothing to wait on but time.
                Err(TrySendError::Full(_)) => thread::sleep(PAUSE),
            }
        }
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        match done.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(()),
            Err(RecvTimeoutError::Timeout) => Err(CloseLogError { limit }),
        }
    }
}

impl Destination {
    fn open(&self) -> io::Result<File> {
        match self {
            Self::File(path) => OpenOptions::new().append(true).create(true).open(path),
            // Without the line buffer of `std::io::Stdout`: a batch is one write.
            Self::Stdout => io::stdout().as_fd().try_clone_to_owned().map(File::from),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "`{}`", path.display()),
            Self::Stdout => f.write_str("on standard output"),
        }
    }
}

#[derive(Debug)]
enum Message {
    Close,
    /// In a box, so that the queue's slots are small and a few of them stay in the processor's cache.
    Record(Box<Record>),
}

/// What the thread owns.
struct Writer<W> {
    queue: Receiver<Message>,
    spares: Arc<Spares>,
    /// Encoded records that are not handed back yet.
    #[expect(clippy::vec_box, reason = "they come and go in their boxes")]
    done: Vec<Box<Record>>,
    output: W,
    metrics: Arc<Metrics>,
    /// Encoded lines that are not written yet.
    buffer: Vec<u8>,
    closing: bool,
    /// Whether the last write failed; said once.
    failing: bool,
    dropped: Dropped,
}

impl<W: Write> Writer<W> {
    /// Runs until the log is closed. A panic costs the lines of one batch at most.
    fn run(&mut self) {
        while panic::catch_unwind(AssertUnwindSafe(|| self.write_until_closed())).is_err() {
            self.metrics.audit_errors.inc();
            tracing::error!("the audit log's writer failed; it starts again");
            self.buffer.clear();
            thread::sleep(RETRY);
        }
    }

    fn write_until_closed(&mut self) {
        while !self.closing {
            match self.queue.recv() {
                Ok(message) => self.take(message),
                Err(_) => self.closing = true,
            }
            loop {
                let fill = self.fill();
                if self.buffer.is_empty() {
                    break;
                }
                self.write();
                self.dropped.report(self.metrics.audit_dropped.get(), Instant::now());
                if self.failing {
                    thread::sleep(RETRY);
                } else if fill == Fill::All && !self.closing {
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    /// Encodes what waits in the queue, up to a batch.
    fn fill(&mut self) -> Fill {
        let fill = loop {
            if self.buffer.len() >= BATCH {
                break Fill::Batch;
            }
            match self.queue.try_recv() {
                Ok(message) => self.take(message),
                Err(TryRecvError::Empty) => break Fill::All,
                Err(TryRecvError::Disconnected) => {
                    self.closing = true;
                    break Fill::All;
                }
            }
        };
        self.spares.keep(&mut self.done);
        fill
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Close => self.closing = true,
            Message::Record(record) => {
                record.encode(&mut self.buffer);
                self.done.push(record);
            }
        }
    }

    /// Writes the buffer; what could not be written stays in it.
    fn write(&mut self) {
        let mut written = 0;
        let result = loop {
            let rest = self.buffer.get(written..).unwrap_or_default();
            if rest.is_empty() {
                break self.output.flush();
            }
            match self.output.write(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.buffer.drain(..written.min(self.buffer.len()));
        match result {
            Ok(()) => {
                if self.failing {
                    tracing::info!("the audit log is written again");
                }
                self.failing = false;
            }
            Err(error) => {
                self.metrics.audit_errors.inc();
                if !self.failing {
                    tracing::error!(%error, "the audit log cannot be written; its lines are kept for now");
                }
                self.failing = true;
            }
        }
    }
}

/// How much of the queue was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fill {
    /// All that there was.
    All,
    /// As much as is written at once.
    Batch,
}

/// Which drops were said already.
#[derive(Debug, Default)]
struct Dropped {
    reported: u64,
    at: Option<Instant>,
}

impl Dropped {
    /// Says how many records were dropped since the last time, not too often. Gives what it said.
    fn report(&mut self, dropped: u64, now: Instant) -> Option<u64> {
        let new = dropped - self.reported;
        if new == 0 || self.at.is_some_and(|at| now.saturating_duration_since(at) < REPORT_EVERY) {
            return None;
        }
        (self.reported, self.at) = (dropped, Some(now));
        tracing::warn!(dropped = new, "audit records were dropped: their queue was full");
        Some(new)
    }
}

/// Written at once. Larger writes save no more system calls worth having.
const BATCH: usize = 64 * 1024;

/// Between two batches under load. A line is this late at most, and 500 wake-ups a second cost little. With a longer one
/// the batches grow until the admissions of a replica with one core feel them.
const PAUSE: Duration = Duration::from_millis(2);

/// After an error. With a full disk nothing helps but time.
const RETRY: Duration = Duration::from_millis(100);

/// A full queue drops thousands of records a second.
const REPORT_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
