//! Counts of events by key: from rollups where they tell, else from rows.

use std::ops::ControlFlow;

use guard_wire::Kind;
use jiff::Timestamp;
use rusqlite::Connection;

use super::super::event_rollups::{HOUR, MINUTE};
use super::grouping::{GroupKey, Grouping, Names};
use super::rollup::{self, Part, Source};
use super::scan::{Order, Scan};
use crate::query::TimeRange;
use crate::query::buckets::Buckets;
use crate::query::filter::{Field, Filter, Node, Test};
use crate::query::series::{Series, SeriesCounter};
use crate::query::top::{Top, TopCounter, TopItem};
use crate::store::Selection;

const MICROS: i64 = 1_000_000;
/// The most keys of which the first and last event are looked up. Rollups do not have them.
const MAX_LOOKED_UP: usize = 50;

/// Counts the events of a selection in buckets.
pub(super) fn series(
    connection: &Connection,
    selection: &Selection,
    by: Option<Field>,
    buckets: &Buckets,
) -> rusqlite::Result<Series> {
    let snapshot = connection.unchecked_transaction()?;
    let source = Source::of(&selection.filter, by.as_ref());
    let groupings: Vec<_> = by
        .into_iter()
        .map(|by| Grouping::new(Kind::Event, by))
        .collect();
    let mut counter = SeriesCounter::new(buckets.starts.len());
    let counting = Counting {
        connection: &snapshot,
        selection,
        groupings: &groupings,
        source,
    };
    counting.run(&buckets.starts, |keys, n, at, _| {
        let bucket = Timestamp::from_microsecond(at).ok();
        let Some(bucket) = bucket.and_then(|at| buckets.index(at)) else {
            return;
        };
        match keys.first() {
            Some(key) => counter.add(key.clone(), bucket, n),
            None => counter.add_other(bucket, n),
        }
    })?;
    match groupings.first() {
        Some(grouping) => {
            let names = grouping.names(&snapshot, selection.project)?;
            counter.finish(|key| Ok(names.key(key)))
        }
        None => counter.finish(|_| Ok(None)),
    }
}

/// The most frequent keys of a selection.
pub(super) fn top(
    connection: &Connection,
    selection: &Selection,
    by: Vec<Field>,
    limit: usize,
) -> rusqlite::Result<Top> {
    let snapshot = connection.unchecked_transaction()?;
    let source = match &by[..] {
        [by] if limit <= MAX_LOOKED_UP => Source::of(&selection.filter, Some(by)),
        _ => None,
    };
    let groupings: Vec<_> = by
        .into_iter()
        .map(|by| Grouping::new(Kind::Event, by))
        .collect();
    let mut counter = TopCounter::default();
    let counting = Counting {
        connection: &snapshot,
        selection,
        groupings: &groupings,
        source,
    };
    let has_rollups = counting.run(&[], |keys, n, first, last| {
        counter.add(keys.to_vec(), n, first, last);
    })?;
    let names = groupings
        .iter()
        .map(|grouping| grouping.names(&snapshot, selection.project));
    let names = names.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut top = counter.finish(limit, |keys| {
        let keys = keys.into_iter().zip(&names);
        Ok::<_, rusqlite::Error>(keys.map(|(key, names)| names.key(key)).collect())
    })?;
    if let ([grouping], [names]) = (&groupings[..], &names[..])
        && has_rollups
    {
        for item in &mut top.items {
            look_up(&snapshot, selection, (grouping, names), item)?;
        }
    }
    Ok(top)
}

struct Counting<'a> {
    connection: &'a Connection,
    selection: &'a Selection,
    groupings: &'a [Grouping],
    source: Option<Source>,
}

