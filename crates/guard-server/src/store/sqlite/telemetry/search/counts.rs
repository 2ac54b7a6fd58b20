//! Counts of events by key: from rollups where they tell, else from rows.

use std::ops::ControlFlow;

use guard_wire::Kind;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::super::rollups::HOUR;
use super::grouping::{GroupKey, Grouping};
use super::look_up::LookUp;
use super::rollup::{self, Only, Part, Source};
use super::scan::{Order, Scan};
use super::wide;
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
    let by = by.map(|by| Grouping::new(Kind::Event, by));
    let count = |by: Option<&Grouping>, source| {
        let groupings = by.map(std::slice::from_ref).unwrap_or_default();
        let counting = Counting::new(&snapshot, selection, groupings, source);
        counting.series(buckets, bodies)
    };
    match &by {
        Some(by) if wide::is_wide(source) => {
            let total = count(None, Source::of(&selection.filter, None))?;
            wide::divide(&snapshot, selection, source, by, buckets, total)
        }
        by => count(by.as_ref(), source),
    }
}

/// The bucket of a time in microseconds.
pub(super) fn bucket(buckets: &Buckets, at: i64) -> Option<usize> {
    buckets.index(Timestamp::from_microsecond(at).ok()?)
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
    let counting = Counting::new(&snapshot, selection, &groupings, source);
    let (mut top, times) = counting.top(limit, bodies)?;
    match (times, source, &groupings[..]) {
        (Times::OfRollups, Some(source), [grouping]) if top.items.len() <= MAX_LOOKED_UP => {
            LookUp::new(&snapshot, selection, source, grouping)?.all(&mut top.items)?;
        }
        (Times::OfRollups, ..) => {
            let rows = Counting::new(&snapshot, selection, &groupings, None);
            (top, _) = rows.top(limit, u32::MAX)?;
        }
        (Times::OfRows, ..) => {}
    }
    Ok(top)
}

/// How exact the times of the first and the last event are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    OfRows,
    /// Some are known only to the span of a rollup.
    OfRollups,
}

/// How counting ended.
pub(super) struct Ended {
    times: Times,
    /// Whether all events were counted.
    is_complete: bool,
}

pub(super) struct Counting<'a> {
    connection: &'a Connection,
    selection: &'a Selection,
    groupings: &'a [Grouping],
    source: Option<Source>,
    /// Counts only these keys, as far as rollups tell.
    pub(super) only: Option<Only>,
    /// One of so many chunks stands for all.
    every: i64,
    /// The most bodies that are read.
    bodies: u32,
}

