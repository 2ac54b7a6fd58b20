//! Tracks what a connection is doing, and how long its client has kept it waiting. Each request of
//! an HTTP/2 connection has a separate record, because several run at the same time.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

/// A client that moves this many bytes per second is not late.
const MIN_RATE: f64 = 8.0 * 1024.0;
/// If a client is later than this, its connection may be closed to make room for another one.
const PATIENCE: Duration = Duration::from_secs(1);

/// The activity of one connection or HTTP/2 request, shared by its parts.
#[derive(Debug)]
pub(super) struct Activity {
    doing: Mutex<Doing>,
    /// The connection of an HTTP/2 request.
    connection: Option<Arc<Activity>>,
}

#[derive(Debug)]
struct Doing {
    phase: Phase,
    /// How late the client is so far with the body of this request.
    body_late: Duration,
    /// Since when the client has been late to read the bytes that wait to be written.
    unread_since: Option<Instant>,
    /// The open requests of an HTTP/2 connection.
    streams: Vec<Weak<Activity>>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The head of a request is arriving, or none has come yet on a new connection.
    Head { since: Instant },
    /// A handler works on a request.
    Request,
    /// The handler waits for memory or a worker thread.
    Queued { since: Instant },
    /// The handler waits for more of the body.
    Body { since: Instant },
    /// The connection is idle: the client may send another request.
    Idle { since: Instant },
}

/// The order in which connections are closed to make room: the smallest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(Class, Instant);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Idle,
    Late,
    Queued,
}

impl Activity {
    pub(super) fn new() -> Self {
        let since = Instant::now();
        Self::in_phase(Phase::Head { since }, None)
    }

    fn in_phase(phase: Phase, connection: Option<Arc<Self>>) -> Self {
        let doing = Mutex::new(Doing {
            phase,
            body_late: Duration::ZERO,
            unread_since: None,
            streams: Vec::new(),
        });
        Self { doing, connection }
    }

    /// Records that a request of this HTTP/2 connection began. Returns its activity.
    pub(super) fn stream_began(self: &Arc<Self>) -> Arc<Self> {
        let stream = Self::in_phase(Phase::Request, Some(Arc::clone(self)));
        let stream = Arc::new(stream);
        self.change(|doing| {
            doing.phase = Phase::Request;
            doing.streams.push(Arc::downgrade(&stream));
        });
        stream
    }

    /// Whether this is the activity of a request of an HTTP/2 connection.
    pub(super) fn is_stream(&self) -> bool {
        self.connection.is_some()
    }

    fn stream_ended(&self, stream: &Self) {
        self.change(|doing| {
            doing.streams.retain(|other| {
                let other = other.upgrade();
                other.is_some_and(|other| !std::ptr::eq(&*other, stream))
            });
            if doing.streams.is_empty() {
                let since = Instant::now();
                doing.phase = Phase::Idle { since };
            }
        });
    }

    fn streams(&self) -> Vec<Arc<Self>> {
        self.change(|doing| doing.streams.iter().filter_map(Weak::upgrade).collect())
    }

    /// Whether an HTTP/2 connection must be closed at `now`: it was idle for `idle`, or a client is
    /// later than `write` in reading an answer.
    pub(super) fn is_overdue(&self, now: Instant, idle: Duration, write: Duration) -> bool {
        let streams = self.streams();
        let is_late = |stream: &Arc<Self>| {
            let since = stream.change(|doing| doing.unread_since);
            since.is_some_and(|since| since + write <= now)
        };
        let is_idle = self.change(|doing| match doing.phase {
            Phase::Idle { since } => since + idle <= now,
            _ => false,
        });
        (streams.is_empty() && is_idle) || streams.iter().any(is_late)
    }

    /// Records that bytes of a request arrived.
    pub(super) fn received(&self) {
        self.change(|doing| {
            if matches!(doing.phase, Phase::Idle { .. }) {
                let since = Instant::now();
                doing.phase = Phase::Head { since };
            }
        });
    }

    /// Records that a head is complete. Returns whether it had arrived before the last request was
    /// answered.
    pub(super) fn request_began(&self) -> bool {
        self.change(|doing| {
            doing.body_late = Duration::ZERO;
            let before = std::mem::replace(&mut doing.phase, Phase::Request);
            matches!(before, Phase::Idle { .. })
        })
    }

    /// Records that the handler waits for more of the body.
    pub(super) fn body_waits(&self) {
        self.change(|doing| {
            if matches!(doing.phase, Phase::Request) {
                let now = Instant::now();
                let since = now.checked_sub(doing.body_late).unwrap_or(now);
                doing.phase = Phase::Body { since };
            }
        });
    }

    /// Records that more of the body came and the handler works on it.
    pub(super) fn body_came(&self, len: usize) {
        self.change(|doing| {
            if let Phase::Body { since } = doing.phase {
                doing.body_late = moved_on(since, len).elapsed();
                doing.phase = Phase::Request;
            }
        });
    }

    /// Records that the handler needs no more of the body.
    pub(super) fn body_ended(&self) {
        self.change(|doing| {
            if matches!(doing.phase, Phase::Body { .. }) {
                doing.phase = Phase::Request;
            }
        });
    }

    /// Records that the handler waits for memory or a worker thread.
    pub(super) fn queue_began(&self) {
        self.change(|doing| {
            if matches!(doing.phase, Phase::Request) {
                let since = Instant::now();
                doing.phase = Phase::Queued { since };
            }
        });
    }

