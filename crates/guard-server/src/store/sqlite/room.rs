//! Room for agents. When all places of a project are taken, a new agent replaces one that was
//! silent for long. An active agent keeps its place however many new ones come, so invented names
//! cannot displace real agents.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use crate::store::{ProjectId, Room as Limits};

/// A table of agents, with the column that holds each agent's last signal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) seen: &'static str,
}

/// The room for agents of one project in one table.
pub(super) struct Room<'a> {
    connection: &'a Connection,
    table: Table,
    project: ProjectId,
    left: usize,
    silent_for: SignedDuration,
}

impl<'a> Room<'a> {
    pub(super) fn of(
        connection: &'a Connection,
        table: Table,
        project: ProjectId,
        limits: Limits,
    ) -> rusqlite::Result<Self> {
        let count: u32 = connection
            .prepare_cached(&format!(
                "SELECT count(*) FROM {} WHERE project_id = ?1",
                table.name
            ))?
            .query_row([project.0], |row| row.get(0))?;
        Ok(Self {
            connection,
            table,
            project,
            left: limits.installs.saturating_sub(count) as usize,
            silent_for: limits.silent_for,
        })
    }

    /// Takes a place for an agent that sends a signal at `now`. Returns whether there was one.
    pub(super) fn take(&mut self, now: Timestamp) -> rusqlite::Result<bool> {
        if self.left == 0 {
            self.left = self.displace(now)?;
        }
        let is_there = self.left > 0;
        self.left = self.left.saturating_sub(1);
        Ok(is_there)
    }

    /// Removes the agent that was silent for longest, if that is long enough.
    fn displace(&self, now: Timestamp) -> rusqlite::Result<usize> {
        let Table { name, seen } = self.table;
        let unseen_since = now.saturating_sub(self.silent_for).unwrap_or(now);
        self.connection
            .prepare_cached(&format!(
                "DELETE FROM {name} WHERE project_id = ?1 AND {seen} < ?2 AND {seen} =
                    (SELECT min({seen}) FROM {name} WHERE project_id = ?1)"
            ))?
            .execute(params![self.project.0, unseen_since.as_microsecond()])
    }
}
