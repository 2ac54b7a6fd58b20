//! Counts of events by key: from rollups where they tell, else from rows.

use std::ops::ControlFlow;

use guard_wire::Kind;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::super::rollups::HOUR;
use super::grouping::{GroupKey, Grouping};
use super::look_up::LookUp;
use super::rollup::{self, Part, Source};
use super::scan::{Order, Scan};
use crate::query::TimeRange;
use crate::query::buckets::Buckets;
use crate::query::filter::Field;
use crate::query::series::{Series, SeriesCounter};
use crate::query::top::{Top, TopCounter};
use crate::store::{Selection, TextField};

const MICROS: i64 = 1_000_000;
/// The most bodies that are read to count events. If it takes more, some of the chunks stand for all,
/// and the answer says that it is approximate.
pub(super) const MAX_BODIES: u32 = 400_000;
/// The most keys of which the first and last event are looked up. Rollups do not have them.
const MAX_LOOKED_UP: usize = 50;

/// Counts the events of a selection in buckets.
pub(super) fn series(
    connection: &Connection,
    selection: &Selection,
    by: Option<Field>,
    buckets: &Buckets,
    bodies: u32,
) -> rusqlite::Result<Series> {
    let snapshot = connection.unchecked_transaction()?;
    let source = Source::of(&selection.filter, by.as_ref());
    let groupings: Vec<_> = by
        .into_iter()
        .map(|by| Grouping::new(Kind::Event, by))
        .collect();
    let mut counter = SeriesCounter::new(buckets.starts.len());
    let counting = Counting::new(&snapshot, selection, &groupings, source, bodies)?;
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
    let mut series = match groupings.first() {
        Some(grouping) => {
            let names = grouping.names(&snapshot, selection.project)?;
            counter.finish(|key| Ok::<_, rusqlite::Error>(names.key(key)))
        }
        None => counter.finish(|_| Ok(None)),
    }?;
    series.is_approximate |= counting.every > 1;
    Ok(series)
}

/// The most frequent keys of a selection.
pub(super) fn top(
    connection: &Connection,
    selection: &Selection,
    by: Vec<Field>,
    limit: usize,
    bodies: u32,
) -> rusqlite::Result<Top> {
    let snapshot = connection.unchecked_transaction()?;
    let source = match &by[..] {
        [by] => Source::of(&selection.filter, Some(by)),
        _ => None,
    };
    let groupings: Vec<_> = by
        .into_iter()
        .map(|by| Grouping::new(Kind::Event, by))
        .collect();
    let counting = Counting::new(&snapshot, selection, &groupings, source, bodies)?;
    let (mut top, times) = counting.top(limit)?;
    match (times, source, &groupings[..]) {
        (Times::OfRollups, Some(source), [grouping]) if top.items.len() <= MAX_LOOKED_UP => {
            LookUp::new(&snapshot, selection, source, grouping)?.all(&mut top.items)?;
        }
        (Times::OfRollups, ..) => {
            let rows = Counting {
                source: None,
                ..counting
            };
            (top, _) = rows.top(limit)?;
        }
        (Times::OfRows, ..) => {}
    }
    Ok(top)
}

/// How exact the times of the first and the last event are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    OfRows,
    /// Some are known only to the span of a rollup.
    OfRollups,
}

struct Counting<'a> {
    connection: &'a Connection,
    selection: &'a Selection,
    groupings: &'a [Grouping],
    source: Option<Source>,
    /// One of so many chunks stands for all.
    every: i64,
}

impl<'a> Counting<'a> {
    fn new(
        connection: &'a Connection,
        selection: &'a Selection,
        groupings: &'a [Grouping],
        source: Option<Source>,
        bodies: u32,
    ) -> rusqlite::Result<Self> {
        let mut counting = Self {
            connection,
            selection,
            groupings,
            source,
            every: 1,
        };
        let most = i64::from(bodies.max(1));
        if source.is_none() && counting.events()? > most {
            let scan = Scan::new(connection, Kind::Event, selection)?;
            counting.every = scan.bodies(groupings)?.div_euclid(most) + 1;
        }
        Ok(counting)
    }

    /// How many events there are in the range, or a little more.
    fn events(&self) -> rusqlite::Result<i64> {
        let range = self.selection.range;
        let first = range.from.as_second().div_euclid(HOUR) * HOUR;
        self.connection
            .prepare_cached(
                "SELECT total(n) FROM event_counts WHERE project = ?1 AND span = ?2 AND field = ?3
                 AND start >= ?4 AND start <= ?5",
            )?
            .query_row(
                params![
                    self.selection.project.0,
                    HOUR,
                    TextField::EventType as u8,
                    first,
                    range.to.as_second()
                ],
                |row| {
                    #[expect(clippy::cast_possible_truncation, reason = "a number of events")]
                    row.get::<_, f64>(0).map(|total| total as i64)
                },
            )
    }

    /// The most frequent keys.
    fn top(&self, limit: usize) -> rusqlite::Result<(Top, Times)> {
        let mut counter = TopCounter::default();
        let times = self.run(&[], |keys, n, first, last| {
            counter.add(keys.to_vec(), n, first, last);
        })?;
        let names = self
            .groupings
            .iter()
            .map(|grouping| grouping.names(self.connection, self.selection.project));
        let names = names.collect::<rusqlite::Result<Vec<_>>>()?;
        let mut top = counter.finish(limit, |keys| {
            let keys = keys.into_iter().zip(&names);
            Ok::<_, rusqlite::Error>(keys.map(|(key, names)| names.key(key)).collect())
        })?;
        top.is_approximate |= self.every > 1;
        Ok((top, times))
    }

    /// Calls `add` with the keys, the number, and the times of the first and last of some events.
    fn run(
        &self,
        starts: &[Timestamp],
        mut add: impl FnMut(&[GroupKey], u64, i64, i64),
    ) -> rusqlite::Result<Times> {
        let mut times = Times::OfRows;
        for part in rollup::parts(self.selection.range, self.source, starts) {
            match (part, self.source) {
                (Part::Rollups(span, range), Some(source)) => {
                    times = Times::OfRollups;
                    self.rollups(source, span, range, &mut add)?;
                }
                (Part::Rows(range) | Part::Rollups(_, range), _) => {
                    self.rows(range, false, &mut add)?;
                }
            }
        }
        Ok(times)
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
        scan.sample(self.every);
        let n = self.every.unsigned_abs();
        let columns: Vec<_> = self.groupings.iter().map(Grouping::column).collect();
        let mut keys = Vec::with_capacity(columns.len());
        scan.each(&columns, Order::Any, u32::MAX, |hit, reader| {
            keys.clear();
            for (at, grouping) in self.groupings.iter().enumerate() {
                keys.push(grouping.key(hit, at, reader)?);
            }
            add(&keys, n, hit.place.timestamp, hit.place.timestamp);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(())
    }
}
