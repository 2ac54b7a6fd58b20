//! The worker: one thread with a runtime of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use guard_wire::header;
use tokio::runtime;
use tokio::sync::{mpsc, watch};

use crate::delivery::http::{HttpOptions, HttpTransport, headers};
use crate::delivery::transport::Transport;
use crate::pipeline::{self, Command};
use crate::shared::Shared;

/// How long after its deadline a worker may still take to end. Beyond it hangs
/// in something that is not ours, and is left alone.
const END_GRACE: Duration = Duration::from_millis(200);

/// A running worker.
pub(crate) struct Worker {
    /// Closed when the thread ends.
    ended: Receiver<()>,
    commands: mpsc::UnboundedSender<Command>,
    stop: watch::Sender<Option<Instant>>,
}

impl Worker {
    /// Starts the thread, which lowers `running` should it fail.
    pub(crate) fn start(shared: Arc<Shared>, running: Arc<AtomicBool>) -> io::Result<Self> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(None);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (end, ended) = channel();
        thread::Builder::new()
            .name("guard-agent".to_owned())
            .spawn(move || {
                let work = || {
                    shared.set_transport(transport(&shared));
                    runtime.block_on(pipeline::run(&shared, receiver, stopped));
                };
                if catch_unwind(AssertUnwindSafe(work)).is_err() {
                    running.store(false, Ordering::Release);
                    shared.error("worker", "worker", || {
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
            commands,
            stop,
        })
    }

    /// Has the rules fetched; what is returned tells when that is done.
    pub(crate) fn fetch_rules(&self) -> Option<Receiver<()>> {
        let (done, fetched) = sync_channel(1);
        self.commands.send(Command::FetchRules(done)).ok()?;
        Some(fetched)
    }

    /// Ends the worker: it delivers what it can until `deadline`. Returns soon
    /// after that at the latest.
    pub(crate) fn stop(self, shared: &Shared, deadline: Instant) {
        self.stop.send_replace(Some(deadline));
        let left = deadline.saturating_duration_since(shared.clock().now());
        let wait = self.ended.recv_timeout(left + END_GRACE);
        if wait == Err(RecvTimeoutError::Timeout) {
            shared.error("worker", "worker_end", || {
                "the worker does not end and is left behind; please report this".to_owned()
            });
        }
    }
}

fn transport(shared: &Shared) -> Arc<dyn Transport> {
    let config = &shared.config;
    if let Some(transport) = &config.transport {
        return Arc::clone(transport);
    }
    let bearer = ["Bearer ", &config.api_key].concat();
    let mut pairs = vec![
        ("Authorization", bearer.as_str()),
        (header::API_KEY, config.api_key.as_str()),
        (header::INSTALL_ID, shared.install_id.as_str()),
    ];
    if let Some(project) = &config.settings.project_id {
        pairs.push((header::PROJECT_ID, project));
    }
    Arc::new(HttpTransport::new(HttpOptions {
        endpoint: config.endpoint.clone(),
        headers: headers(&pairs),
        user_agent: format!("fastapi-guard-agent/{}", config.settings.agent_version),
        timeout: config.settings.timeout,
    }))
}