    /// Records that the handler no longer waits.
    pub(super) fn queue_ended(&self) {
        self.change(|doing| {
            if matches!(doing.phase, Phase::Queued { .. }) {
                doing.phase = Phase::Request;
            }
        });
    }

    /// Records that the handler has answered the request.
    pub(super) fn answered(&self) {
        let since = Instant::now();
        self.change(|doing| doing.phase = Phase::Idle { since });
        if let Some(connection) = &self.connection {
            connection.stream_ended(self);
        }
    }

    /// Records that the client does not read the pending bytes. Returns since when.
    pub(super) fn write_waits(&self) -> Instant {
        self.change(|doing| *doing.unread_since.get_or_insert_with(Instant::now))
    }

    /// Records that the client read `len` bytes.
    pub(super) fn written(&self, len: usize) {
        self.change(|doing| {
            if let Some(since) = &mut doing.unread_since {
                *since = moved_on(*since, len);
            }
        });
    }

    /// Records that no bytes are left to write.
    pub(super) fn flushed(&self) {
        self.change(|doing| doing.unread_since = None);
    }

    /// Since when the head of a request has been arriving.
    pub(super) fn head_since(&self) -> Option<Instant> {
        self.change(|doing| match doing.phase {
            Phase::Head { since } => Some(since),
            _ => None,
        })
    }

    /// Whether the connection may be closed at `now` to let another one in. One with several
    /// requests may be if each of them may.
    pub(super) fn rank(&self, now: Instant) -> Option<Rank> {
        let streams = self.streams();
        if streams.is_empty() {
            return self.own_rank(now);
        }
        let ranks: Option<Vec<_>> = streams.iter().map(|stream| stream.own_rank(now)).collect();
        ranks?.into_iter().max()
    }

    fn own_rank(&self, now: Instant) -> Option<Rank> {
        let (phase, unread_since) = self.change(|doing| (doing.phase, doing.unread_since));
        let late_since = match phase {
            Phase::Idle { since } => return Some(Rank(Class::Idle, since)),
            Phase::Head { since } | Phase::Body { since } => Some(since),
            Phase::Request | Phase::Queued { .. } => None,
        };
        let late = late_since.into_iter().chain(unread_since).min();
        let queued = match phase {
            Phase::Queued { since } => Some(since),
            _ => None,
        };
        [(Class::Late, late), (Class::Queued, queued)]
            .into_iter()
            .filter_map(|(class, since)| Some(Rank(class, since?)))
            .find(|Rank(_, since)| *since + PATIENCE <= now)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Doing) -> T) -> T {
        change(&mut self.doing.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Makes a client that moved `len` bytes less late, but never early.
fn moved_on(since: Instant, len: usize) -> Instant {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a length of a buffer is far below 2^52"
    )]
    let earned = Duration::from_secs_f64(len as f64 / MIN_RATE);
    (since + earned).min(Instant::now())
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn class(activity: &Activity) -> Option<Class> {
        activity.rank(Instant::now()).map(|rank| rank.0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_no_head_in_time_is_late() {
        let activity = Activity::new();
        activity.received();
        assert_eq!(class(&activity), None);
        advance(PATIENCE).await;
        activity.received();
        assert_eq!(class(&activity), Some(Class::Late));
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_connection_is_spared_and_an_idle_one_is_not() {
        let activity = Activity::new();
        activity.request_began();
        advance(10 * PATIENCE).await;
        assert_eq!(class(&activity), None);
        activity.answered();
        assert_eq!(class(&activity), Some(Class::Idle));
        activity.received();
        assert_eq!(class(&activity), None);
    }

    #[tokio::test]
    async fn a_request_is_pipelined_if_nothing_arrived_since_the_last_answer() {
        let activity = Activity::new();
        activity.received();
        assert!(!activity.request_began());
        activity.answered();
        assert!(activity.request_began());
        activity.answered();
        activity.received();
        assert!(!activity.request_began());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_below_the_minimum_rate_is_late() {
        for (bytes_a_second, expected) in [(1, Some(Class::Late)), (8 * 1024, None)] {
            let activity = Activity::new();
            activity.request_began();
            activity.body_waits();
            for _ in 0..10 {
                advance(Duration::from_millis(999)).await;
                activity.body_came(bytes_a_second);
                assert_eq!(class(&activity), None, "now it is the handler's turn");
                activity.body_waits();
            }
            assert_eq!(class(&activity), expected, "body");
            activity.body_ended();
            activity.write_waits();
            for _ in 0..10 {
                advance(Duration::from_millis(999)).await;
                activity.written(bytes_a_second);
            }
            assert_eq!(class(&activity), expected, "answer");
            activity.flushed();
            assert_eq!(class(&activity), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_queued_request_is_closed_last() {
        let (queued, late) = (Activity::new(), Activity::new());
        queued.request_began();
        queued.queue_began();
        assert_eq!(class(&queued), None);
        advance(PATIENCE).await;
        assert_eq!(class(&queued), Some(Class::Queued));
        let now = Instant::now();
        assert!(late.rank(now).unwrap() < queued.rank(now).unwrap());
        queued.queue_ended();
        assert_eq!(class(&queued), None, "it is served");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_rank_before_late_ones_and_the_longest_idle_first() {
        let late = Activity::new();
        advance(PATIENCE).await;
        let idle = [Activity::new(), Activity::new()];
        idle[1].answered();
        advance(PATIENCE).await;
        idle[0].answered();
        let rank = |activity: &Activity| activity.rank(Instant::now()).unwrap();
        assert!(rank(&idle[1]) < rank(&idle[0]) && rank(&idle[0]) < rank(&late));
    }
}
