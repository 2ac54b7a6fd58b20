//! Rules in PostgreSQL.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::Postgres;
use super::rows::{ReadError, column, optional_timestamp, text, timestamp};
use super::session::Transaction;
use crate::people::AuditEntry;
use crate::store::{
    BoxFuture, Change, Draft, KeepVersions, ProjectId, RulesOutcome, RulesStore, StoreError,
    StoredRules,
};

/// The channel on which a commit that sets the rules of a project tells the id of that project.
pub(crate) const RULES_CHANGED: &str = "guard_rules";

/// The columns that [`stored`] reads.
const STORED: &str = "version, document, policy, lease_ends, due, created_at, action, author, \
                      reason, automatic";
/// The version in force.
const VERSION: &str = "SELECT version FROM rule_versions WHERE project_id = $1
                       ORDER BY version DESC LIMIT 1";

impl RulesStore for Postgres {
    fn rules(&self, project: ProjectId) -> BoxFuture<'_, Option<StoredRules>> {
        Box::pin(async move {
            let newest = format!(
                "SELECT {STORED} FROM rule_versions WHERE project_id = $1
                 ORDER BY version DESC LIMIT 1"
            );
            let session = self.session().await?;
            session.first(&newest, &[&project.0], stored).await
        })
    }

    fn rules_version(&self, project: ProjectId) -> BoxFuture<'_, Option<i64>> {
        Box::pin(async move {
            let session = self.session().await?;
            session.first(VERSION, &[&project.0], column).await
        })
    }

    fn rules_versions(&self, projects: Vec<ProjectId>) -> BoxFuture<'_, Vec<(ProjectId, i64)>> {
        Box::pin(async move {
            // A look into the index for each project, however many versions there are.
            let newest = "SELECT project, newest.version FROM unnest($1::bigint[]) AS project
                          CROSS JOIN LATERAL (SELECT version FROM rule_versions
                              WHERE project_id = project ORDER BY version DESC LIMIT 1) AS newest";
            let ids: Vec<i64> = projects.iter().map(|project| project.0).collect();
            let session = self.session().await?;
            session
                .all(newest, &[&ids], |row| {
                    Ok((ProjectId(row.try_get(0)?), row.try_get(1)?))
                })
                .await
        })
    }

    fn rules_at(&self, project: ProjectId, version: i64) -> BoxFuture<'_, Option<StoredRules>> {
        Box::pin(async move {
            let one = format!(
                "SELECT {STORED} FROM rule_versions WHERE project_id = $1 AND version = $2"
            );
            let session = self.session().await?;
            session.first(&one, &[&project.0, &version], stored).await
        })
    }

    fn rules_history(
        &self,
        project: ProjectId,
        before: i64,
        limit: u16,
    ) -> BoxFuture<'_, Vec<(i64, Change)>> {
        Box::pin(async move {
            let page = "SELECT version, created_at, action, author, reason FROM rule_versions
                        WHERE project_id = $1 AND version < $2 ORDER BY version DESC LIMIT $3";
            let session = self.session().await?;
            session
                .all(page, &[&project.0, &before, &i64::from(limit)], |row| {
                    Ok((row.try_get(0)?, change(row, 1)?))
                })
                .await
        })
    }

    fn rules_due(
        &self,
        now: Timestamp,
        ahead: Timestamp,
    ) -> BoxFuture<'_, Vec<(ProjectId, String)>> {
        Box::pin(async move {
            let due = "SELECT id, name FROM projects JOIN rule_versions AS rules ON project_id = id
                       WHERE removed_at IS NULL AND (due <= $1 OR rules.created_at > $2)
                           AND version =
                               (SELECT max(version) FROM rule_versions WHERE project_id = id)";
            let times: [i64; 2] = [now, ahead].map(Timestamp::as_microsecond);
            let session = self.session().await?;
            session
                .all(due, &[&times[0], &times[1]], |row| {
                    Ok((ProjectId(row.try_get(0)?), row.try_get(1)?))
                })
                .await
        })
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
        Box::pin(async move {
            let transaction = self.begin().await?;
            let outcome = set_rules(&transaction, project, from, &rules, keep).await?;
            if let (RulesOutcome::Set, Some(draft)) = (outcome, draft) {
                remove_draft(&transaction, project, &draft).await?;
            }
            transaction.commit_audited(outcome, entry).await
        })
    }

    fn draft(&self, project: ProjectId) -> BoxFuture<'_, Option<Draft>> {
        Box::pin(async move {
            let draft = "SELECT document, base, saved_at, author FROM rule_drafts
                         WHERE project_id = $1";
            let session = self.session().await?;
            session
                .first(draft, &[&project.0], |row| {
                    Ok(Draft {
                        document: row.try_get(0)?,
                        base: row.try_get(1)?,
                        saved_at: timestamp(row, 2)?,
                        author: row.try_get(3)?,
                    })
                })
                .await
        })
    }

    fn save_draft(
        &self,
        project: ProjectId,
        draft: Draft,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let transaction = self.begin().await?;
            let is_there = transaction.lock_project(project).await?;
            if is_there {
                save_draft(&transaction, project, &draft).await?;
            }
            let entry = entry.filter(|_| is_there);
            transaction.commit_audited((), entry).await
        })
    }

    fn remove_draft(
        &self,
        project: ProjectId,
        draft: Draft,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let transaction = self.begin().await?;
            let is_removed = remove_draft(&transaction, project, &draft).await?;
            transaction.commit_audited(is_removed, entry).await
        })
    }
}

