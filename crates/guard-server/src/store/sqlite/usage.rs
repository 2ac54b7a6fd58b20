//! How much room the data of a project takes.
//!
//! SQLite counts pages of the whole file. A project's share is that of the bytes of its records,
//! which are counted as they are stored and removed.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{Sqlite, telemetry};
use crate::projects::Usage;
use crate::store::{ProjectId, StoreError};

const MICROS_PER_DAY: i64 = 86_400_000_000;

impl Sqlite {
    pub(super) async fn usage(&self, project: ProjectId) -> Result<Usage, StoreError> {
        let now = Timestamp::now();
        self.blocking(move |readers| {
            let usage = readers.with(|connection| usage(connection, project, now))?;
            let disk = rustix::fs::statvfs(&readers.path).ok();
            Ok(Usage {
                free: disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
                ..usage
            })
        })
        .await
    }
}

fn usage(connection: &Connection, project: ProjectId, now: Timestamp) -> rusqlite::Result<Usage> {
    let used = telemetry::room(connection)?.used;
    let today = now.as_microsecond().div_euclid(MICROS_PER_DAY);
    connection
        .prepare_cached(
            "WITH own AS (SELECT day, added FROM usage WHERE project = ?1 AND added > 0),
                week AS (SELECT day, added FROM own WHERE day > (SELECT max(day) FROM own) - 7)
             SELECT max(total(added - removed) FILTER (WHERE project = ?1), 0.0),
                max(total(added - removed), 1.0),
                (SELECT total(added) FROM week),
                (SELECT 1.0 + ?2 - min(day) FROM week)
             FROM usage",
        )?
        .query_row(params![project.0, today], |row| {
            let (own, all, week): (f64, f64, f64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let days = row.get::<_, Option<f64>>(3)?.unwrap_or(1.0).max(1.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "the bytes of a file"
            )]
            let scaled = |estimate: f64| (estimate / all * used as f64) as u64;
            Ok(Usage {
                bytes: scaled(own),
                bytes_per_day: scaled(week / days),
                free: None,
            })
        })
}
