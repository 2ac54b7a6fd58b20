//! Locks.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, whatever happened to whoever held the lock before: every state behind
/// a lock of this crate is whole between two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
