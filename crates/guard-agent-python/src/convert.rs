//! From Python objects to the tree that the agent encodes.
//!
//! What most fields hold goes to the encoder as it is met, and is written as JSON
//! at once. Of all else [`Reader`] keeps hold as a tree of [`Node`]s, which the
//! encoder then reads, so that no text is copied on its way.
//!
//! Nothing a caller hands over makes this fail: what holds too many values is
//! replaced by a remark, and what JSON has no form for is written as its
//! `str()`, or the name of its type if that raises.

use std::borrow::Cow;
use std::fmt;

use guard_wire::Kind;
use guard_wire::field::Known;
use guard_wire::fields::{Fields, Sink};
use guard_wire::redact::MAX_DEPTH;
use guard_wire::value::{Tree as _, View};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyDict, PyString};

use crate::errors::value_error;
use crate::node::{Entries, Node, Text, name, plain_subclass, plain_text, view_plain};
use crate::objects::{PlainEntries, dataclass_fields, mapping, model_fields, sequence};
use crate::types;

/// The kind that Python calls `name`: "events" or "metrics".
pub(crate) fn kind_of(name: &str) -> PyResult<Kind> {
    let mut kinds = Kind::ALL.into_iter();
    kinds
        .find(|kind| kind.key() == name)
        .ok_or_else(|| value_error(format!("{name:?} is no kind of record")))
}

/// Values that one record may hold; more than fit into the largest record.
const MAX_NODES: usize = 50_000;

/// Fields of its own that one record may have.
const MAX_FIELDS: usize = 1000;

/// The object holds more values than [`MAX_NODES`].
#[derive(Debug)]
pub(crate) struct TooManyValues;

impl fmt::Display for TooManyValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "more than {MAX_NODES} values in one record; shorten its metadata"
        )
    }
}

/// An object that is to become a record: a mapping, a pydantic model, or any object
/// with the attributes of one.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a, 'py>(pub(crate) &'a Bound<'py, PyAny>);

impl Fields for Record<'_, '_> {
    fn write(self, sink: &mut impl Sink) {
        Reader::new().record(self.0, sink);
    }
}

/// The names of [`Known::ALL`] as the interpreter has them: a name that stands in
/// code is one object for the whole process.
struct Names([Py<PyString>; Known::ALL.len()]);

impl Names {
    fn of(py: Python<'_>) -> &Self {
        static NAMES: PyOnceLock<Names> = PyOnceLock::new();
        NAMES.get_or_init(py, || {
            Self(Known::ALL.map(|field| PyString::intern(py, field.name()).unbind()))
        })
    }

    /// Where among them `key` is, looked for at `next` first: most records have their
    /// fields in order. Nothing for other names, and for other objects of the same text.
    #[inline]
    fn place(&self, key: &Bound<'_, PyAny>, next: usize) -> Option<usize> {
        match self.0.get(next) {
            Some(name) if name.as_ptr() == key.as_ptr() => Some(next),
            _ => self.find(key),
        }
    }

    fn find(&self, key: &Bound<'_, PyAny>) -> Option<usize> {
        let mut names = self.0.iter();
        names.position(|name| name.as_ptr() == key.as_ptr())
    }
}

/// Goes through the entries of a dict, which no Python code runs meanwhile to change.
#[expect(unsafe_code, reason = "said of `PlainEntries`")]
#[inline]
fn plainly<'py, R>(dict: &Bound<'py, PyDict>, read: impl FnOnce(PlainEntries<'_, 'py>) -> R) -> R {
    // SAFETY: in a critical section, and those who call this read without running Python code.
    with_critical_section(dict, || read(unsafe { PlainEntries::of(dict) }))
}

