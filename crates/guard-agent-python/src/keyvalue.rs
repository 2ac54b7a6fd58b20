//! A key-value store whose operations run in Python.
//!
//! The journal puts each call into a [`LoopChannel`] and waits at most [`LIMIT`] for the
//! answer.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use guard_agent::Kind;
use guard_agent::store::StoreError;
use guard_agent::store::keyvalue::{Key, KeyValue};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyInt, PyString, PyTuple};

use crate::loop_channel::{CLOSED, LoopChannel, Message};

/// The time limit of one call. Callers do not wait for it, but the end of a
/// process waits for the last call.
const LIMIT: Duration = Duration::from_secs(5);

type Answer = Result<Vec<Value>, String>;

/// The return value of a handler's operation.
enum Value {
    /// False, or zero.
    No,
    Text(String),
    Texts(Vec<String>),
    /// Anything else.
    Other,
}

impl Value {
    fn read(value: &Bound<'_, PyAny>) -> Self {
        if let Some(text) = text(value) {
            Value::Text(text)
        } else if value.is_instance_of::<PyBool>() || value.is_instance_of::<PyInt>() {
            match value.is_truthy() {
                Ok(false) => Value::No,
                _ => Value::Other,
            }
        } else if let Ok(items) = value.try_iter() {
            let items = items.map_while(Result::ok);
            Value::Texts(items.filter_map(|item| text(&item)).collect())
        } else {
            Value::Other
        }
    }
}

fn text(value: &Bound<'_, PyAny>) -> Option<String> {
    if let Ok(text) = value.cast::<PyString>() {
        return Some(text.to_string_lossy().into_owned());
    }
    let bytes = value.cast::<PyBytes>().ok()?;
    String::from_utf8(bytes.as_bytes().to_vec()).ok()
}

/// The arguments of one operation.
enum Arguments {
    Pattern(String),
    Key(Key),
    Entry(Key, String, Option<u64>),
}

/// The slot for an answer. Not a channel, because a channel waits by parking the
/// thread, and that swallows the calls that wake the journal.
#[derive(Default)]
struct Place {
    answer: Mutex<Option<Answer>>,
    given: Condvar,
}

impl Place {
    fn answer(&self) -> MutexGuard<'_, Option<Answer>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, answer: Answer) {
        *self.answer() = Some(answer);
        self.given.notify_one();
    }

    /// Returns the answer, or None if there is none within `limit`.
    fn wait(&self, limit: Duration) -> Option<Answer> {
        let is_missing = |answer: &mut Option<Answer>| answer.is_none();
        let waited = self
            .given
            .wait_timeout_while(self.answer(), limit, is_missing);
        let (mut answer, _) = waited.unwrap_or_else(PoisonError::into_inner);
        answer.take()
    }
}

/// Several calls of one operation.
#[pyclass(frozen, module = "guard_agent._native")]
pub(crate) struct Call {
    name: &'static str,
    arguments: Vec<Arguments>,
    /// Owned by the waiting caller.
    place: Weak<Place>,
}

impl Call {
    fn give(&self, answer: Answer) {
        if let Some(place) = self.place.upgrade() {
            place.give(answer);
        }
    }
}

impl Message for Call {
    fn is_abandoned(&self) -> bool {
        self.place.strong_count() == 0
    }
}

#[pymethods]
impl Call {
    /// The name of the handler's method.
    #[getter]
    fn name(&self) -> &'static str {
        self.name
    }

    /// The arguments of each call.
    #[getter]
    fn arguments<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let tuple = |arguments: &Arguments| match arguments {
            Arguments::Pattern(pattern) => (pattern,).into_pyobject(py),
            Arguments::Key(key) => (Key::namespace(key.kind), &key.name).into_pyobject(py),
            Arguments::Entry(key, value, None) => {
                (Key::namespace(key.kind), &key.name, value).into_pyobject(py)
            }
            Arguments::Entry(key, value, Some(life)) => {
                (Key::namespace(key.kind), &key.name, value, *life).into_pyobject(py)
            }
        };
        self.arguments.iter().map(tuple).collect()
    }

    /// Sets the results of the calls, in order.
    fn succeed(&self, values: Vec<Bound<'_, PyAny>>) {
        self.give(Ok(values.iter().map(Value::read).collect()));
    }

    /// Reports that a call raised an exception.
    fn fail(&self, why: String) {
        self.give(Err(why));
    }
}

