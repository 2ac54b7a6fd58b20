//! Rules in SQLite.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::Sqlite;
use crate::people::AuditEntry;
use crate::store::{
    BoxFuture, Change, Draft, KeepVersions, ProjectId, RulesOutcome, RulesStore, StoredRules,
};

impl RulesStore for Sqlite {
    fn rules(&self, project: ProjectId) -> BoxFuture<'_, Option<StoredRules>> {
        Box::pin(
            self.read(move |connection| match version(connection, project)? {
                Some(version) => stored(connection, project, version),
                None => Ok(None),
            }),
        )
    }

    fn rules_at(&self, project: ProjectId, version: i64) -> BoxFuture<'_, Option<StoredRules>> {
        Box::pin(self.read(move |connection| stored(connection, project, version)))
    }

    fn rules_history(
        &self,
        project: ProjectId,
        before: i64,
        limit: u16,
    ) -> BoxFuture<'_, Vec<(i64, Change)>> {
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT version, created_at, action, author, reason FROM rule_versions
                     WHERE project_id = ?1 AND version < ?2 ORDER BY version DESC LIMIT ?3",
                )?
                .query_map(params![project.0, before, limit], |row| {
                    Ok((row.get(0)?, change(row, 1)?))
                })?
                .collect()
        }))
    }

    fn rules_due(
        &self,
        now: Timestamp,
        ahead: Timestamp,
    ) -> BoxFuture<'_, Vec<(ProjectId, String)>> {
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT id, name FROM projects JOIN rule_versions AS rules ON project_id = id
                     WHERE removed_at IS NULL AND (due <= ?1 OR rules.created_at > ?2) AND version =
                        (SELECT max(version) FROM rule_versions WHERE project_id = id)",
                )?
                .query_map([now.as_microsecond(), ahead.as_microsecond()], |row| {
                    Ok((ProjectId(row.get(0)?), row.get(1)?))
                })?
                .collect()
        }))
    }

    fn rules_version(&self, project: ProjectId) -> BoxFuture<'_, Option<i64>> {
        Box::pin(self.read(move |connection| version(connection, project)))
    }

    fn set_rules(
        &self,
        project: ProjectId,
        from: Option<i64>,
        rules: StoredRules,
        keep: KeepVersions,
        draft: Option<Draft>,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, RulesOutcome> {
        let bytes = rules.document.len() + rules.policy.len();
        self.audited(bytes, entry, move |connection| {
            let outcome = set_rules(connection, project, from, &rules, keep)?;
            if let (RulesOutcome::Set, Some(draft)) = (outcome, draft) {
                remove_draft(connection, project, &draft)?;
            }
            Ok(outcome)
        })
    }

    fn draft(&self, project: ProjectId) -> BoxFuture<'_, Option<Draft>> {
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT document, base, saved_at, author FROM rule_drafts WHERE project_id = ?1",
                )?
                .query_row([project.0], |row| {
                    Ok(Draft {
                        document: row.get(0)?,
                        base: row.get(1)?,
                        saved_at: time(row.get(2)?).unwrap_or_default(),
                        author: row.get(3)?,
                    })
                })
                .optional()
        }))
    }

    fn save_draft(
        &self,
        project: ProjectId,
        draft: Draft,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, ()> {
        self.audited(draft.document.len(), entry, move |connection| {
            connection
                .execute(
                    "INSERT OR REPLACE INTO rule_drafts
                        (project_id, document, base, saved_at, author)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        project.0,
                        draft.document,
                        draft.base,
                        draft.saved_at.as_microsecond(),
                        draft.author
                    ],
                )
                .map(drop)
        })
    }

    fn remove_draft(
        &self,
        project: ProjectId,
        draft: Draft,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        self.audited(0, entry, move |connection| {
            remove_draft(connection, project, &draft)
        })
    }
}

fn version(connection: &Connection, project: ProjectId) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT max(version) FROM rule_versions WHERE project_id = ?1")?
        .query_row([project.0], |row| row.get(0))
}

