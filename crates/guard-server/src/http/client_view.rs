//! `GET /api/v1/client`: how the server sees a request. It shows whether the proxies in between pass on
//! what the server needs; `guard-server doctor --url` asks it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::header;
use axum::http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;

use super::client::Client;
use super::principal::Viewer;
use super::proxies::{X_FORWARDED_FOR, X_FORWARDED_PROTO};
use super::same_origin;
use super::state::AppState;

/// How the server sees the client of a request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClientView {
    /// The client's address: throttles, limits, address lists and the audit log use it.
    #[schema(value_type = Option<String>, required = true)]
    address: Option<IpAddr>,
    /// The address at the other end of the connection: the client's, or that of the nearest proxy.
    #[schema(value_type = Option<String>, required = true)]
    peer: Option<IpAddr>,
    /// Whether that is a trusted proxy, whose forwarding headers are believed.
    trusted_proxy: bool,
    /// Whether the client uses HTTPS, to this server or to a trusted proxy.
    https: bool,
    /// What `--public-url` says.
    #[schema(required = true)]
    public_url: Option<String>,
    /// Why a change with a session would be refused, by the `Origin` and `Sec-Fetch-Site` of this
    /// request. Null if it would not.
    #[schema(required = true)]
    cross_site: Option<String>,
    /// `X-Forwarded-For` as it came.
    #[schema(required = true)]
    x_forwarded_for: Option<String>,
    /// `X-Forwarded-Proto` as it came.
    #[schema(required = true)]
    x_forwarded_proto: Option<String>,
    /// `Forwarded` as it came.
    #[schema(required = true)]
    forwarded: Option<String>,
}

/// Returns how the server sees the client of this request.
///
/// Behind a proxy, it shows whether the server learns the client's address, HTTPS, and the public
/// origin.
#[utoipa::path(
    get, path = "/api/v1/client", operation_id = "get_client", tag = "Server",
    security(("token" = ["viewer"])), responses((status = OK, body = ClientView))
)]
pub(super) async fn get(
    State(state): State<Arc<AppState>>,
    _: Viewer,
    parts: Parts,
) -> Json<ClientView> {
    let client = Client::of_parts(&parts, &state);
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(peer)| peer.ip().to_canonical());
    let header = |name: &str| {
        let values = parts.headers.get_all(name).iter();
        let values: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    };
    let refused = same_origin::check(&parts, &state).err();
    Json(ClientView {
        address: client.known_address(),
        peer,
        trusted_proxy: peer.is_some_and(|peer| state.proxies.holds(peer)),
        https: client.is_https,
        public_url: state.public_url.as_ref().map(|url| url.link("")),
        cross_site: refused.map(|error| error.to_string()),
        x_forwarded_for: header(X_FORWARDED_FOR),
        x_forwarded_proto: header(X_FORWARDED_PROTO),
        forwarded: header(header::FORWARDED.as_str()),
    })
}
