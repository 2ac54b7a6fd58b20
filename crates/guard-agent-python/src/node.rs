//! What is read from Python objects: a tree that keeps hold of their text.

use std::borrow::Cow;

use guard_wire::value::{Tree, View};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString};

use crate::types::{self, ShortText};

/// Text held by the interpreter, or made here.
pub(crate) enum Text {
    Held(PyBackedStr),
    Made(Cow<'static, str>),
}

impl Text {
    /// Lone surrogates, which UTF-8 has no form for, are replaced.
    fn of(text: &Bound<'_, PyString>) -> Self {
        match text.extract() {
            Ok(text) => Text::Held(text),
            Err(_) => Text::Made(Cow::Owned(text.to_string_lossy().into_owned())),
        }
    }

    /// The name of a field, if it is read without running Python code.
    pub(crate) fn plain(key: &Bound<'_, PyAny>) -> Option<Self> {
        key.cast().ok().map(Text::of)
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        match self {
            Text::Held(text) => text,
            Text::Made(text) => text,
        }
    }
}

/// A Python object, read.
pub(crate) enum Node {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(Text),
    List(Vec<Node>),
    Map(Entries),
}

/// The names and values of an object.
pub(crate) type Entries = Vec<(Text, Node)>;

impl Node {
    pub(crate) fn made(text: String) -> Self {
        Node::Text(Text::Made(Cow::Owned(text)))
    }

    /// What [`Plain::of`] reads, to be kept.
    pub(crate) fn plain(value: &Bound<'_, PyAny>) -> Option<Self> {
        if let Ok(text) = value.cast_exact::<PyString>() {
            return Some(Node::Text(Text::of(text)));
        }
        Some(match Plain::of(value)? {
            Plain::Null => Node::Null,
            Plain::Bool(flag) => Node::Bool(flag),
            Plain::Int(number) => Node::Int(number),
            Plain::Float(number) => Node::Float(number),
            Plain::Text(text) => Node::made(text.to_owned()),
            Plain::Short(text) => Node::made(text.as_str().to_owned()),
        })
    }
}

/// What most fields hold: a value that is read without running Python code.
pub(crate) enum Plain<'v> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'v str),
    Short(ShortText),
}

impl<'v> Plain<'v> {
    pub(crate) fn of(value: &'v Bound<'_, PyAny>) -> Option<Self> {
        if let Ok(text) = value.cast_exact::<PyString>() {
            return text.to_str().ok().map(Plain::Text);
        }
        if value.is_none() {
            return Some(Plain::Null);
        }
        if let Ok(number) = value.cast_exact::<PyFloat>() {
            return Some(Plain::Float(number.value()));
        }
        if let Ok(number) = value.cast_exact::<PyInt>() {
            return number.extract().ok().map(Plain::Int);
        }
        if let Ok(flag) = value.cast_exact::<PyBool>() {
            return Some(Plain::Bool(flag.is_true()));
        }
        types::plain_text(value).map(Plain::Short)
    }

    pub(crate) fn view(&self) -> View<'_, Node> {
        match self {
            Plain::Null => View::Null,
            Plain::Bool(flag) => View::Bool(*flag),
            Plain::Int(number) => View::Int(*number),
            Plain::Float(number) => View::Float(*number),
            Plain::Text(text) => View::Str(text),
            Plain::Short(text) => View::Str(text.as_str()),
        }
    }
}

impl Tree for Node {
    type Name = Text;

    fn view(&self) -> View<'_, Self> {
        match self {
            Node::Null => View::Null,
            Node::Bool(flag) => View::Bool(*flag),
            Node::Int(number) => View::Int(*number),
            Node::UInt(number) => View::UInt(*number),
            Node::Float(number) => View::Float(*number),
            Node::Text(text) => View::Str(text.as_ref()),
            Node::List(items) => View::List(items),
            Node::Map(entries) => View::Map(entries),
        }
    }
}

/// The keys of JSON objects are text.
pub(crate) fn name(key: &Bound<'_, PyAny>) -> Text {
    Text::plain(key).unwrap_or_else(|| Text::Made(Cow::Owned(types::text_or_type_name(key))))
}

/// What [`Node::plain`] leaves of text and numbers: subclasses, such as enums of
/// text, and large integers. Those beyond 64 bits are written as text: as floats
/// they would change.
pub(crate) fn plain_subclass(value: &Bound<'_, PyAny>) -> Option<Node> {
    if let Ok(text) = value.cast::<PyString>() {
        return Some(Node::Text(Text::of(text)));
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
