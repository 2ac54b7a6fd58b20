//! Noticing that this process is the child of a fork.
//!
//! An agent must know before every record. Asking the system for the process id
//! costs as much as encoding half of it, so the C library is asked to count.

use std::process;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);
static COUNTED: AtomicBool = AtomicBool::new(false);
static REGISTER: Once = Once::new();

/// Tells a process from the one it was forked from, for packages built on this crate: two
/// calls give the same number exactly when no fork lies between them, whoever made it.
#[doc(hidden)]
#[must_use]
pub fn fork_generation() -> u32 {
    REGISTER.call_once(|| COUNTED.store(register(), Ordering::Relaxed));
    if COUNTED.load(Ordering::Relaxed) {
        FORKS.load(Ordering::Relaxed)
    } else {
        process::id()
    }
}

/// Has the C library count forks in the child; whether it does.
#[cfg(unix)]
fn register() -> bool {
    extern "C" fn count() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    #[expect(
        unsafe_code,
        reason = "pthread_atfork has no safe wrapper; the handler only adds to an atomic, which \
                  is async-signal-safe, and is never unloaded: neither programs nor Python's \
                  extension modules are"
    )]
    let status = unsafe { libc::pthread_atfork(None, None, Some(count)) };
    status == 0
}

#[cfg(not(unix))]
fn register() -> bool {
    true
}
