//! A transport whose requests Python answers.
//!
//! The worker puts each request into a [`LoopChannel`] and waits for the answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use guard_agent::transport::{Request as CoreRequest, Response, Transport, TransportError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokio::sync::oneshot;
use tokio::time;

use crate::loop_channel::{CLOSED, LoopChannel, Message};

type Answer = Result<Response, TransportError>;

/// One request and the sender for its answer.
#[pyclass(frozen, module = "guard_agent._native")]
pub(crate) struct Request {
    inner: CoreRequest,
    answer: Mutex<Option<oneshot::Sender<Answer>>>,
}

impl Request {
    fn give(&self, answer: Answer) {
        let mut place = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = place.take() {
            // The caller may have given up; the batch is then back in the queue.
            let _ = place.send(answer);
        }
    }
}

impl Message for Request {
    fn is_abandoned(&self) -> bool {
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

    /// The body to post; `None` for a request without a body.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let body = self.inner.body.as_ref()?;
        Some(PyBytes::new(py, body))
    }

    /// The request succeeded; `body` is the requested JSON.
    #[pyo3(signature = (body = None))]
    fn succeed(&self, body: Option<String>) {
        let (status, body) = body.map_or((204, Vec::new()), |body| (200, body.into_bytes()));
        self.give(Ok(Response {
            status,
            body,
            ..Response::default()
        }));
    }

    /// The request failed.
    fn fail(&self, why: String) {
        self.give(Err(TransportError::Refused(why)));
    }
}

/// The queue from which an event loop fetches requests.
#[pyclass(frozen, module = "guard_agent._native")]
pub(crate) struct Requests {
    channel: Arc<LoopChannel<Request>>,
}

impl Requests {
    /// The core's end of the channel. Each request fails after `limit`.
    pub(crate) fn transport(&self, limit: Duration) -> impl Transport + use<> {
        Sender {
            channel: Arc::clone(&self.channel),
            limit,
        }
    }
}

#[pymethods]
impl Requests {
    #[new]
    fn new() -> PyResult<Self> {
        let channel = Arc::new(LoopChannel::new()?);
        Ok(Self { channel })
    }

    /// A descriptor that is readable while a request is waiting.
    fn fileno(&self) -> i32 {
        self.channel.fileno()
    }

    /// Takes the waiting requests, without those that no caller waits for any more.
    fn take(&self) -> Vec<Request> {
        self.channel.take()
    }
}

struct Sender {
    channel: Arc<LoopChannel<Request>>,
    limit: Duration,
}

impl Transport for Sender {
    fn send(&self, request: CoreRequest) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let is_sent = self.channel.put(Request {
                inner: request,
                answer: Mutex::new(Some(answer)),
            });
            if !is_sent {
                return Err(TransportError::Refused(CLOSED.into()));
            }
            match time::timeout(self.limit, answered).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(TransportError::Refused("left without an answer".into())),
                Err(_) => Err(TransportError::Refused("it gave no answer in time".into())),
            }
        })
    }
}
