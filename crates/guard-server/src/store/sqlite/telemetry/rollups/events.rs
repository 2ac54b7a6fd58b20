//! The counts of events per minute, hour, quarter of a day and day.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};

use super::super::append::Address;
use super::minutes::{self, Counts};
use super::{ABSENT, DAY, HOUR, MINUTE, QUARTER, start};
use crate::store::{ProjectId, TextField};

/// The number of `status` among the fields of `event_counts`.
pub(in super::super) const STATUS: u8 = 19;
/// The number of `address` among the fields of `event_counts`.
pub(in super::super) const ADDRESS: u8 = 20;
/// The fields by which events are counted per minute and hour, in the order of a group's values.
pub(super) const FIELDS: [u8; 6] = [
    TextField::EventType as u8,
    TextField::ActionTaken as u8,
    TextField::Method as u8,
    STATUS,
    TextField::Country as u8,
    TextField::Endpoint as u8,
];

/// The fields with so many values that they are counted per hour and day only.
pub(in super::super) const WIDE: [u8; 3] =
    [ADDRESS, TextField::Reason as u8, TextField::UserAgent as u8];
/// The tables of the events that have all of [`FIELDS`] in common, with their spans.
pub(in super::super) const GROUPS: [(i64, &str); 2] =
    [(HOUR, "event_hours"), (QUARTER, "event_quarters")];

/// The condition for one row of a table of [`GROUPS`].
const GROUP: &str = "project = ?1 AND start = ?2 AND type = ?3 AND action = ?4 AND method = ?5
    AND status = ?6 AND country = ?7 AND endpoint = ?8";

/// Events of one minute that have all counted fields in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) struct EventGroup {
    minute: i64,
    values: [i64; FIELDS.len()],
}

impl EventGroup {
    /// The group of an event with this timestamp and these values.
    pub(in super::super) fn new(timestamp: i64, values: [Option<i64>; FIELDS.len()]) -> Self {
        Self {
            minute: start(timestamp, MINUTE),
            values: values.map(|value| value.unwrap_or(ABSENT)),
        }
    }

    const fn start(&self, span: i64) -> i64 {
        self.minute.div_euclid(span) * span
    }
}

/// Counts to add to those stored; negative for events that are removed.
#[derive(Debug, Default)]
pub(in super::super) struct EventCounts {
    groups: HashMap<EventGroup, i64>,
    /// By field, hour and value.
    wide: HashMap<(u8, i64, Address), i64>,
}

impl EventCounts {
    /// Adds `n` events of a group. `wide` are their values of the fields [`WIDE`].
    pub(in super::super) fn add(&mut self, group: EventGroup, wide: [Address; WIDE.len()], n: i64) {
        *self.groups.entry(group).or_default() += n;
        for (field, value) in WIDE.into_iter().zip(wide) {
            let value = match value {
                Address::Absent => Address::Name(ABSENT),
                value => value,
            };
            let count = self.wide.entry((field, group.start(HOUR), value));
            *count.or_default() += n;
        }
    }

    /// Adds the counts to those stored. Counts that become 0 are removed.
    pub(in super::super) fn save(
        &self,
        connection: &Connection,
        project: ProjectId,
    ) -> rusqlite::Result<()> {
        // In the order of the keys, so that neighbours are written together.
        let mut minutes = BTreeMap::<_, Counts>::new();
        let mut counts = BTreeMap::<_, i64>::new();
        for (group, n) in &self.groups {
            let minute = minutes.entry(group.minute).or_default();
            for (field, value) in FIELDS.into_iter().zip(group.values) {
                *minute.entry((field, value)).or_default() += n;
                let key = (HOUR, field, group.start(HOUR), Address::Name(value));
                *counts.entry(key).or_default() += n;
            }
        }
        for ((field, hour, value), n) in &self.wide {
            for span in [HOUR, DAY] {
                let key = (span, *field, hour.div_euclid(span) * span, *value);
                *counts.entry(key).or_default() += n;
            }
        }
        minutes::add(connection, project, &minutes)?;
        let mut add = connection.prepare_cached(
            "INSERT INTO event_counts (project, span, field, start, value, n)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET n = n + excluded.n",
        )?;
        for (key, n) in counts {
            let (span, field, start, value) = key;
            if n > 0 {
                add.execute(params![project.0, span, field, start, value, n])?;
            } else {
                subtract_count(connection, project, key, n)?;
            }
        }
        for (span, table) in GROUPS {
            self.save_groups(connection, project, span, table)?;
        }
        Ok(())
    }

    fn save_groups(
        &self,
        connection: &Connection,
        project: ProjectId,
        span: i64,
        table: &str,
    ) -> rusqlite::Result<()> {
        let mut groups = BTreeMap::<_, i64>::new();
        for (group, n) in &self.groups {
            let key = (group.start(span), group.values);
            *groups.entry(key).or_default() += n;
        }
        let mut add = connection.prepare_cached(&format!(
            "INSERT INTO {table} VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT DO UPDATE SET n = n + excluded.n"
        ))?;
        for ((start, values), n) in groups {
            let [event_type, action, method, status, country, endpoint] = values;
            let row = params![
                project.0, start, event_type, action, method, status, country, endpoint, n
            ];
            if n > 0 {
                add.execute(row)?;
                continue;
            }
            connection
                .prepare_cached(&format!("UPDATE {table} SET n = n + ?9 WHERE {GROUP}"))?
                .execute(row)?;
            connection
                .prepare_cached(&format!("DELETE FROM {table} WHERE {GROUP} AND n <= 0"))?
                .execute(&row[..row.len() - 1])?;
        }
        Ok(())
    }
}

/// Subtracts from a count, and removes it if it becomes 0.
fn subtract_count(
    connection: &Connection,
    project: ProjectId,
    (span, field, start, value): (i64, u8, i64, Address),
    n: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE event_counts SET n = n + ?6
             WHERE project = ?1 AND span = ?2 AND field = ?3 AND start = ?4 AND value = ?5",
        )?
        .execute(params![project.0, span, field, start, value, n])?;
    connection
        .prepare_cached(
            "DELETE FROM event_counts WHERE project = ?1 AND span = ?2 AND field = ?3
             AND start = ?4 AND value = ?5 AND n <= 0",
        )?
        .execute(params![project.0, span, field, start, value])
        .map(drop)
}
