//! From fields to bytes: the one way a record is written.
//!
//! A record is validated, redacted, truncated and written as JSON in one pass
//! over what the caller handed in. From then on it is bytes: queueing, retry,
//! splitting and storage never look into it again.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use thiserror::Error;
use uuid::Uuid;

use crate::anonymize::Anonymize;
use crate::key::Keys;
use crate::kind::Kind;
use crate::metric::MetricType;
use crate::redact::{self, Redactor};
use crate::value::{Field, Value};
use crate::{hash, timestamp, truncate};

/// An idempotency key longer than this many bytes is replaced by its SHA-256.
pub const MAX_KEY: usize = 128;

/// Why a record cannot be sent. The record is lost; the caller counts it.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EncodeError {
    /// A field that every record of the kind has is absent, null or empty.
    #[error("{kind} without `{field}`; set it")]
    Missing {
        /// The kind of record.
        kind: Kind,
        /// The name of the field.
        field: &'static str,
    },
    /// The timestamp is no point in time.
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

/// Encodes records under one configuration.
///
/// ```
/// use guard_wire::encode::Encoder;
/// use guard_wire::redact::Redactor;
/// use guard_wire::{Kind, Value};
///
/// let encoder = Encoder::new(Redactor::new(["authorization"]), 1024, 262_144);
/// let fields = [
///     ("timestamp".into(), Value::from("2026-11-22T14:28:58Z")),
///     ("event_type".into(), Value::from("ip_banned")),
///     ("metadata".into(), Value::Map(vec![("Authorization".into(), Value::from("Bearer s"))])),
/// ];
/// let mut bytes = Vec::new();
/// encoder.encode(Kind::Event, &fields, &mut bytes).unwrap();
/// let json = String::from_utf8(bytes).unwrap();
/// assert!(json.contains(r#""metadata":{"Authorization":"[REDACTED]"}"#));
/// assert!(json.contains(r#""idempotency_key":""#));
/// ```
#[derive(Debug)]
pub struct Encoder {
    redactor: Redactor,
    anonymize: Anonymize,
    max_text: usize,
    max_record: usize,
    keys: Keys,
}

impl Encoder {
    /// An encoder that cuts text to `max_text` bytes and refuses records of
    /// more than `max_record` bytes. A process that was forked needs one of its
    /// own: the keys that it generates would be those of the parent's.
    pub fn new(redactor: Redactor, max_text: usize, max_record: usize) -> Self {
        Self {
            redactor,
            anonymize: Anonymize::None,
            max_text,
            max_record,
            keys: Keys::new(),
        }
    }

    /// The same encoder, but events say less of their `ip_address`.
    #[must_use]
    pub fn anonymize(mut self, anonymize: Anonymize) -> Self {
        self.anonymize = anonymize;
        self
    }

