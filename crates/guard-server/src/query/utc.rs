//! Times in answers.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use utoipa::openapi::KnownFormat;

use crate::schema::text_schema;

/// A time that is written as RFC 3339 in UTC with microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Utc(pub Timestamp);

text_schema!(
    Utc,
    "A time: RFC 3339 in UTC, with microseconds.",
    "2026-11-30T14:00:00.000000Z",
    KnownFormat::DateTime
);

impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.6}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_microseconds_always() {
        let at = Utc("2026-11-30T14:00:00Z".parse().unwrap());
        assert_eq!(
            serde_json::to_string(&at).unwrap(),
            "\"2026-11-30T14:00:00.000000Z\""
        );
    }
}
