//! From Python objects to what takes the fields of a record: a copy, or the encoder.
//!
//! What most fields hold is handed on as it is met. Of all else [`Reader`] keeps hold as
//! a tree of [`Node`]s, which is then read, so that no text is copied on its way.
//!
//! Nothing a caller hands over makes this fail: what holds too many values is
//! replaced by a remark, and what JSON has no form for is written as its
//! `str()`, or the name of its type if that raises.

use std::borrow::Cow;
use std::fmt;
use std::ptr;

use guard_wire::Kind;
use guard_wire::field::Known;
use guard_wire::fields::{Fields, Sink};
use guard_wire::redact::MAX_DEPTH;
use guard_wire::value::{Tree as _, View};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyDict, PyString};
use pyo3::{Borrowed, ffi, intern};

use crate::errors::value_error;
use crate::node::{Entries, Node, Text, name, plain_subclass, plain_text, view_plain};
use crate::objects::{dataclass_fields, mapping, model_fields, sequence};
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
        // Making text runs no Python code.
        NAMES.get_or_init(py, || {
            Self(Known::ALL.map(|field| PyString::intern(py, field.name()).unbind()))
        })
    }

    /// Where among them `key` is, looked for at `next` first: most records have their
    /// fields in order. Nothing for other names, and for other objects of the same text.
    #[inline]
    fn place(&self, key: *mut ffi::PyObject, next: usize) -> Option<usize> {
        match self.0.get(next) {
            Some(name) if name.as_ptr() == key => Some(next),
            _ => self.0.iter().position(|name| name.as_ptr() == key),
        }
    }
}

/// Under which name something stands.
enum Key<'py> {
    Known(Known),
    Other(Bound<'py, PyAny>),
}

/// What a record's dict holds, but nulls. To known names no reference is counted, which
/// would take as long as reading what stands there.
struct RecordEntries<'a, 'py> {
    dict: &'a Bound<'py, PyDict>,
    names: &'a Names,
    at: ffi::Py_ssize_t,
    /// Where among the names the next one is likely to be.
    next: usize,
}

impl<'a, 'py> RecordEntries<'a, 'py> {
    /// # Safety
    ///
    /// Without a global lock the caller is in a critical section of the dict.
    #[expect(unsafe_code, reason = "said above")]
    unsafe fn of(dict: &'a Bound<'py, PyDict>) -> Self {
        let names = Names::of(dict.py());
        Self {
            dict,
            names,
            at: 0,
            next: 0,
        }
    }
}

impl<'py> Iterator for RecordEntries<'_, 'py> {
    type Item = (Key<'py>, Bound<'py, PyAny>);

    #[expect(unsafe_code, reason = "PyO3's iterator counts a reference to each key")]
    #[inline(always)] // As a call it takes half as long again.
    fn next(&mut self) -> Option<Self::Item> {
        let (dict, py) = (self.dict.as_ptr(), self.dict.py());
        let (mut key, mut value) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: it is a dict. Should it have changed since the last call, some of what it
        // holds is met twice or not at all.
        while unsafe { ffi::PyDict_Next(dict, &mut self.at, &mut key, &mut value) } != 0 {
            let place = self.names.place(key, self.next);
            self.next = place.unwrap_or(self.next) + 1;
            // SAFETY: the dict holds it; nothing has run since that might change that.
            let value = unsafe { Borrowed::from_ptr(py, value) };
            if !value.is_none() {
                let key = match place {
                    Some(place) => Key::Known(Known::ALL[place]),
                    // SAFETY: as above.
                    None => Key::Other(unsafe { Borrowed::from_ptr(py, key) }.to_owned()),
                };
                return Some((key, value.to_owned()));
            }
        }
        None
    }
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
        let mut rest = Vec::new();
        with_critical_section(dict, || {
            #[expect(unsafe_code, reason = "said of it")]
            // SAFETY: in a critical section.
            let entries = unsafe { RecordEntries::of(dict) };
            for (key, value) in entries.take(MAX_FIELDS) {
                let written = match &key {
                    Key::Known(field) => self.known(*field, &value, sink),
                    Key::Other(key) => Text::plain(key).and_then(|name| {
                        view_plain(&value, |view| sink.field(name.as_ref(), view))
                    }),
                };
                if written.is_none() {
                    rest.push((key, value));
                }
            }
        });
        // Not before the dict is left: reading may run Python code, which may change it.
        for (key, value) in rest {
            let value = self.field(&value);
            match key {
                Key::Known(field) => sink.known(field, &value.view()),
                Key::Other(key) => sink.field(name(&key).as_ref(), &value.view()),
            }
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
    fn flat(&mut self, dict: &Bound<'_, PyDict>, field: Known, sink: &mut impl Sink) -> Option<()> {
        let nodes_left = self.nodes_left.checked_sub(dict.len())?;
        if !sink.open(field) {
            return None;
        }
        let is_whole = dict.iter().all(|(key, value)| {
            let name = plain_text(&key);
            name.and_then(|name| view_plain(&value, |view| sink.entry(name, view)))
                .unwrap_or_default()
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
