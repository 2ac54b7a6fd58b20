//! The worker's thread: from its start to its end, or until the program closes its descriptors.
//!
//! A runtime whose descriptors are lost must neither wait on them nor close them, because they
//! may be files of the program by now. So its thread parks forever, and a new thread continues.

use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::time::Instant;

use futures_util::future::BoxFuture;
use guard_wire::header;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::descriptors::{Holding, Witness, runtime_with, unless_lost};
use crate::shared::Shared;
use crate::sync::lock;
use crate::threads::END_GRACE;
use crate::transport::Transport;
use crate::transport::http::{HttpOptions, HttpTransport, headers};
use crate::{pipeline, threads};

/// State of one thread of the worker.
pub(crate) struct Tenure {
    shared: Arc<Shared>,
    running: Arc<AtomicBool>,
    stopped: watch::Receiver<Option<Instant>>,
    witness: Arc<Witness>,
    /// Stored here while the thread waits, so that it can be dropped then.
    pipeline: Mutex<Option<BoxFuture<'static, ()>>>,
    /// Dropped when the worker ends.
    end: Mutex<Option<Sender<()>>>,
}

/// A tenure that is ready to begin.
pub(crate) struct Prepared {
    tenure: Arc<Tenure>,
    runtime: Holding<Runtime>,
}

impl Prepared {
    /// Starts the thread. It first waits until `replaced`, another worker, has ended. If the worker
    /// panics, it clears `running`.
    pub(crate) fn begin(self, replaced: Option<Receiver<()>>) -> io::Result<()> {
        let Self { tenure, runtime } = self;
        let shared = Arc::clone(&tenure.shared);
        threads::spawn("guard-agent", &shared, move || {
            if let Some(ended) = replaced {
                wait_for_end(&ended, &tenure.shared);
            }
            tenure.serve(runtime);
        })?;
        Ok(())
    }
}

impl Tenure {
    /// Prepares everything but the thread. `end` is dropped when the worker ends.
    pub(crate) fn prepare(
        shared: Arc<Shared>,
        running: Arc<AtomicBool>,
        stopped: watch::Receiver<Option<Instant>>,
        end: Option<Sender<()>>,
    ) -> io::Result<Prepared> {
        // Opened first, so that it has the lowest descriptor number.
        let witness = Arc::new(Witness::new()?);
        let (theirs, stop) = (Arc::clone(&shared), stopped.clone());
        let run = Box::pin(async move { pipeline::run(&theirs, stop).await });
        let tenure = Arc::new(Self {
            shared,
            running,
            stopped,
            witness: Arc::clone(&witness),
            pipeline: Mutex::new(Some(run)),
            end: Mutex::new(end),
        });
        let theirs = Arc::clone(&tenure);
        let runtime = runtime_with(witness, move || theirs.before_wait())?;
        Ok(Prepared { tenure, runtime })
    }

    fn serve(&self, runtime: Holding<Runtime>) {
        let work = || {
            let witness = Arc::clone(&self.witness);
            self.shared.set_transport(transport(&self.shared), witness);
            let run = unless_lost(&self.witness, self.poll_pipeline());
            runtime.get().and_then(|runtime| runtime.block_on(run))
        };
        let outcome = catch_unwind(AssertUnwindSafe(work));
        if let Some(runtime) = runtime.into_held() {
            if outcome.is_err() {
                self.running.store(false, Ordering::Release);
                self.shared.error("worker", "worker", || {
                    "the worker failed and starts again with the next record; please report this"
                        .to_owned()
                });
            }
            // A name lookup that hangs in the system's resolver must not delay this.
            runtime.shutdown_background();
        } else {
            self.hand_over();
        }
        drop(lock(&self.end).take());
    }

    fn poll_pipeline(&self) -> impl Future<Output = ()> + '_ {
        poll_fn(|context| {
            let Some(mut pipeline) = lock(&self.pipeline).take() else {
                return Poll::Ready(());
            };
            let polled = pipeline.as_mut().poll(context);
            if polled.is_pending() {
                *lock(&self.pipeline) = Some(pipeline);
            }
            polled
        })
    }

    /// Called when the runtime is about to wait.
    fn before_wait(&self) {
        if self.witness.is_lost() {
            self.hand_over();
            // Returning would wait on a foreign descriptor, and unwinding would close it.
            loop {
                thread::park();
            }
        }
    }

    /// Continues on another thread. The batches in flight first go back to the queue.
    fn hand_over(&self) {
        drop(lock(&self.pipeline).take());
        self.shared.warn("worker", "descriptors", || {
            "the program closed the agent's file descriptors; the agent opened new ones".to_owned()
        });
        let shared = Arc::clone(&self.shared);
        let (running, end) = (Arc::clone(&self.running), lock(&self.end).take());
        let next = Self::prepare(shared, running, self.stopped.clone(), end);
        if let Err(error) = next.and_then(|next| next.begin(None)) {
            self.running.store(false, Ordering::Release);
            self.shared.error("worker", "worker_start", || {
                format!("the worker cannot go on: {error}; records queue up until it can")
            });
        }
    }
}

/// The transport for requests under a configuration.
pub(crate) fn transport(shared: &Shared) -> Arc<dyn Transport> {
    let config = &shared.config;
    if let Some(transport) = &config.transport {
        return Arc::clone(transport);
    }
    let bearer = ["Bearer ", &config.api_key].concat();
    let process = std::process::id().to_string();
    let mut pairs = vec![
        ("Authorization", bearer.as_str()),
        (header::API_KEY, config.api_key.as_str()),
        (header::INSTALL_ID, shared.install_id.as_str()),
        (header::PROCESS_ID, process.as_str()),
    ];
    if let Some(project) = &config.settings.project_id {
        pairs.push((header::PROJECT_ID, project));
    }
    Arc::new(HttpTransport::new(HttpOptions {
        endpoint: config.endpoint.clone(),
        headers: headers(&pairs),
        user_agent: format!("fastapi-guard-agent/{}", config.settings.agent_version),
        timeout: config.settings.timeout,
        clock: Arc::clone(&config.clock),
    }))
}

/// Waits for a stopped worker to end, and reports if that takes too long.
fn wait_for_end(ended: &Receiver<()>, shared: &Shared) {
    if ended.recv_timeout(END_GRACE) == Err(RecvTimeoutError::Timeout) {
        report_endless(shared);
    }
}

pub(crate) fn report_endless(shared: &Shared) {
    shared.error("worker", "worker_end", || {
        "the worker does not end and is left behind; please report this".to_owned()
    });
}
