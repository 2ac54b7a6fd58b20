//! Standard-library types that records hold, and their text.

use guard_wire::timestamp::Moment;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyByteArray, PyBytes, PyDateAccess, PyDateTime, PyInt, PyMemoryView, PyTimeAccess, PyType,
    PyTzInfo, PyTzInfoAccess,
};
use uuid::Uuid;

use crate::objects::Slot;
use crate::once;

/// A function for each type: the type is imported once, then cached.
macro_rules! imported {
    ($($name:ident = $module:literal, $type:literal;)*) => {
        $(pub(crate) fn $name(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
            static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            once::import(&TYPE, py, $module, $type)
        })*
    };
}

imported! {
    date = "datetime", "date";
    time = "datetime", "time";
    timedelta = "datetime", "timedelta";
    uuid = "uuid", "UUID";
    model = "pydantic", "BaseModel";
    enumeration = "enum", "Enum";
    numbers = "numbers", "Number";
    mapping = "collections.abc", "Mapping";
    sequence = "collections.abc", "Sequence";
    set = "collections.abc", "Set";
}

/// Whether `value` is an instance; a failed import or check means no.
pub(crate) fn is_instance(value: &Bound<'_, PyAny>, class: PyResult<&Bound<'_, PyType>>) -> bool {
    class.is_ok_and(|class| value.is_instance(class).unwrap_or(false))
}

fn is_exact(value: &Bound<'_, PyAny>, class: PyResult<&Bound<'_, PyType>>) -> bool {
    class.is_ok_and(|class| value.is_exact_instance(class))
}

/// The text of other times, and of bytes; None for any other value.
pub(crate) fn scalar_text(value: &Bound<'_, PyAny>) -> Option<String> {
    let py = value.py();
    if is_instance(value, date(py)) || is_instance(value, time(py)) {
        return isoformat(value);
    }
    bytes_text(value)
}

/// The value of an enum member; None for anything else.
pub(crate) fn enum_value<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let py = value.py();
    let is_member = is_instance(value, enumeration(py));
    is_member
        .then(|| value.getattr(intern!(py, "value")).ok())
        .flatten()
}

/// The number in a numpy scalar; None for anything else.
pub(crate) fn numpy_scalar<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let py = value.py();
    // If numpy is not imported, no value can be a numpy scalar.
    let modules = py
        .import(intern!(py, "sys"))
        .ok()?
        .getattr(intern!(py, "modules"))
        .ok()?;
    let generic = modules
        .get_item(intern!(py, "numpy"))
        .ok()?
        .getattr(intern!(py, "generic"))
        .ok()?;
    if !value.is_instance(&generic).unwrap_or_default() {
        return None;
    }
    let item = value.call_method0(intern!(py, "item")).ok()?;
    // Numbers of more than 64 bits stay numpy numbers.
    if item.is_instance(&generic).unwrap_or_default() {
        return number(&item)?.into_pyobject(py).ok().map(Bound::into_any);
    }
    Some(item)
}

/// The float value of a number that is not an `int`: a `Decimal`, a `Fraction`, a numpy number.
pub(crate) fn number(value: &Bound<'_, PyAny>) -> Option<f64> {
    let member = enum_value(value);
    let value = member.as_ref().unwrap_or(value);
    let is_number = is_instance(value, numbers(value.py())) && !value.is_instance_of::<PyInt>();
    is_number.then(|| value.extract().ok()).flatten()
}

/// A UUID, read without running Python code.
pub(crate) fn uuid_value(value: &Bound<'_, PyAny>) -> Option<Uuid> {
    if !is_exact(value, uuid(value.py())) {
        return None;
    }
    static INT: PyOnceLock<Slot> = PyOnceLock::new();
    let py = value.py();
    let int = once::get_or_make(&INT, py, || Slot::of(uuid(py)?, "int"));
    let number = int.ok()?.read(value)?;
    Some(Uuid::from_u128(number.extract().ok()?))
}

/// A datetime in `timezone.utc`, read without running Python code: several times faster
/// than `isoformat()`, which asks the zone for its offset.
pub(crate) fn utc_value(value: &Bound<'_, PyAny>) -> Option<Moment> {
    let value = value.cast_exact::<PyDateTime>().ok()?;
    let utc = PyTzInfo::utc(value.py()).ok()?;
    value.get_tzinfo()?.is(utc).then(|| Moment {
        year: u16::try_from(value.get_year()).unwrap_or_default(),
        month: value.get_month(),
        day: value.get_day(),
        hour: value.get_hour(),
        minute: value.get_minute(),
        second: value.get_second(),
        micros: value.get_microsecond(),
    })
}

/// The text of bytes, for which JSON has no form.
fn bytes_text(value: &Bound<'_, PyAny>) -> Option<String> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Some(String::from_utf8_lossy(bytes.as_bytes()).into_owned());
    }
    if let Ok(view) = value.cast::<PyMemoryView>() {
        let bytes = view.call_method0(intern!(value.py(), "tobytes")).ok()?;
        return bytes_text(&bytes);
    }
    let array = value.cast::<PyByteArray>().ok()?;
    Some(String::from_utf8_lossy(&array.to_vec()).into_owned())
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
    type_name(value)
}

/// The name of the object's type, for values that cannot be written.
pub(crate) fn type_name(value: &Bound<'_, PyAny>) -> String {
    match value.get_type().name() {
        Ok(name) => format!("<{}>", name.to_string_lossy()),
        Err(_) => "<object>".to_owned(),
    }
}
