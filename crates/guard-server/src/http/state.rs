//! What the handlers share, and what must go on beside the requests.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use super::capacity::memory::Memory;
use super::capacity::turns;
use super::capacity::workers::Workers;
use super::ready::Readiness;
use super::wrong_keys::WrongKeys;
use crate::clock::{Clock, Reading, SystemClock};
use crate::fleet::Sightings;
use crate::off_thread::off_thread;
use crate::rules::Feed;
use crate::rules::versions::{self, ChangeError};
use crate::store::{Control, StoreError, Telemetry};
use crate::trouble::TroubleLog;

/// How often the store is asked whether another process changed the rules.
const TEND_EVERY: Duration = Duration::from_millis(500);

/// After what was heard of agents could not be stored, the next try comes so much later.
const REMEMBER_AGAIN: Duration = Duration::from_secs(10);

/// How large a body may be, and all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes as they are sent.
    pub encoded: usize,
    /// Bytes after inflating, or after decrypting.
    pub decoded: usize,
    /// Bytes of a status report, as it is sent and after inflating.
    pub status: usize,
    /// Records of a batch.
    pub records: usize,
    /// Bytes of all bodies of requests and answers that are in memory.
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            encoded: 16 << 20,
            decoded: 16 << 20,
            status: 64 << 10,
            records: 100_000,
            memory: 256 << 20,
        }
    }
}

/// Who may open the page at `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever is on this machine, if they name it by a loopback name.
    Loopback,
    /// Whoever has an API key.
    ApiKey,
}

impl Access {
    /// Open only where nobody but this machine can reach it.
    pub fn listening_on(address: IpAddr) -> Self {
        if address.is_loopback() {
            Self::Loopback
        } else {
            Self::ApiKey
        }
    }
}

/// What the handlers share.
pub struct AppState {
    pub(crate) control: Arc<dyn Control>,
    pub(crate) telemetry: Arc<dyn Telemetry>,
    pub(crate) limits: Limits,
    pub(crate) access: Access,
    pub(crate) clock: Arc<dyn Clock>,
    /// The clock when its setting was last followed in the rules.
    followed: tokio::sync::Mutex<Reading>,
    pub(crate) memory: Memory,
    pub(crate) workers: Workers,
    pub(crate) wrong_keys: WrongKeys,
    /// Turns for answers to people.
    pub(crate) answering: Semaphore,
    pub(crate) feed: Feed,
    pub(crate) sightings: Sightings,
    pub(crate) readiness: Readiness,
    composing: TroubleLog,
    /// Held while rules are changed: changes take turns instead of outrunning each other.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// Held while documents are judged: one at a time, and no change waits for it.
    pub(crate) judging: tokio::sync::Mutex<()>,
}

impl AppState {
    /// State over `store`.
    pub fn new<S: Control + Telemetry + 'static>(
        store: Arc<S>,
        limits: Limits,
        access: Access,
    ) -> Self {
        let control = Arc::clone(&store) as Arc<dyn Control>;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Self {
            feed: Feed::new(Arc::clone(&control)),
            sightings: Sightings::new(Arc::clone(&control), Arc::clone(&clock)),
            followed: Reading::of(&*clock).into(),
            clock,
            readiness: Readiness::default(),
            composing: TroubleLog::default(),
            control,
            telemetry: store,
            limits,
            access,
            memory: Memory::new(limits.memory),
            workers: Workers::default(),
            wrong_keys: WrongKeys::default(),
            answering: Semaphore::new(turns::TURNS),
            changing: tokio::sync::Mutex::default(),
            judging: tokio::sync::Mutex::default(),
        }
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self {
            sightings: Sightings::new(Arc::clone(&self.control), Arc::clone(&clock)),
            followed: Reading::of(&*clock).into(),
            clock,
            ..self
        }
    }

    /// What must go on beside the requests: within half a second bans end or are
    /// renewed, rules that another process published are noticed, and what was heard of
    /// agents is stored. Never completes.
    pub async fn tend(&self) {
        let mut ticks = tokio::time::interval(TEND_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut remember_from = Instant::now();
        loop {
            ticks.tick().await;
            self.tend_rules().await;
            if Instant::now() >= remember_from && !self.remember().await {
                remember_from = Instant::now() + REMEMBER_AGAIN;
            }
        }
    }

    /// Does once what [`tend`](Self::tend) does about rules.
    pub async fn tend_rules(&self) {
        match self.compose_due().await {
            Ok(()) => drop(self.composing.succeeded()),
            // The store has told why.
            Err(ChangeError::Store(error)) => {
                tracing::debug!(%error, "cannot compose the rules that are due");
            }
            Err(error) => {
                if self.composing.failed(0, Instant::now()) {
                    tracing::warn!(%error, "cannot compose the rules that are due");
                }
            }
        }
        self.feed.refresh_all().await;
    }

    async fn compose_due(&self) -> Result<(), ChangeError> {
        self.follow_clock().await?;
        let (control, now) = (Arc::clone(&self.control), self.clock.now());
        off_thread(async move { versions::compose_due(&*control, now).await }).await?
    }

    /// Moves what is planned if the clock was set since the last call. To be called before rules are
    /// changed, as time would end them otherwise.
    pub(crate) async fn follow_clock(&self) -> Result<(), StoreError> {
        let mut followed = self.followed.lock().await;
        let reading = Reading::of(&*self.clock);
        if let Some(by) = reading.set_since(*followed) {
            let control = Arc::clone(&self.control);
            let follow = async move { versions::follow_clock(&*control, by, reading.now).await };
            match off_thread(follow).await? {
                Err(ChangeError::Store(error)) => return Err(error),
                Err(error) => tracing::warn!(%error, "some rules do not follow the clock"),
                Ok(()) => {}
            }
            tracing::warn!(
                seconds = by.as_secs(),
                "the clock was set; bans and other operations keep the time that is left to them"
            );
        }
        *followed = reading;
        Ok(())
    }

    /// Stores what was heard of agents since it was done last; whether it is stored.
    /// The next call may mend a failure.
    pub async fn remember(&self) -> bool {
        let outcome = self.sightings.store().await;
        if let Err(error) = outcome {
            // The store has told why.
            tracing::debug!(%error, "cannot remember yet which agents have which rules");
        }
        outcome.is_ok()
    }

    /// Answers at once whoever waits for rules to change, from now on too.
    pub fn stop_waiting(&self) {
        self.feed.stop();
    }
}
