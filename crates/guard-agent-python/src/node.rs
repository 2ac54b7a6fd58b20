//! A tree of values read from Python objects. It keeps references to their text.

use std::borrow::Cow;

use guard_wire::value::{Tree, View};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString};

use crate::types;

/// Text owned by the interpreter, or created here.
pub(crate) enum Text<'py> {
    Held(Bound<'py, PyString>),
    Made(Cow<'static, str>),
}

impl<'py> Text<'py> {
    /// Replaces lone surrogates, which UTF-8 cannot represent.
    fn of(text: &Bound<'py, PyString>) -> Self {
        match text.to_str() {
            Ok(_) => Text::Held(text.clone()),
            Err(_) => Text::Made(Cow::Owned(text.to_string_lossy().into_owned())),
        }
    }

    /// The name of a field, if it can be read without running Python code.
    pub(crate) fn plain(key: &Bound<'py, PyAny>) -> Option<Self> {
        key.cast().ok().map(Text::of)
    }
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        match self {
            // Its UTF-8 was checked when it was taken.
            Text::Held(text) => text.to_str().unwrap_or_default(),
            Text::Made(text) => text,
        }
    }
}

/// A Python object that has been read.
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

    /// Owns the value that [`view_plain`] reads.
    pub(crate) fn plain(value: &Bound<'py, PyAny>) -> Option<Self> {
        if let Ok(text) = value.cast_exact::<PyString>() {
            return Some(Node::Text(Text::of(text)));
        }
        view_plain(value, |view| match *view {
            View::Bool(flag) => Node::Bool(flag),
            View::Int(number) => Node::Int(number),
            View::Float(number) => Node::Float(number),
            View::Str(text) => Node::made(text.to_owned()),
            View::Moment(at) => Node::made(String::from_utf8_lossy(&at.text()).into_owned()),
            View::Uuid(uuid) => Node::made(uuid.to_string()),
            _ => Node::Null,
        })
    }
}

/// Returns the text, unless it is a subclass or has lone surrogates, which UTF-8 cannot represent.
#[inline]
pub(crate) fn plain_text<'a>(value: &'a Bound<'_, PyAny>) -> Option<&'a str> {
    value.cast_exact::<PyString>().ok()?.to_str().ok()
}

/// Passes on a value that can be read without running Python code, as most fields can.
/// None for other values.
#[inline]
pub(crate) fn view_plain<'py, R>(
    value: &Bound<'py, PyAny>,
    take: impl FnOnce(&View<'_, Node<'py>>) -> R,
) -> Option<R> {
    let view = if let Some(text) = plain_text(value) {
        View::Str(text)
    } else if let Ok(number) = value.cast_exact::<PyFloat>() {
        View::Float(number.value())
    } else if let Ok(number) = value.cast_exact::<PyInt>() {
        View::Int(number.extract().ok()?)
    } else if let Ok(flag) = value.cast_exact::<PyBool>() {
        View::Bool(flag.is_true())
    } else if value.is_none() {
        View::Null
    } else if let Some(uuid) = types::uuid_value(value) {
        View::Uuid(uuid)
    } else {
        View::Moment(types::utc_value(value)?)
    };
    Some(take(&view))
}

impl<'py> Tree for Node<'py> {
    type Name = Text<'py>;

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

/// JSON object keys are text: bytes become their text, an enum member becomes its value.
pub(crate) fn name<'py>(key: &Bound<'py, PyAny>) -> Text<'py> {
    if let Some(text) = Text::plain(key) {
        return text;
    }
    let value = types::enum_value(key);
    let key = value.as_ref().unwrap_or(key);
    Text::plain(key).unwrap_or_else(|| {
        let text = types::scalar_text(key).unwrap_or_else(|| types::text_or_type_name(key));
        Text::Made(Cow::Owned(text))
    })
}

/// Reads text and numbers that [`Node::plain`] does not handle: subclasses, such as text
/// enums, and large integers. Integers beyond 64 bits are written as text, because a
/// float would change them.
pub(crate) fn plain_subclass<'py>(value: &Bound<'py, PyAny>) -> Option<Node<'py>> {
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
