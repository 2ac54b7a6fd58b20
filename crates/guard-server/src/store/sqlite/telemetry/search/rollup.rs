//! Which parts of a range rollups answer.

use guard_wire::Kind;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, params, params_from_iter};

use super::super::rollups::{ADDRESS, DAY, GROUPS, HOUR, MINUTE, QUARTER, STATUS, WIDE, of_field};
use super::condition::Compiler;
use super::grouping::{GroupKey, Grouping};
use crate::query::TimeRange;
use crate::query::filter::{Field, Filter, Node};
use crate::store::{Selection, TextField};

const MICROS: i64 = 1_000_000;

/// The rollups that answer a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// `event_counts` and `event_minutes` of this field.
    Counts(u8),
    /// The tables of [`GROUPS`].
    Groups,
}

/// A part of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Only the rows tell.
    Rows(TimeRange),
    /// Rollups of this span tell.
    Rollups(i64, TimeRange),
}

impl Source {
    /// The rollups for a filter and a group, if there are some.
    pub(super) fn of(filter: &Filter, by: Option<&Field>) -> Option<Self> {
        let by = by.map_or(Some(TextField::EventType as u8), number)?;
        if filter.is_everything() {
            return Some(Self::Counts(by));
        }
        (!WIDE.contains(&by) && is_counted(&filter.root)).then_some(Self::Groups)
    }

    /// Its spans, the longest first.
    pub(super) fn spans(self) -> &'static [i64] {
        match self {
            Self::Counts(field) if WIDE.contains(&field) => &[DAY, HOUR],
            Self::Counts(_) => &[HOUR, MINUTE],
            Self::Groups => &[QUARTER, HOUR],
        }
    }
}

/// The number of a field among those that are counted.
fn number(field: &Field) -> Option<u8> {
    let Field::Named(name) = field else {
        return None;
    };
    Some(match *name {
        "event_type" => TextField::EventType as u8,
        "action_taken" => TextField::ActionTaken as u8,
        "method" => TextField::Method as u8,
        "status_code" => STATUS,
        "country" => TextField::Country as u8,
        "endpoint" => TextField::Endpoint as u8,
        "ip_address" => ADDRESS,
        "reason" => TextField::Reason as u8,
        "user_agent" => TextField::UserAgent as u8,
        _ => return None,
    })
}

/// Whether a filter names only fields of [`GROUPS`].
fn is_counted(node: &Node) -> bool {
    match node {
        Node::All(nodes) | Node::Any(nodes) => nodes.iter().all(is_counted),
        Node::Not(node) => is_counted(node),
        Node::Field(field, _) => number(field).is_some_and(|number| !WIDE.contains(&number)),
        Node::Word(_) => false,
    }
}

/// Divides a range. Rollups are used only if no bucket begins within one of their spans.
pub(super) fn parts(
    range: TimeRange,
    source: Option<Source>,
    starts: &[jiff::Timestamp],
) -> Vec<Part> {
    divided(range, source.map_or(&[], Source::spans), starts)
}

/// Divides a range of metrics, all of which are in rollups.
pub(super) fn metric_parts(range: TimeRange, starts: &[jiff::Timestamp]) -> Vec<Part> {
    divided(range, &[HOUR, MINUTE], starts)
}

fn divided(range: TimeRange, spans: &[i64], starts: &[jiff::Timestamp]) -> Vec<Part> {
    let inner: Vec<_> = starts.iter().filter(|start| **start > range.from).collect();
    let is_aligned = |span: &i64| {
        inner
            .iter()
            .all(|start| start.as_microsecond() % (span * MICROS) == 0)
    };
    let spans: Vec<_> = spans.iter().copied().filter(is_aligned).collect();
    let mut parts = Vec::new();
    divide(
        range.from.as_microsecond(),
        range.to.as_microsecond(),
        &spans,
        &mut parts,
    );
    parts
}

fn divide(from: i64, to: i64, spans: &[i64], parts: &mut Vec<Part>) {
    let range = |from, to| {
        let at = |micros| jiff::Timestamp::from_microsecond(micros).ok();
        Some(TimeRange {
            from: at(from)?,
            to: at(to)?,
        })
    };
    if from >= to {
        return;
    }
    let Some((span, rest)) = spans.split_first() else {
        parts.extend(range(from, to).map(Part::Rows));
        return;
    };
    let micros = span * MICROS;
    let (first, last) = (
        -(-from).div_euclid(micros) * micros,
        to.div_euclid(micros) * micros,
    );
    if first >= last {
        return divide(from, to, rest, parts);
    }
    divide(from, first, rest, parts);
    parts.extend(range(first, last).map(|range| Part::Rollups(*span, range)));
    divide(last, to, rest, parts);
}