fn stored(
    connection: &Connection,
    project: ProjectId,
    version: i64,
) -> rusqlite::Result<Option<StoredRules>> {
    connection
        .prepare_cached(
            "SELECT version, document, policy, lease_ends, due, created_at, action, author, reason,
                automatic
             FROM rule_versions WHERE project_id = ?1 AND version = ?2",
        )?
        .query_row([project.0, version], |row| {
            Ok(StoredRules {
                version: row.get(0)?,
                document: row.get(1)?,
                policy: row.get(2)?,
                lease_ends: time(row.get(3)?),
                due: time(row.get(4)?),
                change: change(row, 5)?,
                automatic: row.get(9)?,
            })
        })
        .optional()
}

fn change(row: &Row<'_>, first: usize) -> rusqlite::Result<Change> {
    Ok(Change {
        created_at: time(row.get(first)?).unwrap_or_default(),
        action: row.get(first + 1)?,
        author: row.get(first + 2)?,
        reason: row.get(first + 3)?,
    })
}

fn time(microseconds: Option<i64>) -> Option<Timestamp> {
    Timestamp::from_microsecond(microseconds?).ok()
}

fn set_rules(
    connection: &Connection,
    project: ProjectId,
    from: Option<i64>,
    rules: &StoredRules,
    keep: KeepVersions,
) -> rusqlite::Result<RulesOutcome> {
    if version(connection, project)? != from {
        return Ok(RulesOutcome::Outdated);
    }
    connection.execute(
        "INSERT INTO rule_versions (project_id, version, document, policy, lease_ends, due,
            created_at, action, author, reason, automatic)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            project.0,
            rules.version,
            rules.document,
            rules.policy,
            rules.lease_ends.map(Timestamp::as_microsecond),
            rules.due.map(Timestamp::as_microsecond),
            rules.change.created_at.as_microsecond(),
            rules.change.action,
            rules.change.author,
            rules.change.reason,
            rules.automatic
        ],
    )?;
    if let Some(from) = from.filter(|_| keep.replaces_from) {
        connection
            .prepare_cached("DELETE FROM rule_versions WHERE project_id = ?1 AND version = ?2")?
            .execute(params![project.0, from])?;
    }
    remove_oldest(connection, project, keep)?;
    Ok(RulesOutcome::Set)
}

/// Removes a draft, unless another one was saved since it was read. Returns whether it did.
fn remove_draft(
    connection: &Connection,
    project: ProjectId,
    draft: &Draft,
) -> rusqlite::Result<bool> {
    let removed = connection.execute(
        "DELETE FROM rule_drafts WHERE project_id = ?1 AND document = ?2",
        params![project.0, draft.document],
    )?;
    Ok(removed > 0)
}

/// Removes the oldest versions beyond the limits, but not the newest. Those of people stay longest.
fn remove_oldest(
    connection: &Connection,
    project: ProjectId,
    keep: KeepVersions,
) -> rusqlite::Result<()> {
    let bytes = i64::try_from(keep.bytes).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "WITH kept AS (
                SELECT version, automatic, row_number() OVER newest AS place,
                    row_number() OVER (PARTITION BY automatic ORDER BY version DESC) AS of_kind,
                    octet_length(document) + octet_length(policy) AS size
                FROM rule_versions WHERE project_id = ?1
                WINDOW newest AS (ORDER BY version DESC)),
             measured AS (
                SELECT version, automatic, place, of_kind,
                    sum(size) OVER (ORDER BY place > 1, automatic, version DESC) AS bytes
                FROM kept)
             DELETE FROM rule_versions WHERE project_id = ?1 AND version IN (
                SELECT version FROM measured WHERE place > 1
                    AND (of_kind > CASE automatic WHEN 0 THEN ?2 ELSE ?3 END OR bytes > ?4))",
        )?
        .execute(params![project.0, keep.versions, keep.automatic, bytes])
        .map(drop)
}
