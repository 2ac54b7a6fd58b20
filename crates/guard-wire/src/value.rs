//! The values of a record before it is encoded.

use std::borrow::Cow;

use jiff::Timestamp;
use uuid::Uuid;

use crate::timestamp::Moment;

/// One field of a record: name and value.
pub type Field<'a> = (Cow<'a, str>, Value<'a>);

/// Adds a field, or replaces the one of that name.
pub(crate) fn set(
    fields: &mut Vec<Field<'static>>,
    name: Cow<'static, str>,
    value: Value<'static>,
) {
    match fields.iter_mut().find(|(known, _)| *known == name) {
        Some((_, old)) => *old = value,
        None => fields.push((name, value)),
    }
}

/// A JSON value that may borrow its strings from the caller.
///
/// ```
/// use guard_wire::Value;
///
/// let tree = Value::Map(vec![("n".into(), Value::Int(1)), ("s".into(), Value::from("x"))]);
/// assert!(matches!(tree, Value::Map(fields) if fields.len() == 2));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// JSON null; the same as absent.
    Null,
    /// true or false.
    Bool(bool),
    /// A signed 64-bit integer.
    Int(i64),
    /// An integer that fits in 64 bits only without a sign.
    UInt(u64),
    /// Any other number; NaN and the infinities are written as null.
    Float(f64),
    /// A point in time, written as RFC 3339 in UTC.
    Time(Timestamp),
    /// A point in time, written as Python writes it.
    Moment(Moment),
    /// A UUID, written with hyphens.
    Uuid(Uuid),
    /// Text.
    Str(Cow<'a, str>),
    /// A list.
    List(Vec<Value<'a>>),
    /// An object; keys in the order given.
    Map(Vec<Field<'a>>),
}

/// A value that the encoder can read: [`Value`], or another type, such as a Python object, that
/// need not be converted first.
pub trait Tree: Sized {
    /// The name of a field.
    type Name: AsRef<str>;

    /// The value.
    fn view(&self) -> View<'_, Self>;
}

/// The content of a [`Tree`], with the same cases as [`Value`].
#[expect(missing_docs, reason = "documented at `Value`")]
pub enum View<'a, T: Tree> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Time(Timestamp),
    Moment(Moment),
    Uuid(Uuid),
    Str(&'a str),
    List(&'a [T]),
    Map(&'a [(T::Name, T)]),
}

impl<'a, T: Tree> View<'a, T> {
    /// The text of a string; `None` for other values.
    pub(crate) fn as_str(&self) -> Option<&'a str> {
        match self {
            View::Str(text) => Some(text),
            _ => None,
        }
    }
}

impl<'v> Tree for Value<'v> {
    type Name = Cow<'v, str>;

    fn view(&self) -> View<'_, Self> {
        match self {
            Value::Null => View::Null,
            Value::Bool(flag) => View::Bool(*flag),
            Value::Int(number) => View::Int(*number),
            Value::UInt(number) => View::UInt(*number),
            Value::Float(number) => View::Float(*number),
            Value::Time(at) => View::Time(*at),
            Value::Moment(at) => View::Moment(*at),
            Value::Uuid(uuid) => View::Uuid(*uuid),
            Value::Str(text) => View::Str(text),
            Value::List(items) => View::List(items),
            Value::Map(fields) => View::Map(fields),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Str(Cow::Borrowed(text))
    }
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Value::Float(number)
    }
}

impl From<&serde_json::Number> for Value<'_> {
    fn from(number: &serde_json::Number) -> Self {
        if let Some(int) = number.as_i64() {
            Value::Int(int)
        } else if let Some(uint) = number.as_u64() {
            Value::UInt(uint)
        } else {
            number.as_f64().map_or(Value::Null, Value::Float)
        }
    }
}

impl<'a> From<&'a serde_json::Value> for Value<'a> {
    fn from(json: &'a serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(flag) => Value::Bool(*flag),
            serde_json::Value::Number(number) => Value::from(number),
            serde_json::Value::String(text) => Value::Str(Cow::Borrowed(text)),
            serde_json::Value::Array(items) => Value::List(items.iter().map(Value::from).collect()),
            serde_json::Value::Object(map) => Value::Map(
                map.iter()
                    .map(|(key, item)| (Cow::Borrowed(key.as_str()), Value::from(item)))
                    .collect(),
            ),
        }
    }
}

impl From<serde_json::Value> for Value<'static> {
    fn from(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(flag) => Value::Bool(flag),
            serde_json::Value::Number(number) => Value::from(&number),
            serde_json::Value::String(text) => Value::Str(Cow::Owned(text)),
            serde_json::Value::Array(items) => {
                Value::List(items.into_iter().map(Value::from).collect())
            }
            serde_json::Value::Object(map) => Value::Map(
                map.into_iter()
                    .map(|(key, item)| (Cow::Owned(key), Value::from(item)))
                    .collect(),
            ),
        }
    }
}
