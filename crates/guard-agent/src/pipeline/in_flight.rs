//! Delivery of one batch: seal, send, classify, then wait and retry, split, or
//! quarantine records, until every record of the batch is settled.

use std::time::Instant;

use guard_wire::Kind;
use guard_wire::answer;
use jiff::Timestamp;

use crate::defaults::MIN_BATCH_BYTES;
use crate::delivery::backoff::{JITTER, delay, rest, retry_after};
use crate::delivery::bisection::Bisection;
use crate::delivery::breaker::Permit;
use crate::delivery::classify::{DeliveryError, Verdict, because, classify};
use crate::delivery::pace::Measure;
use crate::ledger::LossReason;
use crate::queue::QueuedRecord;
use crate::report::Level;
use crate::seal::Sealed;
use crate::shared::Shared;
use crate::sync::lock;
use crate::transport::{Response, TransportError};

/// A batch in delivery. If it is dropped early because the agent stops, it returns its
/// unsettled records to the queue.
pub(crate) struct InFlightBatch<'s> {
    shared: &'s Shared,
    kind: Kind,
    search: Bisection<QueuedRecord>,
    /// The group being sent.
    group: Vec<QueuedRecord>,
    /// The backend's reason for its last refusal.
    refusal: Option<String>,
}

/// Outcome of sending one group.
enum Outcome {
    Delivered,
    TooLarge,
    Refused(Option<String>),
}

impl<'s> InFlightBatch<'s> {
    pub(crate) fn new(shared: &'s Shared, kind: Kind, batch: Vec<QueuedRecord>) -> Self {
        Self {
            shared,
            kind,
            search: Bisection::new(batch),
            group: Vec::new(),
            refusal: None,
        }
    }

    /// Delivers the batch, however long it takes.
    pub(crate) async fn run(mut self) {
        self.wait_for_turn().await;
        loop {
            while let Some(group) = self.search.next() {
                self.group = group;
                let sealed = self.seal().await;
                let outcome = self.send_group(&sealed).await;
                self.settle(outcome, sealed.plain_len);
            }
            let rejected = self.search.conclude();
            self.lose(&rejected, LossReason::Rejected);
            if self.search.is_over() {
                return;
            }
            self.warn("refused", self.search.len(), || {
                format!(
                    "backend refuses with 400 or 422 and takes no record of the batch{}; records \
                     are kept; check that endpoint is a Guard API that this agent speaks to",
                    because(self.refusal.as_deref(), "")
                )
            });
            let before = self.delivered();
            self.rest().await;
            if self.delivered() > before {
                self.search.prove();
            }
        }
    }