/// Calls `visit` with the start in microseconds, the key and the number of each count. Returns
/// where rows have to tell more: the events whose key, or whether they match, only bodies tell.
pub(super) fn each(
    connection: &Connection,
    selection: &Selection,
    (source, span, range): (Source, i64, TimeRange),
    by: Option<&Grouping>,
    mut visit: impl FnMut(i64, GroupKey, u64),
) -> rusqlite::Result<Vec<TimeRange>> {
    let (sql, params) = sql(connection, selection, (source, span, range), by)?;
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(params))?;
    let mut unclear = Vec::new();
    let mut count = |start: i64, key: Option<GroupKey>, n: i64| match key {
        Some(key) => visit(start, key, u64::try_from(n).unwrap_or(0)),
        None if unclear.last() == Some(&start) => {}
        None => unclear.push(start),
    };
    let key = |value: ValueRef<'_>| match by {
        Some(by) => by.of_rollup(value),
        None => Ok(Some(GroupKey::Missing)),
    };
    while let Some(row) = rows.next()? {
        let start = row.get::<_, i64>(0)? * MICROS;
        match source {
            Source::Counts(field) if span == MINUTE => {
                for (value, n) in of_field(row, 1, field)? {
                    count(start, key(ValueRef::Integer(value))?, n);
                }
            }
            Source::Counts(_) => count(start, key(row.get_ref(1)?)?, row.get(2)?),
            Source::Groups if row.get(3)? => count(start, key(row.get_ref(1)?)?, row.get(2)?),
            Source::Groups => count(start, None, 0),
        }
    }
    Ok(spans(unclear, span))
}

/// The SQL for the rollup of a value.
pub(super) const OF_VALUE: &str = "SELECT value, n FROM event_counts
    WHERE project = ?1 AND span = ?2 AND field = ?3 AND start = ?4 AND value = ?5";

/// The only values of a field to look at, and when.
#[derive(Debug)]
pub(super) struct Only {
    /// As rollups have them.
    pub(super) values: Vec<Value>,
    /// When their events are.
    pub(super) range: TimeRange,
}

/// The same as [`each`], for these values of a counted field. Each is looked up in each span.
pub(super) fn each_of(
    connection: &Connection,
    selection: &Selection,
    (source, span, range): (Source, i64, TimeRange),
    by: Option<&Grouping>,
    only: &Only,
    mut visit: impl FnMut(i64, GroupKey, u64),
) -> rusqlite::Result<Vec<TimeRange>> {
    let (Source::Counts(field), Some(by)) = (source, by) else {
        return each(connection, selection, (source, span, range), by, visit);
    };
    let mut statement = connection.prepare_cached(OF_VALUE)?;
    let first = only.range.from.as_second().div_euclid(span) * span;
    let mut start = range.from.as_second().max(first);
    let mut unclear = Vec::new();
    while start < range.to.as_second() && start <= only.range.to.as_second() {
        let at = start * MICROS;
        for value in &only.values {
            let mut rows =
                statement.query(params![selection.project.0, span, field, start, value])?;
            while let Some(row) = rows.next()? {
                match by.of_rollup(row.get_ref(0)?)? {
                    Some(key) => visit(at, key, u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0)),
                    None => unclear.push(at),
                }
            }
        }
        start += span;
    }
    Ok(spans(unclear, span))
}

/// The spans that begin at these times, in microseconds.
fn spans(mut starts: Vec<i64>, span: i64) -> Vec<TimeRange> {
    starts.sort_unstable();
    starts.dedup();
    let ranges = starts.into_iter().filter_map(|start| {
        let at = |micros| jiff::Timestamp::from_microsecond(micros).ok();
        Some(TimeRange {
            from: at(start)?,
            to: at(start + span * MICROS)?,
        })
    });
    ranges.collect()
}

