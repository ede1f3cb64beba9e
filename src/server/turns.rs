//! Connections take turns: after an answer the others come first.
//!
//! Who is quick to send its next request would otherwise be served again and again before anybody else is looked at
//! (hyper reads up to sixteen times in a row), and the others wait for milliseconds. When its turn comes, what it sent
//! meanwhile is there: the read that finds nothing is mostly saved.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream whose first read after something was written waits until the task's turn comes again.
#[derive(Debug)]
pub(super) struct Turns<S> {
    stream: S,
    has_written: bool,
}

impl<S> Turns<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, has_written: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Turns<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.has_written) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Turns<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.has_written = true;
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices));
        self.has_written = true;
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn after_an_answer_others_come_first_and_what_was_sent_meanwhile_is_read_then() {
        let (mut client, server) = duplex(64);
        let mut server = Turns::new(server);
        client.write_all(b"one").await.unwrap();
        let mut bytes = [0; 3];
        server.read_exact(&mut bytes).await.unwrap();
        server.write_all(b"answer").await.unwrap();
        client.write_all(b"two").await.unwrap();

        let woken = Arc::new(Woken::default());
        let waker = Arc::clone(&woken).into();
        let mut context = Context::from_waker(&waker);
        let mut buffer = ReadBuf::new(&mut bytes);
        assert!(Pin::new(&mut server).poll_read(&mut context, &mut buffer).is_pending());
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "its turn comes again by itself");
        assert!(Pin::new(&mut server).poll_read(&mut context, &mut buffer).is_ready());
        assert_eq!(buffer.filled(), b"two");
    }
}
