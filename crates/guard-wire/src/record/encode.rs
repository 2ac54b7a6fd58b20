//! From fields to bytes: the one way a record is written.
//!
//! A record is validated, redacted, truncated and written as JSON in one pass
//! over what the caller handed in. From then on it is bytes: queueing, retry,
//! splitting and storage never look into it again.

use std::borrow::Cow;

use thiserror::Error;

use crate::crypto::hash;
use crate::privacy::anonymize::Anonymize;
use crate::privacy::json::{
    JsonWriter, is_verbatim, write_moment, write_scalar, write_text, write_time, write_uuid,
    write_verbatim,
};
use crate::privacy::redact::{self, Redactor};
use crate::record::field::Known;
use crate::record::fields::{Fields, Sink};
use crate::record::idempotency::Keys;
use crate::record::kind::Kind;
use crate::record::metric::MetricType;
use crate::record::snapshot::SnapshotWriter;
use crate::timestamp;
use crate::value::{Tree, View};

/// An idempotency key longer than this many bytes is replaced by its SHA-256.
pub const MAX_KEY: usize = 128;

/// JSON that comes of a copy is shorter than this many times what was copied: a byte takes
/// six at most (`\u0000`), and JSON in text that is redacted some more before.
const WORST_GROWTH: usize = 16;

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
/// encoder.encode(Kind::Event, &fields[..], &mut bytes).unwrap();
/// let json = String::from_utf8(bytes).unwrap();
/// assert!(json.contains(r#""metadata":{"Authorization":"[REDACTED]"}"#));
/// assert!(json.contains(r#""idempotency_key":""#));
/// ```
#[derive(Debug)]
pub struct Encoder {
    redactor: Redactor,
    /// Which of [`Known::ALL`] have a sensitive name.
    hidden: [bool; Known::ALL.len()],
    /// Which of them are written as they are, by kind, while nothing is in their text
    /// that has to be changed.
    free: [[bool; Known::ALL.len()]; Kind::ALL.len()],
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
        let hidden = Known::ALL.map(|field| redactor.is_sensitive(field.name()));
        // Of an event's type it only matters that it is there.
        let has_no_rule = |kind, field| field == Known::EventType || !has_rule(kind, field);
        let is_free = |kind, field| !hidden[field as usize] && has_no_rule(kind, field);
        Self {
            free: Kind::ALL.map(|kind| Known::ALL.map(|field| is_free(kind, field))),
            hidden,
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
        let ip = &mut self.free[Kind::Event.index()][Known::IpAddress as usize];
        *ip &= anonymize == Anonymize::None;
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
        fields: impl Fields,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        let mut record = RecordWriter {
            encoder: self,
            kind,
            out,
            start,
            seen: Seen::default(),
            outcome: Ok(()),
            object_start: 0,
        };
        fields.write(&mut record);
        record.finish()
    }

    /// Appends a copy of the fields to `out`, from which [`encode`](Self::encode) makes the
    /// record later: a [`RecordSnapshot`](crate::snapshot::RecordSnapshot). Gives about how many bytes of JSON it
    /// will take.
    ///
    /// Nothing for a record that is to be encoded at once, as it may turn out to be one that
    /// cannot be, or is large: the copies of others never fail. What was appended to `out` is
    /// then undefined.
    pub fn copy(&self, kind: Kind, fields: impl Fields, out: &mut Vec<u8>) -> Option<usize> {
        let max_size = self.max_record / WORST_GROWTH;
        let mut snapshot = SnapshotWriter::new(out, kind, self.max_text, max_size);
        fields.write(&mut snapshot);
        snapshot.finish()
    }

    fn too_large(&self, kind: Kind) -> EncodeError {
        EncodeError::TooLarge {
            kind,
            limit: self.max_record,
        }
    }
}

/// Takes the fields of one record. What makes the record impossible to send is
/// remembered, and further fields are then ignored.
pub struct RecordWriter<'e> {
    encoder: &'e Encoder,
    kind: Kind,
    out: &'e mut Vec<u8>,
    /// Where the record begins in `out`.
    start: usize,
    seen: Seen,
    outcome: Result<(), EncodeError>,
    /// Where the field begins that is handed over entry by entry.
    object_start: usize,
}

