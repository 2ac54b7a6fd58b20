//! The buckets into which a series divides its range.

use jiff::civil::date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Unit};

use super::{QueryError, TimeRange};

/// The most buckets in a series.
pub const MAX_BUCKETS: usize = 1500;
/// About how many buckets `auto` makes, at most.
const AUTO_BUCKETS: i64 = 120;
/// The longest interval, in seconds: 31 days.
const MAX_INTERVAL: i64 = 31 * DAY;
/// A day in seconds.
const DAY: i64 = 86_400;
/// The intervals that `auto` chooses from, in seconds.
const STEPS: [i64; 20] = [
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10_800,
    21_600,
    43_200,
    DAY,
    7 * DAY,
    28 * DAY,
];

/// The consecutive buckets that cover a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets {
    /// The length of each, in seconds. Days are longer or shorter when clocks change.
    pub interval_s: i64,
    /// Where each begins.
    pub starts: Vec<Timestamp>,
    /// Where the last one ends.
    pub end: Timestamp,
}

impl Buckets {
    /// The buckets of a range, for the parameters `interval` and `tz`.
    ///
    /// Buckets shorter than a day begin at multiples of the interval in UTC. Those of days begin at
    /// midnight in the zone; those of weeks on Mondays.
    ///
    /// # Errors
    ///
    /// [`QueryError`] for an unknown zone, or an interval that makes too many buckets.
    pub fn new(
        range: TimeRange,
        interval: Option<&str>,
        zone: Option<&str>,
    ) -> Result<Self, QueryError> {
        let zone = read_zone(zone)?;
        let interval_s = match interval {
            None | Some("auto") => interval_within(range, AUTO_BUCKETS),
            Some(text) => read_interval(text, range)?,
        };
        let buckets = if interval_s < DAY {
            Self::of_seconds(range, interval_s)
        } else {
            Self::of_days(range, interval_s, &zone)
        };
        buckets.ok_or_else(|| {
            QueryError::new(
                "invalid_range",
                "from",
                "the range is beyond the calendar; shorten it",
            )
        })
    }

    fn of_seconds(range: TimeRange, interval_s: i64) -> Option<Self> {
        let first = range.from.as_second().div_euclid(interval_s) * interval_s;
        // Of a time before 1970 with a fraction, the second is rounded towards zero.
        let first = if Timestamp::from_second(first).ok()? > range.from {
            first - interval_s
        } else {
            first
        };
        Self::between(range, interval_s, first, interval_s, |at| {
            Timestamp::from_second(at).ok()
        })
    }

    fn of_days(range: TimeRange, interval_s: i64, zone: &TimeZone) -> Option<Self> {
        // A Monday.
        let origin = date(1970, 1, 5);
        let step = interval_s / DAY;
        let from = zone.to_datetime(range.from).date();
        let days = i64::from(origin.until((Unit::Day, from)).ok()?.get_days());
        let first = days.div_euclid(step) * step;
        Self::between(range, interval_s, first, step, |day| {
            let span = Span::new().try_days(day).ok()?;
            let start = origin.checked_add(span).ok()?;
            Some(start.to_zoned(zone.clone()).ok()?.timestamp())
        })
    }

    /// The buckets that begin at `first` and each `step` after it, until the range ends. `start_of`
    /// says when, or nothing beyond the calendar.
    fn between(
        range: TimeRange,
        interval_s: i64,
        first: i64,
        step: i64,
        start_of: impl Fn(i64) -> Option<Timestamp>,
    ) -> Option<Self> {
        let mut starts = Vec::new();
        let mut at = first;
        loop {
            let start = start_of(at)?;
            if start >= range.to {
                return Some(Self {
                    interval_s,
                    starts,
                    end: start,
                });
            }
            starts.push(start);
            at += step;
        }
    }

    /// The bucket that `at` is in.
    pub fn index(&self, at: Timestamp) -> Option<usize> {
        let after = self.starts.partition_point(|start| *start <= at);
        (at < self.end).then(|| after.checked_sub(1)).flatten()
    }

    /// Whether the last bucket reaches beyond the range or beyond `now`, so that its count is not
    /// complete.
    pub fn is_partial(&self, range: TimeRange, now: Timestamp) -> bool {
        self.end > range.to.min(now)
    }
}

/// The zone of this name; UTC by default.
fn read_zone(name: Option<&str>) -> Result<TimeZone, QueryError> {
    let Some(name) = name else {
        return Ok(TimeZone::UTC);
    };
    TimeZone::get(name).map_err(|_| {
        let detail = format!("tz is {name:?}; give an IANA zone such as Europe/Berlin or UTC");
        QueryError::new("invalid_timezone", "tz", detail)
    })
}

/// The shortest usual interval, in seconds, that makes about `most` buckets at most: one more if the
/// range does not begin with a bucket.
pub fn interval_within(range: TimeRange, most: i64) -> i64 {
    let most = most.max(1);
    let length = range.to.duration_since(range.from).as_secs().max(1);
    let step = STEPS.into_iter().find(|step| length <= most * step);
    step.unwrap_or_else(|| (length / (most * DAY) + 1) * DAY)
}

