//! What is heard of agents, gathered in memory: a request writes nothing, the
//! store takes what a thousand of them say at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{Clock, Reading};
use crate::store::{AgentId, Control, Heard, ProjectId, Sighting, StoreError};

/// What waits to be stored at most. While the store fails for longer, what is
/// new is left out: agents say it again with their next request.
const MAX_PENDING: usize = 65_536;

/// What was heard and is not stored yet.
pub(crate) struct Sightings {
    control: Arc<dyn Control>,
    clock: Arc<dyn Clock>,
    /// With the uptime at which it was heard: the time of day may be set before it is stored.
    pending: Mutex<Vec<(Sighting, Duration)>>,
    /// The clock when its setting was last followed. Held while storing, so that a caller that
    /// then reads finds what came before.
    storing: tokio::sync::Mutex<Reading>,
}

impl Sightings {
    pub(crate) fn new(control: Arc<dyn Control>, clock: Arc<dyn Clock>) -> Self {
        Self {
            control,
            storing: Reading::of(&*clock).into(),
            clock,
            pending: Mutex::default(),
        }
    }

    /// Notes what was heard of `agent` now. Never waits for the store.
    pub(crate) fn note(&self, project: ProjectId, agent: AgentId, what: Heard) {
        let sighting = Sighting {
            project,
            agent,
            at: Timestamp::UNIX_EPOCH,
            what,
        };
        let mut pending = self.pending();
        if pending.len() < MAX_PENDING {
            pending.push((sighting, self.clock.uptime()));
        }
    }

    /// Stores all that was noted; what the store does not take is kept for the next time.
    pub(crate) async fn store(&self) -> Result<(), StoreError> {
        let mut followed = self.storing.lock().await;
        let reading = Reading::of(&*self.clock);
        if let Some(by) = reading.set_since(*followed) {
            self.control.move_agents(by).await?;
        }
        *followed = reading;
        let noted = std::mem::take(&mut *self.pending());
        if noted.is_empty() {
            return Ok(());
        }
        let (mut noted, uptimes): (Vec<_>, Vec<_>) = noted.into_iter().unzip();
        for (sighting, uptime) in noted.iter_mut().zip(&uptimes) {
            sighting.at = reading.at(*uptime);
        }
        let noted: Arc<[Sighting]> = noted.into();
        let outcome = self.control.save_sightings(Arc::clone(&noted)).await;
        if outcome.is_err() {
            let mut pending = self.pending();
            let older = noted.iter().cloned().zip(uptimes).collect();
            let newer = std::mem::replace(&mut *pending, older);
            pending.extend(newer);
            pending.truncate(MAX_PENDING);
        }
        outcome
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Vec<(Sighting, Duration)>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::clock::SystemClock;
    use crate::store::Sqlite;

    const PROJECT: ProjectId = ProjectId(1);
    const ASKED: Heard = Heard::Asked { holds: true };

    /// A store, another connection to its file, and what is heard.
    fn parts() -> (tempfile::TempDir, Arc<Sqlite>, Connection, Sightings) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("guard.db");
        let store = Arc::new(Sqlite::open(&path).unwrap());
        let other = Connection::open(&path).unwrap();
        let control = Arc::clone(&store) as Arc<dyn Control>;
        let sightings = Sightings::new(control, Arc::new(SystemClock));
        (directory, store, other, sightings)
    }

    fn note(sightings: &Sightings, install: usize, what: Heard) {
        let agent = AgentId {
            install_id: install.to_string(),
            ..AgentId::default()
        };
        sightings.note(PROJECT, agent, what);
    }

    async fn newest(store: &Sqlite) -> Vec<Option<i64>> {
        let followers = store.followers(PROJECT).await.unwrap();
        followers
            .iter()
            .map(crate::store::Follower::newest)
            .collect()
    }

    #[tokio::test]
    async fn to_note_needs_no_store_and_what_was_noted_is_stored_in_its_order() {
        let (_directory, store, other, sightings) = parts();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        note(&sightings, 1, ASKED);
        note(&sightings, 1, Heard::Fetched(1));
        note(&sightings, 1, Heard::Fetched(2));
        assert_eq!(newest(&store).await, []);
        other.execute_batch("ROLLBACK").unwrap();
        sightings.store().await.unwrap();
        assert_eq!(newest(&store).await, [Some(2)]);
    }

    #[tokio::test]
    async fn what_the_store_does_not_take_is_stored_before_what_comes_later() {
        let (_directory, store, other, sightings) = parts();
        let rename = |from, to| {
            let sql = format!("ALTER TABLE {from} RENAME TO {to}");
            other.execute_batch(&sql).unwrap();
        };
        rename("rule_followers", "away");
        note(&sightings, 1, ASKED);
        note(&sightings, 1, Heard::Fetched(1));
        assert_eq!(sightings.store().await, Err(StoreError::Unavailable));
        note(&sightings, 1, Heard::Fetched(2));
        rename("away", "rule_followers");
        sightings.store().await.unwrap();
        assert_eq!(newest(&store).await, [Some(2)]);
    }

    #[tokio::test]
    async fn while_the_store_takes_nothing_what_waits_is_bounded() {
        let (_directory, _store, other, sightings) = parts();
        other
            .execute_batch("ALTER TABLE rule_followers RENAME TO away")
            .unwrap();
        for _ in 0..2 {
            for install in 0..=MAX_PENDING {
                note(&sightings, install, ASKED);
            }
            assert_eq!(sightings.store().await, Err(StoreError::Unavailable));
            assert_eq!(sightings.pending().len(), MAX_PENDING);
        }
    }
}