impl Sink for RecordWriter<'_> {
    fn kind(&self) -> Kind {
        self.kind
    }

    #[inline]
    fn known<T: Tree>(&mut self, field: Known, value: &View<'_, T>) {
        match value {
            View::Str(text) if self.outcome.is_ok() && self.as_it_is(field, text) => {}
            _ => self.known_by_rules(field, value),
        }
    }

    fn other<T: Tree>(&mut self, name: &str, value: &View<'_, T>) {
        if self.wants(value) {
            self.out.push(b',');
            self.json().plain(name);
            self.out.push(b':');
            let hidden = self.encoder.redactor.is_sensitive(name);
            self.free(hidden, |content| content.view(value, 0));
            self.check_length();
        }
    }

    fn open(&mut self, field: Known) -> bool {
        let is_bound = has_rule(self.kind, field) || self.encoder.hidden[field as usize];
        if self.outcome.is_err() || is_bound {
            return false;
        }
        self.object_start = self.out.len();
        self.name(field);
        self.out.push(b'{');
        true
    }

    fn entry<T: Tree>(&mut self, name: &str, value: &View<'_, T>) -> bool {
        // What stands beside the name of a header can be a secret.
        let is_alone = !self.encoder.redactor.names_header(name, value);
        if is_alone {
            self.json().entry(name, value, 1);
        }
        is_alone
    }

    fn close(&mut self, whole: bool) {
        if whole {
            self.out.push(b'}');
            self.check_length();
        } else {
            self.out.truncate(self.object_start);
        }
    }
}

impl RecordWriter<'_> {
    /// Writes text that nothing has to be done to, as is most; whether it is.
    fn as_it_is(&mut self, field: Known, text: &str) -> bool {
        let encoder = self.encoder;
        let is_plain = encoder.free[self.kind.index()][field as usize]
            && text.len() <= encoder.max_text
            && redact::is_no_json(text)
            && is_verbatim(text.as_bytes());
        if is_plain {
            // Not empty, as was seen.
            self.seen.type_ |= self.kind == Kind::Event && field == Known::EventType;
            self.name(field);
            write_verbatim(self.out, text);
            self.check_length();
        }
        is_plain
    }

    fn known_by_rules<T: Tree>(&mut self, field: Known, value: &View<'_, T>) {
        if self.wants(value) {
            match self.try_known(field, value) {
                Ok(()) => self.check_length(),
                Err(error) => self.outcome = Err(error),
            }
        }
    }

    fn wants<T: Tree>(&self, value: &View<'_, T>) -> bool {
        !matches!(value, View::Null) && self.outcome.is_ok()
    }

    fn try_known<T: Tree>(&mut self, field: Known, value: &View<'_, T>) -> Result<(), EncodeError> {
        let kind = self.kind;
        match (kind, field, value) {
            (_, Known::IdempotencyKey, View::Uuid(uuid)) => {
                self.seen.key = true;
                self.name(field);
                write_uuid(self.out, *uuid);
            }
            (_, Known::IdempotencyKey, _) => {
                if let Some(key) = idempotency_key(value) {
                    self.seen.key = true;
                    self.name(field);
                    write_text(self.out, &key);
                }
            }
            (_, Known::Timestamp, _) => {
                self.seen.timestamp = true;
                self.name(field);
                write_timestamp(self.out, value).ok_or(EncodeError::Timestamp { kind })?;
            }
            (Kind::Event, Known::IpAddress, View::Str(ip)) => {
                let ip = self.encoder.anonymize.apply(ip);
                self.free_known(field, |content| content.text(&ip, 0));
            }
            (Kind::Metric, Known::MetricType, _) => {
                self.seen.type_ = true;
                self.name(field);
                let known = value.as_str().and_then(MetricType::parse);
                write_text(self.out, known.ok_or(EncodeError::MetricType)?.as_str());
            }
            (Kind::Metric, Known::Value, _) => {
                self.seen.value = true;
                self.name(field);
                write_number(self.out, value).ok_or(EncodeError::MetricValue)?;
            }
            _ => {
                let names_type = kind == Kind::Event && field == Known::EventType;
                self.seen.type_ |= names_type && value.as_str() != Some("");
                self.free_known(field, |content| content.view(value, 0));
            }
        }
        Ok(())
    }

    /// Writes `,"name":`. The comma before the first one is where the object begins.
    fn name(&mut self, field: Known) {
        field.json().write(self.out);
    }

    fn free_known(&mut self, field: Known, content: impl FnOnce(&mut JsonWriter<'_>)) {
        self.name(field);
        self.free(self.encoder.hidden[field as usize], content);
    }

    /// Writes what the contract leaves to the sender, unless it is `hidden`.
    fn free(&mut self, hidden: bool, content: impl FnOnce(&mut JsonWriter<'_>)) {
        let mut writer = self.json();
        if hidden {
            writer.redact();
        } else {
            content(&mut writer);
        }
    }

    fn json(&mut self) -> JsonWriter<'_> {
        let encoder = self.encoder;
        let max_len = self.start.saturating_add(encoder.max_record);
        JsonWriter::new(self.out, &encoder.redactor, encoder.max_text, max_len)
    }

    fn check_length(&mut self) {
        if self.out.len() - self.start > self.encoder.max_record {
            self.outcome = Err(self.encoder.too_large(self.kind));
        }
    }

    fn finish(mut self) -> Result<(), EncodeError> {
        if self.outcome.is_err() {
            return self.outcome;
        }
        let kind = self.kind;
        if let Some(field) = self.seen.missing(kind) {
            return Err(EncodeError::Missing { kind, field });
        }
        if !self.seen.key {
            let key = self.encoder.keys.next();
            self.name(Known::IdempotencyKey);
            write_uuid(self.out, key);
        }
        self.out[self.start] = b'{';
        self.out.push(b'}');
        self.check_length();
        self.outcome
    }
}

