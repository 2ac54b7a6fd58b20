//! A key-value store whose operations Python carries out.
//!
//! The journal leaves each call in a lane and waits for the answer, for at most
//! [`LIMIT`].

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use guard_agent::Kind;
use guard_agent::store::StoreError;
use guard_agent::store::keyvalue::{Key, KeyValue};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyInt, PyString, PyTuple};

use crate::lane::{CLOSED, Lane, Order};

/// How long one call may take. Callers wait for none of it, but the end of a
/// process waits for the last one.
const LIMIT: Duration = Duration::from_secs(5);

type Answer = Result<Vec<Value>, String>;

/// What an operation of the handler's returned.
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

/// The place for an answer. A channel would do, but for waiting by parking the
/// thread, which swallows the calls that wake the journal.
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

    /// The answer, unless there is none within `limit`.
    fn wait(&self, limit: Duration) -> Option<Answer> {
        let is_missing = |answer: &mut Option<Answer>| answer.is_none();
        let waited = self
            .given
            .wait_timeout_while(self.answer(), limit, is_missing);
        let (mut answer, _) = waited.unwrap_or_else(PoisonError::into_inner);
        answer.take()
    }
}

/// Several operations of one name.
#[pyclass(frozen, module = "guard_agent._native")]
pub(crate) struct Call {
    name: &'static str,
    arguments: Vec<Arguments>,
    /// Held by whoever waits.
    place: Weak<Place>,
}

impl Call {
    fn give(&self, answer: Answer) {
        if let Some(place) = self.place.upgrade() {
            place.give(answer);
        }
    }
}

impl Order for Call {
    fn is_given_up(&self) -> bool {
        self.place.strong_count() == 0
    }
}

#[pymethods]
impl Call {
    /// The method of the handler to call.
    #[getter]
    fn name(&self) -> &'static str {
        self.name
    }

    /// Its arguments, once for each time it is to be called.
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

    /// What the calls returned, in order.
    fn succeed(&self, values: Vec<Bound<'_, PyAny>>) {
        self.give(Ok(values.iter().map(Value::read).collect()));
    }

    /// A call raised something.
    fn fail(&self, why: String) {
        self.give(Err(why));
    }
}

/// Where an event loop fetches calls.
#[pyclass(frozen, module = "guard_agent._native")]
pub(crate) struct Calls {
    lane: Arc<Lane<Call>>,
}

impl Calls {
    /// The journal's end.
    pub(crate) fn client(&self) -> impl KeyValue + Clone + Sync + use<> {
        Caller {
            lane: Arc::clone(&self.lane),
        }
    }
}

#[pymethods]
impl Calls {
    #[new]
    fn new() -> PyResult<Self> {
        let lane = Arc::new(Lane::new()?);
        Ok(Self { lane })
    }

    /// Readable whenever a call is waiting.
    fn fileno(&self) -> i32 {
        self.lane.fileno()
    }

    /// The calls that are waiting and that somebody still wants answered.
    fn take(&self) -> Vec<Call> {
        self.lane.take()
    }
}

#[derive(Clone)]
struct Caller {
    lane: Arc<Lane<Call>>,
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
        let is_heard = self.lane.put(Call {
            name,
            arguments,
            place: Arc::downgrade(&place),
        });
        if !is_heard {
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
                // Some handlers return keys as Redis has them, with a prefix of their own.
                let name = |key: &String| key.split_once(&start).map(|(_, name)| name.to_owned());
                names.extend(keys.iter().filter_map(name));
            }
        }
        Ok(names)
    }
}
