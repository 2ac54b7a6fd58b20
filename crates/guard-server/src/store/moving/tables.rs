//! The tables that are copied.

use rusqlite::types::Value;

use crate::store::{Sqlite, StoreError};

/// The tables of control data. A table follows those that it refers to.
///
/// The positions up to which alerts were evaluated are not among them: they belong to the order of
/// arrival in the file. Alerts continue with what arrives after the move.
pub(super) const TABLES: &[&str] = &[
    "projects",
    "api_keys",
    "refusals",
    "views",
    "people",
    "sessions",
    "setup_links",
    "tokens",
    "audit",
    "rule_versions",
    "rule_drafts",
    "rule_followers",
    "agent_status",
    "loss_totals",
    "losses",
    "channels",
    "alerts",
    "alert_defaults",
    "alert_states",
    "alert_seen",
    "alert_history",
    "alert_outbox",
];

/// The columns that PostgreSQL counts up, which continue after the copied rows.
pub(super) const IDENTITIES: &[(&str, &str)] = &[
    ("projects", "id"),
    ("audit", "id"),
    ("alert_seen", "id"),
    ("alert_history", "id"),
    ("alert_outbox", "seq"),
];

/// A table in memory.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Value>>,
}

impl Table {
    /// Reads these columns of a table.
    pub(super) async fn read(
        from: &Sqlite,
        name: &'static str,
        columns: Vec<String>,
    ) -> Result<Self, StoreError> {
        let select = format!("SELECT {} FROM {name}", columns.join(", "));
        let width = columns.len();
        let read = from.read(move |connection| {
            let mut statement = connection.prepare(&select)?;
            let rows = statement.query_map([], |row| (0..width).map(|at| row.get(at)).collect())?;
            rows.collect()
        });
        let rows = read.await?;
        Ok(Self {
            name,
            columns,
            rows,
        })
    }
}

/// What tells this file from another one: the random numbers that its projects got when they were made.
pub(super) async fn origin(from: &Sqlite) -> Result<String, StoreError> {
    let find = "SELECT coalesce(min(project), 0) || ':' || coalesce(min(identity), 0) FROM
        (SELECT project, identity FROM arrivals ORDER BY project LIMIT 1)";
    from.read(move |connection| connection.query_row(find, [], |row| row.get(0)))
        .await
}
