//! Statistics about requests. The ledger counts records.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use jiff::Timestamp;

use crate::sync::lock;

/// Number of recent errors in a status report.
const REMEMBERED: usize = 5;

/// Counters since the agent was created.
pub(crate) struct RequestCounters {
    pub(crate) started: Instant,
    requests: AtomicU64,
    failures: AtomicU64,
    bytes: AtomicU64,
    redirects: AtomicU64,
    status_failures: AtomicU64,
    rules_failures: AtomicU64,
    rules_fetched: AtomicU64,
    internal_errors: AtomicU64,
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    last_delivery: Option<Timestamp>,
    status_ok: Option<bool>,
    recent_errors: VecDeque<String>,
}

/// A snapshot of the counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestStats {
    /// Number of requests of any kind.
    pub requests_sent: u64,
    /// Number of failed attempts to deliver a batch.
    pub requests_failed: u64,
    /// Bytes of posted bodies, after compression.
    pub bytes_sent: u64,
    /// Number of redirects received. They are never followed.
    pub redirects: u64,
    /// Number of failed status reports.
    pub status_failures: u64,
    /// Number of failed fetches of rules.
    pub rules_failures: u64,
    /// Number of rules documents fetched.
    pub rules_fetched: u64,
    /// Number of calls in which the agent itself failed: it caught a panic.
    pub internal_errors: u64,
    /// Time of the last delivered batch.
    pub last_delivery: Option<Timestamp>,
    /// Whether the backend accepted the last status report; `None` before the first.
    pub last_status_ok: Option<bool>,
    /// The most recent errors, oldest first.
    pub recent_errors: Vec<String>,
}

impl RequestCounters {
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            redirects: AtomicU64::new(0),
            status_failures: AtomicU64::new(0),
            rules_failures: AtomicU64::new(0),
            rules_fetched: AtomicU64::new(0),
            internal_errors: AtomicU64::new(0),
            recent: Mutex::default(),
        }
    }

    pub(crate) fn requested(&self, bytes: usize) {
        add(&self.requests, 1);
        add(&self.bytes, bytes as u64);
    }

    pub(crate) fn failed(&self) {
        add(&self.failures, 1);
    }

    pub(crate) fn redirected(&self) {
        add(&self.redirects, 1);
    }

    pub(crate) fn delivered(&self, at: SystemTime) {
        lock(&self.recent).last_delivery = Timestamp::try_from(at).ok();
    }

    pub(crate) fn status_pushed(&self, is_ok: bool) {
        lock(&self.recent).status_ok = Some(is_ok);
        add(&self.status_failures, u64::from(!is_ok));
    }

    pub(crate) fn rules_fetched(&self, is_ok: bool) {
        add(&self.rules_fetched, u64::from(is_ok));
        add(&self.rules_failures, u64::from(!is_ok));
    }

    pub(crate) fn panicked(&self) {
        add(&self.internal_errors, 1);
    }

    /// Remembers an error. Returns true if it differs from the last one.
    pub(crate) fn remember(&self, error: String) -> bool {
        let mut recent = lock(&self.recent);
        if recent.recent_errors.back() == Some(&error) {
            return false;
        }
        if recent.recent_errors.len() == REMEMBERED {
            recent.recent_errors.pop_front();
        }
        recent.recent_errors.push_back(error);
        true
    }

    pub(crate) fn stats(&self) -> RequestStats {
        let recent = lock(&self.recent);
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        RequestStats {
            requests_sent: read(&self.requests),
            requests_failed: read(&self.failures),
            bytes_sent: read(&self.bytes),
            redirects: read(&self.redirects),
            status_failures: read(&self.status_failures),
            rules_failures: read(&self.rules_failures),
            rules_fetched: read(&self.rules_fetched),
            internal_errors: read(&self.internal_errors),
            last_delivery: recent.last_delivery,
            last_status_ok: recent.status_ok,
            recent_errors: recent.recent_errors.iter().cloned().collect(),
        }
    }
}

fn add(number: &AtomicU64, more: u64) {
    number.fetch_add(more, Ordering::Relaxed);
}