fn read_interval(text: &str, range: TimeRange) -> Result<i64, QueryError> {
    let refuse = |detail| Err(QueryError::new("invalid_interval", "interval", detail));
    let Ok(seconds) = text.parse::<i64>() else {
        return refuse(format!(
            "interval is {text:?}; give auto or a number of seconds"
        ));
    };
    if !(1..=MAX_INTERVAL).contains(&seconds) {
        return refuse(format!(
            "interval is {seconds}; give 1 to {MAX_INTERVAL} seconds"
        ));
    }
    if seconds > DAY && seconds % DAY != 0 {
        return refuse(format!(
            "interval is {seconds}; above a day give whole days, such as 604800"
        ));
    }
    let length = range.to.duration_since(range.from).as_secs();
    if length / seconds >= i64::try_from(MAX_BUCKETS).unwrap_or(i64::MAX) {
        return refuse(format!(
            "interval {seconds} makes more than {MAX_BUCKETS} buckets; give a longer one, or auto"
        ));
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: &str, to: &str) -> TimeRange {
        TimeRange::parse(Some(from), Some(to), Timestamp::UNIX_EPOCH).unwrap()
    }

    fn hours(buckets: &Buckets) -> Vec<i64> {
        let ends = buckets.starts[1..].iter().chain([&buckets.end]);
        let pairs = buckets.starts.iter().zip(ends);
        pairs
            .map(|(start, end)| end.duration_since(*start).as_hours())
            .collect()
    }

    #[test]
    fn days_begin_at_midnight_in_the_zone_and_have_23_or_25_hours_when_clocks_change() {
        let spring = range("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
        let buckets = Buckets::new(spring, Some("86400"), Some("Europe/Berlin")).unwrap();
        assert_eq!(buckets.starts[0].to_string(), "2026-03-27T23:00:00Z");
        assert_eq!(hours(&buckets), [24, 23, 24]);
        let autumn = range("2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
        let buckets = Buckets::new(autumn, Some("86400"), Some("Europe/Berlin")).unwrap();
        assert_eq!(hours(&buckets), [24, 25, 24]);
        let utc = Buckets::new(autumn, Some("86400"), None).unwrap();
        assert_eq!(hours(&utc), [24, 24, 24]);
    }

    #[test]
    fn a_day_without_midnight_begins_with_its_first_moment() {
        let beirut = range("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
        let buckets = Buckets::new(beirut, Some("86400"), Some("Asia/Beirut")).unwrap();
        assert_eq!(hours(&buckets), [24, 23, 24]);
    }

    #[test]
    fn weeks_begin_on_mondays() {
        let november = range("2026-11-04T00:00:00Z", "2026-11-20T00:00:00Z");
        let buckets = Buckets::new(november, Some("604800"), None).unwrap();
        assert_eq!(buckets.starts[0].to_string(), "2026-11-02T00:00:00Z");
        assert_eq!(buckets.starts.len(), 3);
    }

    #[test]
    fn every_moment_of_the_range_is_in_one_bucket() {
        let odd = range("2026-11-30T13:59:59.5Z", "2026-11-30T15:00:00.000001Z");
        let buckets = Buckets::new(odd, Some("1800"), None).unwrap();
        let starts: Vec<_> = buckets.starts.iter().map(ToString::to_string).collect();
        assert_eq!(
            starts,
            [
                "2026-11-30T13:30:00Z",
                "2026-11-30T14:00:00Z",
                "2026-11-30T14:30:00Z",
                "2026-11-30T15:00:00Z"
            ]
        );
        assert_eq!(buckets.index(odd.from), Some(0));
        assert_eq!(
            buckets.index("2026-11-30T14:00:00Z".parse().unwrap()),
            Some(1)
        );
        assert_eq!(buckets.index(buckets.end), None);
        assert_eq!(buckets.index(Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn before_1970_buckets_are_aligned_too() {
        let old = range("1969-12-31T23:59:59.5Z", "1970-01-01T00:00:01Z");
        let buckets = Buckets::new(old, Some("60"), None).unwrap();
        assert_eq!(buckets.starts[0].to_string(), "1969-12-31T23:59:00Z");
    }

    #[test]
    fn auto_makes_a_usual_number_of_buckets() {
        let now: Timestamp = "2026-11-30T14:00:00Z".parse().unwrap();
        for (from, interval_s) in [
            ("-1m", 1),
            ("-1h", 30),
            ("-24h", 900),
            ("-7d", 7200),
            ("-30d", 21_600),
            ("-365d", 7 * DAY),
            ("1026-01-01T00:00:00Z", 3047 * DAY),
        ] {
            let range = TimeRange::parse(Some(from), None, now).unwrap();
            let buckets = Buckets::new(range, None, None).unwrap();
            assert_eq!(buckets.interval_s, interval_s, "{from}");
            assert!(buckets.starts.len() <= 122, "{from}");
        }
    }

    #[test]
    fn a_last_bucket_that_is_not_over_makes_a_series_partial() {
        let hour = range("2026-11-30T13:00:00Z", "2026-11-30T14:00:00Z");
        let buckets = Buckets::new(hour, Some("600"), None).unwrap();
        assert!(!buckets.is_partial(hour, hour.to));
        assert!(buckets.is_partial(hour, "2026-11-30T13:55:00Z".parse().unwrap()));
        let cut = range("2026-11-30T13:00:00Z", "2026-11-30T13:55:00Z");
        let buckets = Buckets::new(cut, Some("600"), None).unwrap();
        assert!(buckets.is_partial(cut, hour.to));
    }

    #[test]
    fn bad_intervals_and_zones_are_refused() {
        let day = range("2026-11-29T14:00:00Z", "2026-11-30T14:00:00Z");
        for interval in ["0", "-1", "x", "2678401", "86401", "1", ""] {
            let error = Buckets::new(day, Some(interval), None).unwrap_err();
            assert_eq!(
                (error.code, error.field),
                ("invalid_interval", "interval"),
                "{interval}"
            );
        }
        for zone in ["", "Mars/Olympus", "../etc/passwd"] {
            let error = Buckets::new(day, None, Some(zone)).unwrap_err();
            assert_eq!(error.code, "invalid_timezone", "{zone}");
        }
    }
}
