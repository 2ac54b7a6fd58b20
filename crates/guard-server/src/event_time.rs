//! The time of a record, as agents write it.

use guard_wire::timestamp;
use jiff::Timestamp;
use serde_json::value::RawValue;

/// Reads the `timestamp` of a record: RFC 3339, or a number of seconds since the epoch.
pub(crate) fn read(raw: &RawValue) -> Option<Timestamp> {
    if let Ok(seconds) = serde_json::from_str::<f64>(raw.get()) {
        return timestamp::from_unix_seconds(seconds);
    }
    timestamp::parse(&serde_json::from_str::<String>(raw.get()).ok()?)
}
