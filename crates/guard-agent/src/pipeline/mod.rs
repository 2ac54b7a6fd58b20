//! The pipeline: the work of the worker while it runs.
//!
//! One loop starts deliveries when batches are due, keeps at most
//! `max_concurrent_flushes` of them active, pushes status reports, and keeps the rules up
//! to date if a caller wants them. All of this runs on one thread and never touches the
//! host application.

mod follow_rules;
mod in_flight;

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::pending;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::watch;

pub(crate) use self::follow_rules::fetch;
pub(crate) use self::in_flight::InFlightBatch;
use crate::batching;
use crate::shared::Shared;
use crate::status;

/// Maximum number of batches that rest between rounds while others are sent. Beyond that
/// no batch is taken from the queue, and the overflow policy applies there.
const MAX_RESTING: usize = 8;

/// Runs until `stop` gives a deadline, and then until the deadline has passed or all
/// records queued before it are settled. Later records do not delay the end.
pub(crate) async fn run(shared: &Arc<Shared>, mut stop: watch::Receiver<Option<Instant>>) {
    let clock = shared.clock();
    let interval = shared.config.settings.status_interval;
    let mut in_flight = FuturesUnordered::new();
    let mut background_tasks = FuturesUnordered::new();
    let mut following = pin!(follow_rules::follow(shared));
    let mut next_status = clock.now();
    let mut deadline = None;
    let mut last_flush = None;
    loop {
        let is_done = last_flush.is_some_and(|flush| shared.queue.is_settled(flush));
        while !is_done
            && has_slot(shared, in_flight.len())
            && let Some((kind, batch)) = batching::next_batch(shared)
        {
            in_flight.push(InFlightBatch::new(shared, kind, batch).run());
        }
        if is_done && in_flight.is_empty() {
            break;
        }
        let may_take = !is_done && has_slot(shared, in_flight.len());
        let due = shared.queue.next_look(may_take, clock.now());
        let status = Some(next_status).filter(|_| deadline.is_none());
        tokio::select! {
            biased;
            () = until(shared, deadline) => break,
            Ok(()) = stop.changed(), if deadline.is_none() => {
                deadline = *stop.borrow_and_update();
                if deadline.is_some_and(|at| at <= clock.now()) {
                    // Another worker takes over: a batch begun now would be sent twice.
                    break;
                }
                last_flush = Some(shared.queue.start_flush());
                shared.interrupt_backoff();
            }
            Some(()) = in_flight.next() => {}
            Some(()) = background_tasks.next() => {}
            () = shared.queue.woken() => {}
            never = &mut following => match never {},
            () = until(shared, due) => {}
            () = shared.status_dirty() => {
                let soon = status::STATUS_CHANGE_DELAY.mul_f64(1.0 - status::STATUS_CHANGE_JITTER * fastrand::f64());
                next_status = next_status.min(clock.now() + soon);
            }
            () = until(shared, status) => {
                next_status = clock.now() + interval;
                background_tasks.push(status::push(shared));
            }
        }
    }
}

/// True if another batch may be taken from the queue.
fn has_slot(shared: &Shared, in_flight: usize) -> bool {
    let resting = shared.resting_count();
    let active = in_flight.saturating_sub(resting);
    active < shared.config.settings.max_concurrent_flushes && resting < MAX_RESTING
}

async fn until(shared: &Shared, at: Option<Instant>) {
    match at {
        Some(at) => shared.clock().sleep_until(at).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
