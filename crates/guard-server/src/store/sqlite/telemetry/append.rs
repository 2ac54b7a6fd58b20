//! Writes a prepared batch.

use std::collections::BTreeMap;

use guard_wire::Kind;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ToSql, params};

use super::super::projects;
use super::names::{IN_BODY, Names};
use super::prepare::{NewChunk, NewRow, Prepared, key_hash};
use super::rollups::{EventCounts, EventGroup, MetricGroup, MetricRollups};
use super::tallies::{self, Outcome};
use crate::store::{Column, Columns, KindCounts, NewRecord, Receipt, TextField};

/// Marks a number that only the body tells.
pub(super) const NUMBER_IN_BODY: i64 = -1;
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Roughly the bytes of a row with its share of the rollups.
pub(super) const ROW_BYTES: i64 = 120;

/// How a batch is written.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Appending {
    /// The most types with a name, of each kind.
    pub(in super::super) types: u32,
    /// Whether the records are counted. Records of an older file are counted already.
    pub(in super::super) is_counted: bool,
}

/// Writes a batch, and counts the records that were not stored before.
pub(in super::super) fn append(
    connection: &Connection,
    names: &mut Names,
    batch: &Prepared,
    how: Appending,
) -> rusqlite::Result<Receipt> {
    if projects::is_removed(connection, batch.project)? {
        // It was removed while this batch was on its way.
        return Ok(Receipt::default());
    }
    let mut writing = Writing {
        connection,
        names,
        batch,
        how,
        events: EventCounts::default(),
        metrics: MetricRollups::default(),
        stored: BTreeMap::new(),
        duplicates: KindCounts::default(),
        bytes: 0,
    };
    for chunk in &batch.chunks {
        writing.chunk(chunk)?;
    }
    writing.finish()
}

struct Writing<'a> {
    connection: &'a Connection,
    names: &'a mut Names,
    batch: &'a Prepared,
    how: Appending,
    events: EventCounts,
    metrics: MetricRollups,
    /// The new records by kind and type. Types beyond the limit are counted under no name.
    stored: BTreeMap<(u8, &'a str), u64>,
    duplicates: KindCounts,
    bytes: i64,
}

impl<'a> Writing<'a> {
    fn chunk(&mut self, chunk: &'a NewChunk) -> rusqlite::Result<()> {
        let project = self.batch.project.0;
        self.connection
            .prepare_cached(
                "INSERT INTO chunks (project, kind, received_at, live) VALUES (?1, ?2, ?3, 0)",
            )?
            .execute(params![
                project,
                kind_number(chunk.kind),
                self.batch.received_at
            ])?;
        let id = self.connection.last_insert_rowid();
        let mut insert = prepare_insert(self.connection, chunk.kind)?;
        let mut live = 0;
        for (position, row) in chunk.rows.iter().enumerate() {
            let is_new = match chunk.kind {
                Kind::Event => self.event(&mut insert, row, id, position)?,
                Kind::Metric => self.metric(&mut insert, row, id, position)?,
            };
            live += i64::from(is_new);
        }
        *self.duplicates.of_mut(chunk.kind) += chunk.rows.len() as u64 - live.unsigned_abs();
        if live == 0 {
            return self
                .connection
                .prepare_cached("DELETE FROM chunks WHERE id = ?1")?
                .execute([id])
                .map(drop);
        }
        self.bytes += live * ROW_BYTES + i64::try_from(chunk.data.len()).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached("UPDATE chunks SET live = ?2 WHERE id = ?1")?
            .execute([id, live])?;
        self.connection
            .prepare_cached("INSERT INTO bodies (id, data) VALUES (?1, ?2)")?
            .execute(params![id, chunk.data])
            .map(drop)
    }

