//! Detects that this process is the child of a fork.
//!
//! An agent must check this before every record. Asking the system for the process id costs
//! as much as encoding half a record. So a handler registered with the C library counts forks.

use std::process;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);
static COUNTED: AtomicBool = AtomicBool::new(false);
static REGISTER: Once = Once::new();

/// Distinguishes a process from the one it was forked from, for packages built on this crate. Two
/// calls return the same number exactly if no fork lies between them, no matter what code forked.
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

/// Registers a handler that counts forks in the child. Returns true on success.
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
