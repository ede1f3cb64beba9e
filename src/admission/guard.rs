//! What answers when the admission itself cannot: a panic or an admission that never ends lets the Pod through.

use std::{future::Future, panic::AssertUnwindSafe, pin::pin};

use futures::{FutureExt as _, future::poll_immediate};

use super::{Admission, Deadline, Reply, message};
use crate::review::{Answer, Envelope, ParseReviewError, Verdict};

/// Waits for `admission` and answers for it if it panics or does not end: allowed, without a patch, with a warning.
///
/// An admission that is ready at its first poll costs no timer.
pub(super) async fn guard(
    state: &Admission,
    body: &[u8],
    deadline: Deadline,
    admission: impl Future<Output = Reply>,
) -> Reply {
    let mut admission = pin!(AssertUnwindSafe(admission).catch_unwind());
    let ended = match poll_immediate(&mut admission).await {
        Some(ended) => Ok(ended),
        None => tokio::time::timeout_at(deadline.answer.into(), admission).await,
    };
    match ended {
        Ok(Ok(reply)) => reply,
        Ok(Err(_panic)) => fail_open(state, body, "the admission panicked"),
        Err(_elapsed) => fail_open(state, body, "the admission did not end in time"),
    }
}

/// The answer to a review that Portolan failed at, whatever the table says.
pub(super) fn fail_open(state: &Admission, body: &[u8], cause: &'static str) -> Reply {
    let envelope = match Envelope::parse(body) {
        Ok(envelope) => envelope,
        Err(error) => return refuse(&error),
    };
    tracing::error!(uid = envelope.uid, cause, "admission failed, the request goes on unchanged");
    if !envelope.dry_run {
        state.metrics.internal_error();
    }
    let warnings = [message::internal_error(cause)];
    let answer = Answer {
        uid: &envelope.uid,
        verdict: Verdict::Allowed,
        patch: None,
        audit_annotation: None,
        warnings: &warnings,
    };
    Reply { status: 200, body: answer.to_json() }
}

/// The answer to a body that is no review.
pub(super) fn refuse(error: &ParseReviewError) -> Reply {
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        text.push_str(": ");
        text.push_str(&source.to_string());
    }
    text.push('\n');
    Reply { status: 400, body: text.into_bytes() }
}
