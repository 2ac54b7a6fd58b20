//! Reading timestamps as agents write them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// Reads an RFC 3339 timestamp, with `T` or a space between date and time.
/// Without an offset it is taken as UTC.
///
/// ```
/// use guard_wire::timestamp::parse;
///
/// let aware = parse("2026-11-22 14:28:58.961533+00:00").unwrap();
/// assert_eq!(parse("2026-11-22T14:28:58.961533").unwrap(), aware);
/// assert_eq!(parse("yesterday"), None);
/// ```
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp);
    }
    let naive = text.parse::<DateTime>().ok()?;
    Offset::UTC.to_timestamp(naive).ok()
}

/// A Unix time in seconds, as some senders write it.
pub fn from_unix_seconds(seconds: f64) -> Option<Timestamp> {
    if !seconds.is_finite() || seconds.abs() > 1e11 {
        return None;
    }
    let micros = (seconds * 1e6).round();
    #[expect(clippy::cast_possible_truncation, reason = "bounded to 1e17 above")]
    Timestamp::from_microsecond(micros as i64).ok()
}
