//! The steps of the demo, and how somebody ends it between them.

use std::{
    cell::Cell,
    fmt, io,
    sync::mpsc::{self, Receiver, RecvError, TryRecvError},
    thread,
};

use tokio::signal::unix::{SignalKind, signal};

use crate::support::runtime;

/// Knows whether Ctrl-C was pressed (or SIGTERM came), and counts the steps.
pub(crate) struct Stop {
    asked: Receiver<()>,
    ask: mpsc::Sender<()>,
    steps: Cell<usize>,
}

/// Somebody ended the demo before it was through.
#[derive(Debug)]
pub(crate) struct Stopped;

impl Stop {
    /// From now on Ctrl-C ends no process at once, so that everything can be cleaned up.
    pub(crate) fn watch() -> Self {
        let (ask, asked) = mpsc::channel();
        let signalled = ask.clone();
        runtime().spawn(async move {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            // Nobody listens any more when the demo is over.
            let _ = signalled.send(());
        });
        Self { asked, ask, steps: Cell::new(0) }
    }

    /// Says what comes next.
    pub(crate) fn step(&self, title: &str) {
        self.steps.set(self.steps.get() + 1);
        println!("\n{:2}  {title}", self.steps.get());
    }

    /// Fails once somebody asked for the end.
    pub(crate) fn check(&self) -> Result<(), Stopped> {
        match self.asked.try_recv() {
            Ok(()) => Err(Stopped),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Ok(()),
        }
    }

    /// Waits for Enter or Ctrl-C.
    pub(crate) fn wait(&self) -> Result<(), RecvError> {
        let entered = self.ask.clone();
        thread::spawn(move || {
            // Without a terminal there is no Enter; then only a signal ends it.
            if io::stdin().read_line(&mut String::new()).is_ok_and(|count| count > 0) {
                let _ = entered.send(());
            }
        });
        self.asked.recv()
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ended before it was through")
    }
}

impl std::error::Error for Stopped {}
