//! From fields to bytes: every record is written here.
//!
//! The encoder validates, redacts and truncates a record and writes it as JSON, all in one
//! pass over the fields that the caller passes. After that the record is bytes: queueing,
//! retry, splitting and storage never look into it again.

use crate::privacy::anonymize::Anonymize;
use crate::privacy::json::{
    JsonWriter, is_verbatim, write_scalar, write_text, write_time, write_uuid, write_verbatim,
};
use crate::privacy::redact::{self, Redactor};
use crate::record::admission::{Admission, Admitted};
use crate::record::field::Known;
use crate::record::fields::{Fields, Sink};
use crate::record::idempotency::Keys;
use crate::record::kind::Kind;
use crate::record::snapshot::SnapshotWriter;
use crate::value::{Tree, View};

pub use crate::record::admission::{EncodeError, MAX_KEY};

/// The JSON of a copied record is at most this many times as long as the copy: a byte takes
/// at most six (`\u0000`), and redaction of JSON inside text adds some.
const WORST_GROWTH: usize = 16;

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
    /// Which of them are written unchanged, by kind, if their text needs no change.
    free: [[bool; Known::ALL.len()]; Kind::ALL.len()],
    anonymize: Anonymize,
    max_text: usize,
    max_record: usize,
    keys: Keys,
}

impl Encoder {
    /// An encoder that cuts text to `max_text` bytes and refuses records of more than
    /// `max_record` bytes. Make a new encoder after a fork: an inherited one generates the
    /// same keys as the parent's.
    pub fn new(redactor: Redactor, max_text: usize, max_record: usize) -> Self {
        let hidden = Known::ALL.map(|field| redactor.is_sensitive(field.name()));
        // An event's type only has to be present, and plain text is.
        let has_no_rule =
            |kind, field| field == Known::EventType || !Admission::has_rule(kind, field);
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

    /// The same encoder, which also anonymizes the `ip_address` of events.
    #[must_use]
    pub fn anonymize(mut self, anonymize: Anonymize) -> Self {
        let ip = &mut self.free[Kind::Event.index()][Known::IpAddress as usize];
        *ip &= anonymize == Anonymize::None;
        self.anonymize = anonymize;
        self
    }

    /// Appends the JSON object of one record to `out`. It leaves out null fields, generates
    /// an `idempotency_key` if there is none, and reads a timestamp without an offset as UTC.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]; the bytes appended to `out` are then undefined.
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
            admission: Admission::new(kind),
            outcome: Ok(()),
            object_start: 0,
        };
        fields.write(&mut record);
        record.finish()
    }

    /// Appends a copy of the fields to `out`, for [`encode`](Self::encode) to read later as a
    /// [`RecordSnapshot`](crate::snapshot::RecordSnapshot). Returns roughly how many bytes of
    /// JSON the record will take.
    ///
    /// Returns `None` for a record that the caller must encode at once, because it is large or
    /// encoding it might fail. A copied record never fails to encode. The bytes appended to
    /// `out` are undefined if it returns `None`.
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

/// Writes the fields of one record. After the first error it ignores further fields.
pub struct RecordWriter<'e> {
    encoder: &'e Encoder,
    kind: Kind,
    out: &'e mut Vec<u8>,
    /// Where the record begins in `out`.
    start: usize,
    admission: Admission,
    outcome: Result<(), EncodeError>,
    /// Where the field begins that is written entry by entry.
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
        let is_checked =
            Admission::has_rule(self.kind, field) || self.encoder.hidden[field as usize];
        if self.outcome.is_err() || is_checked {
            return false;
        }
        self.object_start = self.out.len();
        self.name(field);
        self.out.push(b'{');
        true
    }

    fn entry<T: Tree>(&mut self, name: &str, value: &View<'_, T>) -> bool {
        // The entry next to a header's name may be a secret: the whole object is needed.
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
    /// Writes text that needs no change, as most text does. Returns whether it did.
    fn as_it_is(&mut self, field: Known, text: &str) -> bool {
        let encoder = self.encoder;
        let is_plain = encoder.free[self.kind.index()][field as usize]
            && text.len() <= encoder.max_text
            && redact::is_no_json(text)
            && is_verbatim(text.as_bytes());
        if is_plain {
            self.admission.note_event_text(field);
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
        let admitted = self.admission.admit(field, value)?;
        let is_checked = Admission::has_rule(self.kind, field) && field != Known::EventType;
        match admitted {
            Admitted::Absent => {}
            Admitted::Text(text) => {
                self.name(field);
                write_text(self.out, &text);
            }
            Admitted::Time(at) => {
                self.name(field);
                write_time(self.out, at);
            }
            Admitted::Flag(flag) => {
                self.name(field);
                self.out.push(if flag { b'1' } else { b'0' });
            }
            Admitted::Unchanged if is_checked => {
                self.name(field);
                match value {
                    View::Str(text) => write_text(self.out, text),
                    scalar => write_scalar(self.out, scalar),
                }
            }
            Admitted::Unchanged | Admitted::AnyJson => self.open_field(field, value),
        }
        Ok(())
    }

    /// Writes a field whose content is up to the sender: redacted, truncated, anonymized.
    fn open_field<T: Tree>(&mut self, field: Known, value: &View<'_, T>) {
        match (self.kind, field, value) {
            (Kind::Event, Known::IpAddress, View::Str(ip)) => {
                let ip = self.encoder.anonymize.apply(ip);
                self.free_known(field, |content| content.text(&ip, 0));
            }
            _ => self.free_known(field, |content| content.view(value, 0)),
        }
    }

    /// Writes `,"name":`. `finish` replaces the first comma by the opening brace.
    fn name(&mut self, field: Known) {
        field.json().write(self.out);
    }

    fn free_known(&mut self, field: Known, content: impl FnOnce(&mut JsonWriter<'_>)) {
        self.name(field);
        self.free(self.encoder.hidden[field as usize], content);
    }

    /// Writes content that is up to the sender, or the redaction mark if it is `hidden`.
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
        self.admission.finish()?;
        if !self.admission.has_key() {
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

#[cfg(test)]
mod tests;
