//! A socket that drops clients that are too slow, and refuses ambiguous heads.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Activity;
use super::heads::Heads;

/// The socket of one connection.
pub(super) struct PacedStream {
    stream: TcpStream,
    activity: Arc<Activity>,
    heads: Heads,
    head: Deadline,
    write: Deadline,
}

impl PacedStream {
    /// `head` limits how long a head may take to arrive, `write` how late a client may be in
    /// reading.
    pub(super) fn new(
        stream: TcpStream,
        activity: Arc<Activity>,
        head: Duration,
        write: Duration,
    ) -> Self {
        Self {
            stream,
            activity,
            heads: Heads::default(),
            head: Deadline::new(head),
            write: Deadline::new(write),
        }
    }

    fn after_write(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => {
                let since = self.activity.write_waits();
                ready!(self.write.poll(context, since));
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
}

impl AsyncRead for PacedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if Pin::new(&mut this.stream)
            .poll_read(context, buffer)?
            .is_ready()
        {
            let received = &mut buffer.filled_mut()[before..];
            if !received.is_empty() {
                this.activity.received();
                this.heads.follow(received);
            }
            return Poll::Ready(Ok(()));
        }
        let Some(since) = this.activity.head_since() else {
            return Poll::Pending;
        };
        ready!(this.head.poll(context, since));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for PacedStream {
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

    /// Hyper calls this after it wrote everything. The socket itself has nothing to flush.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.activity.flushed();
        Pin::new(&mut self.stream).poll_flush(context)
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
