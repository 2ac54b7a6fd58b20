//! Limits how many live readers there are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::monitoring::TailMeters;
use crate::people::CredentialHash;

/// The places for live readers.
#[derive(Debug)]
pub(crate) struct Places {
    /// Readers at the same time.
    all: usize,
    /// Readers with one token or session at the same time.
    each: usize,
    taken: Mutex<HashMap<CredentialHash, usize>>,
    meters: TailMeters,
}

/// The place of a live reader until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    credential: CredentialHash,
    places: Arc<Places>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// All places are taken.
    All,
    /// The token or session has all that it may have.
    Each,
}

impl Places {
    pub(crate) fn new(all: usize, each: usize, meters: TailMeters) -> Self {
        Self {
            all,
            each,
            taken: Mutex::default(),
            meters,
        }
    }

    /// Takes a place for a token or session.
    pub(crate) fn take(self: &Arc<Self>, credential: CredentialHash) -> Result<Place, Full> {
        let mut taken = self.taken();
        let all: usize = taken.values().sum();
        if all >= self.all {
            return Err(Full::All);
        }
        let its = taken.get(&credential).copied().unwrap_or(0);
        if its >= self.each {
            return Err(Full::Each);
        }
        taken.insert(credential, its + 1);
        self.meters.open(all + 1);
        drop(taken);
        Ok(Place {
            credential,
            places: Arc::clone(self),
        })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<CredentialHash, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Place {
    pub(super) fn places(&self) -> Arc<Places> {
        Arc::clone(&self.places)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(its) = taken.get_mut(&self.credential) {
            *its -= 1;
            if *its == 0 {
                taken.remove(&self.credential);
            }
        }
        let all = taken.values().sum();
        self.places.meters.open(all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_for_each_credential_and_in_total() {
        let places = Arc::new(Places::new(3, 2, TailMeters::default()));
        let [one, other] = ["one", "other"].map(CredentialHash::of);
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        assert_eq!(places.take(one).unwrap_err(), Full::Each);
        let _third = places.take(other).unwrap();
        assert_eq!(places.take(other).unwrap_err(), Full::All);
        drop(first);
        let _again = places.take(one).unwrap();
        assert_eq!(places.taken().len(), 2);
    }
}