    /// Appends the JSON object of one record to `out`. Null fields are left
    /// out, an absent `idempotency_key` is generated, a timestamp without an
    /// offset is taken as UTC.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]; what was appended to `out` is then undefined.
    pub fn encode(
        &self,
        kind: Kind,
        fields: &[Field<'_>],
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        let mut seen = Seen::default();
        out.push(b'{');
        for (name, value) in fields {
            if matches!(value, Value::Null) {
                continue;
            }
            match (kind, name.as_ref()) {
                (_, "idempotency_key") => {
                    let Some(key) = idempotency_key(value) else {
                        continue;
                    };
                    seen.key = true;
                    write_name(out, name);
                    write_text(out, &key);
                }
                (_, "timestamp") => {
                    seen.timestamp = true;
                    write_name(out, name);
                    write_timestamp(out, value).ok_or(EncodeError::Timestamp { kind })?;
                }
                (Kind::Event, "ip_address") if value.as_str().is_some() => {
                    let ip = self.anonymize.apply(value.as_str().unwrap_or_default());
                    write_name(out, name);
                    self.write_free(start, name, &Value::Str(ip), out);
                }
                (Kind::Metric, "metric_type") => {
                    seen.type_ = true;
                    let known = value.as_str().and_then(MetricType::parse);
                    write_name(out, name);
                    write_text(out, known.ok_or(EncodeError::MetricType)?.as_str());
                }
                (Kind::Metric, "value") => {
                    seen.value = true;
                    write_name(out, name);
                    write_number(out, value).ok_or(EncodeError::MetricValue)?;
                }
                (_, other) => {
                    let names_type = kind == Kind::Event && other == "event_type";
                    seen.type_ |= names_type && value.as_str() != Some("");
                    write_name(out, name);
                    self.write_free(start, other, value, out);
                }
            }
            if out.len() - start > self.max_record {
                return Err(self.too_large(kind));
            }
        }
        if let Some(field) = seen.missing(kind) {
            return Err(EncodeError::Missing { kind, field });
        }
        if !seen.key {
            write_name(out, "idempotency_key");
            let mut text = Uuid::encode_buffer();
            write_text(out, self.keys.next().hyphenated().encode_lower(&mut text));
        }
        out.push(b'}');
        if out.len() - start > self.max_record {
            return Err(self.too_large(kind));
        }
        Ok(())
    }

    /// Writes a field whose content the contract leaves to the sender.
    fn write_free(&self, start: usize, name: &str, value: &Value<'_>, out: &mut Vec<u8>) {
        let mut writer = JsonWriter {
            out,
            redactor: &self.redactor,
            max_text: self.max_text,
            max_len: start.saturating_add(self.max_record),
            spaced: false,
            redacted: false,
        };
        if self.redactor.is_sensitive(name) {
            writer.redact();
        } else {
            writer.value(value, 0);
        }
    }

    fn too_large(&self, kind: Kind) -> EncodeError {
        EncodeError::TooLarge {
            kind,
            limit: self.max_record,
        }
    }
}

/// Which fields that matter were met.
#[derive(Default)]
struct Seen {
    key: bool,
    timestamp: bool,
    type_: bool,
    value: bool,
}

impl Seen {
    fn missing(&self, kind: Kind) -> Option<&'static str> {
        match kind {
            _ if !self.timestamp => Some("timestamp"),
            Kind::Event if !self.type_ => Some("event_type"),
            Kind::Metric if !self.type_ => Some("metric_type"),
            Kind::Metric if !self.value => Some("value"),
            _ => None,
        }
    }
}

fn idempotency_key<'a>(value: &'a Value<'_>) -> Option<Cow<'a, str>> {
    let key = value.as_str().filter(|key| !key.is_empty())?;
    if key.len() > MAX_KEY {
        let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
        return Some(Cow::Owned(hash::hex(digest.as_ref())));
    }
    Some(Cow::Borrowed(key))
}

fn write_timestamp(out: &mut Vec<u8>, value: &Value<'_>) -> Option<()> {
    match value {
        Value::Time(at) => write_time(out, *at),
        Value::Str(text) if timestamp::is_plain(text) => write_text(out, text),
        Value::Str(text) => write_time(out, timestamp::parse(text)?),
        #[expect(clippy::cast_precision_loss, reason = "seconds are far below 2^52")]
        Value::Int(seconds) => {
            write_time(out, timestamp::from_unix_seconds(*seconds as f64)?);
        }
        Value::Float(seconds) => write_time(out, timestamp::from_unix_seconds(*seconds)?),
        _ => return None,
    }
    Some(())
}

fn write_time(out: &mut Vec<u8>, at: Timestamp) {
    out.push(b'"');
    // Writing into a Vec has no way to fail.
    let written = DateTimePrinter::new().print_timestamp(&at, &mut *out);
    debug_assert!(written.is_ok(), "a Vec takes everything");
    out.push(b'"');
}

fn write_number(out: &mut Vec<u8>, value: &Value<'_>) -> Option<()> {
    match value {
        Value::Bool(flag) => out.push(if *flag { b'1' } else { b'0' }),
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => write_scalar(out, value),
        _ => return None,
    }
    Some(())
}

/// Writes a separator where one is due, then `"name":`.
fn write_name(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    write_text(out, name);
    out.push(b':');
}

