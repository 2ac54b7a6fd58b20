//! What the handlers share, and what must go on beside the requests.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use crate::ready::Readiness;
use crate::rules::book::ChangeError;
use crate::rules::{self, Feed, Sightings};
use crate::store::{Control, Telemetry};
use crate::trouble::TroubleLog;

/// Bodies that are inflated and read at the same time; bounds the memory they take.
const MAX_DECODING: usize = 8;

/// How often the store is asked whether another process changed the rules.
const TEND_EVERY: Duration = Duration::from_millis(500);

/// After what was heard of agents could not be stored, the next try comes so much later.
const REMEMBER_AGAIN: Duration = Duration::from_secs(10);

/// How large a body may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes as they are sent.
    pub encoded: usize,
    /// Bytes after inflating, or after decrypting.
    pub decoded: usize,
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
    pub(crate) decoding: Arc<Semaphore>,
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
        Self {
            feed: Feed::new(Arc::clone(&control)),
            sightings: Sightings::new(Arc::clone(&control)),
            readiness: Readiness::default(),
            composing: TroubleLog::default(),
            control,
            telemetry: store,
            limits,
            access,
            decoding: Arc::new(Semaphore::new(MAX_DECODING)),
            changing: tokio::sync::Mutex::default(),
            judging: tokio::sync::Mutex::default(),
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
            let now = Timestamp::now();
            self.compose(now).await;
            self.feed.refresh_all().await;
            if Instant::now() >= remember_from && !self.remember().await {
                remember_from = Instant::now() + REMEMBER_AGAIN;
            }
        }
    }

    async fn compose(&self, now: Timestamp) {
        match rules::book::compose_due(&*self.control, now).await {
            Ok(()) => drop(self.composing.succeeded()),
            // The store has told why.
            Err(ChangeError::Store(error)) => {
                tracing::debug!(%error, "cannot compose the rules anew");
            }
            Err(error) => {
                if self.composing.failed(0, Instant::now()) {
                    tracing::warn!(%error, "cannot compose the rules anew");
                }
            }
        }
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
