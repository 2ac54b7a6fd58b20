//! The `Retry-After` header (RFC 9110, section 10.2.3).

use std::time::SystemTime;

/// Seconds to wait according to the header: a number of seconds (fractions are allowed, a
/// negative number means 0) or an HTTP date. Returns `default` for any other value and for an
/// absent header. There is no upper limit; the caller applies its own.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use guard_wire::retry_after::seconds;
///
/// let now = SystemTime::UNIX_EPOCH;
/// assert_eq!(seconds(Some("1.5"), now, 60.0), 1.5);
/// assert_eq!(seconds(Some("Thu, 01 Jan 1970 00:00:07 GMT"), now, 60.0), 7.0);
/// assert_eq!(seconds(Some("soon"), now, 60.0), 60.0);
/// ```
pub fn seconds(header: Option<&str>, now: SystemTime, default: f64) -> f64 {
    let Some(text) = header.map(str::trim) else {
        return default;
    };
    if let Ok(number) = text.parse::<f64>() {
        return if number.is_nan() {
            default
        } else {
            number.max(0.0)
        };
    }
    match httpdate::parse_http_date(text) {
        Ok(date) => date
            .duration_since(now)
            .map_or(0.0, |wait| wait.as_secs_f64()),
        Err(_) => default,
    }
}
