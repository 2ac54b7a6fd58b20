//! Records as they were handed in, copied flat.
//!
//! To copy a record takes half of the time of encoding it. Whoever is in a hurry copies
//! it, and another thread reads it off the snapshot and encodes it: a snapshot is nothing but
//! bytes, and needs nothing of what the record was read from.
//!
//! A snapshot is read by the program that wrote it, and by no other: its form is nobody
//! else's business. Each field is a byte that names it, or `OTHER` and its name, and a
//! value. A byte tells what it is, unless it is the text of a field that has a byte: then
//! that one says `TYPED` if it is not. Numbers are little-endian.

use jiff::Timestamp;
use uuid::Uuid;

use crate::privacy::redact::MAX_DEPTH;
use crate::record::encode::{MAX_KEY, Seen, has_rule};
use crate::record::field::Known;
use crate::record::fields::{Fields, Sink};
use crate::record::kind::Kind;
use crate::record::metric::MetricType;
use crate::timestamp::{self, Moment};
use crate::value::{Tree, Value, View};

/// Stands for a field that the contract does not list.
const OTHER: u8 = u8::MAX;

/// Added to the byte of a field whose value is not text.
const TYPED: u8 = 0x80;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const UINT: u8 = 4;
const FLOAT: u8 = 5;
const TIME: u8 = 6;
const MOMENT: u8 = 7;
const UUID: u8 = 8;
const TEXT: u8 = 9;
const LIST: u8 = 10;
const MAP: u8 = 11;

/// What a number takes as JSON, by and large.
const NUMBER: usize = 8;

/// What a point in time takes beside that.
const MOMENT_SIZE: usize = 24;

/// What text takes beside itself, with the mark behind it.
const QUOTES: usize = 3;

/// Copies the fields of a record, as long as it is beyond doubt that they can be encoded.
pub(crate) struct SnapshotWriter<'t> {
    out: &'t mut Vec<u8>,
    kind: Kind,
    /// Text that is longer is cut by the encoder, and not worth its copy.
    max_text: usize,
    /// About how many bytes of JSON there may be.
    max_size: usize,
    size: usize,
    seen: Seen,
    is_plain: bool,
    object: Object,
}

/// The object that is written entry by entry.
#[derive(Default)]
struct Object {
    start: usize,
    entries: u16,
    size: usize,
}

impl<'t> SnapshotWriter<'t> {
    pub(crate) fn new(out: &'t mut Vec<u8>, kind: Kind, max_text: usize, max_size: usize) -> Self {
        Self {
            out,
            kind,
            max_text,
            max_size,
            size: 0,
            seen: Seen::default(),
            is_plain: true,
            object: Object::default(),
        }
    }

    /// About how many bytes the record takes as JSON. Nothing if it is to be encoded at
    /// once, as it may be one that cannot be.
    pub(crate) fn finish(self) -> Option<usize> {
        let is_plain =
            self.is_plain && self.size <= self.max_size && self.seen.missing(self.kind).is_none();
        is_plain.then_some(self.size)
    }

    /// Whether the encoder takes this value for the field, beyond doubt.
    fn admits<T: Tree>(&mut self, field: Known, value: &View<'_, T>) -> bool {
        match (self.kind, field) {
            (_, Known::IdempotencyKey) => match value {
                View::Str(key) => !key.is_empty() && key.len() <= MAX_KEY,
                View::Uuid(_) => true,
                _ => false,
            },
            (_, Known::Timestamp) => {
                self.seen.timestamp = true;
                match value {
                    View::Time(_) | View::Moment(_) => true,
                    View::Str(text) => timestamp::is_plain(text),
                    _ => false,
                }
            }
            (Kind::Event, Known::EventType) => {
                self.seen.type_ = true;
                matches!(value, View::Str(text) if !text.is_empty())
            }
            (Kind::Metric, Known::MetricType) => {
                self.seen.type_ = true;
                matches!(value, View::Str(name) if MetricType::parse(name).is_some())
            }
            (Kind::Metric, Known::Value) => {
                self.seen.value = true;
                matches!(value, View::Int(_) | View::Float(_))
            }
            _ => true,
        }
    }

