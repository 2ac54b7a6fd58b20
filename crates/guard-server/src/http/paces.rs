//! How far callers are ahead of a rate, for a bounded number of callers.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// Callers that are tracked separately. All others count as one.
pub(crate) const MAX_CALLERS: usize = 4096;

/// For each caller, when all that it did is within the rate.
#[derive(Debug)]
pub(crate) struct Paces<K>(Mutex<HashMap<K, Instant>>);

impl<K> Default for Paces<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Paces<K> {
    /// Updates the time of `caller`, which is `now` for a new one. If too many are tracked, the
    /// caller counts as `others`.
    pub(crate) fn update<T>(
        &self,
        caller: K,
        others: K,
        now: Instant,
        update: impl FnOnce(&mut Instant) -> T,
    ) -> T {
        let mut even = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut caller = caller;
        if even.len() >= MAX_CALLERS && !even.contains_key(&caller) {
            even.retain(|_, even| *even > now);
            if even.len() >= MAX_CALLERS {
                caller = others;
            }
        }
        update(even.entry(caller).or_insert(now))
    }

    /// How many callers are tracked.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
