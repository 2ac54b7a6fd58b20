//! The quota of records per minute.
//!
//! A project that was quiet may send the records of one minute at once; after that, as many as the
//! quota adds. The number of records is known only after a batch was read. So a batch is admitted
//! while any quota is left, and reserves as much as the batch before needed. Its records are
//! charged when they are known, even if that exceeds the quota: the next batches wait longer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Project, ProjectId};

const MINUTE: f64 = 60.0;

/// How much of its quota each project has left.
#[derive(Debug, Default)]
pub struct Quotas(Mutex<HashMap<ProjectId, Balance>>);

#[derive(Debug)]
struct Balance {
    /// Records that may still come. Negative after a batch that exceeded the quota.
    records: f64,
    /// The uptime at which that was true.
    at: Duration,
    /// The records of the last batch.
    last_batch: f64,
}

/// A batch that was admitted.
#[derive(Debug)]
#[must_use]
pub struct Admission<'a> {
    quotas: &'a Quotas,
    project: ProjectId,
    reserved: f64,
}

/// The quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// When the next batch is admitted.
    pub retry_after: Duration,
}

impl Quotas {
    /// Admits a batch of `project` at this uptime, or says when to come back.
    ///
    /// # Errors
    ///
    /// [`QuotaExceeded`] if the project has used up its quota.
    pub fn admit(
        &self,
        project: &Project,
        uptime: Duration,
    ) -> Result<Admission<'_>, QuotaExceeded> {
        let mut admission = Admission {
            quotas: self,
            project: project.id,
            reserved: 0.0,
        };
        let mut balances = self.balances();
        let Some(quota) = project.settings.quota_per_minute else {
            balances.remove(&project.id);
            return Ok(admission);
        };
        let quota = f64::from(quota);
        let balance = balances.entry(project.id).or_insert(Balance {
            records: quota,
            at: uptime,
            last_batch: 1.0,
        });
        let passed = uptime.saturating_sub(balance.at).as_secs_f64();
        balance.records = (balance.records + passed * quota / MINUTE).min(quota);
        balance.at = uptime.max(balance.at);
        let missing = 1.0 - balance.records;
        if missing > 0.0 {
            let wait = (missing * MINUTE / quota).ceil();
            return Err(QuotaExceeded {
                retry_after: Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX),
            });
        }
        admission.reserved = balance.last_batch;
        balance.records -= admission.reserved;
        Ok(admission)
    }

    fn balances(&self) -> std::sync::MutexGuard<'_, HashMap<ProjectId, Balance>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission<'_> {
    /// Charges the records of the batch. A batch that is never charged keeps what it reserved:
    /// reading it took as much work.
    pub fn charge(&self, records: u64) {
        if let Some(balance) = self.quotas.balances().get_mut(&self.project) {
            let records = as_f64(records);
            balance.records += self.reserved - records;
            balance.last_batch = records.max(1.0);
        }
    }

    /// Gives back the records of a batch that could not be stored: it will be sent again.
    pub fn give_back(&self, records: u64) {
        if let Some(balance) = self.quotas.balances().get_mut(&self.project) {
            balance.records += as_f64(records);
        }
    }
}

fn as_f64(records: u64) -> f64 {
    u32::try_from(records).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projects::Settings;

    fn project(id: i64, quota_per_minute: Option<u32>) -> Project {
        Project {
            id: ProjectId(id),
            name: "shop".to_owned(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            settings: Settings {
                quota_per_minute,
                ..Settings::default()
            },
            encryption_key: None,
            signing_secret: None,
        }
    }

    /// Sends a batch. Returns the seconds to wait if it is refused.
    fn send(quotas: &Quotas, project: &Project, second: u64, records: u64) -> Option<u64> {
        match quotas.admit(project, Duration::from_secs(second)) {
            Ok(admission) => {
                admission.charge(records);
                None
            }
            Err(exceeded) => Some(exceeded.retry_after.as_secs()),
        }
    }

    #[test]
    fn a_minute_may_be_sent_at_once_and_then_as_much_as_the_quota_adds() {
        let (quotas, project) = (Quotas::default(), project(1, Some(60)));
        for _ in 0..60 {
            assert_eq!(send(&quotas, &project, 0, 1), None);
        }
        assert_eq!(send(&quotas, &project, 0, 1), Some(1));
        assert_eq!(send(&quotas, &project, 1, 1), None);
        assert_eq!(send(&quotas, &project, 1, 1), Some(1));
        for _ in 0..60 {
            assert_eq!(send(&quotas, &project, 3600, 1), None);
        }
        assert_eq!(send(&quotas, &project, 3600, 1), Some(1));
    }

    #[test]
    fn a_batch_larger_than_the_quota_is_admitted_and_then_waited_for() {
        let (quotas, project) = (Quotas::default(), project(1, Some(60)));
        assert_eq!(send(&quotas, &project, 0, 600), None);
        assert_eq!(send(&quotas, &project, 0, 600), Some(541));
        assert_eq!(send(&quotas, &project, 540, 600), Some(1));
        assert_eq!(send(&quotas, &project, 541, 600), None);
    }

    #[test]
    fn batches_in_flight_reserve_as_much_as_the_last_one_needed() {
        let (quotas, project) = (Quotas::default(), project(1, Some(1000)));
        assert_eq!(send(&quotas, &project, 0, 400), None);
        let admit = || quotas.admit(&project, Duration::ZERO);
        let first = admit().unwrap();
        let second = admit().unwrap();
        let exceeded = admit().unwrap_err();
        assert_eq!(exceeded.retry_after.as_secs(), 13);
        first.charge(200);
        second.charge(200);
        assert!(admit().is_ok());
    }

    #[test]
    fn a_batch_that_was_not_stored_is_given_back() {
        let (quotas, project) = (Quotas::default(), project(1, Some(10)));
        let admission = quotas.admit(&project, Duration::ZERO).unwrap();
        admission.charge(10);
        assert!(quotas.admit(&project, Duration::ZERO).is_err());
        admission.give_back(10);
        assert!(quotas.admit(&project, Duration::ZERO).is_ok());
    }

    #[test]
    fn projects_do_not_share_a_quota_and_a_removed_quota_is_forgotten() {
        let quotas = Quotas::default();
        assert_eq!(send(&quotas, &project(1, Some(1)), 0, 1000), None);
        assert!(send(&quotas, &project(1, Some(1)), 0, 1).is_some());
        assert_eq!(send(&quotas, &project(2, Some(1)), 0, 1), None);
        assert_eq!(send(&quotas, &project(1, None), 0, 1), None);
        assert_eq!(send(&quotas, &project(1, Some(1)), 0, 1), None);
    }
}
