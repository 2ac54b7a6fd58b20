//! From Python objects to the borrowed values that the agent encodes.
//!
//! Conversion has two steps. [`Reader`] walks the object and keeps hold of what
//! it finds as a tree of [`Node`]s; [`Node::value`] then borrows from that
//! tree, so that no text is copied on its way to the encoder.
//!
//! Nothing a caller hands over makes this fail: what holds too many values is
//! replaced by a remark, and what JSON has no form for is written as its
//! `str()`, or the name of its type if that raises.

use std::borrow::Cow;
use std::fmt;

use guard_wire::Kind;
use guard_wire::redact::MAX_DEPTH;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::node::{Entries, Node, Text, name, plain_subclass};
use crate::objects::{dataclass_fields, mapping, model_fields, sequence};
use crate::types;

/// Values that one record may hold; more than fit into the largest record.
const MAX_NODES: usize = 50_000;

/// Fields of its own that one record may have.
const MAX_FIELDS: usize = 1000;

/// What is read from objects that are no mappings and no models.
const EVENT_FIELDS: [&str; 17] = [
    "idempotency_key",
    "timestamp",
    "event_type",
    "ip_address",
    "country",
    "user_agent",
    "action_taken",
    "reason",
    "endpoint",
    "method",
    "status_code",
    "response_time",
    "decorator_type",
    "rule_type",
    "pattern_matched",
    "handler_name",
    "metadata",
];
const METRIC_FIELDS: [&str; 6] = [
    "idempotency_key",
    "timestamp",
    "metric_type",
    "value",
    "endpoint",
    "tags",
];

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

    /// The fields of an event or metric: a mapping, a pydantic model, or any
    /// object with the attributes of one. A field that holds too many values is
    /// replaced by a remark.
    pub(crate) fn record<'py>(&mut self, kind: Kind, record: &Bound<'py, PyAny>) -> Entries<'py> {
        let mut entries = Vec::with_capacity(EVENT_FIELDS.len());
        if let Ok(dict) = record.cast::<PyDict>() {
            self.fields(dict, &mut entries);
        } else if let Some((fields, extra)) = model_fields(record) {
            self.fields(&fields, &mut entries);
            if let Some(extra) = extra {
                self.fields(&extra, &mut entries);
            }
        } else if let Some(dict) = mapping(record) {
            self.fields(&dict, &mut entries);
        } else {
            self.attributes(kind, record, &mut entries);
        }
        entries
    }

    fn fields<'py>(&mut self, dict: &Bound<'py, PyDict>, entries: &mut Entries<'py>) {
        let mut rest = Vec::new();
        for (key, value) in dict.iter().take(MAX_FIELDS) {
            match Node::plain(value) {
                Ok(Node::Null) => {}
                Ok(node) => entries.push((name(key), node)),
                Err(value) => {
                    rest.push((entries.len(), value));
                    entries.push((name(key), Node::Null));
                }
            }
        }
        // Not before the dict is left: reading may run Python code, which may change it.
        for (index, value) in rest {
            let node = self.field(&value);
            if let Some((_, place)) = entries.get_mut(index) {
                *place = node;
            }
        }
    }

    fn attributes<'py>(
        &mut self,
        kind: Kind,
        record: &Bound<'py, PyAny>,
        entries: &mut Entries<'py>,
    ) {
        let names: &[&'static str] = match kind {
            Kind::Event => &EVENT_FIELDS,
            Kind::Metric => &METRIC_FIELDS,
        };
        for name in names {
            if let Ok(value) = record.getattr(*name) {
                entries.push((Text::Made(Cow::Borrowed(*name)), self.field(&value)));
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
        self.nodes_left = self.nodes_left.checked_sub(1).ok_or(TooManyValues)?;
        if let Ok(node) = Node::plain(value.clone()) {
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

    /// The entries of a dict whose values stand at `depth`. It is copied before
    /// any value is read: reading may run Python code, which may change it.
    fn entries<'py>(
        &mut self,
        dict: &Bound<'py, PyDict>,
        depth: usize,
    ) -> Result<Entries<'py>, TooManyValues> {
        if dict.len() > self.nodes_left {
            return Err(TooManyValues);
        }
        let pairs: Vec<_> = dict.iter().collect();
        let mut entries = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            entries.push((name(key), self.read(&value, depth)?));
        }
        Ok(entries)
    }
}
