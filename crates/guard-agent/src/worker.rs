//! The worker: one thread with a runtime of its own.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use guard_wire::header;
use tokio::runtime;
use tokio::sync::watch;

use crate::journal::thread::JournalThread;
use crate::shared::Shared;
use crate::transport::Transport;
use crate::transport::http::{HttpOptions, HttpTransport, headers};
use crate::{pipeline, threads};

/// How long after its deadline a worker may still take to end. Beyond it hangs
/// in something that is not ours, and is left alone.
const END_GRACE: Duration = Duration::from_millis(200);

/// The part of the time for the end, one in so many, that is kept for saving what
/// cannot be delivered.
const SAVING_SHARE: u32 = 4;

/// A running worker.
pub(crate) struct Worker {
    /// Closed when the thread ends.
    ended: Receiver<()>,
    journal: Option<JournalThread>,
    stop: watch::Sender<Option<Instant>>,
}

impl Worker {
    /// Starts the thread, which lowers `running` should it fail.
    pub(crate) fn start(shared: Arc<Shared>, running: Arc<AtomicBool>) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(None);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let journal = match &shared.config.store {
            Some(open) => Some(JournalThread::start(Arc::clone(&shared), open.clone())?),
            None => None,
        };
        let (end, ended) = channel();
        let theirs = Arc::clone(&shared);
        threads::spawn("guard-agent", &shared, move || {
            let work = || {
                theirs.set_transport(transport(&theirs));
                runtime.block_on(pipeline::run(&theirs, stopped));
            };
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                running.store(false, Ordering::Release);
                theirs.error("worker", "worker", || {
                    "the worker failed and starts again with the next record; please report this"
                        .to_owned()
                });
            }
            // A lookup that hangs in the system's resolver must not hold the end up.
            runtime.shutdown_background();
            drop(end);
        })?;
        Ok(Self {
            ended,
            journal,
            stop,
        })
    }

    /// Ends the worker: it delivers what it can until `deadline`, and saves the
    /// rest if there is a store. Returns soon after that at the latest.
    pub(crate) fn stop(self, shared: &Shared, deadline: Instant) -> LeftBehind {
        let left = || deadline.saturating_duration_since(shared.clock().now());
        let saving = self.journal.as_ref().map(|_| left() / SAVING_SHARE);
        let sending = left() - saving.unwrap_or_default();
        self.stop.send_replace(Some(shared.clock().now() + sending));
        let wait = self.ended.recv_timeout(sending + END_GRACE);
        let journal = self.journal.is_some_and(|it| !it.stop(left() + END_GRACE));
        LeftBehind {
            worker: wait == Err(RecvTimeoutError::Timeout),
            journal,
        }
    }

    /// Has the worker deliver what it can until `deadline`, and end by itself.
    pub(crate) fn let_end(self, deadline: Instant) {
        self.stop.send_replace(Some(deadline));
        if let Some(journal) = self.journal {
            journal.let_end();
        }
    }
}

/// What did not end in its time.
#[must_use]
#[derive(Default)]
pub(crate) struct LeftBehind {
    worker: bool,
    journal: bool,
}

impl LeftBehind {
    /// Reports it.
    pub(crate) fn tell(self, shared: &Shared) {
        if self.worker {
            shared.error("worker", "worker_end", || {
                "the worker does not end and is left behind; please report this".to_owned()
            });
        }
        if self.journal {
            shared.error("spool", "journal_end", || {
                let left = shared.queue.unsaved();
                format!(
                    "the spool does not answer; {left} record(s) are not saved; see whether the \
                     disk or Redis hangs"
                )
            });
        }
    }
}

/// What carries requests under a configuration.
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