    /// Returns whether the event was new.
    fn event(
        &mut self,
        insert: &mut CachedStatement<'_>,
        row: &'a NewRow,
        chunk: i64,
        position: usize,
    ) -> rusqlite::Result<bool> {
        let record = &row.record;
        let timestamp = record.timestamp.as_microsecond();
        let day = timestamp.div_euclid(MICROS_PER_DAY);
        let event_type = self.type_id(Kind::Event, record, day)?;
        let mut text = |field| self.text(field, &record.columns, day);
        let action = text(TextField::ActionTaken)?;
        let method = text(TextField::Method)?;
        let country = text(TextField::Country)?;
        let reason = text(TextField::Reason)?;
        let user_agent = text(TextField::UserAgent)?;
        let rule_type = text(TextField::RuleType)?;
        let decorator = text(TextField::DecoratorType)?;
        let handler = text(TextField::HandlerName)?;
        let pattern = text(TextField::PatternMatched)?;
        let endpoint = self.name(TextField::Endpoint, some(record.endpoint.as_deref()), day)?;
        let address = self.address(record.ip.as_deref(), day)?;
        let status = number(record.columns.status, IN_BODY);
        let response_time = match record.columns.response_time {
            Column::Absent => None,
            Column::Value(seconds) => Some(seconds),
            Column::InBody => Some(-1.0),
        };
        let install = self.install(day)?;
        let e = self.enrichment(&record.columns, day)?;
        let changed = insert.execute(params![
            self.batch.project.0,
            timestamp,
            row.key,
            chunk,
            i64::try_from(position).unwrap_or(i64::MAX),
            install,
            event_type,
            action,
            method,
            status,
            country,
            endpoint,
            address,
            reason,
            user_agent,
            response_time,
            rule_type,
            decorator,
            handler,
            pattern,
            e.score,
            e.rule,
            e.rule_version,
            e.service,
            e.environment,
            e.guard_project,
            e.recent,
            e.correlation,
            e.trace,
        ])?;
        if changed == 0 {
            return Ok(false);
        }
        let group = EventGroup::new(
            timestamp,
            [Some(event_type), action, method, status, country, endpoint],
        );
        let wide = [address, Address::name(reason), Address::name(user_agent)];
        self.events.add(group, wide, 1);
        self.count(Kind::Event, record, event_type);
        Ok(true)
    }

    /// Returns whether the metric was new.
    fn metric(
        &mut self,
        insert: &mut CachedStatement<'_>,
        row: &'a NewRow,
        chunk: i64,
        position: usize,
    ) -> rusqlite::Result<bool> {
        let record = &row.record;
        let timestamp = record.timestamp.as_microsecond();
        let day = timestamp.div_euclid(MICROS_PER_DAY);
        let metric_type = self.type_id(Kind::Metric, record, day)?;
        let method = self.text(TextField::Method, &record.columns, day)?;
        let endpoint = self.name(TextField::Endpoint, some(record.endpoint.as_deref()), day)?;
        let status = number(record.columns.status, IN_BODY);
        let install = self.install(day)?;
        let e = self.enrichment(&record.columns, day)?;
        let changed = insert.execute(params![
            self.batch.project.0,
            timestamp,
            row.key,
            chunk,
            i64::try_from(position).unwrap_or(i64::MAX),
            install,
            metric_type,
            endpoint,
            method,
            status,
            record.value,
            e.score,
            e.rule,
            e.rule_version,
            e.service,
            e.environment,
            e.guard_project,
            e.recent,
            e.correlation,
            e.trace,
        ])?;
        if changed == 0 {
            return Ok(false);
        }
        let group = MetricGroup::new(timestamp, metric_type, [endpoint, method, status]);
        self.metrics.add(group, record.value);
        self.count(Kind::Metric, record, metric_type);
        Ok(true)
    }

    fn count(&mut self, kind: Kind, record: &'a NewRecord, type_id: i64) {
        let name = if type_id == IN_BODY {
            tallies::OTHER
        } else {
            record.type_name.as_str()
        };
        *self.stored.entry((kind_number(kind), name)).or_default() += 1;
    }

    fn type_id(&mut self, kind: Kind, record: &NewRecord, day: i64) -> rusqlite::Result<i64> {
        let field = match kind {
            Kind::Event => TextField::EventType,
            Kind::Metric => TextField::MetricType,
        };
        let id = self.names.id_within(
            self.connection,
            (self.batch.project, field),
            Column::Value(&record.type_name),
            day,
            self.how.types as usize,
        )?;
        Ok(id.unwrap_or(IN_BODY))
    }

    fn text(
        &mut self,
        field: TextField,
        columns: &Columns,
        day: i64,
    ) -> rusqlite::Result<Option<i64>> {
        self.name(field, columns.text(field), day)
    }

    fn name(
        &mut self,
        field: TextField,
        text: Column<&str>,
        day: i64,
    ) -> rusqlite::Result<Option<i64>> {
        self.names
            .id(self.connection, self.batch.project, field, text, day)
    }

    fn install(&mut self, day: i64) -> rusqlite::Result<Option<i64>> {
        let install = some(self.batch.install_id.as_deref());
        self.name(TextField::InstallId, install, day)
    }

