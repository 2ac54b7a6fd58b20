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
    search: Option<Isolation<Record>>,
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
            search: Some(Isolation::new(batch)),
            group: Vec::new(),
        }
    }

    /// Delivers the batch, for as long as it takes.
    pub(crate) async fn run(mut self) {
        while let Some(group) = self.search.as_mut().and_then(Isolation::next) {
            self.group = group;
            let Some(sealed) = self.seal().await else {
                return;
            };
            let outcome = self.carry(&sealed).await;
            let group = std::mem::take(&mut self.group);
            self.settle(outcome, group, sealed.plain_len);
        }
        self.conclude().await;
    }

    fn settle(&mut self, outcome: Outcome, group: Vec<Record>, body_len: usize) {
        let Some(search) = self.search.as_mut() else {
            return;
        };
        match outcome {
            Outcome::Delivered => {
                search.delivered();
                self.shared.queue.deliver(self.kind, &group);
            }
            Outcome::Refused => search.refused(group),
            Outcome::TooLarge => {
                self.shared
                    .shrink_batches((body_len / 2).max(MIN_BATCH_BYTES));
                if let Err(lone) = search.halve(group) {
                    self.lose(&lone, LossReason::TooLarge);
                }
            }
        }
    }

    /// Sets guilty records aside; what else is left rests and queues again.
    async fn conclude(&mut self) {
        let Some(findings) = self.search.take().map(Isolation::finish) else {
            return;
        };
        self.lose(&findings.guilty, LossReason::Rejected);
        if findings.kept.is_empty() {
            return;
        }
        // Held where Drop finds it while resting.
        self.group = findings.kept;
        self.shared.warn(self.stage(), "refused", || {
            "backend refuses every record with 400 or 422: the fault is not in the records; \
             check that endpoint is a Guard API of a version that this agent speaks to"
                .to_owned()
        });
        self.rest().await;
        self.give_back();
    }

    /// Seals the group; without randomness the batch goes back to the queue.
    async fn seal(&mut self) -> Option<Sealed> {
        let now = Timestamp::try_from(self.shared.clock().wall()).unwrap_or_default();
        match self.shared.sealer.seal(self.kind, &self.group, now) {
            Ok(sealed) => Some(sealed),
            Err(error) => {
                self.shared
                    .error("encryption", "encryption", || error.to_string());
                self.rest().await;
                self.give_back();
                None
            }
        }
    }

    /// Sends one group until its fate is known.
    async fn carry(&self, sealed: &Sealed) -> Outcome {
        let mut attempt = 0;
        loop {
            self.wait_for_permit().await;
            let answer = self.shared.exchange(sealed.request.clone()).await;
            let verdict = classify(&answer, self.shared.clock().wall());
            let now = self.shared.clock().now();
            let outcome = match verdict {
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
                    attempt += 1;
                    if attempt > self.shared.config.settings.retry_attempts {
                        attempt = 0;
                        self.rest().await;
                    } else {
                        let factor = self.shared.config.settings.backoff_factor;
                        let wait = delay(attempt, factor, fastrand::f64());
                        self.shared.pause(now + wait).await;
                    }
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

    fn give_back(&mut self) {
        let now = self.shared.clock().now();
        let mut open = std::mem::take(&mut self.group);
        if let Some(search) = self.search.take() {
            let findings = search.finish();
            open.extend(findings.kept);
            // Their guilt is proven, but they are not yet counted as lost.
            open.extend(findings.guilty);
        }
        self.shared.queue.give_back(self.kind, open, now);
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
        self.give_back();
    }
}
