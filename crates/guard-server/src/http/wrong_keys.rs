//! Wrong API keys: counts them, logs them at intervals, and delays the answers to an address that
//! sends many. Requests with a valid key are never delayed.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;

use super::client::{Client, UNKNOWN};
use super::connections::{Connection, subscriber};
use super::paces::Paces;
use super::state::AppState;
use crate::log_gate::LogGate;

/// The rate limit: an address may send one wrong key in this time.
const EACH: Duration = Duration::from_secs(1);
/// The burst: an address may be ahead of the rate by this much, which is ten keys.
const AHEAD: Duration = Duration::from_secs(10);
/// The longest delay of an answer.
const MAX_DELAY: Duration = Duration::from_secs(5);
const OTHERS: IpAddr = UNKNOWN;

/// Marks the answer to a wrong key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WrongKey;

/// The wrong keys since the server started.
#[derive(Debug, Default)]
pub(crate) struct WrongKeys {
    count: AtomicU64,
    paces: Paces<IpAddr>,
    log: LogGate,
}

/// Delays answers to wrong keys.
pub(crate) async fn slow_down(
    State(state): State<Arc<AppState>>,
    client: Client,
    request: Request,
    next: Next,
) -> Response {
    let connection = request.extensions().get::<Arc<Connection>>().cloned();
    let response = next.run(request).await;
    if response.extensions().get::<WrongKey>().is_some() {
        let delay = state.wrong_keys.note(client.address);
        if let Some(connection) = connection.filter(|_| !delay.is_zero()) {
            connection.may_be_closed();
        }
        tokio::time::sleep(delay).await;
    }
    response
}

impl WrongKeys {
    /// The number of wrong keys.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts a wrong key from `address`. Returns the delay of its answer.
    fn note(&self, address: IpAddr) -> Duration {
        let total = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(times) = self.log.pass() {
            tracing::warn!(%address, times, total, "wrong API keys, lately from this address");
        }
        let now = Instant::now();
        self.paces.update(subscriber(address), OTHERS, now, |even| {
            // Guesses sent at once wait at the same time, not one after another.
            *even = ((*even).max(now) + EACH).min(now + AHEAD + MAX_DELAY);
            even.saturating_duration_since(now + AHEAD)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use tokio::time::advance;

    use super::*;
    use crate::http::paces::MAX_CALLERS;

    const ONE: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    const ANOTHER: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 1));

    fn seconds(keys: &WrongKeys, address: IpAddr, n: usize) -> Vec<u64> {
        (0..n).map(|_| keys.note(address).as_secs()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_wrong_keys_are_answered_at_once_and_more_are_delayed() {
        let keys = WrongKeys::default();
        assert_eq!(seconds(&keys, ONE, 10), [0; 10]);
        assert_eq!(seconds(&keys, ONE, 7), [1, 2, 3, 4, 5, 5, 5]);
        assert_eq!(seconds(&keys, ANOTHER, 1), [0]);
        advance(MAX_DELAY + EACH).await;
        assert_eq!(seconds(&keys, ONE, 2), [0, 1]);
        assert_eq!(keys.count(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_tracked_addresses_is_limited() {
        let keys = WrongKeys::default();
        let address = |n: usize| IpAddr::V4(u32::try_from(n).unwrap().into());
        for n in 0..2 * MAX_CALLERS {
            keys.note(address(n));
        }
        assert_eq!(keys.paces.len(), MAX_CALLERS + 1);
        assert_eq!(keys.note(address(3 * MAX_CALLERS)), MAX_DELAY);
        advance(AHEAD + MAX_DELAY).await;
        assert_eq!(keys.note(address(4 * MAX_CALLERS)), Duration::ZERO);
        assert_eq!(keys.paces.len(), 1);
    }
}
