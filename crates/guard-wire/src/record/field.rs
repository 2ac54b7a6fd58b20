//! The names of the fields that the contract lists.

use crate::record::kind::Kind;

/// Defines the enum of fields with their names.
macro_rules! known {
    ($($field:ident = $name:literal,)*) => {
        /// A field that the contract lists, of an event, a metric or both.
        ///
        /// A caller that knows the field saves the encoder the search for its name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "documented in the contract")]
        pub enum Known {
            $($field,)*
        }

        impl Known {
            /// All fields: those of an event in order, then the additional ones of a metric.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$field),*];

            /// The name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$field => $name,)*
                }
            }

            /// The field with this name, if the contract lists it.
            pub fn find(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$field),)*
                    _ => None,
                }
            }

            /// The name in JSON, with the comma before it.
            pub(crate) const fn json(self) -> &'static JsonName {
                match self {
                    $(Self::$field => const { &JsonName::new(concat!(",\"", $name, "\":")) },)*
                }
            }
        }
    };
}

known! {
    IdempotencyKey = "idempotency_key",
    Timestamp = "timestamp",
    EventType = "event_type",
    IpAddress = "ip_address",
    Country = "country",
    UserAgent = "user_agent",
    ActionTaken = "action_taken",
    Reason = "reason",
    Endpoint = "endpoint",
    Method = "method",
    StatusCode = "status_code",
    ResponseTime = "response_time",
    DecoratorType = "decorator_type",
    RuleType = "rule_type",
    PatternMatched = "pattern_matched",
    HandlerName = "handler_name",
    Metadata = "metadata",
    MetricType = "metric_type",
    Value = "value",
    Tags = "tags",
}

/// `,"name":` in an array of fixed size: copying the whole array is faster than a `memcpy` call
/// for a few bytes.
pub(crate) struct JsonName {
    padded: [u8; Self::ROOM],
    len: usize,
}

impl JsonName {
    const ROOM: usize = 32;

    const fn new(text: &str) -> Self {
        let mut padded = [0; Self::ROOM];
        padded
            .split_at_mut(text.len())
            .0
            .copy_from_slice(text.as_bytes());
        let len = text.len();
        Self { padded, len }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        out.extend_from_slice(&self.padded);
        out.truncate(end);
    }
}

impl Known {
    /// The fields of a kind of record.
    pub const fn of(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Event => const { Self::ALL.split_at(Self::Metadata as usize + 1).0 },
            Kind::Metric => &[
                Self::IdempotencyKey,
                Self::Timestamp,
                Self::MetricType,
                Self::Value,
                Self::Endpoint,
                Self::Tags,
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_found_by_its_name_and_written_by_it() {
        for (place, field) in Known::ALL.into_iter().enumerate() {
            assert_eq!(field as usize, place);
            assert_eq!(Known::find(field.name()), Some(field));
            let mut json = Vec::new();
            field.json().write(&mut json);
            assert_eq!(json, format!(",\"{}\":", field.name()).as_bytes());
        }
        assert_eq!(Known::find("tenant"), None);
    }
}
