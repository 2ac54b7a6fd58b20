//! Reads the arrivals of one project for all its clients.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::event::LiveEvent;
use super::hub::Tails;
use super::queue::Queue;
use crate::query::filter::Filter;
use crate::store::{ArrivalQuery, ArrivedEvent, Cursor, ProjectId, StoreError};

/// The most events that are read at once.
const EVENTS: u16 = 500;
/// A read ends with the event that brings it to this many bytes.
const BYTES: usize = 512 * 1024;
/// Commits that come within this time are read together.
const PAUSE: Duration = Duration::from_millis(20);
/// How often the store is read without news, because another process may write to it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The reader of a project.
pub(super) struct Reader {
    tails: Arc<Tails>,
    project: ProjectId,
    committed: Arc<Notify>,
    /// The clients, by their filter: each is asked once about an event.
    groups: Vec<Group>,
}

struct Group {
    filter: Arc<Filter>,
    queues: Vec<Weak<Queue>>,
}

/// The events after the last position cannot be read.
struct Lost;

impl Reader {
    pub(super) const fn new(tails: Arc<Tails>, project: ProjectId, committed: Arc<Notify>) -> Self {
        Self {
            tails,
            project,
            committed,
            groups: Vec::new(),
        }
    }

    /// Reads until no client is left.
    pub(super) async fn run(mut self) {
        let tails = Arc::clone(&self.tails);
        let outcome = tokio::select! {
            outcome = self.follow() => outcome,
            () = tails.stopped() => Err(Lost),
        };
        if outcome.is_err() {
            // Clients connect again, and learn then what is wrong.
            tails.abandon(self.project);
            for queue in self.queues() {
                queue.end();
            }
        }
    }

    async fn follow(&mut self) -> Result<(), Lost> {
        let mut after = patiently(|| self.tails.arrivals.now(self.project)).await?;
        loop {
            // They must not join before a read that began after they asked.
            let joining = self.tails.joining(self.project);
            after = self.read(after).await?;
            for client in joining {
                self.add(client.filter, client.queue);
                // A client that is gone is removed below.
                let _ = client.joined.send(after.clone());
            }
            for group in &mut self.groups {
                group.queues.retain(|queue| queue.strong_count() > 0);
            }
            self.groups.retain(|group| !group.queues.is_empty());
            if self.groups.is_empty() && self.tails.forget(self.project) {
                return Ok(());
            }
            sleep(PAUSE).await;
            // No news is no failure.
            let _ = timeout(LOOK_EVERY, self.committed.notified()).await;
        }
    }

    fn add(&mut self, filter: Arc<Filter>, queue: Weak<Queue>) {
        let group = self.groups.iter_mut().find(|it| it.filter == filter);
        match group {
            Some(group) => group.queues.push(queue),
            None => self.groups.push(Group {
                filter,
                queues: vec![queue],
            }),
        }
    }

    /// Passes on everything after a position. Returns the new position.
    async fn read(&self, mut after: Cursor) -> Result<Cursor, Lost> {
        loop {
            let query = ArrivalQuery {
                project: self.project,
                after,
                until: None,
                limit: EVENTS,
                bytes: BYTES,
            };
            let slice = patiently(|| self.tails.arrivals.arrivals(query.clone())).await?;
            self.deliver(slice.events).await?;
            after = slice.next;
            if slice.is_complete {
                return Ok(after);
            }
        }
    }

    async fn deliver(&self, events: Vec<ArrivedEvent>) -> Result<(), Lost> {
        if events.is_empty() {
            return Ok(());
        }
        let is_filtered = self.groups.iter().any(|it| !it.filter.is_everything());
        let events = events.into_iter();
        let events: Result<Vec<_>, _> = events.map(|it| LiveEvent::new(it, is_filtered)).collect();
        let events = events.map_err(|error| {
            tracing::error!(%error, "an event cannot be written for live readers");
            Lost
        })?;
        for Group { filter, queues } in &self.groups {
            let frames: Vec<_> = events.iter().filter_map(|it| it.matching(filter)).collect();
            if !frames.is_empty() {
                for queue in queues.iter().filter_map(Weak::upgrade) {
                    queue.push(frames.iter().cloned());
                }
            }
            // Other tasks must not wait for many filters.
            yield_now().await;
        }
        Ok(())
    }

    fn queues(&self) -> impl Iterator<Item = Arc<Queue>> {
        let queues = self.groups.iter().flat_map(|group| &group.queues);
        queues.filter_map(Weak::upgrade)
    }
}

/// Asks the store until it answers.
async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> Result<T, Lost>
where
    F: Future<Output = Result<T, StoreError>>,
{
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(StoreError::InvalidCursor | StoreError::ExpiredCursor) => return Err(Lost),
            Err(error) => {
                // The store has logged the reason.
                tracing::debug!(%error, "live readers wait for the store");
                sleep(LOOK_EVERY).await;
            }
        }
    }
}