/// The SQL for rollups, and its parameters.
pub(super) fn sql(
    connection: &Connection,
    selection: &Selection,
    (source, span, range): (Source, i64, TimeRange),
    by: Option<&Grouping>,
) -> rusqlite::Result<(String, Vec<Value>)> {
    let mut compiler = Compiler {
        connection,
        project: selection.project,
        kind: Kind::Event,
        is_rollup: true,
        params: vec![
            selection.project.0.into(),
            range.from.as_second().into(),
            range.to.as_second().into(),
        ],
    };
    let sql = match source {
        Source::Counts(_) if span == MINUTE => "SELECT start, counts FROM event_minutes
             WHERE project = ?1 AND start >= ?2 AND start < ?3"
            .to_owned(),
        Source::Counts(field) => format!(
            "SELECT start, value, n FROM event_counts WHERE project = ?1
             AND span = {span} AND field = {field} AND start >= ?2 AND start < ?3"
        ),
        Source::Groups => {
            let table = GROUPS.into_iter().find(|(its, _)| *its == span);
            let table = table.map_or("event_hours", |(_, table)| table);
            let condition = compiler.filter(&selection.filter)?;
            let column = by.map_or("0", Grouping::column);
            format!(
                "SELECT start, {column}, n, {} FROM {table} WHERE project = ?1
                 AND start >= ?2 AND start < ?3 AND {}",
                condition.surely, condition.maybe
            )
        }
    };
    Ok((sql, compiler.params))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: &str, to: &str) -> TimeRange {
        TimeRange::parse(Some(from), Some(to), jiff::Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn whole_hours_come_from_hours_the_rest_from_minutes_and_rows() {
        let day = range("2026-11-29T14:00:30Z", "2026-11-30T14:02:00.5Z");
        let counts = Source::of(&Filter::everything(), None);
        let expected = [
            Part::Rows(range("2026-11-29T14:00:30Z", "2026-11-29T14:01:00Z")),
            Part::Rollups(
                MINUTE,
                range("2026-11-29T14:01:00Z", "2026-11-29T15:00:00Z"),
            ),
            Part::Rollups(HOUR, range("2026-11-29T15:00:00Z", "2026-11-30T14:00:00Z")),
            Part::Rollups(
                MINUTE,
                range("2026-11-30T14:00:00Z", "2026-11-30T14:02:00Z"),
            ),
            Part::Rows(range("2026-11-30T14:02:00Z", "2026-11-30T14:02:00.5Z")),
        ];
        assert_eq!(parts(day, counts, &[]), expected);
        assert_eq!(parts(day, None, &[]), [Part::Rows(day)]);
    }

    #[test]
    fn buckets_within_a_span_need_shorter_ones() {
        let two = range("2026-11-30T12:00:00Z", "2026-11-30T14:00:00Z");
        let counts = Source::of(&Filter::everything(), None);
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        let noon = two.from.as_second();
        assert_eq!(
            parts(two, counts, &[at(noon), at(noon + 900)]),
            [Part::Rollups(MINUTE, two)]
        );
        assert_eq!(
            parts(two, counts, &[at(noon), at(noon + 90)]),
            [Part::Rows(two)]
        );
        assert_eq!(
            parts(two, counts, &[at(noon), at(noon + 3600)]),
            [Part::Rollups(HOUR, two)]
        );
    }

    #[test]
    fn longer_spans_answer_what_they_cover() {
        let source = Some(Source::Counts(ADDRESS));
        let days = range("2026-11-28T22:00:00Z", "2026-11-30T01:00:00Z");
        let expected = [
            Part::Rollups(HOUR, range("2026-11-28T22:00:00Z", "2026-11-29T00:00:00Z")),
            Part::Rollups(DAY, range("2026-11-29T00:00:00Z", "2026-11-30T00:00:00Z")),
            Part::Rollups(HOUR, range("2026-11-30T00:00:00Z", "2026-11-30T01:00:00Z")),
        ];
        assert_eq!(parts(days, source, &[]), expected);
        let quarters = range("2026-11-30T06:00:00Z", "2026-11-30T18:00:00Z");
        let bucket = "2026-11-30T12:00:00Z".parse().unwrap();
        assert_eq!(
            parts(quarters, Some(Source::Groups), &[bucket]),
            [Part::Rollups(QUARTER, quarters)]
        );
    }

    #[test]
    fn only_counted_fields_are_answered_by_rollups() {
        let source = |filter: &str, by: &'static str| {
            let filter = Filter::parse(Kind::Event, filter).unwrap();
            Source::of(&filter, Some(&Field::Named(by)))
        };
        assert_eq!(source("", "country"), Some(Source::Counts(7)));
        assert_eq!(source("", "ip_address"), Some(Source::Counts(ADDRESS)));
        assert_eq!(source("", "reason"), Some(Source::Counts(9)));
        assert_eq!(source("", "rule_type"), None);
        assert_eq!(
            source("method:GET -status_code:>400", "endpoint"),
            Some(Source::Groups)
        );
        assert_eq!(source("method:GET", "ip_address"), None);
        assert_eq!(source("method:GET reason:x", "endpoint"), None);
        assert_eq!(source("sqlmap", "endpoint"), None);
    }
}
