//! How much room the data of a project takes.
//!
//! SQLite counts pages of the whole file. A project's share is that of its records.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{Sqlite, timestamp};
use crate::projects::Usage;
use crate::store::{ProjectId, StoreError};

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
    let pages = "SELECT (page_count - freelist_count) * page_size
         FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    let all: i64 = connection.query_row(pages, [], |row| row.get(0))?;
    let share = "SELECT CAST(?2 * total(n) FILTER (WHERE project_id = ?1) / max(total(n), 1)
             AS INTEGER)
         FROM tallies WHERE outcome = 'stored'";
    let bytes: i64 = connection.query_row(share, params![project.0, all], |row| row.get(0))?;
    let created = connection.query_row(
        "SELECT created_at FROM projects WHERE id = ?1",
        [project.0],
        |row| timestamp(row, 0),
    )?;
    let days = now.duration_since(created).as_hours().max(24) / 24;
    Ok(Usage {
        bytes: u64::try_from(bytes).unwrap_or(0),
        bytes_per_day: u64::try_from(bytes / days).unwrap_or(0),
        free: None,
    })
}
