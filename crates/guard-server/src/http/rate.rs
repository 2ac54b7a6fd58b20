//! Limits how often the operator API is called: by each credential, and by each address. Agents have
//! quotas instead.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use guard_wire::header::API_KEY;
use ring::digest::{SHA256, digest};
use tokio::time::Instant;

use super::client::{Client, UNKNOWN};
use super::connections::subscriber;
use super::error::ApiError;
use super::paces::Paces;
use super::state::AppState;
use crate::log_gate::LogGate;

/// The time in which as many requests are allowed as the limit says, all at once if need be.
const WINDOW: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Caller {
    Address(IpAddr),
    /// The SHA-256 of what proves who calls.
    Credential([u8; 32]),
    Others,
}

/// The calls of the last minute.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    paces: Paces<Caller>,
    log: LogGate,
}

/// Answers 429 to a caller that asks too often.
pub(super) async fn limit(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let client = request.extensions().get::<Client>();
    let address = client.map_or(UNKNOWN, |client| client.address);
    let limits = &state.limits;
    let by_address = (
        Caller::Address(subscriber(address)),
        limits.calls_per_address,
    );
    let by_credential = credential(request.headers()).map(|it| (it, limits.calls_per_credential));
    let now = Instant::now();
    for (caller, limit) in std::iter::once(by_address).chain(by_credential) {
        if let Err(wait) = state.rates.note(caller, limit, now) {
            if let Some(times) = state.rates.log.pass() {
                tracing::warn!(%address, times, "too many calls of the API, lately from this address");
            }
            return too_many(limit, wait);
        }
    }
    next.run(request).await
}

fn too_many(limit: u32, wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let detail = format!("More than {limit} calls in a minute; call again in {seconds} s");
    let mut response = ApiError::new(StatusCode::TOO_MANY_REQUESTS, detail).into_response();
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// All that may prove who calls, valid or not.
fn credential(headers: &HeaderMap) -> Option<Caller> {
    let names = [
        header::AUTHORIZATION.as_str(),
        API_KEY,
        header::COOKIE.as_str(),
    ];
    let given: Vec<_> = names
        .iter()
        .flat_map(|name| headers.get_all(*name))
        .map(HeaderValue::as_bytes)
        .collect();
    if given.is_empty() {
        return None;
    }
    let hash = digest(&SHA256, &given.join(&b'\n'));
    hash.as_ref().try_into().ok().map(Caller::Credential)
}

impl Rates {
    /// Counts a call. If it is one too many, returns how long to wait, and does not count it.
    fn note(&self, caller: Caller, limit: u32, now: Instant) -> Result<(), Duration> {
        let each = WINDOW / limit.max(1);
        self.paces.update(caller, Caller::Others, now, |even| {
            let next = (*even).max(now) + each;
            let wait = next.saturating_duration_since(now + WINDOW);
            if !wait.is_zero() {
                return Err(wait);
            }
            *even = next;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::paces::MAX_CALLERS;

    const ONE: Caller = Caller::Credential([1; 32]);

    #[test]
    fn a_caller_has_its_limit_in_each_minute() {
        let (rates, now) = (Rates::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(rates.note(ONE, 10, now), Ok(()));
        }
        assert_eq!(rates.note(ONE, 10, now), Err(Duration::from_secs(6)));
        assert_eq!(rates.note(Caller::Credential([2; 32]), 10, now), Ok(()));
        let later = now + Duration::from_secs(6);
        assert_eq!(rates.note(ONE, 10, later), Ok(()));
        assert!(rates.note(ONE, 10, later).is_err());
    }

    #[test]
    fn the_number_of_tracked_callers_is_limited() {
        let (rates, now) = (Rates::default(), Instant::now());
        let address = |n: usize| Caller::Address(IpAddr::V4(u32::try_from(n).unwrap().into()));
        for n in 0..2 * MAX_CALLERS {
            // Those beyond the limit share one, which some of them exceed.
            let _ = rates.note(address(n), 10, now);
        }
        assert_eq!(rates.paces.len(), MAX_CALLERS + 1);
        let later = now + WINDOW;
        assert_eq!(rates.note(address(3 * MAX_CALLERS), 10, later), Ok(()));
    }
}
