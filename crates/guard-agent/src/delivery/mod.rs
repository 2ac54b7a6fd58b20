//! Delivery of one batch: seal, send, classify, then wait and try again, split,
//! or set records aside, until nothing of the batch is left open.

pub(crate) mod backoff;
pub(crate) mod breaker;
pub(crate) mod classify;
pub(crate) mod http;
pub(crate) mod isolate;
pub(crate) mod throttle;
pub(crate) mod transport;

use std::time::Instant;

use guard_wire::Kind;
use jiff::Timestamp;

use self::backoff::{delay, rest, retry_after};
use self::breaker::Permit;
use self::classify::{Trouble, Verdict, classify};
use self::isolate::Isolation;
use crate::batch::Sealed;
use crate::config::MIN_BATCH_BYTES;
use crate::ledger::LossReason;
use crate::lock;
use crate::queue::Record;
use crate::report::Level;
use crate::shared::Shared;

/// A batch on its way. Dropped before its end, when the agent stops, it gives
/// what is still open back to the queue.
pub(crate) struct Flight<'s> {
    shared: &'s Shared,
    kind: Kind,
    search: Isolation<Record>,
    /// The group that is being sent.
    group: Vec<Record>,
}

/// How the carrying of one group ended.
enum Outcome {
    Delivered,
    TooLarge,
    Refused,
}

impl<'s> Flight<'s> {
    pub(crate) fn new(shared: &'s Shared, kind: Kind, batch: Vec<Record>) -> Self {
        Self {
            shared,
            kind,
            search: Isolation::new(batch),
            group: Vec::new(),
        }
    }

    /// Delivers the batch, for as long as it takes.
    pub(crate) async fn run(mut self) {
        loop {
            while let Some(group) = self.search.next() {
                self.group = group;
                let sealed = self.seal().await;
                let outcome = self.carry(&sealed).await;
                self.settle(outcome, sealed.plain_len);
            }
            let guilty = self.search.conclude();
            self.lose(&guilty, LossReason::Rejected);
            if self.search.is_over() {
                return;
            }
            self.shared.warn(self.stage(), "refused", || {
                "backend refuses with 400 or 422 and takes no record of the batch: kept; \
                 check that endpoint is a Guard API that this agent speaks to"
                    .to_owned()
            });
            let before = self.delivered();
            self.rest().await;
            if self.delivered() > before {
                self.search.prove();
            }
        }
    }

    /// How many records of this kind the backend has taken so far.
    fn delivered(&self) -> u64 {
        self.shared.queue.ledger().account(self.kind).delivered
    }

    fn settle(&mut self, outcome: Outcome, body_len: usize) {
        let group = std::mem::take(&mut self.group);
        match outcome {
            Outcome::Delivered => {
                self.search.prove();
                self.shared.queue.deliver(self.kind, &group);
            }
            Outcome::Refused => self.search.refused(group),
            Outcome::TooLarge => {
                self.shared
                    .shrink_batches((body_len / 2).max(MIN_BATCH_BYTES));
                if let Err(lone) = self.search.halve(group) {
                    self.lose(&lone, LossReason::TooLarge);
                }
            }
        }
    }

    /// Seals the group, once the system has randomness for it.
    async fn seal(&self) -> Sealed {
        loop {
            let now = Timestamp::try_from(self.shared.clock().wall()).unwrap_or_default();
            match self.shared.sealer.seal(self.kind, &self.group, now) {
                Ok(sealed) => return sealed,
                Err(error) => {
                    self.shared
                        .error("encryption", "encryption", || error.to_string());
                    self.rest().await;
                }
            }
        }
    }

    /// Sends one group until its fate is known.
    async fn carry(&self, sealed: &Sealed) -> Outcome {
        let mut attempt = 0;
        loop {
            self.wait_for_permit().await;
            let answer = self.shared.exchange(sealed.request.clone()).await;
            let now = self.shared.clock().now();
            let outcome = match classify(&answer, self.shared.clock().wall()) {
                Verdict::Delivered => Outcome::Delivered,
                Verdict::TooLarge => Outcome::TooLarge,
                Verdict::Refused => Outcome::Refused,
                Verdict::Wait(seconds, trouble) => {
                    self.failed(&trouble, now);
                    lock(&self.shared.throttle).hold(now + retry_after(seconds));
                    continue;
                }
                Verdict::Retry(trouble) => {
                    self.failed(&trouble, now);
                    attempt = self.wait_to_retry(attempt + 1).await;
                    continue;
                }
            };
            lock(&self.shared.throttle).breaker.succeeded();
            if let Outcome::Delivered = outcome {
                self.shared.tally.delivered(self.shared.clock().wall());
            }
            return outcome;
        }
    }

    /// Waits on the schedule after the `attempt`-th failure of a round; the
    /// number of failures that the round goes on with.
    async fn wait_to_retry(&self, attempt: u32) -> u32 {
        let settings = &self.shared.config.settings;
        if attempt > settings.retry_attempts {
            self.rest().await;
            return 0;
        }
        let wait = delay(attempt, settings.backoff_factor, fastrand::f64());
        self.shared.pause(self.shared.clock().now() + wait).await;
        attempt
    }

    /// Waits until the breaker and the backend's own wishes allow an attempt.
    /// Not cut short by a flush: these waits are never early.
    async fn wait_for_permit(&self) {
        loop {
            let now = self.shared.clock().now();
            let permit = lock(&self.shared.throttle).ask(now);
            match permit {
                Permit::Go => return,
                Permit::Wait(until) => self.shared.clock().sleep_until(until).await,
            }
        }
    }

    fn failed(&self, trouble: &Trouble, now: Instant) {
        self.shared.tally.failed();
        if trouble.opens_breaker() {
            lock(&self.shared.throttle).breaker.failed(now);
        }
        self.shared.trouble(trouble);
    }

    /// A longer pause, in which other batches may go.
    async fn rest(&self) {
        let _resting = self.shared.resting();
        let until = self.shared.clock().now() + rest(fastrand::f64());
        self.shared.pause(until).await;
    }

    fn lose(&self, records: &[Record], reason: LossReason) {
        if records.is_empty() {
            return;
        }
        self.shared.queue.lose(self.kind, records, reason);
        let what = match reason {
            LossReason::TooLarge => "is too large for the backend (413)",
            _ => "is refused by the backend (400 or 422) while others are taken",
        };
        self.shared
            .report(Level::Error, self.stage(), reason.as_str(), || {
                format!("{} {}(s) lost: each {what}", records.len(), self.kind)
            });
    }

    fn stage(&self) -> &'static str {
        match self.kind {
            Kind::Event => "flush_events",
            Kind::Metric => "flush_metrics",
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut open = std::mem::take(&mut self.group);
        open.append(&mut self.search.take());
        let now = self.shared.clock().now();
        self.shared.queue.give_back(self.kind, open, now);
    }
}
