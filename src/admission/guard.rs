//! What answers when the admission itself cannot: a panic or an admission that never ends lets the Pod through.

use std::{
    future::Future,
    panic::{self, AssertUnwindSafe},
};

use futures::FutureExt as _;

use super::{Admission, Deadline, Reply, message};
use crate::{
    metrics,
    review::{Answer, Envelope, ParseReviewError, Verdict},
    rewrite::Mode,
};

/// One call as it came, and what is needed to answer for it when the admission fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) state: &'a Admission,
    pub(super) body: &'a [u8],
    pub(super) mode: Mode,
    pub(super) deadline: Deadline,
}

/// The answer of an admission that need not wait, also if it panics; `None` if it must.
///
/// Its future lies on the stack and is dropped. Kept for later, it would take some kilobytes of the heap for every Pod,
/// which musl's allocator gets from the system and gives back each time.
pub(super) fn at_once<F: Future<Output = Reply>>(
    call: Call<'_>,
    admission: impl FnOnce() -> F,
) -> Option<Reply> {
    panic::catch_unwind(AssertUnwindSafe(|| admission().now_or_never()))
        .unwrap_or_else(|_panic| Some(call.panicked()))
}

/// Waits for `admission` and answers for it if it panics or does not end: allowed, without a patch, with a warning.
pub(super) async fn guard(call: Call<'_>, admission: impl Future<Output = Reply>) -> Reply {
    let admission = AssertUnwindSafe(admission).catch_unwind();
    match tokio::time::timeout_at(call.deadline.answer.into(), admission).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(_panic)) => call.panicked(),
        Err(_elapsed) => call.fail_open("the admission did not end in time"),
    }
}

impl Call<'_> {
    fn panicked(self) -> Reply {
        self.fail_open("the admission panicked")
    }

    /// The answer to a review that Portolan failed at, whatever the table says.
    pub(super) fn fail_open(self, cause: &'static str) -> Reply {
        let envelope = match Envelope::parse(self.body) {
            Ok(envelope) => envelope,
            Err(error) => return self.refuse(&error),
        };
        tracing::error!(uid = envelope.uid, cause, "admission failed, the request goes on unchanged");
        if !envelope.dry_run {
            self.state.metrics.internal_error();
            self.count_error();
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
    pub(super) fn refuse(self, error: &ParseReviewError) -> Reply {
        self.count_error();
        Reply { status: 400, body: format!("{error}\n").into_bytes() }
    }

    fn count_error(self) {
        self.state.metrics.admission(self.mode, metrics::Verdict::Error, self.deadline.started.elapsed());
    }
}

#[cfg(test)]
mod tests;
