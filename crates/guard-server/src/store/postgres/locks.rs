//! The advisory locks of guard-server in a PostgreSQL database. All keys are here, so that none is used
//! for two things.

use std::collections::{BTreeSet, HashSet};

use super::rows::column;
use super::session::Transaction;
use crate::store::{ProjectId, StoreError};

/// The upper half of each key: `guar` in ASCII. Other programs in the same database use other keys.
const PREFIX: i64 = 0x6775_6172 << 32;

/// What an advisory lock protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdvisoryLock {
    /// The migration of the schema. Held by a session.
    Migration,
    /// The set of projects: their number and their names. Held by a transaction.
    Projects,
    /// Who can sign in: the last admin, links, tokens. Held by a transaction.
    People,
    /// The saving of what is counted in memory, so that two nodes never wait for each other in a
    /// circle. Held by a transaction.
    Activity,
    /// The set of channels: their number. Held by a transaction.
    Channels,
    /// The notifications that wait: their number and their order. Held by a transaction.
    Outbox,
    /// Periodic work. Held by the session of the node that does it.
    Leader,
    /// The move of a file of SQLite to this database. Held by the session of the command.
    Move,
    /// A slot for the node with this number. Held by the session of that node.
    Node(u16),
}

impl AdvisoryLock {
    /// The key in PostgreSQL.
    pub(crate) fn key(self) -> i64 {
        let number = match self {
            Self::Migration => 1,
            Self::Projects => 2,
            Self::People => 3,
            Self::Activity => 4,
            Self::Channels => 5,
            Self::Leader => 6,
            Self::Move => 7,
            Self::Outbox => 8,
            Self::Node(slot) => 1_000 + i64::from(slot),
        };
        PREFIX | number
    }
}

impl Transaction<'_> {
    /// Waits for a lock, and holds it until the transaction ends. Take at most one, and take it
    /// first.
    pub(super) async fn lock(&self, lock: AdvisoryLock) -> Result<(), StoreError> {
        let wait = "SELECT pg_advisory_xact_lock($1)";
        self.execute(wait, &[&lock.key()]).await.map(drop)
    }

    /// Locks the row of a project until the transaction ends, so that changes of what belongs to one
    /// project follow each other. Returns whether there is such a project and it is not removed.
    pub(super) async fn lock_project(&self, project: ProjectId) -> Result<bool, StoreError> {
        let lock = "SELECT id FROM projects WHERE id = $1 AND removed_at IS NULL FOR UPDATE";
        Ok(self.execute(lock, &[&project.0]).await? > 0)
    }

    /// Locks the rows of projects, in their order. Returns those that are there and not removed.
    pub(super) async fn lock_projects(
        &self,
        projects: &BTreeSet<ProjectId>,
    ) -> Result<HashSet<ProjectId>, StoreError> {
        let lock = "SELECT id FROM projects WHERE id = ANY ($1) AND removed_at IS NULL
            ORDER BY id FOR UPDATE";
        let ids: Vec<i64> = projects.iter().map(|project| project.0).collect();
        let locked = self
            .all(lock, &[&ids], |row| Ok(ProjectId(column(row)?)))
            .await?;
        Ok(locked.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_locks_share_a_key() {
        let locks = [
            AdvisoryLock::Migration,
            AdvisoryLock::Projects,
            AdvisoryLock::People,
            AdvisoryLock::Activity,
            AdvisoryLock::Channels,
            AdvisoryLock::Outbox,
            AdvisoryLock::Leader,
        ];
        let nodes = (0..=16).map(AdvisoryLock::Node);
        let locks: Vec<_> = locks.into_iter().chain(nodes).collect();
        let keys: HashSet<i64> = locks.iter().map(|lock| lock.key()).collect();
        assert_eq!(keys.len(), locks.len());
    }
}