    #[inline]
    fn known_text(&mut self, field: Known, text: &str) {
        if self.begin_known(field, &View::<Value<'_>>::Str(text))
            && let Some([low, high]) = self.measure(text)
        {
            self.out.extend_from_slice(&[field as u8, low, high]);
            self.out.extend_from_slice(text.as_bytes());
        }
    }

    fn known_other<T: Tree>(&mut self, field: Known, value: &View<'_, T>) {
        if self.begin_known(field, value) {
            self.out.push(field as u8 | TYPED);
            self.value(value, 0);
        }
    }

    /// Whether the field is to be written.
    #[inline]
    fn begin_known<T: Tree>(&mut self, field: Known, value: &View<'_, T>) -> bool {
        let is_free = !has_rule(self.kind, field);
        self.is_plain = self.is_plain && (is_free || self.admits(field, value));
        self.size += field.json().len();
        self.is_plain
    }

    fn value<T: Tree>(&mut self, value: &View<'_, T>, depth: usize) {
        match value {
            View::Null => self.tag(NULL),
            View::Bool(flag) => self.tag(if *flag { TRUE } else { FALSE }),
            View::Int(number) => self.number(INT, number.to_le_bytes()),
            View::UInt(number) => self.number(UINT, number.to_le_bytes()),
            View::Float(number) => self.number(FLOAT, number.to_le_bytes()),
            View::Time(at) => {
                self.size += MOMENT_SIZE;
                self.number(TIME, at.as_second().to_le_bytes());
                let nanoseconds = at.subsec_nanosecond().to_le_bytes();
                self.out.extend_from_slice(&nanoseconds);
            }
            View::Moment(moment) => {
                self.size += MOMENT_SIZE;
                self.tag(MOMENT);
                self.out.extend_from_slice(&moment.to_bytes());
            }
            View::Uuid(uuid) => {
                self.size += uuid::fmt::Hyphenated::LENGTH;
                self.tag(UUID);
                self.out.extend_from_slice(uuid.as_bytes());
            }
            View::Str(text) => self.text(TEXT, text),
            View::List(items) => {
                self.begin(LIST, items.len(), depth);
                for item in *items {
                    if !self.is_plain {
                        break;
                    }
                    self.value(&item.view(), depth + 1);
                }
            }
            View::Map(entries) => {
                self.begin(MAP, entries.len(), depth);
                for (name, value) in *entries {
                    if !self.is_plain {
                        break;
                    }
                    self.name(name.as_ref());
                    self.value(&value.view(), depth + 1);
                }
            }
        }
        self.is_plain &= self.size <= self.max_size;
    }

    fn tag(&mut self, tag: u8) {
        self.size += NUMBER;
        self.out.push(tag);
    }

    #[inline]
    fn number(&mut self, tag: u8, bytes: [u8; 8]) {
        self.size += NUMBER;
        let [a, b, c, d, e, f, g, h] = bytes;
        self.out.extend_from_slice(&[tag, a, b, c, d, e, f, g, h]);
    }

    fn text(&mut self, tag: u8, text: &str) {
        if let Some([low, high]) = self.measure(text) {
            self.out.extend_from_slice(&[tag, low, high]);
            self.out.extend_from_slice(text.as_bytes());
        }
    }

    /// The length of a text as it stands on the snapshot, if it is not too long.
    #[inline]
    fn measure(&mut self, text: &str) -> Option<[u8; 2]> {
        self.size += text.len() + QUOTES;
        self.is_plain &= text.len() <= self.max_text && self.size <= self.max_size;
        self.is_plain.then(|| self.length(text.len()))
    }

    #[inline]
    fn name(&mut self, text: &str) {
        self.size += text.len() + QUOTES;
        let length = self.length(text.len());
        self.out.extend_from_slice(&length);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn begin(&mut self, tag: u8, len: usize, depth: usize) {
        self.is_plain &= depth <= MAX_DEPTH;
        let length = self.length(len);
        self.tag(tag);
        self.out.extend_from_slice(&length);
    }

    #[inline]
    fn length(&mut self, len: usize) -> [u8; 2] {
        let fitting = u16::try_from(len);
        self.is_plain &= fitting.is_ok();
        fitting.unwrap_or(0).to_le_bytes()
    }
}

impl Sink for SnapshotWriter<'_> {
    fn kind(&self) -> Kind {
        self.kind
    }

    #[inline]
    fn known<T: Tree>(&mut self, field: Known, value: &View<'_, T>) {
        match value {
            View::Null => {}
            View::Str(text) => self.known_text(field, text),
            value => self.known_other(field, value),
        }
    }

    fn other<T: Tree>(&mut self, name: &str, value: &View<'_, T>) {
        if self.is_plain && !matches!(value, View::Null) {
            self.out.push(OTHER);
            self.name(name);
            self.value(value, 0);
        }
    }

    fn open(&mut self, field: Known) -> bool {
        self.object = Object {
            start: self.out.len(),
            entries: 0,
            size: self.size,
        };
        if self.begin_known(field, &View::<Value<'_>>::Map(&[])) {
            self.out.push(field as u8 | TYPED);
            self.begin(MAP, 0, 0);
        }
        // Of a record that is given up nothing needs to be read any more.
        true
    }

    #[inline]
    fn entry<T: Tree>(&mut self, name: &str, value: &View<'_, T>) -> bool {
        if self.is_plain {
            self.object.entries = self.object.entries.saturating_add(1);
            self.name(name);
            self.value(value, 1);
        }
        true
    }

    fn close(&mut self, whole: bool) {
        let Object {
            start,
            entries,
            size,
        } = self.object;
        if !whole {
            self.out.truncate(start);
            self.size = size;
        } else if self.is_plain
            && let Some(count) = self.out.get_mut(start + 2..start + 4)
        {
            count.copy_from_slice(&entries.to_le_bytes());
            self.is_plain &= entries < u16::MAX;
        }
    }
}

/// A record's copy, read off.
///
/// ```
/// use guard_wire::encode::Encoder;
/// use guard_wire::redact::Redactor;
/// use guard_wire::snapshot::RecordSnapshot;
/// use guard_wire::{Kind, SecurityEvent};
///
/// let encoder = Encoder::new(Redactor::new(["authorization"]), 1024, 262_144);
/// let event = SecurityEvent::new("ip_banned").idempotency_key("k-1");
/// let (mut snapshot, mut later, mut at_once) = (Vec::new(), Vec::new(), Vec::new());
/// encoder.copy(Kind::Event, event.fields(), &mut snapshot).unwrap();
/// encoder.encode(Kind::Event, RecordSnapshot::new(&snapshot), &mut later).unwrap();
/// encoder.encode(Kind::Event, event.fields(), &mut at_once).unwrap();
/// assert_eq!(later, at_once);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct RecordSnapshot<'t>(&'t [u8]);

impl<'t> RecordSnapshot<'t> {
    /// What [`Encoder::copy`](crate::record::encode::Encoder::copy) has written. Of other bytes
    /// anything may be read, but nothing that is not in them.
    pub const fn new(bytes: &'t [u8]) -> Self {
        Self(bytes)
    }
}

impl Fields for RecordSnapshot<'_> {
    fn write(self, sink: &mut impl Sink) {
        let mut reader = Reader(self.0);
        while reader.field(sink).is_some() {}
    }
}

