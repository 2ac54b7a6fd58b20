//! The rule that says whether a record can be sent.
//!
//! Some fields must be present, and some must hold a certain type of value. The encoder asks
//! [`Admission`] before it writes a field; the snapshot asks it before it copies one.

use std::borrow::Cow;

use jiff::Timestamp;
use thiserror::Error;

use crate::crypto::hash;
use crate::record::field::Known;
use crate::record::kind::Kind;
use crate::record::metric::MetricType;
use crate::timestamp;
use crate::value::{Tree, View};

/// An idempotency key longer than this many bytes is replaced by its SHA-256.
pub const MAX_KEY: usize = 128;

/// Why a record cannot be sent. The record is lost; the caller counts it.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EncodeError {
    /// A required field is absent, null or empty.
    #[error("{kind} without `{field}`; set it")]
    Missing {
        /// The kind of record.
        kind: Kind,
        /// The name of the field.
        field: &'static str,
    },
    /// The timestamp cannot be read.
    #[error("{kind} with an unreadable `timestamp`; give RFC 3339, such as 2026-11-22T14:28:58Z")]
    Timestamp {
        /// The kind of record.
        kind: Kind,
    },
    /// The metric's type is not one of the seven.
    #[error(
        "metric with an unknown `metric_type`; use one of {}",
        MetricType::names()
    )]
    MetricType,
    /// The metric's value is not a number.
    #[error("metric whose `value` is not a number; give an int or a float")]
    MetricValue,
    /// The record would take more than `limit` bytes of JSON.
    #[error("{kind} of more than {limit} bytes; shorten its metadata or raise max_batch_bytes")]
    TooLarge {
        /// The kind of record.
        kind: Kind,
        /// The limit in bytes.
        limit: usize,
    },
}

/// How the value of a field is written.
#[derive(Debug, PartialEq)]
pub(crate) enum Admitted<'a> {
    /// As it is.
    Unchanged,
    /// As JSON of any shape, although the field usually holds text.
    AnyJson,
    /// As this text.
    Text(Cow<'a, str>),
    /// As this point in time.
    Time(Timestamp),
    /// As the number 0 or 1.
    Flag(bool),
    /// Not at all: the field counts as absent.
    Absent,
}

/// Checks the fields of one record, one after the other.
#[derive(Debug)]
pub(crate) struct Admission {
    kind: Kind,
    has_key: bool,
    has_timestamp: bool,
    has_type: bool,
    has_value: bool,
}

impl Admission {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            has_key: false,
            has_timestamp: false,
            has_type: false,
            has_value: false,
        }
    }

    /// Whether a rule applies to the values of this field.
    #[inline]
    pub(crate) fn has_rule(kind: Kind, field: Known) -> bool {
        match field {
            Known::IdempotencyKey | Known::Timestamp => true,
            Known::EventType => kind == Kind::Event,
            Known::MetricType | Known::Value => kind == Kind::Metric,
            _ => false,
        }
    }

    /// Checks one field that is not null, and says how to write it.
    pub(crate) fn admit<'a, T: Tree>(
        &mut self,
        field: Known,
        value: &View<'a, T>,
    ) -> Result<Admitted<'a>, EncodeError> {
        let kind = self.kind;
        match (kind, field) {
            (_, Known::IdempotencyKey) => {
                let key = admit_key(value);
                self.has_key |= key != Admitted::Absent;
                Ok(key)
            }
            (_, Known::Timestamp) => {
                self.has_timestamp = true;
                admit_timestamp(value).ok_or(EncodeError::Timestamp { kind })
            }
            (Kind::Event, Known::EventType) => Ok(match value.as_str() {
                Some("") => Admitted::Absent,
                Some(_) => {
                    self.has_type = true;
                    Admitted::Unchanged
                }
                None => {
                    self.has_type = true;
                    Admitted::AnyJson
                }
            }),
            (Kind::Metric, Known::MetricType) => {
                self.has_type = true;
                let known = value.as_str().and_then(MetricType::parse);
                known
                    .map(|_| Admitted::Unchanged)
                    .ok_or(EncodeError::MetricType)
            }
            (Kind::Metric, Known::Value) => {
                self.has_value = true;
                match value {
                    View::Bool(flag) => Ok(Admitted::Flag(*flag)),
                    View::Int(_) | View::UInt(_) | View::Float(_) => Ok(Admitted::Unchanged),
                    _ => Err(EncodeError::MetricValue),
                }
            }
            _ => Ok(Admitted::Unchanged),
        }
    }

    /// Notes a field that holds text and is not empty, without checking it. That is enough
    /// for the type of an event, and for fields without a rule.
    #[inline]
    pub(crate) fn note_event_text(&mut self, field: Known) {
        self.has_type |= self.kind == Kind::Event && field == Known::EventType;
    }

    /// Whether the record has an idempotency key.
    pub(crate) fn has_key(&self) -> bool {
        self.has_key
    }

    /// Checks that all required fields were there.
    pub(crate) fn finish(&self) -> Result<(), EncodeError> {
        let kind = self.kind;
        let field = match kind {
            _ if !self.has_timestamp => "timestamp",
            Kind::Event if !self.has_type => "event_type",
            Kind::Metric if !self.has_type => "metric_type",
            Kind::Metric if !self.has_value => "value",
            _ => return Ok(()),
        };
        Err(EncodeError::Missing { kind, field })
    }
}