/// Reads one object and all it holds.
pub(crate) struct Reader {
    nodes_left: usize,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self {
            nodes_left: MAX_NODES,
        }
    }

    /// The fields of an event or metric. A field that holds too many values is
    /// replaced by a remark.
    fn record(&mut self, object: &Bound<'_, PyAny>, sink: &mut impl Sink) {
        if let Ok(dict) = object.cast::<PyDict>() {
            self.fields(dict, sink);
        } else if let Some((fields, extra)) = model_fields(object) {
            self.fields(&fields, sink);
            if let Some(extra) = extra.filter(|extra| !extra.is_empty()) {
                self.fields(&extra, sink);
            }
        } else if let Some(dict) = mapping(object) {
            self.fields(&dict, sink);
        } else {
            self.attributes(object, sink);
        }
    }

    fn fields(&mut self, dict: &Bound<'_, PyDict>, sink: &mut impl Sink) {
        let names = Names::of(dict.py());
        let mut rest = Vec::new();
        plainly(dict, |entries| {
            let mut next = 0;
            for (key, value) in entries.take(MAX_FIELDS) {
                if value.is_none() {
                    // Left out, so that its name does not matter either.
                    next += 1;
                    continue;
                }
                let written = if let Some(place) = names.place(&key, next) {
                    next = place + 1;
                    self.known(Known::ALL[place], &value, sink)
                } else if let Some(name) = Text::plain(&key) {
                    view_plain(&value, |view| sink.field(name.as_ref(), view))
                } else {
                    None
                };
                if written.is_none() {
                    rest.push((key.to_owned(), value.to_owned()));
                }
            }
        });
        // Not before the dict is left: reading may run Python code, which may change it.
        for (key, value) in rest {
            sink.field(name(&key).as_ref(), &self.field(&value).view());
        }
    }

    #[inline]
    fn known(
        &mut self,
        field: Known,
        value: &Bound<'_, PyAny>,
        sink: &mut impl Sink,
    ) -> Option<()> {
        if let Some(text) = plain_text(value) {
            // Most are: a way of its own, without a look at what else it might be.
            sink.known(field, &View::<Node<'_>>::Str(text));
            Some(())
        } else if let Ok(dict) = value.cast_exact::<PyDict>() {
            self.flat(dict, field, sink)
        } else {
            view_plain(value, |view| sink.known(field, view))
        }
    }

    /// Hands on a dict that can be read without running Python code, as most metadata can.
    fn flat(&mut self, value: &Bound<'_, PyAny>, field: Known, sink: &mut impl Sink) -> Option<()> {
        let dict = value.cast_exact::<PyDict>().ok()?;
        let nodes_left = self.nodes_left.checked_sub(dict.len())?;
        if !sink.open(field) {
            return None;
        }
        let is_whole = plainly(dict, |mut entries| {
            entries.all(|(key, value)| {
                let name = plain_text(&key);
                name.and_then(|name| view_plain(&value, |view| sink.entry(name, view)))
                    .is_some()
            })
        });
        sink.close(is_whole);
        is_whole.then(|| self.nodes_left = nodes_left)
    }

    fn attributes(&mut self, object: &Bound<'_, PyAny>, sink: &mut impl Sink) {
        for &field in Known::of(sink.kind()) {
            if let Ok(value) = object.getattr(field.name()) {
                sink.known(field, &self.field(&value).view());
            }
        }
    }

    fn field<'py>(&mut self, value: &Bound<'py, PyAny>) -> Node<'py> {
        match self.read(value, 0) {
            Ok(node) => node,
            Err(error) => {
                let name = Text::Made(Cow::Borrowed("truncated"));
                Node::Map(vec![(name, Node::made(error.to_string()))])
            }
        }
    }

    /// Reads a value that stands `depth` levels below the record's field. What
    /// is deeper than the encoder looks is not read: cycles end there.
    pub(crate) fn read<'py>(
        &mut self,
        value: &Bound<'py, PyAny>,
        depth: usize,
    ) -> Result<Node<'py>, TooManyValues> {
        if depth > MAX_DEPTH {
            return Ok(Node::Null);
        }
        self.count()?;
        if let Some(node) = Node::plain(value) {
            return Ok(node);
        }
        if let Ok(dict) = value.cast::<PyDict>() {
            return Ok(Node::Map(self.entries(dict, depth + 1)?));
        }
        if let Some(items) = sequence(value) {
            return self.list(items, depth + 1);
        }
        if let Some(text) = types::scalar_text(value) {
            return Ok(Node::made(text));
        }
        self.read_other(value, depth)
    }

    /// Reads what is rare in records.
    fn read_other<'py>(
        &mut self,
        value: &Bound<'py, PyAny>,
        depth: usize,
    ) -> Result<Node<'py>, TooManyValues> {
        let py = value.py();
        if let Some(node) = plain_subclass(value) {
            return Ok(node);
        }
        if types::is_instance(value, types::enumeration(py))
            && let Ok(inner) = value.getattr(intern!(py, "value"))
        {
            return self.read(&inner, depth + 1);
        }
        if types::is_instance(value, types::timedelta(py))
            && let Ok(seconds) = value.call_method0(intern!(py, "total_seconds"))
        {
            return self.read(&seconds, depth + 1);
        }
        if let Some(model) = model_fields(value) {
            return Ok(Node::Map(self.model(&model, depth + 1)?));
        }
        if let Some(dict) = dataclass_fields(value) {
            return Ok(Node::Map(self.entries(&dict, depth + 1)?));
        }
        if let Some(dict) = mapping(value) {
            return Ok(Node::Map(self.entries(&dict, depth + 1)?));
        }
        if (types::is_instance(value, types::sequence(py))
            || types::is_instance(value, types::set(py)))
            && let Ok(items) = value.try_iter()
        {
            // One more than is left shows that there were too many.
            let items: Vec<_> = items
                .take(self.nodes_left + 1)
                .map_while(Result::ok)
                .collect();
            return self.list(items, depth + 1);
        }
        Ok(Node::made(types::text_or_type_name(value)))
    }

    fn list<'py>(
        &mut self,
        items: Vec<Bound<'py, PyAny>>,
        depth: usize,
    ) -> Result<Node<'py>, TooManyValues> {
        if items.len() > self.nodes_left {
            return Err(TooManyValues);
        }
        let nodes: Result<_, _> = items.iter().map(|item| self.read(item, depth)).collect();
        Ok(Node::List(nodes?))
    }

    fn model<'py>(
        &mut self,
        (fields, extra): &(Bound<'py, PyDict>, Option<Bound<'py, PyDict>>),
        depth: usize,
    ) -> Result<Entries<'py>, TooManyValues> {
        let mut entries = self.entries(fields, depth)?;
        if let Some(extra) = extra.as_ref().filter(|extra| !extra.is_empty()) {
            entries.append(&mut self.entries(extra, depth)?);
        }
        Ok(entries)
    }

    /// The entries of a dict whose values stand at `depth`.
    fn entries<'py>(
        &mut self,
        dict: &Bound<'py, PyDict>,
        depth: usize,
    ) -> Result<Entries<'py>, TooManyValues> {
        if dict.len() > self.nodes_left {
            return Err(TooManyValues);
        }
        let mut entries = Vec::with_capacity(dict.len());
        let mut rest = Vec::new();
        for (key, value) in dict {
            if let (Some(name), Some(node)) = (Text::plain(&key), Node::plain(&value)) {
                self.count()?;
                entries.push((name, node));
            } else {
                rest.push((entries.len(), key, value));
                entries.push((Text::Made(Cow::Borrowed("")), Node::Null));
            }
        }
        // Not before the dict is left: reading may run Python code, which may change it.
        for (index, key, value) in rest {
            entries[index] = (name(&key), self.read(&value, depth)?);
        }
        Ok(entries)
    }

    fn count(&mut self) -> Result<(), TooManyValues> {
        self.nodes_left = self.nodes_left.checked_sub(1).ok_or(TooManyValues)?;
        Ok(())
    }
}
