//! What waits for one client. A client that does not keep up loses the oldest events.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::event::gap;
use crate::monitoring::TailMeters;

/// The most bytes that wait for a client. A larger event waits alone.
pub(super) const MAX_BYTES: usize = 1024 * 1024;
/// The most events that wait for a client.
pub(super) const MAX_EVENTS: usize = 10_000;
/// A piece ends with the event that brings it to this many bytes.
const PIECE: usize = 64 * 1024;

/// The events that wait for one client.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
    meters: TailMeters,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// How many events were lost before the first that waits.
    missed: u64,
    is_ended: bool,
}

impl Queue {
    pub(super) fn new(meters: TailMeters) -> Self {
        Self {
            waiting: Mutex::default(),
            changed: Notify::new(),
            meters,
        }
    }

    /// Adds events. The oldest give way when there is no room.
    pub(super) fn push(&self, frames: impl Iterator<Item = Bytes>) {
        let mut waiting = self.waiting();
        let missed = waiting.missed;
        for frame in frames {
            waiting.push(frame);
        }
        self.meters.missed(waiting.missed - missed);
        drop(waiting);
        self.changed.notify_one();
    }

    /// No more events come, because the reader of the project stopped.
    pub(super) fn end(&self) {
        self.waiting().is_ended = true;
        self.changed.notify_one();
    }

    /// Waits for the next piece of text. `None` after the last one.
    pub(super) async fn next(&self) -> Option<Bytes> {
        loop {
            let changed = self.changed.notified();
            {
                let mut waiting = self.waiting();
                if waiting.missed > 0 {
                    self.meters.gap();
                }
                if let Some(piece) = waiting.take() {
                    return Some(piece);
                }
                if waiting.is_ended {
                    return None;
                }
            }
            changed.await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
        while self.frames.len() > MAX_EVENTS || (self.bytes > MAX_BYTES && self.frames.len() > 1) {
            let oldest = self.frames.pop_front();
            self.bytes -= oldest.map_or(0, |frame| frame.len());
            self.missed += 1;
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        let first = self.frames.pop_front()?;
        self.bytes -= first.len();
        let missed = std::mem::take(&mut self.missed);
        let mut piece = BytesMut::with_capacity(PIECE.min(self.bytes) + first.len());
        if missed > 0 {
            piece.extend_from_slice(gap(missed).as_bytes());
        }
        piece.extend_from_slice(&first);
        while piece.len() < PIECE
            && let Some(frame) = self.frames.pop_front()
        {
            self.bytes -= frame.len();
            piece.extend_from_slice(&frame);
        }
        Some(piece.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue {
        Queue::new(TailMeters::default())
    }

    fn frames(from: usize, to: usize, padding: usize) -> impl Iterator<Item = Bytes> {
        (from..to).map(move |n| format!("{n}{}\n", ".".repeat(padding)).into())
    }

    /// The numbers and gaps that a client reads.
    async fn read(queue: &Queue) -> String {
        queue.end();
        let mut text = String::new();
        while let Some(piece) = queue.next().await {
            text.push_str(std::str::from_utf8(&piece).unwrap());
        }
        text
    }

    #[tokio::test]
    async fn events_are_read_in_order() {
        let queue = queue();
        queue.push(frames(0, 3, 0));
        queue.push(frames(3, 5, 0));
        assert_eq!(read(&queue).await, "0\n1\n2\n3\n4\n");
    }

    #[tokio::test]
    async fn a_slow_client_learns_exactly_how_many_events_it_lost_and_where() {
        let queue = queue();
        queue.push(frames(0, MAX_EVENTS, 0));
        let first = queue.next().await.unwrap();
        let read_first = first.iter().filter(|byte| **byte == b'\n').count();
        queue.push(frames(MAX_EVENTS, 2 * MAX_EVENTS + 7, 0));
        let missed = MAX_EVENTS + 7 - read_first;
        let rest = read(&queue).await;
        let expected = format!("{}{}\n", gap(missed as u64), MAX_EVENTS + 7);
        assert!(rest.starts_with(&expected), "{}", &rest[..100]);
        assert_eq!(rest.matches("gap").count(), 1);
        assert_eq!(rest.lines().count(), MAX_EVENTS + 3);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_by_bytes() {
        let queue = queue();
        queue.push(frames(0, 100, MAX_BYTES / 10));
        assert!(queue.waiting().bytes <= MAX_BYTES);
        assert_eq!(queue.waiting().missed, 91);
        // One that is larger than all the room waits alone.
        queue.push(frames(100, 101, 2 * MAX_BYTES));
        assert_eq!(queue.waiting().frames.len(), 1);
        assert!(read(&queue).await.starts_with(&gap(100)));
    }
}
