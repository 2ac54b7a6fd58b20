//! The rows that match a filter, one by one.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use guard_wire::Kind;
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use serde_json::Map;

use super::super::bodies::Bodies;
use super::super::records::Place;
use super::columns::is_told;
use super::condition::{Compiler, Condition};
use super::grouping::Grouping;
use super::presence;
use crate::query::TimeRange;
use crate::query::filter::{Field, Filter, Needles, Subject};
use crate::query::group::{Key, key_of};
use crate::store::{ProjectId, Selection, TextField};

/// The columns that every scan reads, before those that it is asked for.
const FIXED: usize = 5;

/// The places of the range among the parameters.
const FROM: usize = 1;
const TO: usize = 2;

/// A search for the rows of a selection.
pub(super) struct Scan<'a> {
    pub(super) connection: &'a Connection,
    pub(super) kind: Kind,
    pub(super) selection: &'a Selection,
    condition: Condition,
    params: Vec<Value>,
    /// The parts of the range that may have such rows, in the order of time.
    ranges: Vec<TimeRange>,
    /// Reads only one of so many chunks.
    every: i64,
}

/// Which rows, and in what order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// As the table has them: by time.
    Any,
    /// The newest first, after a place.
    NewestFirst(Option<Place>),
    /// The oldest first, after a place.
    OldestFirst(Option<Place>),
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        kind: Kind,
        selection: &'a Selection,
    ) -> rusqlite::Result<Self> {
        let range = selection.range;
        let mut compiler = Compiler {
            connection,
            project: selection.project,
            kind,
            is_rollup: false,
            params: vec![
                selection.project.0.into(),
                range.from.as_microsecond().into(),
                range.to.as_microsecond().into(),
            ],
        };
        let condition = compiler.filter(&selection.filter)?;
        Ok(Self {
            connection,
            kind,
            selection,
            condition,
            params: compiler.params,
            ranges: presence::ranges(connection, kind, selection)?,
            every: 1,
        })
    }

    /// Only the records of one of `every` chunks. Chunk numbers are consecutive and
    /// kinds alternate, so a hash chooses them.
    pub(super) const fn sample(&mut self, every: i64) {
        self.every = every;
    }

    /// How many bodies it reads, at most.
    pub(super) fn bodies(&self, by: &[Grouping]) -> rusqlite::Result<i64> {
        let Condition { maybe, surely } = &self.condition;
        let unclear = if by.iter().any(Grouping::is_in_body) {
            maybe.clone()
        } else {
            format!("{maybe} AND NOT {surely}")
        };
        let sql = format!(
            "SELECT count(*) FROM {} WHERE project = ?1 AND timestamp >= ?2 AND timestamp < ?3
             AND {unclear}",
            self.kind.key()
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut bodies = 0;
        for range in &self.ranges {
            let mut params = self.params.clone();
            params[FROM] = range.from.as_microsecond().into();
            params[TO] = range.to.as_microsecond().into();
            bodies += statement.query_row(params_from_iter(params), |row| row.get::<_, i64>(0))?;
        }
        Ok(bodies)
    }

    /// Whether the bodies of most records decide whether they match, or which key they have.
    pub(super) fn needs_bodies(&self, by: &[Grouping]) -> bool {
        by.iter().any(Grouping::is_in_body) || !is_told(self.kind, &self.selection.filter.root)
    }

    /// Only rows about which rollups do not tell enough: whether they match, or which key they have.
    pub(super) fn only_unclear(&mut self, by: Option<&Grouping>) {
        let Condition { maybe, surely } = &mut self.condition;
        let key = by.map(|by| format!(" OR ifnull({} = {}, 0)", by.column(), by.in_body()));
        *maybe = format!("{maybe} AND (NOT {surely}{})", key.unwrap_or_default());
    }

    /// The SQL and its parameters.
    pub(super) fn sql(&self, columns: &[&str], order: Order) -> (String, Vec<Value>) {
        let mut params = self.params.clone();
        let [from, to] = [FROM, TO].map(|at| integer(&params[at]));
        // The range ends at the place, which limits the search. SQLite would take only one of two
        // limits, and not see one in the comparison of the triple.
        match order {
            Order::NewestFirst(Some(place)) => {
                params[TO] = to.min(place.timestamp.saturating_add(1)).into();
            }
            Order::OldestFirst(Some(place)) => params[FROM] = from.max(place.timestamp).into(),
            _ => {}
        }
        let mut after = |sign: &str, place: Place| {
            let first = params.len() + 1;
            params.extend([place.timestamp, place.chunk, place.position].map(Value::from));
            format!(
                " AND (timestamp, chunk, position) {sign} (?{first}, ?{}, ?{})",
                first + 1,
                first + 2
            )
        };
        let (after, order) = match order {
            Order::Any => (String::new(), ""),
            Order::NewestFirst(place) => (
                place.map(|place| after("<", place)).unwrap_or_default(),
                " ORDER BY timestamp DESC, chunk DESC, position DESC",
            ),
            Order::OldestFirst(place) => (
                place.map(|place| after(">", place)).unwrap_or_default(),
                " ORDER BY timestamp, chunk, position",
            ),
        };
        let after = if self.every > 1 {
            let hash = "((chunk & 2147483647) * 2654435761 & 4294967295) >> 8";
            format!("{after} AND ({hash}) % {} = 0", self.every)
        } else {
            after
        };
        let table = self.kind.key();
        let Condition { maybe, surely } = &self.condition;
        let columns: String = columns.iter().map(|column| format!(", {column}")).collect();
        let sql = format!(
            "SELECT timestamp, chunk, position, install, {surely}{columns} FROM {table}
             WHERE project = ?1 AND timestamp >= ?2 AND timestamp < ?3 AND {maybe}{after}{order}"
        );
        (sql, params)
    }

    /// Calls `visit` with each row that matches, until it breaks. `compare` limits how many bodies
    /// are read to decide that; the place at which it was reached is returned.
    pub(super) fn each(
        &self,
        columns: &[&str],
        order: Order,
        compare: u32,
        mut visit: impl FnMut(&Hit<'_>, &mut Reader<'a>) -> rusqlite::Result<ControlFlow<()>>,
    ) -> rusqlite::Result<Option<Place>> {
        let (sql, params) = self.sql(columns, order);
        let mut statement = self.connection.prepare(&sql)?;
        let mut reader = Reader::new(self.connection, self.selection.project)?;
        let needles = Needles::of(&self.selection.filter);
        let mut left = compare;
        let ranges: &mut dyn Iterator<Item = &TimeRange> = match order {
            Order::NewestFirst(_) => &mut self.ranges.iter().rev(),
            _ => &mut self.ranges.iter(),
        };
        for range in ranges {
            let mut params = params.clone();
            let (from, to) = (integer(&params[FROM]), integer(&params[TO]));
            params[FROM] = from.max(range.from.as_microsecond()).into();
            params[TO] = to.min(range.to.as_microsecond()).into();
            let mut rows = statement.query(params_from_iter(params))?;
            while let Some(row) = rows.next()? {
                let hit = Hit::new(row)?;
                if !row.get::<_, bool>(FIXED - 1)? {
                    if left == 0 {
                        return Ok(Some(hit.place));
                    }
                    left -= 1;
                    if !reader.matches(&self.selection.filter, &needles, &hit)? {
                        continue;
                    }
                }
                if visit(&hit, &mut reader)?.is_break() {
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }
}

const fn integer(value: &Value) -> i64 {
    match value {
        Value::Integer(number) => *number,
        _ => 0,
    }
}

/// A row that matches.
pub(super) struct Hit<'r> {
    row: &'r Row<'r>,
    pub(super) place: Place,
    pub(super) install: Option<i64>,
}

impl<'r> Hit<'r> {
    fn new(row: &'r Row<'r>) -> rusqlite::Result<Self> {
        Ok(Self {
            row,
            place: Place {
                timestamp: row.get(0)?,
                chunk: row.get(1)?,
                position: row.get(2)?,
            },
            install: row.get(3)?,
        })
    }

    /// The value of a column that was asked for, by its place among them.
    pub(super) fn column(&self, at: usize) -> rusqlite::Result<rusqlite::types::ValueRef<'_>> {
        self.row.get_ref(FIXED + at)
    }
}

/// Reads bodies, and the names of installs.
pub(super) struct Reader<'a> {
    connection: &'a Connection,
    project: ProjectId,
    bodies: Bodies<'a>,
    keys: u32,
    installs: HashMap<i64, Option<Rc<str>>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(connection: &'a Connection, project: ProjectId) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            project,
            bodies: Bodies::new(connection)?,
            keys: 0,
            installs: HashMap::new(),
        })
    }

    pub(super) const fn bodies(&mut self) -> &mut Bodies<'a> {
        &mut self.bodies
    }

    fn matches(
        &mut self,
        filter: &Filter,
        needles: &Needles<'_>,
        hit: &Hit<'_>,
    ) -> rusqlite::Result<bool> {
        if !needles.may_be_in(self.body(hit)?) {
            return Ok(false);
        }
        self.with_subject(hit, |subject| filter.matches(subject))
    }

    /// The key of a record for a field that only the body tells.
    pub(super) fn key(&mut self, field: &Field, hit: &Hit<'_>) -> rusqlite::Result<Key> {
        self.keys = self.keys.saturating_add(1);
        self.with_subject(hit, |subject| key_of(field, subject))
    }

    /// How many keys it read from bodies.
    pub(super) const fn keys(&self) -> u32 {
        self.keys
    }

    fn body(&mut self, hit: &Hit<'_>) -> rusqlite::Result<&str> {
        let position = usize::try_from(hit.place.position).unwrap_or(usize::MAX);
        self.bodies.body(hit.place.chunk, position)
    }

    fn with_subject<T>(
        &mut self,
        hit: &Hit<'_>,
        ask: impl FnOnce(Subject<'_>) -> T,
    ) -> rusqlite::Result<T> {
        let install = self.install(hit.install)?;
        let body = self.body(hit)?;
        let body = serde_json::from_str::<Map<_, _>>(body).unwrap_or_default();
        Ok(ask(Subject {
            body: &body,
            timestamp: Timestamp::from_microsecond(hit.place.timestamp).ok(),
            install_id: install.as_deref(),
        }))
    }

    /// The install of a row. One beyond the limit of names is not known.
    pub(super) fn install(&mut self, id: Option<i64>) -> rusqlite::Result<Option<Rc<str>>> {
        let Some(id) = id else { return Ok(None) };
        if let Some(known) = self.installs.get(&id) {
            return Ok(known.clone());
        }
        let text = self
            .connection
            .prepare_cached("SELECT text FROM names WHERE project = ?1 AND field = ?2 AND id = ?3")?
            .query_row(
                params![self.project.0, TextField::InstallId as u8, id],
                |row| row.get::<_, String>(0),
            )
            .optional()?;
        let text = text.map(Rc::from);
        self.installs.insert(id, text.clone());
        Ok(text)
    }
}
