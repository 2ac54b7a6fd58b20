//! The projects that have live readers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Notify, Semaphore, oneshot, watch};

use super::queue::Queue;
use super::reader::Reader;
use crate::monitoring::TailMeters;
use crate::query::filter::Filter;
use crate::store::{Arrivals, Cursor, ProjectId};

/// How many clients read the store at the same time to catch up.
const CATCHING_UP: usize = 4;

/// All live readers of a server.
pub(crate) struct Tails {
    pub(super) arrivals: Arc<dyn Arrivals>,
    pub(super) catching_up: Semaphore,
    projects: Mutex<HashMap<ProjectId, Channel>>,
    stopping: watch::Sender<bool>,
    pub(super) meters: TailMeters,
}

/// A project whose events are read.
#[derive(Default)]
struct Channel {
    committed: Arc<Notify>,
    joining: Vec<Joining>,
}

/// A client that waits until the reader has it on its list.
pub(super) struct Joining {
    pub(super) filter: Arc<Filter>,
    pub(super) queue: Weak<Queue>,
    /// Gets the position after which the queue has every event.
    pub(super) joined: oneshot::Sender<Cursor>,
}

impl Tails {
    pub(crate) fn new(arrivals: Arc<dyn Arrivals>, meters: TailMeters) -> Arc<Self> {
        Arc::new(Self {
            arrivals,
            catching_up: Semaphore::new(CATCHING_UP),
            projects: Mutex::default(),
            stopping: watch::Sender::new(false),
            meters,
        })
    }

    /// Events of this project were committed.
    pub(crate) fn committed(&self, project: ProjectId) {
        if let Some(channel) = self.projects().get(&project) {
            channel.committed.notify_one();
        }
    }

    /// Ends all live readers, for good.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Completes when all live readers must end.
    pub(super) async fn stopped(&self) {
        // The sender is in `self`, so this does not fail.
        let _ = self.stopping.subscribe().wait_for(|stops| *stops).await;
    }

    /// Puts a client on the list of its project. Returns its queue, and the position after which
    /// the queue has every event that matches. What was committed before this call is up to
    /// that position.
    pub(super) async fn join(
        self: &Arc<Self>,
        project: ProjectId,
        filter: Arc<Filter>,
    ) -> Option<(Arc<Queue>, Cursor)> {
        let queue = Arc::new(Queue::new(self.meters.clone()));
        let (joined, position) = oneshot::channel();
        let joining = Joining {
            filter,
            queue: Arc::downgrade(&queue),
            joined,
        };
        self.add(project, joining);
        Some((queue, position.await.ok()?))
    }

    fn add(self: &Arc<Self>, project: ProjectId, joining: Joining) {
        let mut projects = self.projects();
        let channel = projects.entry(project).or_insert_with(|| {
            let channel = Channel::default();
            let committed = Arc::clone(&channel.committed);
            tokio::spawn(Reader::new(Arc::clone(self), project, committed).run());
            channel
        });
        channel.joining.push(joining);
        channel.committed.notify_one();
    }

    /// The clients that asked to join since the last call.
    pub(super) fn joining(&self, project: ProjectId) -> Vec<Joining> {
        let mut projects = self.projects();
        let channel = projects.get_mut(&project);
        channel.map_or_else(Vec::new, |channel| std::mem::take(&mut channel.joining))
    }

    /// Forgets a project without clients. Returns false if one asked to join meanwhile.
    pub(super) fn forget(&self, project: ProjectId) -> bool {
        let mut projects = self.projects();
        let is_empty = projects
            .get(&project)
            .is_none_or(|channel| channel.joining.is_empty());
        if is_empty {
            projects.remove(&project);
        }
        is_empty
    }

    /// Forgets a project, and the clients that want to join.
    pub(super) fn abandon(&self, project: ProjectId) {
        self.projects().remove(&project);
    }

    fn projects(&self) -> MutexGuard<'_, HashMap<ProjectId, Channel>> {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