/// Whether more is done to this field than to write it, whatever its name is.
#[inline]
pub(crate) fn has_rule(kind: Kind, field: Known) -> bool {
    match field {
        Known::IdempotencyKey | Known::Timestamp => true,
        Known::EventType => kind == Kind::Event,
        Known::MetricType | Known::Value => kind == Kind::Metric,
        _ => false,
    }
}

/// Which fields that matter were met.
#[derive(Default)]
pub(crate) struct Seen {
    key: bool,
    pub(crate) timestamp: bool,
    pub(crate) type_: bool,
    pub(crate) value: bool,
}

impl Seen {
    pub(crate) fn missing(&self, kind: Kind) -> Option<&'static str> {
        match kind {
            _ if !self.timestamp => Some("timestamp"),
            Kind::Event if !self.type_ => Some("event_type"),
            Kind::Metric if !self.type_ => Some("metric_type"),
            Kind::Metric if !self.value => Some("value"),
            _ => None,
        }
    }
}

fn idempotency_key<'a, T: Tree>(value: &View<'a, T>) -> Option<Cow<'a, str>> {
    if let View::Moment(moment) = value {
        return String::from_utf8(moment.text().to_vec())
            .ok()
            .map(Cow::Owned);
    }
    let key = value.as_str().filter(|key| !key.is_empty())?;
    if key.len() > MAX_KEY {
        let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
        return Some(Cow::Owned(hash::hex(digest.as_ref())));
    }
    Some(Cow::Borrowed(key))
}

fn write_timestamp<T: Tree>(out: &mut Vec<u8>, value: &View<'_, T>) -> Option<()> {
    match value {
        View::Time(at) => write_time(out, *at),
        View::Moment(moment) => write_moment(out, *moment),
        View::Str(text) if timestamp::is_plain(text) => write_verbatim(out, text),
        View::Str(text) => write_time(out, timestamp::parse(text)?),
        #[expect(clippy::cast_precision_loss, reason = "seconds are far below 2^52")]
        View::Int(seconds) => {
            write_time(out, timestamp::from_unix_seconds(*seconds as f64)?);
        }
        View::Float(seconds) => write_time(out, timestamp::from_unix_seconds(*seconds)?),
        _ => return None,
    }
    Some(())
}

fn write_number<T: Tree>(out: &mut Vec<u8>, value: &View<'_, T>) -> Option<()> {
    match value {
        View::Bool(flag) => out.push(if *flag { b'1' } else { b'0' }),
        View::Int(_) | View::UInt(_) | View::Float(_) => write_scalar(out, value),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests;
