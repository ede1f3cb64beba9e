//! A file that is read again and again.

use std::{path::PathBuf, time::Duration};

use tokio::sync::watch;

/// Publishes what `read` makes of the file's text whenever that changes, for as long as the receiver is held; `first` is
/// the text that was read already.
///
/// Contents are compared, every second: a mounted ConfigMap changes by a symlink, which a watch on the file misses.
/// A file that is gone for a while keeps its last text.
pub(super) fn watch_file<T: Send + Sync + 'static>(
    path: PathBuf,
    first: String,
    read: impl Fn(&str) -> T + Send + 'static,
) -> watch::Receiver<T> {
    let (sender, receiver) = watch::channel(read(&first));
    tokio::spawn(async move {
        let mut last = first;
        let mut is_missing = false;
        let mut every = tokio::time::interval(PERIOD);
        loop {
            tokio::select! {
                () = sender.closed() => return,
                _ = every.tick() => {}
            }
            match tokio::fs::read_to_string(&path).await {
                Ok(text) => {
                    is_missing = false;
                    if text != last {
                        sender.send_replace(read(&text));
                        last = text;
                    }
                }
                Err(error) if !is_missing => {
                    is_missing = true;
                    tracing::warn!(path = %path.display(), %error, "cannot read the file, its last content stays");
                }
                Err(_) => {}
            }
        }
    });
    receiver
}

/// How often a file is read.
const PERIOD: Duration = Duration::from_secs(1);