/// Writes a JSON string. Almost no text needs escapes; looking for them first
/// and copying the rest whole is several times faster than going byte by byte.
fn write_text(out: &mut Vec<u8>, text: &str) {
    let needs_escapes = |found, byte| found | (byte < b' ') | (byte == b'"') | (byte == b'\\');
    if text.bytes().fold(false, needs_escapes) {
        return write_json(out, text);
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn write_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing a scalar into a Vec has no way to fail.
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "a scalar is always JSON");
}

fn write_scalar(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Bool(flag) => write_json(out, flag),
        Value::Int(number) => write_json(out, number),
        Value::UInt(number) => write_json(out, number),
        Value::Float(number) if number.is_finite() => write_json(out, number),
        Value::Time(at) => write_time(out, *at),
        _ => out.extend_from_slice(b"null"),
    }
}

/// Writes values as JSON, redacted and truncated.
pub(crate) struct JsonWriter<'w> {
    out: &'w mut Vec<u8>,
    redactor: &'w Redactor,
    max_text: usize,
    /// Writing stops once `out` is longer; the caller then refuses the record.
    max_len: usize,
    spaced: bool,
    redacted: bool,
}

impl<'w> JsonWriter<'w> {
    /// A writer that cuts nothing and puts a space behind `:` and `,`.
    pub(crate) fn spaced(out: &'w mut Vec<u8>, redactor: &'w Redactor) -> Self {
        Self {
            out,
            redactor,
            max_text: usize::MAX,
            max_len: usize::MAX,
            spaced: true,
            redacted: false,
        }
    }

    /// Whether anything was redacted so far.
    pub(crate) fn has_redacted(&self) -> bool {
        self.redacted
    }

    fn redact(&mut self) {
        self.redacted = true;
        write_text(self.out, redact::MARK);
    }

    /// Writes `value`, which stands `depth` levels below the record's field.
    pub(crate) fn value(&mut self, value: &Value<'_>, depth: usize) {
        if depth > redact::MAX_DEPTH {
            return self.redact();
        }
        match value {
            Value::Str(text) => self.text(text, depth),
            Value::List(items) => self.list(items, depth),
            Value::Map(fields) => self.map(fields, depth),
            scalar => write_scalar(self.out, scalar),
        }
    }

    fn text(&mut self, text: &str, depth: usize) {
        match self.redactor.text(text, depth) {
            None => self.cut(text),
            Some(safe) => {
                self.redacted = true;
                self.cut(&safe);
            }
        }
    }

    /// Writes `text`, cut to the limit.
    fn cut(&mut self, text: &str) {
        match truncate::kept(text, self.max_text) {
            None => write_text(self.out, text),
            Some(head) => {
                write_text(self.out, head);
                self.out.pop();
                self.out.extend_from_slice(truncate::MARK.as_bytes());
                self.out.push(b'"');
            }
        }
    }

    fn list(&mut self, items: &[Value<'_>], depth: usize) {
        let is_header = matches!(items, [Value::Str(name), _] if self.redactor.is_sensitive(name));
        self.out.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if self.out.len() > self.max_len {
                break;
            }
            if index > 0 {
                self.separate(b',');
            }
            if is_header && index == 1 {
                self.redact();
            } else {
                self.value(item, depth + 1);
            }
        }
        self.out.push(b']');
    }

    fn map(&mut self, fields: &[Field<'_>], depth: usize) {
        self.out.push(b'{');
        for (index, (name, value)) in fields.iter().enumerate() {
            if self.out.len() > self.max_len {
                break;
            }
            if index > 0 {
                self.separate(b',');
            }
            self.cut(name);
            self.separate(b':');
            if self.redactor.is_sensitive(name) {
                self.redact();
            } else {
                self.value(value, depth + 1);
            }
        }
        self.out.push(b'}');
    }

    fn separate(&mut self, mark: u8) {
        self.out.push(mark);
        if self.spaced {
            self.out.push(b' ');
        }
    }
}

#[cfg(test)]
mod tests;
