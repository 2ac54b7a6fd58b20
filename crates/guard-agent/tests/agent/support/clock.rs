//! A clock that only moves when a test moves it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use guard_agent::clock::Clock;

#[derive(Debug, Clone)]
pub(crate) struct ManualClock {
    state: Arc<Mutex<State>>,
    origin: Instant,
}

#[derive(Debug, Default)]
struct State {
    elapsed: Duration,
    sleepers: BTreeMap<u64, Sleeper>,
    next: u64,
}

#[derive(Debug)]
struct Sleeper {
    until: Instant,
    waker: Waker,
}

impl ManualClock {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::default(),
            origin: Instant::now(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("whole")
    }

    /// Advances time and wakes the tasks that slept until then.
    pub(crate) fn advance(&self, by: Duration) {
        let mut state = self.state();
        state.elapsed += by;
        let now = self.origin + state.elapsed;
        let due = state.sleepers.values().filter(|each| each.until <= now);
        let wakers: Vec<Waker> = due.map(|each| each.waker.clone()).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits until a task sleeps for a time within these bounds, in seconds from now.
    pub(crate) fn wait_for_sleeper(&self, least: f64, most: f64) {
        super::eventually(&format!("a sleeper for {least} to {most} s"), || {
            self.has_sleeper(least, most)
        });
    }

    /// True if a task sleeps for a time within these bounds, in seconds from now.
    pub(crate) fn has_sleeper(&self, least: f64, most: f64) -> bool {
        let state = self.state();
        let now = self.origin + state.elapsed;
        state.sleepers.values().any(|each| {
            let left = each.until.saturating_duration_since(now).as_secs_f64();
            (least..=most).contains(&left)
        })
    }

    /// Number of tasks that sleep until a time with exactly this fraction of a second. `None`
    /// while a woken task has not run yet.
    pub(crate) fn sleepers_at_fraction(&self, nanoseconds: u32) -> Option<usize> {
        let state = self.state();
        let now = self.origin + state.elapsed;
        let mut sleepers = state.sleepers.values();
        if sleepers.any(|each| each.until <= now) {
            return None;
        }
        let sleepers = state.sleepers.values();
        let fraction = |each: &&Sleeper| (each.until - self.origin).subsec_nanos();
        Some(
            sleepers
                .filter(|each| fraction(each) == nanoseconds)
                .count(),
        )
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.origin + self.state().elapsed
    }

    fn wall(&self) -> SystemTime {
        // Whole seconds, so that dates in headers are exact.
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_357_738);
        start + self.state().elapsed
    }

    fn sleep_until(&self, at: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Sleep {
            clock: self.clone(),
            until: at,
            id: None,
        })
    }
}

/// Sleeps from the first poll until it ends or is dropped.
struct Sleep {
    clock: ManualClock,
    until: Instant,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut state = clock.state();
        let now = clock.origin + state.elapsed;
        if now >= self.until {
            if let Some(id) = self.id.take() {
                state.sleepers.remove(&id);
            }
            return Poll::Ready(());
        }
        let id = self.id.unwrap_or(state.next);
        if self.id.replace(id).is_none() {
            state.next += 1;
            let (until, waker) = (self.until, context.waker().clone());
            state.sleepers.insert(id, Sleeper { until, waker });
        } else if let Some(sleeper) = state.sleepers.get_mut(&id) {
            sleeper.waker.clone_from(context.waker());
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        // A failing test drops its values. This must not panic again.
        if let (Some(id), Ok(mut state)) = (self.id, self.clock.state.lock()) {
            state.sleepers.remove(&id);
        }
    }
}
