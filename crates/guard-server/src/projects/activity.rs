//! The use of keys and the refused requests since the last save. They are saved lazily: requests
//! never wait for that.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::{KeyId, ProjectId};

/// The use of a key is saved at most once in this time.
const EACH: SignedDuration = SignedDuration::from_secs(60);

/// Why a request with a valid key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// Its address is not in the allowlist.
    AddressNotAllowed,
    /// Its batch was not encrypted.
    EncryptionRequired,
    /// Its signature was missing or wrong.
    Signature,
    /// The project has used up its quota.
    Quota,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 4] = [
        Self::AddressNotAllowed,
        Self::EncryptionRequired,
        Self::Signature,
        Self::Quota,
    ];

    /// Its name in answers and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AddressNotAllowed => "address_not_allowed",
            Self::EncryptionRequired => "encryption_required",
            Self::Signature => "signature",
            Self::Quota => "quota",
        }
    }
}

/// What is to be saved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activity {
    /// Keys and when they were last used.
    pub used: Vec<(KeyId, Timestamp)>,
    /// Requests that were refused, by project and reason.
    pub refused: Vec<(ProjectId, Refusal, u64)>,
}

/// Collects activity.
#[derive(Debug, Default)]
pub struct ActivityLog(Mutex<Collected>);

#[derive(Debug, Default)]
struct Collected {
    keys: HashMap<KeyId, Use>,
    refused: HashMap<(ProjectId, Refusal), u64>,
}

/// The times of a key's last use and of the last one that was saved.
#[derive(Debug)]
struct Use {
    last: Timestamp,
    saved: Option<Timestamp>,
}

impl ActivityLog {
    /// Notes that a request came with this key.
    pub fn used(&self, key: &KeyId, now: Timestamp) {
        let mut collected = self.collected();
        match collected.keys.get_mut(key) {
            Some(found) => found.last = now,
            None => {
                let first = Use {
                    last: now,
                    saved: None,
                };
                collected.keys.insert(key.clone(), first);
            }
        }
    }

    /// Counts a refused request.
    pub fn refused(&self, project: ProjectId, refusal: Refusal) {
        let mut collected = self.collected();
        *collected.refused.entry((project, refusal)).or_default() += 1;
    }

    /// Takes what is to be saved. If saving fails, pass it to [`put_back`](Self::put_back).
    pub fn take(&self, now: Timestamp) -> Activity {
        let mut collected = self.collected();
        let mut used = Vec::new();
        // A key that is not used any more, perhaps because it was revoked, is forgotten.
        collected.keys.retain(|key, it| {
            let is_due = it.saved.is_none_or(|saved| is_past(saved, now));
            let is_new = it.saved != Some(it.last);
            if is_due && is_new {
                used.push((key.clone(), it.last));
                it.saved = Some(it.last);
            }
            is_new || !is_due
        });
        let refused = collected.refused.drain();
        Activity {
            used,
            refused: refused
                .map(|((project, why), n)| (project, why, n))
                .collect(),
        }
    }

    /// Keeps activity that could not be saved for the next time.
    pub fn put_back(&self, activity: Activity) {
        let mut collected = self.collected();
        for (key, _) in activity.used {
            if let Some(found) = collected.keys.get_mut(&key) {
                found.saved = None;
            }
        }
        for (project, refusal, n) in activity.refused {
            *collected.refused.entry((project, refusal)).or_default() += n;
        }
    }

    fn collected(&self) -> std::sync::MutexGuard<'_, Collected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the pause after `saved` is over. A clock that was set back does not prolong it.
fn is_past(saved: Timestamp, now: Timestamp) -> bool {
    now.duration_since(saved).abs() >= EACH
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn used_at(log: &ActivityLog, now: i64) -> Vec<i64> {
        let used = log.take(at(now)).used.into_iter();
        used.map(|(_, last)| last.as_second()).collect()
    }

    #[test]
    fn the_use_of_a_key_is_saved_at_once_and_then_once_a_minute() {
        let (log, key) = (ActivityLog::default(), KeyId("k".to_owned()));
        assert_eq!(used_at(&log, 1000), [0; 0]);
        log.used(&key, at(1000));
        assert_eq!(used_at(&log, 1001), [1000]);
        for second in 1001..1060 {
            log.used(&key, at(second));
            assert_eq!(used_at(&log, second), [0; 0]);
        }
        assert_eq!(used_at(&log, 1060), [1059]);
        assert_eq!(used_at(&log, 2000), [0; 0], "not used since");
        log.used(&key, at(3000));
        assert_eq!(used_at(&log, 3000), [3000]);
    }

    #[test]
    fn activity_that_was_not_saved_is_taken_again() {
        let (log, key) = (ActivityLog::default(), KeyId("k".to_owned()));
        log.used(&key, at(1));
        log.refused(ProjectId(1), Refusal::Quota);
        let taken = log.take(at(1));
        assert_eq!(taken.refused, [(ProjectId(1), Refusal::Quota, 1)]);
        log.refused(ProjectId(1), Refusal::Quota);
        log.put_back(taken);
        let again = log.take(at(2));
        assert_eq!(again.used, [(key, at(1))]);
        assert_eq!(again.refused, [(ProjectId(1), Refusal::Quota, 2)]);
        assert_eq!(log.take(at(3)), Activity::default());
    }
}
