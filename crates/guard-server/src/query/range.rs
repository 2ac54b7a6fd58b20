//! The time range of a query.

use jiff::{SignedDuration, Timestamp};

use super::QueryError;

/// The length of the range if none is given.
const DEFAULT_LENGTH: SignedDuration = SignedDuration::from_hours(24);

/// A range of time, in whole microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// The first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
}

impl TimeRange {
    /// Reads the parameters `from` and `to`. The default is the last 24 hours.
    ///
    /// # Errors
    ///
    /// [`QueryError`] if one of them is not a time, or `from` is not before `to`.
    pub fn parse(from: Option<&str>, to: Option<&str>, now: Timestamp) -> Result<Self, QueryError> {
        let to = to.map_or(Ok(now), |text| moment("to", text, now))?;
        let from = match from {
            Some(text) => moment("from", text, now)?,
            None => to.saturating_sub(DEFAULT_LENGTH).unwrap_or(Timestamp::MIN),
        };
        let (from, to) = (whole_microseconds(from), whole_microseconds(to));
        if from >= to {
            let detail = format!("from is {from}, which is not before to, {to}; swap them");
            return Err(QueryError::new("invalid_range", "from", detail));
        }
        Ok(Self { from, to })
    }

    /// Whether `at` is in it.
    pub fn contains(self, at: Timestamp) -> bool {
        (self.from..self.to).contains(&at)
    }

    /// The range of equal length that ends where this one begins.
    #[must_use]
    pub fn previous(self) -> Self {
        let length = self.to.duration_since(self.from);
        let from = self.from.saturating_sub(length);
        Self {
            from: from.unwrap_or(Timestamp::MIN),
            to: self.from,
        }
    }
}

/// The store keeps whole microseconds.
pub(crate) fn whole_microseconds(at: Timestamp) -> Timestamp {
    let floor = at.as_nanosecond().div_euclid(1000);
    let floor = i64::try_from(floor).map(Timestamp::from_microsecond);
    floor.ok().and_then(Result::ok).unwrap_or(Timestamp::MIN)
}

/// Reads `now`, a time before it such as `-24h`, or an RFC 3339 time.
fn moment(field: &'static str, text: &str, now: Timestamp) -> Result<Timestamp, QueryError> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let relative = text.strip_prefix("now").unwrap_or(text);
    let at = if relative.is_empty() && !text.is_empty() {
        Some(now)
    } else {
        ago(relative).and_then(|ago| now.checked_sub(ago).ok())
    };
    at.ok_or_else(|| {
        // What a + in a URL becomes.
        let hint = if text.contains(' ') {
            " (in a URL, write a + as %2B)"
        } else {
            ""
        };
        let detail = format!(
            "{field} is {text:?}; give a time such as 2026-01-31T12:00:00Z, -24h, -7d or now{hint}"
        );
        QueryError::new("invalid_time", field, detail)
    })
}

/// Reads a duration such as `-15m`. A day has 24 hours.
fn ago(text: &str) -> Option<SignedDuration> {
    let text = text.strip_prefix('-')?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    let seconds = digits.parse::<i64>().ok()?.checked_mul(seconds)?;
    Some(SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-30T14:00:00.0000005Z".parse().unwrap()
    }

    fn range(from: Option<&str>, to: Option<&str>) -> Result<[String; 2], &'static str> {
        TimeRange::parse(from, to, now())
            .map(|range| [range.from.to_string(), range.to.to_string()])
            .map_err(|error| error.code)
    }

    #[test]
    fn the_default_is_the_last_day() {
        let expected = ["2026-11-29T14:00:00Z", "2026-11-30T14:00:00Z"];
        assert_eq!(range(None, None).unwrap(), expected);
    }

    #[test]
    fn times_are_absolute_or_relative() {
        for (from, to, expected) in [
            (
                Some("-15m"),
                None,
                ["2026-11-30T13:45:00Z", "2026-11-30T14:00:00Z"],
            ),
            (
                Some("now-7d"),
                Some("-1d"),
                ["2026-11-23T14:00:00Z", "2026-11-29T14:00:00Z"],
            ),
            (
                Some("-2w"),
                Some("now"),
                ["2026-11-16T14:00:00Z", "2026-11-30T14:00:00Z"],
            ),
            (
                Some("2026-11-30T10:00:00+01:00"),
                Some("2026-11-30T10:00:00Z"),
                ["2026-11-30T09:00:00Z", "2026-11-30T10:00:00Z"],
            ),
            (
                None,
                Some("2026-01-02T00:00:00Z"),
                ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"],
            ),
        ] {
            assert_eq!(range(from, to).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "yesterday",
            "-",
            "-h",
            "-5",
            "-5y",
            "24h",
            "-1.5h",
            "-ä",
            "-99999999999999d",
            "--5m",
        ] {
            assert_eq!(range(Some(text), None), Err("invalid_time"), "{text}");
        }
        assert_eq!(range(Some("-1h"), Some("-2h")), Err("invalid_range"));
        assert_eq!(range(Some("now"), Some("now")), Err("invalid_range"));
    }

    #[test]
    fn the_range_before_is_as_long() {
        let range = TimeRange::parse(Some("-1h"), None, now()).unwrap();
        let before = range.previous();
        assert_eq!(
            (before.from.to_string().as_str(), before.to),
            ("2026-11-30T12:00:00Z", range.from)
        );
    }
}
