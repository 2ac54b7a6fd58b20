//! Lost records in PostgreSQL.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::Postgres;
use super::session::Transaction;
use crate::query::TimeRange;
use crate::store::losses::{LOSSES_KEPT, TOTALS_KEPT, minutes};
use crate::store::{BoxFuture, LossCount, LossReport, Losses, ProjectId, StoreError};

impl Losses for Postgres {
    fn report_losses(&self, report: LossReport) -> BoxFuture<'_, BTreeMap<String, u64>> {
        Box::pin(async move {
            let transaction = self.begin().await?;
            let new = save(&transaction, &report).await?;
            transaction.commit().await?;
            Ok(new)
        })
    }

    fn count_losses(
        &self,
        project: ProjectId,
        at: Timestamp,
        lost: BTreeMap<&'static str, u64>,
    ) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let transaction = self.begin().await?;
            if transaction.lock_project(project).await? {
                let lost = lost.into_iter().map(|(reason, n)| (reason, total(n)));
                add(&transaction, (project, ""), at.as_second(), lost).await?;
            }
            transaction.commit().await
        })
    }

    fn losses(&self, project: ProjectId, range: TimeRange) -> BoxFuture<'_, Vec<LossCount>> {
        Box::pin(async move {
            let losses = "SELECT minute, install_id, reason, n FROM losses
                          WHERE project = $1 AND minute >= $2 AND minute < $3";
            let minutes = minutes(range);
            let session = self.session().await?;
            session
                .all(losses, &[&project.0, &minutes.start, &minutes.end], |row| {
                    Ok(LossCount {
                        minute: Timestamp::from_second(row.try_get(0)?)?,
                        install_id: row.try_get(1)?,
                        reason: row.try_get(2)?,
                        n: row.try_get::<_, i64>(3)?.unsigned_abs(),
                    })
                })
                .await
        })
    }
}

fn total(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Returns what is new.
async fn save(
    transaction: &Transaction<'_>,
    report: &LossReport,
) -> Result<BTreeMap<String, u64>, StoreError> {
    // Nothing is stored for a project that has been removed.
    if !transaction.lock_project(report.project).await? {
        return Ok(BTreeMap::new());
    }
    let (project, now) = (report.project.0, report.at.as_second());
    let (install, process) = (&report.install_id, &report.process);
    let known: HashMap<String, i64> = transaction
        .all(
            "SELECT reason, total FROM loss_totals
             WHERE project = $1 AND install_id = $2 AND process = $3",
            &[&project, install, process],
            |row| Ok((row.try_get(0)?, row.try_get(1)?)),
        )
        .await?
        .into_iter()
        .collect();
    let (reasons, totals): (Vec<&str>, Vec<i64>) = report
        .totals
        .iter()
        .map(|(reason, n)| (reason.as_str(), total(*n)))
        .unzip();
    let new = reasons.iter().zip(&totals).filter_map(|(reason, total)| {
        let before = known.get(*reason).filter(|before| *before <= total);
        let new = total - before.unwrap_or(&0);
        (new > 0).then_some((*reason, new))
    });
    let new: Vec<(&str, i64)> = new.collect();
    transaction
        .execute(
            "INSERT INTO loss_totals (project, install_id, process, reason, total, seen)
             SELECT $1, $2, $3, reason, total, $6
             FROM unnest($4::text[], $5::bigint[]) AS reported (reason, total)
             ON CONFLICT (project, install_id, process, reason)
                 DO UPDATE SET total = excluded.total, seen = excluded.seen",
            &[&project, install, process, &reasons, &totals, &now],
        )
        .await?;
    let by = (report.project, install.as_str());
    add(transaction, by, now, new.iter().copied()).await?;
    let forget = "DELETE FROM losses WHERE project = $1 AND minute < $2";
    transaction
        .execute(forget, &[&project, &(now - LOSSES_KEPT)])
        .await?;
    let forget = "DELETE FROM loss_totals WHERE project = $1 AND seen < $2";
    transaction
        .execute(forget, &[&project, &(now - TOTALS_KEPT)])
        .await?;
    let new = new.into_iter();
    Ok(new
        .map(|(reason, n)| (reason.to_owned(), n.unsigned_abs()))
        .collect())
}

/// Adds losses to the minute of a time in seconds.
async fn add(
    transaction: &Transaction<'_>,
    (project, install_id): (ProjectId, &str),
    at: i64,
    lost: impl Iterator<Item = (&str, i64)>,
) -> Result<(), StoreError> {
    let (reasons, counts): (Vec<&str>, Vec<i64>) = lost.unzip();
    let minute = at.div_euclid(60) * 60;
    transaction
        .execute(
            "INSERT INTO losses (project, minute, install_id, reason, n)
             SELECT $1, $2, $3, reason, n FROM unnest($4::text[], $5::bigint[]) AS lost (reason, n)
             ON CONFLICT (project, minute, install_id, reason)
                 DO UPDATE SET n = losses.n + excluded.n",
            &[&project.0, &minute, &install_id, &reasons, &counts],
        )
        .await
        .map(drop)
}