/// A key that is not text counts as absent: the encoder generates one.
fn admit_key<'a, T: Tree>(value: &View<'a, T>) -> Admitted<'a> {
    match value {
        View::Uuid(_) => Admitted::Unchanged,
        View::Moment(moment) => {
            let text = String::from_utf8_lossy(&moment.text()).into_owned();
            Admitted::Text(Cow::Owned(text))
        }
        View::Str(key) if key.len() > MAX_KEY => {
            let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
            Admitted::Text(Cow::Owned(hash::hex(digest.as_ref())))
        }
        View::Str(key) if !key.is_empty() => Admitted::Unchanged,
        _ => Admitted::Absent,
    }
}

/// A timestamp in another form is converted. Numbers are Unix times in seconds.
fn admit_timestamp<'a, T: Tree>(value: &View<'a, T>) -> Option<Admitted<'a>> {
    match value {
        View::Time(_) | View::Moment(_) => Some(Admitted::Unchanged),
        View::Str(text) if timestamp::is_plain(text) => Some(Admitted::Unchanged),
        View::Str(text) => timestamp::parse(text).map(Admitted::Time),
        #[expect(clippy::cast_precision_loss, reason = "seconds are far below 2^52")]
        View::Int(seconds) => timestamp::from_unix_seconds(*seconds as f64).map(Admitted::Time),
        View::Float(seconds) => timestamp::from_unix_seconds(*seconds).map(Admitted::Time),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn admit<'a>(
        kind: Kind,
        field: Known,
        value: &'a Value<'_>,
    ) -> Result<Admitted<'a>, EncodeError> {
        Admission::new(kind).admit(field, &value.view())
    }

    #[test]
    fn values_of_the_usual_form_are_admitted_unchanged() {
        for (kind, field, value) in [
            (Kind::Event, Known::IdempotencyKey, Value::from("k-1")),
            (
                Kind::Event,
                Known::Timestamp,
                Value::from("2026-11-22T14:28:58Z"),
            ),
            (Kind::Event, Known::EventType, Value::from("ip_banned")),
            (Kind::Metric, Known::MetricType, Value::from("error_rate")),
            (Kind::Metric, Known::Value, Value::Float(0.5)),
            (Kind::Metric, Known::Value, Value::UInt(u64::MAX)),
            (Kind::Event, Known::Reason, Value::Null),
        ] {
            assert_eq!(
                admit(kind, field, &value),
                Ok(Admitted::Unchanged),
                "{value:?}"
            );
        }
    }

    #[test]
    fn values_of_another_form_are_converted() {
        let epoch = Timestamp::UNIX_EPOCH;
        for (kind, field, value, admitted) in [
            (
                Kind::Event,
                Known::Timestamp,
                Value::Int(0),
                Admitted::Time(epoch),
            ),
            (
                Kind::Event,
                Known::Timestamp,
                Value::from("1970-01-01 00:00:00"),
                Admitted::Time(epoch),
            ),
            (
                Kind::Metric,
                Known::Value,
                Value::Bool(true),
                Admitted::Flag(true),
            ),
            (
                Kind::Event,
                Known::EventType,
                Value::List(vec![]),
                Admitted::AnyJson,
            ),
            (
                Kind::Event,
                Known::IdempotencyKey,
                Value::Int(1),
                Admitted::Absent,
            ),
        ] {
            assert_eq!(admit(kind, field, &value), Ok(admitted), "{value:?}");
        }
        let key = "k".repeat(MAX_KEY + 1);
        let key = Value::from(&*key);
        let Ok(Admitted::Text(hash)) = admit(Kind::Event, Known::IdempotencyKey, &key) else {
            panic!("a long key is replaced by text");
        };
        assert_eq!(hash.len(), 64);
    }

    #[test]
    fn a_record_without_a_required_field_is_refused() {
        let mut admission = Admission::new(Kind::Metric);
        let missing = |field| {
            Err(EncodeError::Missing {
                kind: Kind::Metric,
                field,
            })
        };
        assert_eq!(admission.finish(), missing("timestamp"));
        let at = Value::Time(Timestamp::UNIX_EPOCH);
        admission.admit(Known::Timestamp, &at.view()).unwrap();
        assert_eq!(admission.finish(), missing("metric_type"));
        let name = Value::from("error_rate");
        admission.admit(Known::MetricType, &name.view()).unwrap();
        assert_eq!(admission.finish(), missing("value"));
        admission
            .admit(Known::Value, &Value::Int(1).view())
            .unwrap();
        assert_eq!(admission.finish(), Ok(()));
    }
}
