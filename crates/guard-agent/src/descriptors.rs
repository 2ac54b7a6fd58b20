//! Detects that the program has closed file descriptors of the agent.
//!
//! Daemons close all descriptors that they did not open. The numbers may already belong to
//! files of the program. So the agent must neither use nor close such descriptors any more.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::runtime::{Builder, Runtime};
use tokio::time;

/// How often the worker checks its descriptors.
const LOOK: Duration = Duration::from_secs(1);

static LOSSES: AtomicU32 = AtomicU32::new(0);

/// Number of times descriptors were found lost in this process, for packages built on this crate.
#[doc(hidden)]
#[must_use]
pub fn losses() -> u32 {
    LOSSES.load(Ordering::Relaxed)
}

/// A socket or pipe of the agent. It is used and closed only while the descriptor is still its own.
#[doc(hidden)]
#[derive(Debug)]
pub struct Kept {
    file: Option<File>,
    identity: Option<Identity>,
    is_lost: AtomicBool,
    /// Number of losses when it was opened.
    losses: u32,
}

/// Device and inode. Unique among open files.
type Identity = (u64, u64);

impl Kept {
    /// Keeps a socket or a pipe.
    #[must_use]
    pub fn new(file: File) -> Self {
        Self {
            identity: identity(&file),
            file: Some(file),
            is_lost: AtomicBool::new(false),
            losses: losses(),
        }
    }

    /// The file, or `None` if its descriptor was closed.
    pub fn get(&self) -> Option<&File> {
        let file = self.file.as_ref()?;
        if !self.is_lost.load(Ordering::Relaxed) && identity(file) == self.identity {
            return Some(file);
        }
        self.is_lost.store(true, Ordering::Relaxed);
        // Descriptors open at the same time were lost together, so this counts as one loss.
        let (before, after) = (self.losses, self.losses + 1);
        let _ = LOSSES.compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed);
        None
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.get().is_none() {
            std::mem::forget(self.file.take());
        }
    }
}

#[cfg(unix)]
fn identity(file: &File) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt as _;

    let found = file.metadata().ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(_: &File) -> Option<Identity> {
    None
}

/// A descriptor that shows whether the program closed all descriptors.
#[derive(Debug)]
pub(crate) struct Witness(Option<Kept>);

impl Witness {
    #[cfg(unix)]
    pub(crate) fn new() -> io::Result<Self> {
        use std::os::fd::OwnedFd;
        use std::os::unix::net::UnixDatagram;

        let socket = OwnedFd::from(UnixDatagram::unbound()?);
        Ok(Self(Some(Kept::new(File::from(socket)))))
    }

    #[cfg(not(unix))]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(None))
    }

    /// True if the descriptors opened at about the same time as this one are closed.
    pub(crate) fn is_lost(&self) -> bool {
        self.0.as_ref().is_some_and(|kept| kept.get().is_none())
    }
}

/// Creates a runtime that is leaked instead of dropped if its descriptors are lost.
pub(crate) fn runtime() -> io::Result<Holding<Runtime>> {
    runtime_with(Arc::new(Witness::new()?), || {})
}

/// Like [`runtime`], but calls `before_wait` before the runtime waits for its descriptors.
pub(crate) fn runtime_with(
    witness: Arc<Witness>,
    before_wait: impl Fn() + Send + Sync + 'static,
) -> io::Result<Holding<Runtime>> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .on_thread_park(before_wait)
        .build()?;
    Ok(Holding::new(runtime, witness))
}

/// Runs `work` in a runtime until it is done. Returns `None` if the runtime's descriptors are
/// lost meanwhile. Never wakes the runtime through a lost descriptor.
pub(crate) async fn unless_lost<T>(
    witness: &Arc<Witness>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let gate = Arc::new(Gate {
        witness: Arc::clone(witness),
        runtime: AtomicWaker::new(),
    });
    let waker = Waker::from(Arc::clone(&gate));
    let mut work = pin!(work);
    let guarded = poll_fn(|context| {
        if witness.is_lost() {
            return Poll::Ready(None);
        }
        gate.runtime.register(context.waker());
        work.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .map(Some)
    });
    let looking = async {
        // A lost descriptor causes no wake-up.
        while !witness.is_lost() {
            time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        biased;
        () = looking => None,
        outcome = guarded => outcome,
    }
}

/// The waker for work in a runtime.
struct Gate {
    witness: Arc<Witness>,
    runtime: AtomicWaker,
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.witness.is_lost() {
            self.runtime.wake();
        }
    }
}

/// A value that holds descriptors of a runtime. It is leaked instead of dropped if they are
/// lost.
pub(crate) struct Holding<T> {
    held: Option<T>,
    witness: Arc<Witness>,
}

impl<T> Holding<T> {
    pub(crate) fn new(held: T, witness: Arc<Witness>) -> Self {
        let held = Some(held);
        Self { held, witness }
    }

    /// The value, even if its descriptors are lost. It must not be used then.
    pub(crate) fn peek(&self) -> Option<&T> {
        self.held.as_ref()
    }

    /// The value, or `None` if its descriptors are lost.
    pub(crate) fn get(&self) -> Option<&T> {
        self.held.as_ref().filter(|_| !self.witness.is_lost())
    }

    pub(crate) fn witness(&self) -> Arc<Witness> {
        Arc::clone(&self.witness)
    }

    /// Unwraps the value. `None` if its descriptors are lost.
    pub(crate) fn into_held(mut self) -> Option<T> {
        if self.witness.is_lost() {
            return None;
        }
        self.held.take()
    }
}

impl<T: Future + Unpin> Future for Holding<T> {
    type Output = T::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T::Output> {
        if self.witness.is_lost() {
            // The future will be dropped, because its descriptors belong to others now.
            return Poll::Pending;
        }
        match &mut self.held {
            Some(held) => Pin::new(held).poll(context),
            None => Poll::Pending,
        }
    }
}

impl<T> Unpin for Holding<T> {}

impl<T> Drop for Holding<T> {
    fn drop(&mut self) {
        if self.witness.is_lost() {
            std::mem::forget(self.held.take());
        }
    }
}

#[cfg(all(test, unix))]
mod tests;
