//! What is wrong with a watch at the moment, for readiness and the log.

use tokio::sync::watch;
use tracing::{info, warn};

/// Why a watch cannot do its work at the moment; `None` while it can.
pub type Trouble = Option<Box<str>>;

/// Publishes a watch's trouble, and logs it when it begins, changes and ends, not each time that it is met.
#[derive(Debug)]
pub(super) struct TroubleReport {
    watching: &'static str,
    sender: watch::Sender<Trouble>,
}

impl TroubleReport {
    /// A report on the watch of `watching`, a fixed word for the log.
    pub(super) fn new(watching: &'static str) -> (Self, watch::Receiver<Trouble>) {
        let (sender, receiver) = watch::channel(None);
        (Self { watching, sender }, receiver)
    }

    /// Says what is wrong.
    pub(super) fn begin(&self, trouble: String) {
        let trouble = Some(trouble.into_boxed_str());
        let changed = self.sender.send_if_modified(|published| {
            let changed = *published != trouble;
            published.clone_from(&trouble);
            changed
        });
        if changed {
            warn!(watching = self.watching, error = trouble, "cannot read from the cluster");
        }
    }

    /// Says that all is well again.
    pub(super) fn end(&self) {
        let changed = self.sender.send_if_modified(|published| published.take().is_some());
        if changed {
            info!(watching = self.watching, "reading from the cluster again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_published_once() {
        let (report, mut receiver) = TroubleReport::new("table");

        report.begin("no answer".to_owned());
        assert_eq!(receiver.borrow_and_update().as_deref(), Some("no answer"));
        report.begin("no answer".to_owned());
        assert!(!receiver.has_changed().unwrap(), "the same again is no news");

        report.end();
        assert_eq!(*receiver.borrow_and_update(), None);
        report.end();
        assert!(!receiver.has_changed().unwrap(), "still well is no news");
    }
}
