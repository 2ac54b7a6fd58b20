//! A flat copy of a record, to be encoded on another thread.
//!
//! Copying a record takes half the time of encoding it. The caller's thread copies; the
//! worker reads the copy and encodes it. A snapshot is plain bytes and borrows nothing from
//! the record it was made of.
//!
//! The format is private to this process. A field is a byte that names it (or `OTHER` and its
//! name) and a value. The value starts with a byte for its type. The exception is text in a
//! field that the contract lists, which is the common case: it has no type byte, and every
//! other value of such a field is marked by `TYPED`. Numbers are little-endian.

use jiff::Timestamp;
use uuid::Uuid;

use crate::privacy::redact::MAX_DEPTH;
use crate::record::admission::{Admission, Admitted};
use crate::record::field::Known;
use crate::record::fields::{Fields, Sink};
use crate::record::kind::Kind;
use crate::timestamp::Moment;
use crate::value::{Tree, Value, View};

/// The byte of a field that the contract does not list.
const OTHER: u8 = u8::MAX;

/// Added to the byte of a field whose value starts with its type, because it is not text.
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

/// Typical length of a number in JSON.
const NUMBER: usize = 8;

/// Additional length of a point in time in JSON.
const MOMENT_SIZE: usize = 24;

/// Additional length of text in JSON: its quotes, and the comma or colon after it.
const QUOTES: usize = 3;

/// Copies the fields of a record. It gives up as soon as the encoder might refuse the record.
pub(crate) struct SnapshotWriter<'t> {
    out: &'t mut Vec<u8>,
    kind: Kind,
    /// The encoder cuts longer text: copying it would be wasted.
    max_text: usize,
    /// Limit of `size`.
    max_size: usize,
    /// Estimated length of the JSON.
    size: usize,
    admission: Admission,
    /// Whether the copy is still good; false once the writer has given up.
    is_plain: bool,
    object: Object,
}

/// The object that is being written entry by entry.
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
            admission: Admission::new(kind),
            is_plain: true,
            object: Object::default(),
        }
    }

    /// Estimated length of the record's JSON, or `None` if the caller must encode it at once.
    pub(crate) fn finish(self) -> Option<usize> {
        let is_plain =
            self.is_plain && self.size <= self.max_size && self.admission.finish().is_ok();
        is_plain.then_some(self.size)
    }

    /// Whether the encoder will write this value unchanged.
    fn admits<T: Tree>(&mut self, field: Known, value: &View<'_, T>) -> bool {
        matches!(self.admission.admit(field, value), Ok(Admitted::Unchanged))
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

    /// Checks a field and adds its name to the size. Returns whether to write it.
    #[inline]
    fn begin_known<T: Tree>(&mut self, field: Known, value: &View<'_, T>) -> bool {
        let is_free = !Admission::has_rule(self.kind, field);
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

    /// Adds a text to the size. Returns its length as bytes, or `None` if it is too long.
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
        // Also after giving up: the entries are then ignored.
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

/// Reads the copy of a record.
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
    /// `bytes` as written by [`Encoder::copy`](crate::encode::Encoder::copy). Other bytes yield
    /// arbitrary fields, but never memory outside of `bytes`.
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

/// The unread rest of a snapshot.
struct Reader<'t>(&'t [u8]);

impl<'t> Reader<'t> {
    /// Passes the next field to `sink`; `None` at the end.
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
