//! A socket that drops clients that are too slow, and refuses ambiguous heads.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Activity;
use super::heads::Heads;

/// The socket of one connection, or its TLS session.
pub(super) struct PacedStream<S> {
    stream: S,
    activity: Arc<Activity>,
    /// `None` for HTTP/2, whose heads are binary.
    heads: Option<Heads>,
    head: Deadline,
    write: Deadline,
}

impl<S> PacedStream<S> {
    /// `head` limits how long a head may take to arrive, `write` how late a client may be in
    /// reading.
    pub(super) fn new(stream: S, activity: Arc<Activity>, head: Duration, write: Duration) -> Self {
        Self {
            stream,
            activity,
            heads: Some(Heads::default()),
            head: Deadline::new(head),
            write: Deadline::new(write),
        }
    }

    /// The same for HTTP/2: frames may arrive at any time, so only the first request has a
    /// deadline here.
    pub(super) fn multiplexed(self) -> Self {
        Self {
            heads: None,
            ..self
        }
    }

    fn after_write(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => {
                ready!(self.poll_late(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Ready(outcome) => {
                if let Ok(len) = outcome {
                    self.activity.written(*len);
                }
                written
            }
        }
    }

    /// Completes when the client is too late in reading.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let since = self.activity.write_waits();
        self.write.poll(context, since)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PacedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        while Pin::new(&mut this.stream)
            .poll_read(context, buffer)?
            .is_ready()
        {
            let received = &mut buffer.filled_mut()[before..];
            let Some(heads) = this.heads.as_mut().filter(|_| !received.is_empty()) else {
                return Poll::Ready(Ok(()));
            };
            this.activity.received();
            let kept = heads.follow(received);
            buffer.set_filled(before + kept);
            // Nothing at all would mean the end.
            if kept > 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let Some(since) = this.activity.head_since() else {
            return Poll::Pending;
        };
        ready!(this.head.poll(context, since));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PacedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.after_write(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.after_write(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Hyper calls this after it wrote everything. A socket has nothing to flush, but a TLS session
    /// may hold bytes that its socket did not take yet.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        if flushed.is_pending() {
            ready!(this.poll_late(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        this.activity.flushed();
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A deadline that is a fixed time after a moment, and the moment may change.
struct Deadline {
    after: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    const fn new(after: Duration) -> Self {
        Self { after, sleep: None }
    }

    fn poll(&mut self, context: &mut Context<'_>, since: Instant) -> Poll<()> {
        let until = since + self.after;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        sleep.as_mut().poll(context)
    }
}
