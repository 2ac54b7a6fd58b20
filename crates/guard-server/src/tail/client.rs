//! One live reader.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::event::{HEARTBEAT, LiveEvent};
use super::hub::Tails;
use super::places::Place;
use crate::query::filter::Filter;
use crate::store::{ArrivalQuery, Cursor, ProjectId, StoreError};

/// How often a comment shows that the connection is alive.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// The most events that are read at once to catch up.
const EVENTS: u16 = 500;
/// A read ends with the event that brings it to this many bytes.
const BYTES: usize = 256 * 1024;
/// The pause after the store failed.
const PAUSE: Duration = Duration::from_secs(1);

/// A client that gets the events of a project that match a filter.
pub(crate) struct Client {
    pub(crate) tails: Arc<Tails>,
    pub(crate) project: ProjectId,
    pub(crate) filter: Arc<Filter>,
    /// Events after this position.
    pub(crate) after: Cursor,
    pub(crate) place: Place,
}

impl Client {
    /// Sends the text of the events until the client goes, `revoked` completes or the server stops.
    /// Every piece ends with a whole event.
    pub(crate) async fn run(self, out: mpsc::Sender<Bytes>, revoked: impl Future<Output = ()>) {
        // At once, so that the client knows that the stream has begun.
        if out.send(HEARTBEAT).await.is_err() {
            return;
        }
        tokio::select! {
            _ = self.follow(&out) => {}
            () = beat(&out) => {}
            () = revoked => {}
            () = self.tails.stopped() => {}
            () = out.closed() => {}
        }
        drop(self.place);
    }

    /// `None` when there is nothing more to send, or nobody to send it to.
    async fn follow(&self, out: &mpsc::Sender<Bytes>) -> Option<()> {
        // The reader of the project may be far ahead, and a queue is short. So most is read before
        // joining, and only what came meanwhile afterwards.
        let after = self.catch_up(self.after.clone(), None, out).await?;
        let filter = Arc::clone(&self.filter);
        let (queue, joined) = self.tails.join(self.project, filter).await?;
        self.catch_up(after, Some(joined), out).await?;
        while let Some(piece) = queue.next().await {
            out.send(piece).await.ok()?;
        }
        None
    }

    /// Sends the events after a position, up to `until`, or to the end. Returns the new position.
    async fn catch_up(
        &self,
        mut after: Cursor,
        until: Option<Cursor>,
        out: &mpsc::Sender<Bytes>,
    ) -> Option<Cursor> {
        loop {
            let query = ArrivalQuery {
                project: self.project,
                after: after.clone(),
                until: until.clone(),
                limit: EVENTS,
                bytes: BYTES,
            };
            let turn = self.tails.catching_up.acquire().await.ok()?;
            let slice = match self.tails.arrivals.arrivals(query).await {
                Ok(slice) => slice,
                // The client connects again, and gets the error as an answer.
                Err(StoreError::InvalidCursor | StoreError::ExpiredCursor) => return None,
                Err(error) => {
                    // The store has logged the reason.
                    tracing::debug!(%error, "a live reader waits for the store");
                    drop(turn);
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let is_filtered = !self.filter.is_everything();
            let mut piece = Vec::new();
            for event in slice.events {
                let event = LiveEvent::new(event, is_filtered).ok()?;
                if let Some(frame) = event.matching(&self.filter) {
                    piece.extend_from_slice(&frame);
                }
            }
            drop(turn);
            if !piece.is_empty() {
                out.send(piece.into()).await.ok()?;
            }
            after = slice.next;
            if slice.is_complete {
                return Some(after);
            }
        }
    }
}

/// Sends a comment at intervals, until the client is gone.
async fn beat(out: &mpsc::Sender<Bytes>) {
    loop {
        sleep(HEARTBEAT_EVERY).await;
        if out.send(HEARTBEAT).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::places::Places;
    use super::*;
    use crate::monitoring::TailMeters;
    use crate::people::CredentialHash;
    use crate::store::{ArrivalSlice, Arrivals, BoxFuture};

    /// A store in which nothing arrives.
    struct Quiet;

    impl Arrivals for Quiet {
        fn now(&self, _: ProjectId) -> BoxFuture<'_, Cursor> {
            Box::pin(async { Ok(Cursor::new(b"now")) })
        }

        fn arrivals(&self, query: ArrivalQuery) -> BoxFuture<'_, ArrivalSlice> {
            Box::pin(async move {
                Ok(ArrivalSlice {
                    events: Vec::new(),
                    next: query.after,
                    is_complete: true,
                })
            })
        }
    }

    fn client() -> Client {
        let places = Arc::new(Places::new(1, 1, TailMeters::default()));
        Client {
            tails: Tails::new(Arc::new(Quiet), TailMeters::default()),
            project: ProjectId(1),
            filter: Arc::new(Filter::everything()),
            after: Cursor::new(b"now"),
            place: places.take(CredentialHash::of("a token")).unwrap(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_comment_without_an_id_comes_at_once_and_at_intervals() {
        let (out, mut pieces) = mpsc::channel(1);
        tokio::spawn(client().run(out, std::future::pending()));
        let begun = Instant::now();
        for n in 0..4 {
            let piece = pieces.recv().await.unwrap();
            assert_eq!(piece, ": heartbeat\n\n");
            assert_eq!(begun.elapsed().as_secs(), n * 15);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_stream_ends_when_the_client_is_no_longer_allowed_or_the_server_stops() {
        for stops in [false, true] {
            let (client, (out, mut pieces)) = (client(), mpsc::channel(1));
            let (tails, places) = (Arc::clone(&client.tails), client.place.places());
            let revoked = async move {
                if stops {
                    tails.stop();
                    std::future::pending::<()>().await;
                }
            };
            tokio::spawn(client.run(out, revoked));
            assert_eq!(pieces.recv().await.unwrap(), HEARTBEAT);
            assert_eq!(pieces.recv().await, None);
            assert!(places.take(CredentialHash::of("a token")).is_ok());
        }
    }
}