    /// Number of records of this kind that the backend has accepted so far.
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
            Outcome::Refused(reason) => {
                self.refusal = reason;
                self.search.refused(group);
            }
            Outcome::TooLarge => {
                self.shared
                    .shrink_batches((body_len / 2).max(MIN_BATCH_BYTES));
                if let Err(lone) = self.search.halve(group) {
                    self.lose(&lone, LossReason::TooLarge);
                }
            }
        }
    }

    /// Seals the group. Waits until the system provides randomness for it.
    async fn seal(&self) -> Sealed {
        loop {
            let now = Timestamp::try_from(self.shared.clock().wall()).unwrap_or_default();
            match self.shared.sealer.seal(self.kind, &self.group, now) {
                Ok(sealed) => return sealed,
                Err(error) => {
                    self.shared.error("encryption", "encryption", || {
                        format!(
                            "{error}: kept; let the process have them, by getrandom or /dev/urandom"
                        )
                    });
                    self.rest().await;
                }
            }
        }
    }

    /// Sends one group until its outcome is known.
    async fn send_group(&self, sealed: &Sealed) -> Outcome {
        let mut attempt = 0;
        loop {
            self.wait_for_permit().await;
            let answer = self.shared.exchange(sealed.request.clone()).await;
            let now = self.shared.clock().now();
            let outcome = match classify(&answer, self.shared.clock().wall()) {
                Verdict::Delivered => Outcome::Delivered,
                Verdict::TooLarge => Outcome::TooLarge,
                Verdict::Refused(reason) => Outcome::Refused(reason),
                Verdict::Wait(seconds, error) => {
                    self.failed(&error, now);
                    lock(&self.shared.throttle).hold(now + retry_after(seconds));
                    continue;
                }
                Verdict::Retry(error) => {
                    self.failed(&error, now);
                    attempt = self.wait_to_retry(attempt + 1).await;
                    continue;
                }
            };
            lock(&self.shared.throttle).breaker.succeeded();
            if let Outcome::Delivered = outcome {
                self.shared.requests.delivered(self.shared.clock().wall());
                self.report_left_out(&answer);
            }
            return outcome;
        }
    }

    /// Reports the records of a batch that the backend accepted but does not keep.
    fn report_left_out(&self, answer: &Result<Response, TransportError>) {
        let Ok(response) = answer else { return };
        let left_out = answer::left_out(&response.body);
        if left_out > 0 {
            self.warn("left_out", self.group.len(), || {
                let reason = answer::reason(&response.body);
                format!(
                    "backend left {left_out} of a batch's {} out as invalid{}; correct what \
                     fills them in",
                    self.kind.key(),
                    because(reason.as_deref(), ", without a reason")
                )
            });
        }
    }

    /// Waits according to the schedule after the `attempt`-th failure of a round. Returns the
    /// number of failures to continue the round with.
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

    /// Waits until the breaker and the backend allow an attempt. A flush does not cut this
    /// short, so attempts are never early.
    async fn wait_for_permit(&self) {
        loop {
            let now = self.shared.clock().now();
            let permit = lock(&self.shared.throttle).ask(now);
            match permit {
                Permit::Go => return,
                Permit::Wait(until) => self.shared.clock().sleep_until(until).await,
            }
            // Otherwise all delayed batches would start at once.
            self.wait_for_turn().await;
        }
    }

    /// After an outage, waits until another batch may start.
    async fn wait_for_turn(&self) {
        let shared = self.shared;
        let measure = Measure {
            records: shared.config.watermark(),
            bytes: shared.batch_room(),
            interval: shared.config.settings.flush_interval,
        };
        while shared.queue.is_recovering() {
            let (now, arrived) = (shared.clock().now(), shared.queue.arrived());
            let jitter = fastrand::f64() * JITTER;
            let permit = lock(&shared.throttle)
                .pace
                .ask(now, arrived, &measure, jitter);
            match permit {
                Permit::Go => return,
                Permit::Wait(until) => shared.pause(until).await,
            }
        }
    }

    fn failed(&self, error: &DeliveryError, now: Instant) {
        self.shared.queue.stall();
        self.shared.requests.failed();
        if error.opens_breaker() {
            lock(&self.shared.throttle).breaker.failed(now);
        }
        self.shared.delivery_failed(error);
    }

    /// Rests for a longer time, in which other batches may be sent.
    async fn rest(&self) {
        let _resting = self.shared.resting();
        let until = self.shared.clock().now() + rest(fastrand::f64());
        self.shared.pause(until).await;
        self.wait_for_turn().await;
    }

    fn lose(&self, records: &[QueuedRecord], reason: LossReason) {
        if records.is_empty() {
            return;
        }
        self.shared.queue.lose(self.kind, records, reason);
        let what = match reason {
            LossReason::TooLarge => "is too large for the backend (413)".to_owned(),
            _ => format!(
                "is refused by the backend (400 or 422) while others are taken{}",
                because(self.refusal.as_deref(), "")
            ),
        };
        let (kind, lost) = (self.kind, records.len());
        self.shared
            .report_batch(Level::Error, kind, reason.as_str(), lost, || {
                format!("{lost} {kind}(s) lost: each {what}")
            });
    }

    fn warn(&self, topic: &'static str, batch_size: usize, message: impl FnOnce() -> String) {
        self.shared
            .report_batch(Level::Warning, self.kind, topic, batch_size, message);
    }
}

impl Drop for InFlightBatch<'_> {
    fn drop(&mut self) {
        let mut open = std::mem::take(&mut self.group);
        open.append(&mut self.search.take());
        let now = self.shared.clock().now();
        self.shared.queue.give_back(self.kind, open, now);
    }
}
