//! A transport whose requests Python answers.
//!
//! The worker leaves each request in a lane and waits for the answer; an event loop
//! of Python's, called by a socket, fetches it from there. So the worker never
//! enters the interpreter, and no thread of Python's waits inside of Rust.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use guard_agent::{Request as CoreRequest, Response, Transport, TransportError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokio::sync::oneshot;
use tokio::time;

type Answer = Result<Response, TransportError>;

/// The requests on their way to Python.
struct Lane {
    waiting: Mutex<VecDeque<Request>>,
    /// Gets a byte for each request.
    bell: UnixStream,
    /// Where the bell is heard.
    ear: UnixStream,
}

impl Lane {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Request>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, request: Request) {
        let mut waiting = self.waiting();
        // A loop that hangs fetches nothing: what is pointless by now must not pile up.
        waiting.retain(|request| !request.is_given_up());
        waiting.push_back(request);
        drop(waiting);
        // A bell that takes no more bytes has rung and was not heard yet.
        let _ = (&self.bell).write(&[0]);
    }
}

/// One request and the place for its answer.
#[pyclass(frozen, module = "guard_agent._native")]
pub(crate) struct Request {
    inner: CoreRequest,
    answer: Mutex<Option<oneshot::Sender<Answer>>>,
}

impl Request {
    fn give(&self, answer: Answer) {
        let mut place = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = place.take() {
            // Whoever asked may have given up; the batch is then back in the queue.
            let _ = place.send(answer);
        }
    }

    fn is_given_up(&self) -> bool {
        let place = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        place.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

#[pymethods]
impl Request {
    #[getter]
    fn path(&self) -> &'static str {
        self.inner.path
    }

    /// What is posted; `None` asks for something.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let body = self.inner.body.as_ref()?;
        Some(PyBytes::new(py, body))
    }

    /// The request was met; `body` is JSON that was asked for.
    #[pyo3(signature = (body = None))]
    fn succeed(&self, body: Option<String>) {
        let (status, body) = body.map_or((204, Vec::new()), |body| (200, body.into_bytes()));
        self.give(Ok(Response {
            status,
            body,
            ..Response::default()
        }));
    }

    /// The request was not met.
    fn fail(&self, why: String) {
        self.give(Err(TransportError::Broken(why)));
    }
}

/// Where an event loop fetches requests.
#[pyclass(frozen, module = "guard_agent._native")]
pub(crate) struct Requests {
    lane: Arc<Lane>,
}

impl Requests {
    /// The core's end. Each request fails after `limit`.
    pub(crate) fn transport(&self, limit: Duration) -> impl Transport + use<> {
        Sender {
            lane: Arc::clone(&self.lane),
            limit,
        }
    }
}

#[pymethods]
impl Requests {
    #[new]
    fn new() -> PyResult<Self> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        let waiting = Mutex::default();
        let lane = Arc::new(Lane { waiting, bell, ear });
        Ok(Self { lane })
    }

    /// Readable whenever a request is waiting.
    fn fileno(&self) -> i32 {
        self.lane.ear.as_raw_fd()
    }

    /// The requests that are waiting and that somebody still wants answered.
    fn take(&self) -> Vec<Request> {
        let mut bytes = [0; 64];
        while (&self.lane.ear).read(&mut bytes).is_ok_and(|read| read > 0) {}
        let waiting = std::mem::take(&mut *self.lane.waiting());
        waiting
            .into_iter()
            .filter(|request| !request.is_given_up())
            .collect()
    }
}

struct Sender {
    lane: Arc<Lane>,
    limit: Duration,
}

impl Transport for Sender {
    fn send(&self, request: CoreRequest) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            self.lane.put(Request {
                inner: request,
                answer: Mutex::new(Some(answer)),
            });
            match time::timeout(self.limit, answered).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(TransportError::Broken("left without an answer".into())),
                Err(_) => Err(TransportError::Timeout),
            }
        })
    }
}
