//! How far the opening of a store is.

use std::fmt::{self, Display};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often the log tells how far a step is.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// How far the opening of a store is, for those who wait for it. Clones share it. The log gets each
/// step, and how far it is every 5 s.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<Step>>);

#[derive(Debug)]
struct Step {
    what: String,
    percent: Option<u64>,
    logged: Instant,
}

impl Default for Step {
    fn default() -> Self {
        Self::of("checking the database".to_owned())
    }
}

impl Step {
    fn of(what: String) -> Self {
        Self {
            what,
            percent: None,
            logged: Instant::now(),
        }
    }
}

impl Progress {
    /// A step begins.
    pub(crate) fn begin(&self, what: impl Into<String>) {
        let what = what.into();
        tracing::info!("opening the database: {what}");
        *self.step() = Step::of(what);
    }

    /// The step is at `done` of `all`.
    pub(crate) fn reach(&self, done: i64, all: i64) {
        let percent = done.saturating_mul(100).checked_div(all).unwrap_or(0);
        let mut step = self.step();
        step.percent = u64::try_from(percent).ok();
        if step.logged.elapsed() >= LOG_EVERY {
            step.logged = Instant::now();
            tracing::info!("opening the database: {step}");
        }
    }

    fn step(&self) -> MutexGuard<'_, Step> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&*self.step(), f)
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match self.percent {
            Some(percent) => write!(f, ", {percent} %"),
            None => Ok(()),
        }
    }
}
