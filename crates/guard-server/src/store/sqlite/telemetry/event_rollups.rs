//! The counts of events per minute and hour.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};

use super::append::Address;
use crate::store::{ProjectId, TextField};

const MICROS: i64 = 1_000_000;
/// The spans of rollups, in seconds.
pub(super) const MINUTE: i64 = 60;
pub(super) const HOUR: i64 = 3600;
/// Stands for a missing value, because a key cannot be NULL.
pub(super) const ABSENT: i64 = -1;
/// The number of `status` among the fields of `event_counts`.
pub(super) const STATUS: u8 = 19;
/// The number of `address` among the fields of `event_counts`.
pub(super) const ADDRESS: u8 = 20;
/// The fields by which events are counted per minute, in the order of a group's values.
const FIELDS: [u8; 6] = [
    TextField::EventType as u8,
    TextField::ActionTaken as u8,
    TextField::Method as u8,
    STATUS,
    TextField::Country as u8,
    TextField::Endpoint as u8,
];

/// The condition for one row of `event_hours`.
const GROUP: &str = "project = ?1 AND start = ?2 AND type = ?3 AND action = ?4 AND method = ?5
    AND status = ?6 AND country = ?7 AND endpoint = ?8";

/// The start of the span that contains `timestamp`, in seconds.
pub(super) const fn start(timestamp: i64, span: i64) -> i64 {
    timestamp.div_euclid(span * MICROS) * span
}

/// Events of one minute that have all counted fields in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EventGroup {
    minute: i64,
    values: [i64; FIELDS.len()],
}

impl EventGroup {
    /// The group of an event with this timestamp and these values.
    pub(super) fn new(timestamp: i64, values: [Option<i64>; FIELDS.len()]) -> Self {
        Self {
            minute: start(timestamp, MINUTE),
            values: values.map(|value| value.unwrap_or(ABSENT)),
        }
    }

    const fn hour(&self) -> i64 {
        self.minute.div_euclid(HOUR) * HOUR
    }
}

/// Counts to add to those stored; negative for events that are removed.
#[derive(Debug, Default)]
pub(super) struct EventCounts {
    groups: HashMap<EventGroup, i64>,
    addresses: HashMap<(i64, Address), i64>,
}

impl EventCounts {
    pub(super) fn add(&mut self, group: EventGroup, address: Address, n: i64) {
        *self.groups.entry(group).or_default() += n;
        let address = match address {
            Address::Absent => Address::Name(ABSENT),
            address => address,
        };
        *self.addresses.entry((group.hour(), address)).or_default() += n;
    }

    /// Adds the counts to those stored. Counts that become 0 are removed.
    pub(super) fn save(&self, connection: &Connection, project: ProjectId) -> rusqlite::Result<()> {
        // In the order of the keys, so that neighbours are written together.
        let mut minutes = BTreeMap::<_, i64>::new();
        let mut hours = BTreeMap::<_, i64>::new();
        for (group, n) in &self.groups {
            for (field, value) in FIELDS.into_iter().zip(group.values) {
                *minutes.entry((field, group.minute, value)).or_default() += n;
            }
            *hours.entry((group.hour(), group.values)).or_default() += n;
        }
        let mut by_hour = BTreeMap::<_, i64>::new();
        for ((field, minute, value), n) in &minutes {
            let hour = minute.div_euclid(HOUR) * HOUR;
            *by_hour.entry((*field, hour, *value)).or_default() += n;
        }
        for ((field, start, value), n) in minutes {
            let value = Address::Name(value);
            add_count(connection, project, (MINUTE, field, start, value), n)?;
        }
        for ((field, start, value), n) in by_hour {
            let value = Address::Name(value);
            add_count(connection, project, (HOUR, field, start, value), n)?;
        }
        let addresses: BTreeMap<_, _> = self.addresses.iter().collect();
        for ((start, address), n) in addresses {
            add_count(connection, project, (HOUR, ADDRESS, *start, *address), *n)?;
        }
        for ((start, values), n) in hours {
            add_group(connection, project, start, values, n)?;
        }
        Ok(())
    }
}

fn add_count(
    connection: &Connection,
    project: ProjectId,
    (span, field, start, value): (i64, u8, i64, Address),
    n: i64,
) -> rusqlite::Result<()> {
    if n > 0 {
        return connection
            .prepare_cached(
                "INSERT INTO event_counts (project, span, field, start, value, n)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET n = n + excluded.n",
            )?
            .execute(params![project.0, span, field, start, value, n])
            .map(drop);
    }
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

fn add_group(
    connection: &Connection,
    project: ProjectId,
    start: i64,
    [event_type, action, method, status, country, endpoint]: [i64; FIELDS.len()],
    n: i64,
) -> rusqlite::Result<()> {
    let values = params![
        project.0, start, event_type, action, method, status, country, endpoint, n
    ];
    if n > 0 {
        return connection
            .prepare_cached(
                "INSERT INTO event_hours VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT DO UPDATE SET n = n + excluded.n",
            )?
            .execute(values)
            .map(drop);
    }
    connection
        .prepare_cached(&format!("UPDATE event_hours SET n = n + ?9 WHERE {GROUP}"))?
        .execute(values)?;
    connection
        .prepare_cached(&format!("DELETE FROM event_hours WHERE {GROUP} AND n <= 0"))?
        .execute(&values[..values.len() - 1])
        .map(drop)
}