/// What is left of a snapshot.
struct Reader<'t>(&'t [u8]);

impl<'t> Reader<'t> {
    /// Hands on the next field; nothing at the end.
    fn field(&mut self, sink: &mut impl Sink) -> Option<()> {
        match self.byte()? {
            OTHER => {
                let name = self.text()?;
                sink.other(name, &self.value(0)?.view());
            }
            place => {
                let field = *Known::ALL.get(usize::from(place & !TYPED))?;
                if place & TYPED == 0 {
                    sink.known(field, &View::<Value<'_>>::Str(self.text()?));
                } else {
                    sink.known(field, &self.value(0)?.view());
                }
            }
        }
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<Value<'t>> {
        let value = match self.byte()? {
            NULL => Value::Null,
            FALSE => Value::Bool(false),
            TRUE => Value::Bool(true),
            INT => Value::Int(i64::from_le_bytes(self.array()?)),
            UINT => Value::UInt(u64::from_le_bytes(self.array()?)),
            FLOAT => Value::Float(f64::from_le_bytes(self.array()?)),
            TIME => {
                let seconds = i64::from_le_bytes(self.array()?);
                let nanoseconds = i32::from_le_bytes(self.array()?);
                Value::Time(Timestamp::new(seconds, nanoseconds).ok()?)
            }
            MOMENT => Value::Moment(Moment::from_bytes(self.array()?)),
            UUID => Value::Uuid(Uuid::from_bytes(self.array()?)),
            TEXT => Value::from(self.text()?),
            LIST if depth <= MAX_DEPTH => {
                let items = (0..self.length()?).map(|_| self.value(depth + 1));
                Value::List(items.collect::<Option<_>>()?)
            }
            MAP if depth <= MAX_DEPTH => {
                let entries = (0..self.length()?)
                    .map(|_| Some((self.text()?.into(), self.value(depth + 1)?)));
                Value::Map(entries.collect::<Option<_>>()?)
            }
            _ => return None,
        };
        Some(value)
    }

    fn text(&mut self) -> Option<&'t str> {
        let len = self.length()?;
        let (text, rest) = self.0.split_at_checked(len.into())?;
        self.0 = rest;
        str::from_utf8(text).ok()
    }

    fn length(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }
}

#[cfg(test)]
mod tests;
