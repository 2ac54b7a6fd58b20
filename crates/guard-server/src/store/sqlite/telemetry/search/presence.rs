//! When an address occurs: a search for one address reads only the rows of these hours.

use guard_wire::Kind;
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::super::names::IN_BODY;
use super::super::rollups::{ADDRESS, DAY, HOUR};
use super::grouping::Grouping;
use crate::query::TimeRange;
use crate::query::filter::{Field, Node, Test};
use crate::store::{ProjectId, Selection};

const MICROS: i64 = 1_000_000;
/// The most days that are looked at. Records with times all over the calendar are read as they are.
const MAX_DAYS: i64 = 4000;

/// The parts of a selection's range that may have events of the address that its filter asks for.
/// The whole range if it asks for none.
pub(super) fn ranges(
    connection: &Connection,
    kind: Kind,
    selection: &Selection,
) -> rusqlite::Result<Vec<TimeRange>> {
    let range = selection.range;
    if kind == Kind::Event
        && let Some(address) = address(&selection.filter.root)
        && let Some((from, to)) = stored(connection, selection)?
        && (to - from) / DAY < MAX_DAYS
    {
        let by = Grouping::new(kind, Field::Named("ip_address"));
        let key = Some(address.to_owned());
        let value = by.in_rollup(connection, selection.project, &key)?;
        let presence = Presence {
            connection,
            project: selection.project,
            value,
        };
        return presence.ranges(from, to, range);
    }
    Ok(vec![range])
}

/// The address that every matching event has.
fn address(node: &Node) -> Option<&str> {
    match node {
        Node::Field(Field::Named("ip_address"), Test::Equals(text)) => Some(text),
        Node::All(nodes) => nodes.iter().find_map(address),
        _ => None,
    }
}

/// The second of the first event in the range, and that after the last one. `None` if there are no
/// events.
fn stored(connection: &Connection, selection: &Selection) -> rusqlite::Result<Option<(i64, i64)>> {
    let end = |order| {
        let range = selection.range;
        connection
            .prepare_cached(&format!(
                "SELECT {order}(timestamp) FROM events
                 WHERE project = ?1 AND timestamp >= ?2 AND timestamp < ?3"
            ))?
            .query_row(
                params![
                    selection.project.0,
                    range.from.as_microsecond(),
                    range.to.as_microsecond()
                ],
                |row| row.get::<_, Option<i64>>(0),
            )
    };
    let ends = end("min")?.zip(end("max")?);
    Ok(ends.map(|(first, last)| (first.div_euclid(MICROS), last.div_euclid(MICROS) + 1)))
}

struct Presence<'a> {
    connection: &'a Connection,
    project: ProjectId,
    /// What rollups have for the address. `None` if only bodies have it.
    value: Option<Value>,
}

impl Presence<'_> {
    fn ranges(&self, from: i64, to: i64, within: TimeRange) -> rusqlite::Result<Vec<TimeRange>> {
        let mut ranges = Vec::<TimeRange>::new();
        let mut day = from.div_euclid(DAY) * DAY;
        while day < to {
            let hours = if self.occurs(DAY, day)? { 24 } else { 0 };
            for hour in (0..hours).map(|n| day + n * HOUR) {
                if hour + HOUR <= from || hour >= to || !self.occurs(HOUR, hour)? {
                    continue;
                }
                let at = |second| Timestamp::from_second(second).ok();
                let Some((begin, end)) = at(hour).zip(at(hour + HOUR)) else {
                    continue;
                };
                match ranges.last_mut() {
                    Some(last) if last.to == begin => last.to = end,
                    _ => ranges.push(TimeRange {
                        from: begin,
                        to: end,
                    }),
                }
            }
            day += DAY;
        }
        for range in &mut ranges {
            range.from = range.from.max(within.from);
            range.to = range.to.min(within.to);
        }
        Ok(ranges)
    }

    /// Whether events of a span have the address, or one that only the body tells.
    fn occurs(&self, span: i64, start: i64) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM event_counts WHERE project = ?1 AND span = ?2
                    AND field = ?3 AND start = ?4 AND value IN (?5, ?6))",
            )?
            .query_row(
                params![self.project.0, span, ADDRESS, start, self.value, IN_BODY],
                |row| row.get(0),
            )
    }
}
