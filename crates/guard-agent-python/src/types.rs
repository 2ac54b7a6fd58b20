//! The types of Python's standard library that records hold, and their text.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use uuid::Uuid;

use crate::objects::bytes_text;

/// One function for each type: imported once, then answered from memory.
macro_rules! imported {
    ($($name:ident = $module:literal, $type:literal;)*) => {
        $(pub(crate) fn $name(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
            static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            TYPE.import(py, $module, $type)
        })*
    };
}

imported! {
    datetime = "datetime", "datetime";
    date = "datetime", "date";
    time = "datetime", "time";
    timedelta = "datetime", "timedelta";
    uuid = "uuid", "UUID";
    enumeration = "enum", "Enum";
    mapping = "collections.abc", "Mapping";
    sequence = "collections.abc", "Sequence";
    set = "collections.abc", "Set";
}

/// Whether `value` is an instance; an import or a check that fails means no.
pub(crate) fn is_instance(value: &Bound<'_, PyAny>, class: PyResult<&Bound<'_, PyType>>) -> bool {
    class.is_ok_and(|class| value.is_instance(class).unwrap_or(false))
}

fn is_exact(value: &Bound<'_, PyAny>, class: PyResult<&Bound<'_, PyType>>) -> bool {
    class.is_ok_and(|class| value.is_exact_instance(class))
}

/// The text of times, identifiers and bytes; nothing for any other value.
pub(crate) fn scalar_text(value: &Bound<'_, PyAny>) -> Option<String> {
    let py = value.py();
    if is_exact(value, datetime(py)) {
        return utc_text(value).or_else(|| isoformat(value));
    }
    if is_exact(value, uuid(py)) {
        let number: u128 = value.getattr(intern!(py, "int")).ok()?.extract().ok()?;
        return Some(Uuid::from_u128(number).to_string());
    }
    if is_instance(value, date(py)) || is_instance(value, time(py)) {
        return isoformat(value);
    }
    bytes_text(value)
}

/// The text of a datetime in `timezone.utc`, read field by field: several times
/// faster than `isoformat()`, which asks the zone for its offset.
fn utc_text(value: &Bound<'_, PyAny>) -> Option<String> {
    static UTC: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = value.py();
    let utc = UTC
        .get_or_try_init(py, || {
            let zone = py.import("datetime")?.getattr("timezone")?;
            zone.getattr("utc").map(Bound::unbind)
        })
        .ok()?;
    if !value.getattr(intern!(py, "tzinfo")).ok()?.is(utc) {
        return None;
    }
    let mut text = *b"0000-00-00T00:00:00.000000+00:00";
    for (name, digits) in [
        (intern!(py, "year"), 0..4),
        (intern!(py, "month"), 5..7),
        (intern!(py, "day"), 8..10),
        (intern!(py, "hour"), 11..13),
        (intern!(py, "minute"), 14..16),
        (intern!(py, "second"), 17..19),
        (intern!(py, "microsecond"), 20..26),
    ] {
        let mut number: u32 = value.getattr(name).ok()?.extract().ok()?;
        for digit in text.get_mut(digits)?.iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).ok()?;
            number /= 10;
        }
    }
    String::from_utf8(text.to_vec()).ok()
}

fn isoformat(value: &Bound<'_, PyAny>) -> Option<String> {
    let text = value.call_method0(intern!(value.py(), "isoformat")).ok()?;
    text.extract().ok()
}

/// The object's `str()`, or the name of its type if that raises.
pub(crate) fn text_or_type_name(value: &Bound<'_, PyAny>) -> String {
    if let Ok(text) = value.str() {
        return text.to_string_lossy().into_owned();
    }
    match value.get_type().name() {
        Ok(name) => format!("<{}>", name.to_string_lossy()),
        Err(_) => "<object>".to_owned(),
    }
}
