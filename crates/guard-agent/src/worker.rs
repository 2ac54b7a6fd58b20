//! The worker: one thread with a runtime of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;
use std::{io, thread};

use guard_wire::header;
use tokio::runtime;
use tokio::sync::{mpsc, watch};

use crate::delivery::http::{HttpOptions, HttpTransport, headers};
use crate::delivery::transport::Transport;
use crate::pipeline::{self, Command};
use crate::shared::Shared;

/// A running worker.
pub(crate) struct Worker {
    thread: JoinHandle<()>,
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
        let thread = thread::Builder::new()
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
            })?;
        Ok(Self {
            thread,
            commands,
            stop,
        })
    }

    /// Has the rules fetched; what is returned tells when that is done.
    pub(crate) fn fetch_rules(&self) -> Option<std::sync::mpsc::Receiver<()>> {
        let (done, fetched) = std::sync::mpsc::sync_channel(1);
        self.commands.send(Command::FetchRules(done)).ok()?;
        Some(fetched)
    }

    /// Ends the worker: it delivers what it can until `deadline`.
    pub(crate) fn stop(self, deadline: Instant) {
        self.stop.send_replace(Some(deadline));
        // The thread catches its own panics.
        drop(self.thread.join());
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
