//! Converts Python objects to record fields, for a copy or for the encoder.
//!
//! Most field values are passed on directly. For all others, [`Reader`] keeps references
//! in a tree of [`Node`]s, which is then read, so that no text is copied.
//!
//! No argument makes this fail. A field with too many values is replaced by a remark.
//! A value that JSON has no form for is written as its `str()`, or as the name of its
//! type if that raises.

use std::borrow::Cow;
use std::fmt;

use guard_wire::Kind;
use guard_wire::field::Known;
use guard_wire::fields::{Fields, Sink};
use guard_wire::redact::MAX_DEPTH;
use guard_wire::value::{Tree as _, View};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::PyDict;

use crate::entries::{Key, RecordEntries};
use crate::errors::value_error;
use crate::models::{self, Model};
use crate::node::{Entries, Node, Text, name, plain_subclass, plain_text, view_plain};
use crate::objects::{dataclass_fields, mapping, sequence};
use crate::types;

/// The kind that Python calls `name`: "events" or "metrics".
pub(crate) fn kind_of(name: &str) -> PyResult<Kind> {
    let mut kinds = Kind::ALL.into_iter();
    kinds
        .find(|kind| kind.key() == name)
        .ok_or_else(|| value_error(format!("{name:?} is no kind of record")))
}

/// The maximum number of values in one record; more than fit into the largest record.
const MAX_NODES: usize = 50_000;

/// The maximum number of additional fields in one record.
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

/// An object to convert to a record: a mapping, a pydantic model, or any object
/// with the attributes of one.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a, 'py>(pub(crate) &'a Bound<'py, PyAny>);

impl Fields for Record<'_, '_> {
    fn write(self, sink: &mut impl Sink) {
        Reader::new().record(self.0, sink);
    }
}

/// Reads one object and everything it holds.
pub(crate) struct Reader {
    nodes_left: usize,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self {
            nodes_left: MAX_NODES,
        }
    }

    /// Reads the fields of an event or metric. A field with too many values is
    /// replaced by a remark.
    fn record(&mut self, object: &Bound<'_, PyAny>, sink: &mut impl Sink) {
        if let Ok(dict) = object.cast::<PyDict>() {
            self.fields(dict, sink);
        } else if let Some(model) = models::model(object) {
            self.model_record(model, sink);
        } else if let Some(dict) = mapping(object) {
            self.fields(&dict, sink);
        } else {
            self.attributes(object, sink);
        }
    }

    /// Reads nothing from a model that pydantic does not write as an object.
    fn model_record(&mut self, model: Model<'_>, sink: &mut impl Sink) {
        match model {
            Model::Plain(fields, extra) => {
                self.fields(&fields, sink);
                if let Some(extra) = extra.filter(|extra| !extra.is_empty()) {
                    self.fields(&extra, sink);
                }
            }
            Model::Written(written) => {
                if let Some(Ok(dict)) = written.map(Bound::cast_into) {
                    self.fields(&dict, sink);
                }
            }
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
        // Only after leaving the dict: reading may run Python code, which may change it.
        for (key, value) in rest {
            match key {
                Key::Known(field) => self.known_rest(field, &value, sink),
                Key::Other(key) => {
                    let name = name(&key);
                    match Known::find(name.as_ref()) {
                        Some(field) => self.known_rest(field, &value, sink),
                        None => sink.other(name.as_ref(), &self.field(&value).view()),
                    }
                }
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
            // Most values are text, so check for it first.
            sink.known(field, &View::<Node<'_>>::Str(text));
            Some(())
        } else if let Ok(dict) = value.cast_exact::<PyDict>() {
            self.flat(dict, field, sink)
        } else {
            view_plain(value, |view| sink.known(field, view))
        }
    }

    /// Passes on the values that [`known`](Self::known) does not handle.
    fn known_rest(&mut self, field: Known, value: &Bound<'_, PyAny>, sink: &mut impl Sink) {
        let is_measure = sink.kind() == Kind::Metric && field == Known::Value;
        match is_measure.then(|| types::number(value)).flatten() {
            Some(number) => sink.known(field, &View::<Node<'_>>::Float(number)),
            None => sink.known(field, &self.field(value).view()),
        }
    }

    /// Passes on a dict that can be read without running Python code, as most metadata can.
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
                self.known_rest(field, &value, sink);
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

    /// Reads a value that is `depth` levels below the record's field. Does not read deeper
    /// than the encoder does, so cycles end there.
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

    /// Reads values that are rare in records.
    fn read_other<'py>(
        &mut self,
        value: &Bound<'py, PyAny>,
        depth: usize,
    ) -> Result<Node<'py>, TooManyValues> {
        let py = value.py();
        if let Some(node) = plain_subclass(value) {
            return Ok(node);
        }
        if let Some(inner) = types::enum_value(value) {
            return self.read(&inner, depth + 1);
        }
        if types::is_instance(value, types::timedelta(py))
            && let Ok(seconds) = value.call_method0(intern!(py, "total_seconds"))
        {
            return self.read(&seconds, depth + 1);
        }
        if let Some(number) = types::numpy_scalar(value) {
            return self.read(&number, depth + 1);
        }
        match models::model(value) {
            Some(Model::Plain(fields, extra)) => {
                return Ok(Node::Map(self.model(&fields, extra.as_ref(), depth + 1)?));
            }
            Some(Model::Written(Some(written))) => return self.read(&written, depth),
            Some(Model::Written(None)) => return Ok(Node::made(types::type_name(value))),
            None => {}
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
            // One more than the remaining limit shows that there were too many.
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
        fields: &Bound<'py, PyDict>,
        extra: Option<&Bound<'py, PyDict>>,
        depth: usize,
    ) -> Result<Entries<'py>, TooManyValues> {
        let mut entries = self.entries(fields, depth)?;
        if let Some(extra) = extra.filter(|extra| !extra.is_empty()) {
            entries.append(&mut self.entries(extra, depth)?);
        }
        Ok(entries)
    }

    /// Reads the entries of a dict whose values are at `depth`.
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
        // Only after leaving the dict: reading may run Python code, which may change it.
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