async fn save_draft(
    transaction: &Transaction<'_>,
    project: ProjectId,
    draft: &Draft,
) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO rule_drafts (project_id, document, base, saved_at, author)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (project_id) DO UPDATE SET
                document = excluded.document, base = excluded.base,
                saved_at = excluded.saved_at, author = excluded.author",
            &[
                &project.0,
                &draft.document,
                &draft.base,
                &draft.saved_at.as_microsecond(),
                &draft.author.as_deref().map(text),
            ],
        )
        .await
        .map(drop)
}

/// Removes a draft, unless another one was saved since it was read. Returns whether it did.
async fn remove_draft(
    transaction: &Transaction<'_>,
    project: ProjectId,
    draft: &Draft,
) -> Result<bool, StoreError> {
    let remove = "DELETE FROM rule_drafts WHERE project_id = $1 AND document = $2";
    let removed = transaction
        .execute(remove, &[&project.0, &draft.document])
        .await?;
    Ok(removed > 0)
}

fn stored(row: &Row) -> Result<StoredRules, ReadError> {
    Ok(StoredRules {
        version: row.try_get(0)?,
        document: row.try_get(1)?,
        policy: row.try_get(2)?,
        lease_ends: optional_timestamp(row, 3)?,
        due: optional_timestamp(row, 4)?,
        change: change(row, 5)?,
        automatic: row.try_get(9)?,
    })
}

fn change(row: &Row, first: usize) -> Result<Change, ReadError> {
    Ok(Change {
        created_at: timestamp(row, first)?,
        action: row.try_get(first + 1)?,
        author: row.try_get(first + 2)?,
        reason: row.try_get(first + 3)?,
    })
}

async fn set_rules(
    transaction: &Transaction<'_>,
    project: ProjectId,
    from: Option<i64>,
    rules: &StoredRules,
    keep: KeepVersions,
) -> Result<RulesOutcome, StoreError> {
    // A project that has been removed gets no more versions.
    if !transaction.lock_project(project).await? {
        return Ok(RulesOutcome::Outdated);
    }
    let current: Option<i64> = transaction.first(VERSION, &[&project.0], column).await?;
    if current != from {
        return Ok(RulesOutcome::Outdated);
    }
    let micros = |at: Option<Timestamp>| at.map(Timestamp::as_microsecond);
    transaction
        .execute(
            "INSERT INTO rule_versions (project_id, version, document, policy, lease_ends, due,
                created_at, action, author, reason, automatic)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            &[
                &project.0,
                &rules.version,
                &rules.document,
                &rules.policy,
                &micros(rules.lease_ends),
                &micros(rules.due),
                &rules.change.created_at.as_microsecond(),
                &text(&rules.change.action),
                &rules.change.author.as_deref().map(text),
                &rules.change.reason.as_deref().map(text),
                &rules.automatic,
            ],
        )
        .await?;
    if let Some(from) = from.filter(|_| keep.replaces_from) {
        let remove = "DELETE FROM rule_versions WHERE project_id = $1 AND version = $2";
        transaction.execute(remove, &[&project.0, &from]).await?;
    }
    remove_oldest(transaction, project, keep).await?;
    // Other nodes hear of it when it is committed.
    let tell = "SELECT pg_notify($1, $2)";
    let about = project.0.to_string();
    transaction.execute(tell, &[&RULES_CHANGED, &about]).await?;
    Ok(RulesOutcome::Set)
}

/// Removes the oldest versions beyond the limits, but not the newest. Those of people stay longest.
async fn remove_oldest(
    transaction: &Transaction<'_>,
    project: ProjectId,
    keep: KeepVersions,
) -> Result<(), StoreError> {
    let bytes = i64::try_from(keep.bytes).unwrap_or(i64::MAX);
    transaction
        .execute(
            "WITH kept AS (
                SELECT version, automatic, row_number() OVER newest AS place,
                    row_number() OVER (PARTITION BY automatic ORDER BY version DESC) AS of_kind,
                    octet_length(document)::bigint + octet_length(policy) AS size
                FROM rule_versions WHERE project_id = $1
                WINDOW newest AS (ORDER BY version DESC)),
             measured AS (
                SELECT version, automatic, place, of_kind,
                    sum(size) OVER (ORDER BY place > 1, automatic, version DESC) AS bytes
                FROM kept)
             DELETE FROM rule_versions WHERE project_id = $1 AND version IN (
                SELECT version FROM measured WHERE place > 1
                    AND (of_kind > CASE WHEN automatic THEN $3::bigint ELSE $2::bigint END
                        OR bytes > $4::bigint))",
            &[
                &project.0,
                &i64::from(keep.versions),
                &i64::from(keep.automatic),
                &bytes,
            ],
        )
        .await
        .map(drop)
}
