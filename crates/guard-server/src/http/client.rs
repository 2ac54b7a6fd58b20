//! The client of a request: its address and the scheme it used. Throttles, the audit log, address
//! lists and the log all use this address.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use axum::middleware::Next;
use axum::response::Response;

use super::connections::OverTls;
use super::state::AppState;

/// The address of clients without a known one, such as requests that a program makes without a
/// connection.
pub(crate) const UNKNOWN: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// The client that sent a request. Handlers take it as an extractor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its address, in canonical form.
    pub(crate) address: IpAddr,
    /// Whether it used HTTPS, perhaps to a trusted proxy.
    pub(crate) is_https: bool,
}

impl Client {
    /// The client that sent the request with this head.
    pub(crate) fn of_parts(parts: &Parts, state: &AppState) -> Self {
        let found = parts.extensions.get().copied();
        found.unwrap_or_else(|| Self::of(state, &parts.extensions, &parts.headers))
    }

    /// Its address, if it has one.
    pub(crate) fn known_address(self) -> Option<IpAddr> {
        Some(self.address).filter(|address| *address != UNKNOWN)
    }

    fn of(state: &AppState, extensions: &Extensions, headers: &HeaderMap) -> Self {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = Self {
            address: peer.map_or(UNKNOWN, |ConnectInfo(peer)| peer.ip().to_canonical()),
            is_https: extensions.get::<OverTls>().is_some(),
        };
        if let Some(client) = state.proxies.client(peer, headers) {
            return client;
        }
        if let Some(times) = state.contradictions.pass() {
            tracing::warn!(
                proxy = %peer.address, times,
                "X-Forwarded-For and Forwarded name different clients, so neither is believed: \
                 let the proxy remove the one that it does not write"
            );
        }
        peer
    }
}

/// Finds out the client of a request. Runs before everything else.
pub(super) async fn identify(
    State(state): State<Arc<AppState>>,
    mut request: Request,
    next: Next,
) -> Response {
    let client = Client::of(&state, request.extensions(), request.headers());
    request.extensions_mut().insert(client);
    next.run(request).await
}

impl FromRequestParts<Arc<AppState>> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, Self::Rejection> {
        Ok(Self::of_parts(parts, state))
    }
}