    fn address(&mut self, text: Option<&str>, day: i64) -> rusqlite::Result<Address> {
        let Some(text) = text else {
            return Ok(Address::Absent);
        };
        match text.parse::<std::net::IpAddr>() {
            // Another spelling of the same address must stay another text.
            Ok(address) if address.to_string() != text => Ok(Address::Name(IN_BODY)),
            Ok(std::net::IpAddr::V4(address)) => Ok(Address::V4(address.octets())),
            Ok(std::net::IpAddr::V6(address)) => Ok(Address::V6(address.octets())),
            Err(_) => {
                let id = self.name(TextField::Address, Column::Value(text), day)?;
                Ok(Address::Name(id.unwrap_or(IN_BODY)))
            }
        }
    }

    fn enrichment(&mut self, columns: &Columns, day: i64) -> rusqlite::Result<Enrichment> {
        Ok(Enrichment {
            score: number(columns.score, NUMBER_IN_BODY),
            rule: self.text(TextField::RuleId, columns, day)?,
            rule_version: number(columns.rule_version, NUMBER_IN_BODY),
            service: self.text(TextField::ServiceName, columns, day)?,
            environment: self.text(TextField::Environment, columns, day)?,
            guard_project: self.text(TextField::GuardProject, columns, day)?,
            recent: number(columns.recent, NUMBER_IN_BODY),
            correlation: hash(&columns.correlation),
            trace: hash(&columns.trace),
        })
    }

    fn finish(self) -> rusqlite::Result<Receipt> {
        let (connection, project) = (self.connection, self.batch.project);
        self.events.save(connection, project)?;
        self.metrics.save(connection, project)?;
        for kind in Kind::ALL {
            let number = kind_number(kind);
            let stored = self.stored.iter().filter(|((its, _), _)| *its == number);
            for ((_, name), n) in stored.filter(|_| self.how.is_counted) {
                tallies::add(connection, project, kind, Outcome::Stored(name), *n)?;
            }
            let (found, invalid) = (self.duplicates.of(kind), self.batch.invalid.of(kind));
            tallies::add(connection, project, kind, Outcome::Duplicate, found)?;
            tallies::add(connection, project, kind, Outcome::Invalid, invalid)?;
        }
        tallies::add_bytes(connection, project, self.batch.received_at, self.bytes)?;
        Ok(Receipt {
            duplicates: Some(self.duplicates),
        })
    }
}

struct Enrichment {
    score: Option<i64>,
    rule: Option<i64>,
    rule_version: Option<i64>,
    service: Option<i64>,
    environment: Option<i64>,
    guard_project: Option<i64>,
    recent: Option<i64>,
    correlation: Option<i64>,
    trace: Option<i64>,
}

fn some(text: Option<&str>) -> Column<&str> {
    text.map_or(Column::Absent, Column::Value)
}

fn number(column: Column<i64>, in_body: i64) -> Option<i64> {
    match column {
        Column::Absent => None,
        Column::Value(number) => Some(number),
        Column::InBody => Some(in_body),
    }
}

fn hash(column: &Column<String>) -> Option<i64> {
    match column {
        Column::Absent => None,
        Column::Value(text) => Some(key_hash(text)),
        Column::InBody => Some(IN_BODY),
    }
}

/// What the column `address` holds, or that of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Address {
    Absent,
    Name(i64),
    V4([u8; 4]),
    V6([u8; 16]),
}

impl Address {
    /// The value of a column with the id of a name.
    pub(super) fn name(id: Option<i64>) -> Self {
        id.map_or(Self::Absent, Self::Name)
    }

    /// Reads the column.
    pub(super) fn of(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Integer(id) => Self::Name(id),
            ValueRef::Blob(bytes) => match (bytes.try_into(), bytes.try_into()) {
                (Ok(bytes), _) => Self::V4(bytes),
                (_, Ok(bytes)) => Self::V6(bytes),
                _ => Self::Name(IN_BODY),
            },
            _ => Self::Absent,
        }
    }
}

impl ToSql for Address {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Absent => ToSqlOutput::from(rusqlite::types::Null),
            Self::Name(id) => ToSqlOutput::from(*id),
            Self::V4(bytes) => ToSqlOutput::from(bytes.as_slice()),
            Self::V6(bytes) => ToSqlOutput::from(bytes.as_slice()),
        })
    }
}

/// The number of a kind in `chunks`. It never changes.
pub(super) const fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::Event => 1,
        Kind::Metric => 2,
    }
}

fn prepare_insert(connection: &Connection, kind: Kind) -> rusqlite::Result<CachedStatement<'_>> {
    connection.prepare_cached(match kind {
        Kind::Event => {
            "INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
                ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29)
             ON CONFLICT DO NOTHING"
        }
        Kind::Metric => {
            "INSERT INTO metrics VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
                ?14, ?15, ?16, ?17, ?18, ?19, ?20)
             ON CONFLICT DO NOTHING"
        }
    })
}