impl<'a> Counting<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        selection: &'a Selection,
        groupings: &'a [Grouping],
        source: Option<Source>,
    ) -> Self {
        Self {
            connection,
            selection,
            groupings,
            source,
            only: None,
            every: 1,
            bodies: u32::MAX,
        }
    }

    pub(super) fn series(&self, buckets: &Buckets, bodies: u32) -> rusqlite::Result<Series> {
        let count = |counting: &Self| {
            let mut counter = SeriesCounter::new(buckets.starts.len());
            let ended = counting.run(&buckets.starts, |keys, n, at, _| {
                let Some(bucket) = bucket(buckets, at) else {
                    return;
                };
                match keys.first() {
                    Some(key) => counter.add(key.clone(), bucket, n),
                    None => counter.add_other(bucket, n),
                }
            })?;
            Ok((counter, ended.is_complete))
        };
        let (counter, is_approximate) = self.within(bodies, count)?;
        let mut series = match self.groupings.first() {
            Some(grouping) => {
                let names = grouping.names(self.connection, self.selection.project)?;
                counter.finish(|key| Ok::<_, rusqlite::Error>(names.key(key)))
            }
            None => counter.finish(|_| Ok(None)),
        }?;
        series.is_approximate |= is_approximate;
        Ok(series)
    }

    /// The most frequent keys.
    pub(super) fn top(&self, limit: usize, bodies: u32) -> rusqlite::Result<(Top, Times)> {
        let count = |counting: &Self| {
            let mut counter = TopCounter::default();
            let ended = counting.run(&[], |keys, n, first, last| {
                counter.add_borrowed(keys, n, first, last);
            })?;
            Ok(((counter, ended.times), ended.is_complete))
        };
        let ((counter, times), is_approximate) = self.within(bodies, count)?;
        let names = self
            .groupings
            .iter()
            .map(|grouping| grouping.names(self.connection, self.selection.project));
        let names = names.collect::<rusqlite::Result<Vec<_>>>()?;
        let mut top = counter.finish(limit, |keys| {
            let keys = keys.into_iter().zip(&names);
            Ok::<_, rusqlite::Error>(keys.map(|(key, names)| names.key(key)).collect())
        })?;
        top.is_approximate |= is_approximate;
        Ok((top, times))
    }

    /// Counts without reading more than `most` bodies: if it takes more, some of the chunks stand
    /// for all. Returns whether they do. `count` says whether it counted all events.
    fn within<T>(
        &self,
        most: u32,
        count: impl Fn(&Self) -> rusqlite::Result<(T, bool)>,
    ) -> rusqlite::Result<(T, bool)> {
        let mut counting = Self {
            bodies: most.max(1),
            only: None,
            ..*self
        };
        let is_bounded = self.source.is_none() && self.events()? > i64::from(counting.bodies);
        let scan = Scan::new(self.connection, Kind::Event, self.selection)?;
        // Unless most events need their body, counting all of them is the quickest way to learn how
        // many do.
        if !is_bounded || !scan.needs_bodies(self.groupings) {
            if !is_bounded {
                counting.bodies = u32::MAX;
            }
            let (counted, is_complete) = count(&counting)?;
            if is_complete {
                return Ok((counted, false));
            }
        }
        let bodies = scan.bodies(self.groupings)?;
        counting.every = bodies.div_euclid(most.max(1).into()) + 1;
        counting.bodies = u32::MAX;
        let (counted, _) = count(&counting)?;
        Ok((counted, counting.every > 1))
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

    /// Calls `add` with the keys, the number, and the times of the first and last of some events.
    /// Stops if it takes too many bodies.
    pub(super) fn run(
        &self,
        starts: &[Timestamp],
        mut add: impl FnMut(&[GroupKey], u64, i64, i64),
    ) -> rusqlite::Result<Ended> {
        let (mut times, mut is_complete) = (Times::OfRows, true);
        for part in rollup::parts(self.selection.range, self.source, starts) {
            match (part, self.source) {
                (Part::Rollups(span, range), Some(source)) => {
                    times = Times::OfRollups;
                    self.rollups(source, span, range, &mut add)?;
                }
                (Part::Rows(range) | Part::Rollups(_, range), _) => {
                    is_complete &= self.rows(range, false, &mut add)?;
                }
            }
        }
        Ok(Ended { times, is_complete })
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
        let visit = |at, key, n| {
            let keys = [key];
            let keys = if by.is_some() { &keys[..] } else { &[] };
            add(keys, n, at, at + span * MICROS - 1);
        };
        let unclear = match &self.only {
            Some(only) => rollup::each_of(self.connection, self.selection, part, by, only, visit),
            None => rollup::each(self.connection, self.selection, part, by, visit),
        };
        for range in unclear? {
            self.rows(range, true, add)?;
        }
        Ok(())
    }

    /// Counts rows one by one: all, or only those that rollups do not tell enough about. Returns
    /// false if it takes too many bodies.
    fn rows(
        &self,
        range: TimeRange,
        is_unclear: bool,
        add: &mut impl FnMut(&[GroupKey], u64, i64, i64),
    ) -> rusqlite::Result<bool> {
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
        let mut is_complete = true;
        let stopped = scan.each(&columns, Order::Any, self.bodies, |hit, reader| {
            keys.clear();
            for (at, grouping) in self.groupings.iter().enumerate() {
                keys.push(grouping.key(hit, at, reader)?);
            }
            add(&keys, n, hit.place.timestamp, hit.place.timestamp);
            is_complete = reader.keys() <= self.bodies;
            Ok(if is_complete {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        Ok(is_complete && stopped.is_none())
    }
}
