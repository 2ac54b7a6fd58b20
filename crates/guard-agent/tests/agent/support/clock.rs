//! A clock that stands still until a test moves it.

use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use guard_agent::Clock;

#[derive(Clone)]
pub(crate) struct ManualClock {
    state: Arc<Mutex<State>>,
    origin: Instant,
}

struct State {
    elapsed: Duration,
    sleepers: Vec<(Instant, Waker)>,
}

impl ManualClock {
    pub(crate) fn new() -> Self {
        let (elapsed, sleepers) = (Duration::ZERO, Vec::new());
        Self {
            state: Arc::new(Mutex::new(State { elapsed, sleepers })),
            origin: Instant::now(),
        }
    }

    /// Moves time on and wakes whoever slept until then.
    pub(crate) fn advance(&self, by: Duration) {
        let mut state = self.state.lock().expect("whole");
        state.elapsed += by;
        let now = self.origin + state.elapsed;
        let (due, later) = state
            .sleepers
            .drain(..)
            .partition(|(until, _)| *until <= now);
        state.sleepers = later;
        drop(state);
        let due: Vec<(Instant, Waker)> = due;
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Waits until someone sleeps for a time within these bounds, in seconds
    /// from now.
    pub(crate) fn wait_for_sleeper(&self, least: f64, most: f64) {
        super::eventually(&format!("a sleeper for {least} to {most} s"), || {
            let state = self.state.lock().expect("whole");
            let now = self.origin + state.elapsed;
            state.sleepers.iter().any(|(until, _)| {
                let left = until.saturating_duration_since(now).as_secs_f64();
                (least..=most).contains(&left)
            })
        });
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.origin + self.state.lock().expect("whole").elapsed
    }

    fn wall(&self) -> SystemTime {
        // Whole seconds, so that dates in headers are exact.
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_357_738);
        start + self.state.lock().expect("whole").elapsed
    }

    fn sleep_until(&self, at: Instant) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        let clock = self.clone();
        Box::pin(std::future::poll_fn(move |context| {
            let mut state = clock.state.lock().expect("whole");
            if clock.origin + state.elapsed >= at {
                return Poll::Ready(());
            }
            let waker = context.waker();
            let known = |(until, known): &(Instant, Waker)| *until == at && known.will_wake(waker);
            if !state.sleepers.iter().any(known) {
                state.sleepers.push((at, waker.clone()));
            }
            Poll::Pending
        }))
    }
}
