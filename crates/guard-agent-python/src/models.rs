//! Reads pydantic models directly from their fields, if pydantic would write the same.
//!
//! `guard_agent._models` decides this once for each class, and again when the class is
//! rebuilt. All other models are read from pydantic's output.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Mutex;

use guard_wire::field::Known;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyModule, PyType};
use pyo3::{ffi, intern};

use crate::objects::{Slot, attribute_dict};
use crate::{once, types};

/// The maximum number of cached verdicts. If a program creates more classes at run time,
/// the cache starts over.
const MAX_CLASSES: usize = 1024;

/// The source from which to read a model.
pub(crate) enum Model<'py> {
    /// Its fields and its additional fields.
    Plain(Bound<'py, PyDict>, Option<Bound<'py, PyDict>>),
    /// Pydantic's output; None if pydantic failed.
    Written(Option<Bound<'py, PyAny>>),
}

/// The number of fields of a class whose fields can be read directly.
struct Verdict {
    /// The pydantic serializer of the class. A rebuilt class has another one.
    serializer: Py<PyAny>,
    plain_fields: Option<usize>,
}

/// Keyed by the address of the class. A new class may reuse the address of a deleted
/// one, but not its serializer.
static VERDICTS: Mutex<BTreeMap<usize, Verdict>> = Mutex::new(BTreeMap::new());

/// Reads `value` as a model or pydantic dataclass; None if it is neither.
pub(crate) fn model<'py>(value: &Bound<'py, PyAny>) -> Option<Model<'py>> {
    let Some(extra) = extra_of(value) else {
        let is_class = value.is_instance_of::<PyType>();
        let is_written = !is_class && serializer_of(&value.get_type()).is_some();
        return is_written.then(|| Model::Written(written(value)));
    };
    let fields = attribute_dict(value).ok()?.cast_into::<PyDict>().ok()?;
    let class = value.get_type();
    // Anything else in the dict, such as a cached property, is not a field.
    let more = plain_fields(&class).and_then(|count| fields.len().checked_sub(count));
    if more == Some(0) || (more == Some(1) && has_key_beside(&class, &fields)) {
        return Some(Model::Plain(fields, extra.cast_into().ok()));
    }
    Some(Model::Written(written(value)))
}

/// Whether a metric's key is stored beside its fields, as `guard_agent._decode` does.
fn has_key_beside(class: &Bound<'_, PyType>, fields: &Bound<'_, PyDict>) -> bool {
    let key = Known::IdempotencyKey.name();
    let model_fields = class.getattr(intern!(class.py(), "model_fields"));
    let is_field = model_fields.and_then(|names| names.contains(key));
    is_field.is_ok_and(|is_field| !is_field) && fields.contains(key).unwrap_or_default()
}

/// The additional fields of a model, or `None`; nothing if `value` is not a model.
fn extra_of<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    static EXTRA: PyOnceLock<Slot> = PyOnceLock::new();
    let py = value.py();
    let extra = once::get_or_make(&EXTRA, py, || {
        Slot::of(types::model(py)?, "__pydantic_extra__")
    });
    extra.ok()?.read(value)
}

/// The pydantic serializer of `class`.
#[expect(
    unsafe_code,
    reason = "pydantic's metaclass has a `__getattr__`, which makes reading an attribute of a \
              class take a tenth of a whole send"
)]
fn serializer_of<'py>(class: &Bound<'py, PyType>) -> Option<Bound<'py, PyAny>> {
    let py = class.py();
    let name = intern!(py, "__pydantic_serializer__");
    // SAFETY: the function reads an attribute of a class, which this is; both are live objects,
    // which it borrows. The result is a new reference, or null with an exception set.
    let serializer = unsafe {
        let get = ffi::PyType_Type.tp_getattro?;
        Bound::from_owned_ptr_or_err(py, get(class.as_ptr(), name.as_ptr()))
    };
    serializer.ok()
}

fn plain_fields(class: &Bound<'_, PyType>) -> Option<usize> {
    let serializer = serializer_of(class)?;
    let place = class.as_ptr() as usize;
    // Nothing that may run Python code happens under the lock. A thread that cannot take the
    // lock, such as one in a child forked while it was held, decides for itself.
    if let Ok(verdicts) = VERDICTS.try_lock()
        && let Some(verdict) = verdicts.get(&place)
        && verdict.serializer.is(&serializer)
    {
        return verdict.plain_fields;
    }
    let plain_fields = decide(class).ok().flatten();
    let verdict = Verdict {
        serializer: serializer.unbind(),
        plain_fields,
    };
    drop(keep(place, verdict));
    plain_fields
}

/// Stores a verdict. Drop the returned value after the lock is released.
fn keep(place: usize, verdict: Verdict) -> (BTreeMap<usize, Verdict>, Option<Verdict>) {
    let Ok(mut verdicts) = VERDICTS.try_lock() else {
        return (BTreeMap::new(), Some(verdict));
    };
    let is_full = verdicts.len() >= MAX_CLASSES;
    let all = if is_full {
        mem::take(&mut *verdicts)
    } else {
        BTreeMap::new()
    };
    (all, verdicts.insert(place, verdict))
}

fn decide(class: &Bound<'_, PyType>) -> PyResult<Option<usize>> {
    let plain_fields = intern!(class.py(), "plain_fields");
    module(class.py())?
        .call_method1(plain_fields, (class,))?
        .extract()
}

fn written<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let written = intern!(value.py(), "written");
    module(value.py())
        .ok()?
        .call_method1(written, (value,))
        .ok()
}

fn module(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import(intern!(py, "guard_agent._models"))
}