impl Counting<'_> {
    /// Calls `add` with the keys, the number, and the times of the first and last of some events.
    /// Returns whether some times are only known to the span of a rollup.
    fn run(
        &self,
        starts: &[Timestamp],
        mut add: impl FnMut(&[GroupKey], u64, i64, i64),
    ) -> rusqlite::Result<bool> {
        let mut has_rollups = false;
        for part in rollup::parts(self.selection.range, self.source, starts) {
            match (part, self.source) {
                (Part::Rollups(span, range), Some(source)) => {
                    has_rollups = true;
                    self.rollups(source, span, range, &mut add)?;
                }
                (Part::Rows(range) | Part::Rollups(_, range), _) => {
                    self.rows(range, false, &mut add)?;
                }
            }
        }
        Ok(has_rollups)
    }

    fn rollups(
        &self,
        source: Source,
        span: i64,
        range: TimeRange,
        add: &mut impl FnMut(&[GroupKey], u64, i64, i64),
    ) -> rusqlite::Result<()> {
        let by = self.groupings.first();
        let part = (source, span, range);
        let unclear = rollup::each(self.connection, self.selection, part, by, |at, key, n| {
            let keys = [key];
            let keys = if by.is_some() { &keys[..] } else { &[] };
            add(keys, n, at, at + span * MICROS - 1);
        })?;
        for range in unclear {
            self.rows(range, true, add)?;
        }
        Ok(())
    }

    /// Counts rows one by one: all, or only those that rollups do not tell enough about.
    fn rows(
        &self,
        range: TimeRange,
        is_unclear: bool,
        add: &mut impl FnMut(&[GroupKey], u64, i64, i64),
    ) -> rusqlite::Result<()> {
        let selection = Selection {
            range,
            ..self.selection.clone()
        };
        let mut scan = Scan::new(self.connection, Kind::Event, &selection)?;
        if is_unclear {
            scan.only_unclear(self.groupings.first());
        }
        let columns: Vec<_> = self.groupings.iter().map(Grouping::column).collect();
        let mut keys = Vec::with_capacity(columns.len());
        scan.each(&columns, Order::Any, u32::MAX, |hit, reader| {
            keys.clear();
            for (at, grouping) in self.groupings.iter().enumerate() {
                keys.push(grouping.key(hit, at, reader)?);
            }
            add(&keys, 1, hit.place.timestamp, hit.place.timestamp);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(())
    }
}

/// Looks up the first and the last event of a key, which rollups know only to their span.
fn look_up(
    connection: &Connection,
    selection: &Selection,
    (grouping, names): (&Grouping, &Names),
    item: &mut TopItem,
) -> rusqlite::Result<()> {
    let wanted = item.key.first().cloned().flatten();
    let field = grouping.field.clone();
    let condition = match &wanted {
        Some(text) => Node::Field(field, Test::Equals(text.clone())),
        None => Node::Not(Box::new(Node::Field(field, Test::Present))),
    };
    let nodes = vec![condition, selection.filter.root.clone()];
    let filter = Filter {
        root: Node::All(nodes),
    };
    let filter = std::sync::Arc::new(filter);
    let within = |at: Timestamp, order| -> rusqlite::Result<Option<Timestamp>> {
        for span in [MINUTE, HOUR] {
            let range = around(at, span, selection.range);
            let selection = Selection {
                project: selection.project,
                range,
                filter: std::sync::Arc::clone(&filter),
            };
            let mut found = None;
            let scan = Scan::new(connection, Kind::Event, &selection)?;
            scan.each(&[grouping.column()], order, u32::MAX, |hit, reader| {
                // Other values may equal the key as well, such as a list with it.
                if names.key(grouping.key(hit, 0, reader)?) != wanted {
                    return Ok(ControlFlow::Continue(()));
                }
                found = Timestamp::from_microsecond(hit.place.timestamp).ok();
                Ok(ControlFlow::Break(()))
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    };
    if let Some(first) = within(item.first, Order::OldestFirst(None))? {
        item.first = first;
    }
    if let Some(last) = within(item.last, Order::NewestFirst(None))? {
        item.last = last;
    }
    Ok(())
}

/// The span that `at` is in, as far as it is in the range.
fn around(at: Timestamp, span: i64, range: TimeRange) -> TimeRange {
    let start = at.as_microsecond().div_euclid(span * MICROS) * span * MICROS;
    let time = |micros| Timestamp::from_microsecond(micros).unwrap_or(at);
    TimeRange {
        from: time(start).max(range.from),
        to: time(start + span * MICROS).min(range.to),
    }
}
