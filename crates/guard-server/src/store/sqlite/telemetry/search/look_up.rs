//! Looks up the first and the last event of a key, which rollups know only to their span.

use std::ops::ControlFlow;
use std::sync::Arc;

use guard_wire::Kind;
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::super::rollups::{HOUR, MINUTE};
use super::grouping::{Grouping, Names};
use super::rollup::Source;
use super::scan::{Order, Scan};
use crate::query::TimeRange;
use crate::query::filter::{Filter, Node, Test};
use crate::query::group::Key;
use crate::query::top::TopItem;
use crate::store::Selection;

const MICROS: i64 = 1_000_000;

pub(super) struct LookUp<'a> {
    connection: &'a Connection,
    selection: &'a Selection,
    source: Source,
    grouping: &'a Grouping,
    names: Names,
}

impl<'a> LookUp<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        selection: &'a Selection,
        source: Source,
        grouping: &'a Grouping,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            selection,
            source,
            grouping,
            names: grouping.names(connection, selection.project)?,
        })
    }

    /// Makes the times of all items exact.
    pub(super) fn all(&self, items: &mut [TopItem]) -> rusqlite::Result<()> {
        for item in items {
            let key = item.key.first().cloned().flatten();
            let filter = self.filter(&key);
            let first = self.search(&key, &filter, item.first, Order::OldestFirst(None))?;
            item.first = first.unwrap_or(item.first);
            let last = self.search(&key, &filter, item.last, Order::NewestFirst(None))?;
            item.last = last.unwrap_or(item.last);
        }
        Ok(())
    }

    /// The events of the selection that have the key.
    fn filter(&self, key: &Key) -> Arc<Filter> {
        let field = self.grouping.field.clone();
        let condition = match key {
            Some(text) => Node::Field(field, Test::Equals(text.clone())),
            None => Node::Not(Box::new(Node::Field(field, Test::Present))),
        };
        let nodes = vec![condition, self.selection.filter.root.clone()];
        Arc::new(Filter {
            root: Node::All(nodes),
        })
    }

    /// The first event of a key in `order`, near the time that a rollup tells. Most keys have one
    /// soon, so the search begins in a small range.
    fn search(
        &self,
        key: &Key,
        filter: &Arc<Filter>,
        at: Timestamp,
        order: Order,
    ) -> rusqlite::Result<Option<Timestamp>> {
        for span in [MINUTE, HOUR] {
            let found = self.within(key, filter, self.around(at, span), order)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        let longest = self.source.spans().first().copied().unwrap_or(HOUR);
        let mut hours = self.hours(key, self.around(at, longest))?;
        if matches!(order, Order::NewestFirst(_)) {
            hours.reverse();
        }
        for hour in hours {
            let range = self.around(hour, HOUR);
            let found = self.within(key, filter, range, order)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn within(
        &self,
        key: &Key,
        filter: &Arc<Filter>,
        range: TimeRange,
        order: Order,
    ) -> rusqlite::Result<Option<Timestamp>> {
        let selection = Selection {
            project: self.selection.project,
            range,
            filter: Arc::clone(filter),
        };
        let mut found = None;
        let scan = Scan::new(self.connection, Kind::Event, &selection)?;
        scan.each(&[self.grouping.column()], order, u32::MAX, |hit, reader| {
            // Other values may equal the key as well, such as a list with it.
            if self.names.key(self.grouping.key(hit, 0, reader)?) != *key {
                return Ok(ControlFlow::Continue(()));
            }
            found = Timestamp::from_microsecond(hit.place.timestamp).ok();
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// The hours of a range that may have events of the key.
    fn hours(&self, key: &Key, range: TimeRange) -> rusqlite::Result<Vec<Timestamp>> {
        let (from, to) = (range.from.as_second(), range.to.as_second());
        let first = from.div_euclid(HOUR) * HOUR;
        let starts = (first..=to).step_by(usize::try_from(HOUR).unwrap_or(usize::MAX));
        let value = self
            .grouping
            .in_rollup(self.connection, self.selection.project, key)?;
        let mut hours = Vec::new();
        for start in starts {
            let may_have = match self.source {
                Source::Counts(field) => self.is_counted(field, start, value.as_ref())?,
                Source::Groups => true,
            };
            if let Ok(start) = Timestamp::from_second(start)
                && may_have
                && start < range.to
            {
                hours.push(start);
            }
        }
        Ok(hours)
    }

    /// Whether an hour has events with the value, or with one that only the body tells.
    fn is_counted(&self, field: u8, start: i64, value: Option<&Value>) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM event_counts WHERE project = ?1 AND span = ?2
                    AND field = ?3 AND start = ?4 AND value IN (?5, ?6))",
            )?
            .query_row(
                params![
                    self.selection.project.0,
                    HOUR,
                    field,
                    start,
                    value,
                    self.grouping.in_body()
                ],
                |row| row.get(0),
            )
    }

    /// The span that `at` is in, as far as it is in the selection's range.
    fn around(&self, at: Timestamp, span: i64) -> TimeRange {
        let start = at.as_microsecond().div_euclid(span * MICROS) * span * MICROS;
        let time = |micros| Timestamp::from_microsecond(micros).unwrap_or(at);
        let range = self.selection.range;
        TimeRange {
            from: time(start).max(range.from),
            to: time(start + span * MICROS).min(range.to),
        }
    }
}
