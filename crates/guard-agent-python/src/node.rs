//! What is read from Python objects: a tree that keeps hold of their text.

use std::borrow::Cow;

use guard_wire::Value;
use guard_wire::value::Field;
use pyo3::CastIntoError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString};

use crate::types;

/// Text held by the interpreter, or made here.
pub(crate) enum Text<'py> {
    /// Known to be UTF-8.
    Held(Bound<'py, PyString>),
    Made(Cow<'static, str>),
}

impl<'py> Text<'py> {
    /// Lone surrogates, which UTF-8 has no form for, are replaced.
    pub(crate) fn of(text: Bound<'py, PyString>) -> Self {
        if text.to_str().is_ok() {
            return Text::Held(text);
        }
        Text::Made(Cow::Owned(text.to_string_lossy().into_owned()))
    }

    fn as_str(&self) -> &str {
        match self {
            Text::Held(text) => text.to_str().unwrap_or_default(),
            Text::Made(text) => text,
        }
    }
}

/// A Python object, read.
pub(crate) enum Node<'py> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(Text<'py>),
    List(Vec<Node<'py>>),
    Map(Entries<'py>),
}

/// The names and values of an object.
pub(crate) type Entries<'py> = Vec<(Text<'py>, Node<'py>)>;

impl<'py> Node<'py> {
    pub(crate) fn made(text: String) -> Self {
        Node::Text(Text::Made(Cow::Owned(text)))
    }

    /// The values that most fields hold, read without running Python code;
    /// anything else is handed back.
    pub(crate) fn plain(value: Bound<'py, PyAny>) -> Result<Self, Bound<'py, PyAny>> {
        if value.is_exact_instance_of::<PyString>() {
            let text = value.cast_into_exact::<PyString>();
            return text
                .map(|text| Node::Text(Text::of(text)))
                .map_err(CastIntoError::into_inner);
        }
        if value.is_none() {
            return Ok(Node::Null);
        }
        if let Ok(number) = value.cast_exact::<PyFloat>() {
            return Ok(Node::Float(number.value()));
        }
        if let Ok(flag) = value.cast_exact::<PyBool>() {
            return Ok(Node::Bool(flag.is_true()));
        }
        if let Ok(number) = value.cast_exact::<PyInt>()
            && let Ok(number) = number.extract::<i64>()
        {
            return Ok(Node::Int(number));
        }
        Err(value)
    }

    /// The value, borrowing its text.
    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Node::Null => Value::Null,
            Node::Bool(flag) => Value::Bool(*flag),
            Node::Int(number) => Value::Int(*number),
            Node::UInt(number) => Value::UInt(*number),
            Node::Float(number) => Value::Float(*number),
            Node::Text(text) => Value::Str(Cow::Borrowed(text.as_str())),
            Node::List(items) => Value::List(items.iter().map(Node::value).collect()),
            Node::Map(entries) => Value::Map(fields(entries)),
        }
    }
}

/// The fields of a record, borrowing their text.
pub(crate) fn fields<'a>(entries: &'a [(Text<'_>, Node<'_>)]) -> Vec<Field<'a>> {
    entries
        .iter()
        .map(|(name, node)| (Cow::Borrowed(name.as_str()), node.value()))
        .collect()
}

/// The keys of JSON objects are text.
pub(crate) fn name(key: Bound<'_, PyAny>) -> Text<'_> {
    match key.cast_into::<PyString>() {
        Ok(text) => Text::of(text),
        Err(error) => Text::Made(Cow::Owned(types::text_or_type_name(&error.into_inner()))),
    }
}

/// What [`Node::plain`] leaves of text and numbers: subclasses, such as enums of
/// text, and large integers. Those beyond 64 bits are written as text: as floats
/// they would change.
pub(crate) fn plain_subclass<'py>(value: &Bound<'py, PyAny>) -> Option<Node<'py>> {
    if let Ok(text) = value.cast::<PyString>() {
        return Some(Node::Text(Text::of(text.clone())));
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        return Some(Node::Float(number.value()));
    }
    let number = value.cast::<PyInt>().ok()?;
    Some(if let Ok(number) = number.extract::<i64>() {
        Node::Int(number)
    } else if let Ok(number) = number.extract::<u64>() {
        Node::UInt(number)
    } else {
        Node::made(types::text_or_type_name(value))
    })
}