/// The queue from which an event loop fetches calls.
#[pyclass(frozen, module = "guard_agent._native")]
pub(crate) struct Calls {
    channel: Arc<LoopChannel<Call>>,
}

impl Calls {
    /// The journal's end of the channel.
    pub(crate) fn client(&self) -> impl KeyValue + Clone + Sync + use<> {
        Caller {
            channel: Arc::clone(&self.channel),
        }
    }
}

#[pymethods]
impl Calls {
    #[new]
    fn new() -> PyResult<Self> {
        let channel = Arc::new(LoopChannel::new()?);
        Ok(Self { channel })
    }

    /// A descriptor that is readable while a call is waiting.
    fn fileno(&self) -> i32 {
        self.channel.fileno()
    }

    /// Takes the waiting calls, without those that no caller waits for any more.
    fn take(&self) -> Vec<Call> {
        self.channel.take()
    }
}

#[derive(Clone)]
struct Caller {
    channel: Arc<LoopChannel<Call>>,
}

impl Caller {
    fn call(
        &self,
        name: &'static str,
        arguments: Vec<Arguments>,
    ) -> Result<Vec<Value>, StoreError> {
        if arguments.is_empty() {
            return Ok(Vec::new());
        }
        let expected = arguments.len();
        let place = Arc::new(Place::default());
        let is_sent = self.channel.put(Call {
            name,
            arguments,
            place: Arc::downgrade(&place),
        });
        if !is_sent {
            return Err(StoreError::Failed(CLOSED.to_owned()));
        }
        match place.wait(LIMIT) {
            Some(Ok(values)) if values.len() == expected => Ok(values),
            Some(Ok(_)) => Err(failed("an answer is missing")),
            Some(Err(why)) => Err(failed(&why)),
            None => Err(failed(&format!("{name} gave no answer within {LIMIT:?}"))),
        }
    }
}

fn failed(why: &str) -> StoreError {
    StoreError::Failed(format!("{why}; see whether the guard's Redis answers"))
}

fn keyed(keys: &[Key]) -> Vec<Arguments> {
    keys.iter().cloned().map(Arguments::Key).collect()
}

impl KeyValue for Caller {
    fn get(&mut self, keys: &[Key]) -> Result<Vec<Option<String>>, StoreError> {
        let values = self.call("get_key", keyed(keys))?;
        let texts = values.into_iter().map(|value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        });
        Ok(texts.collect())
    }

    fn set(
        &mut self,
        entries: Vec<(Key, String)>,
        life: Option<Duration>,
    ) -> Result<(), StoreError> {
        let life = life.map(|life| life.as_secs());
        let entries = entries.into_iter();
        let arguments = entries.map(|(key, value)| Arguments::Entry(key, value, life));
        let values = self.call("set_key", arguments.collect())?;
        if values.iter().any(|value| matches!(value, Value::No)) {
            return Err(failed("set_key returned False"));
        }
        Ok(())
    }

    fn delete(&mut self, keys: &[Key]) -> Result<Vec<bool>, StoreError> {
        let values = self.call("delete", keyed(keys))?;
        let existed = values.iter().map(|value| !matches!(value, Value::No));
        Ok(existed.collect())
    }

    fn names(&mut self, kind: Kind) -> Result<Vec<String>, StoreError> {
        let start = format!("{}:", Key::namespace(kind));
        let pattern = Arguments::Pattern(format!("{start}*"));
        let mut names = Vec::new();
        for value in self.call("keys", vec![pattern])? {
            if let Value::Texts(keys) = value {
                // Some handlers return keys as Redis stores them, with the handler's own prefix.
                let name = |key: &String| key.split_once(&start).map(|(_, name)| name.to_owned());
                names.extend(keys.iter().filter_map(name));
            }
        }
        Ok(names)
    }
}
