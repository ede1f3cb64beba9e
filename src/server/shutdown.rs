//! How the process comes to its end.

use std::io;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// Says to every part of the process how far its end has come. Cheap to clone; the phase only ever goes forward.
///
/// ```
/// use portolan::server::{Phase, Shutdown};
///
/// let shutdown = Shutdown::new();
/// shutdown.stop();
/// shutdown.drain();
/// assert_eq!(shutdown.phase(), Phase::Stopping);
/// ```
#[derive(Clone, Debug)]
pub struct Shutdown {
    phase: watch::Sender<Phase>,
}

/// How far the end has come; in this order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Phase {
    /// Not begun.
    Running,
    /// Not ready any more; what comes is still answered.
    Draining,
    /// At once.
    Stopping,
}

impl Shutdown {
    /// Nothing has been asked for.
    pub fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Running) }
    }

    /// Begins the drain.
    pub fn drain(&self) {
        self.advance(Phase::Draining);
    }

    /// Ends everything at once.
    pub fn stop(&self) {
        self.advance(Phase::Stopping);
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until `phase` has begun, or a later one.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.phase.subscribe();
        // The sender is in `self`, so that this cannot fail.
        let _reached = receiver.wait_for(|now| *now >= phase).await;
    }

    /// Lets SIGTERM and SIGINT drain, and the second of them stop, from now on. Needs a runtime.
    pub fn on_signals(&self) -> io::Result<()> {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let shutdown = self.clone();
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            tracing::info!("a signal came: draining");
            shutdown.drain();
            either(&mut terminate, &mut interrupt).await;
            tracing::warn!("a second signal came: stopping at once");
            shutdown.stop();
        });
        Ok(())
    }

    fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = *now < phase;
            *now = phase.max(*now);
            later
        });
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_phase_goes_forward_and_wakes_who_waits() {
        let shutdown = Shutdown::new();
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.reached(Phase::Stopping).await }
        });
        assert_eq!(shutdown.phase(), Phase::Running);
        shutdown.drain();
        shutdown.reached(Phase::Draining).await;
        assert!(!waiting.is_finished());
        shutdown.stop();
        waiting.await.unwrap();
        shutdown.reached(Phase::Draining).await;
    }
}
