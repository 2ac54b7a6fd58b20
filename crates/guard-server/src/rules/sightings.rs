//! What is heard of agents, gathered in memory: a request writes nothing, the
//! store takes what a thousand of them say at once.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::store::{AgentId, Control, Heard, ProjectId, Sighting, StoreError};

/// What waits to be stored at most. While the store fails for longer, what is
/// new is left out: agents say it again with their next request.
const MAX_PENDING: usize = 65_536;

/// What was heard and is not stored yet.
pub(crate) struct Sightings {
    control: Arc<dyn Control>,
    pending: Mutex<Vec<Sighting>>,
    /// Held while storing, so that whoever then reads finds what came before.
    storing: tokio::sync::Mutex<()>,
}

impl Sightings {
    pub(crate) fn new(control: Arc<dyn Control>) -> Self {
        Self {
            control,
            pending: Mutex::default(),
            storing: tokio::sync::Mutex::default(),
        }
    }

    /// Notes what was heard of `agent`. Never waits for the store.
    pub(crate) fn note(&self, project: ProjectId, agent: AgentId, at: Timestamp, what: Heard) {
        let mut pending = self.pending();
        if pending.len() < MAX_PENDING {
            pending.push(Sighting {
                project,
                agent,
                at,
                what,
            });
        }
    }

    /// Stores all that was noted; what the store does not take is kept for the next time.
    pub(crate) async fn store(&self) -> Result<(), StoreError> {
        let _turn = self.storing.lock().await;
        let noted = std::mem::take(&mut *self.pending());
        if noted.is_empty() {
            return Ok(());
        }
        let noted: Arc<[Sighting]> = noted.into();
        let outcome = self.control.save_sightings(Arc::clone(&noted)).await;
        if outcome.is_err() {
            let mut pending = self.pending();
            let newer = std::mem::replace(&mut *pending, noted.to_vec());
            pending.extend(newer);
            pending.truncate(MAX_PENDING);
        }
        outcome
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Vec<Sighting>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::store::Sqlite;

    const PROJECT: ProjectId = ProjectId(1);
    const ASKED: Heard = Heard::Asked { holds: true };

    /// A store, another connection to its file, and what is heard.
    fn parts() -> (tempfile::TempDir, Arc<Sqlite>, Connection, Sightings) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("guard.db");
        let store = Arc::new(Sqlite::open(&path).unwrap());
        let other = Connection::open(&path).unwrap();
        let sightings = Sightings::new(Arc::clone(&store) as Arc<dyn Control>);
        (directory, store, other, sightings)
    }

    fn note(sightings: &Sightings, install: usize, what: Heard) {
        let agent = AgentId {
            install_id: install.to_string(),
            ..AgentId::default()
        };
        sightings.note(PROJECT, agent, Timestamp::UNIX_EPOCH, what);
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
