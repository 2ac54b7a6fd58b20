//! Identifies the agent that makes a request: the project that its API key belongs to. People and
//! their programs are principals, see [`super::principal`].

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use guard_wire::header::API_KEY;

use super::client::Client;
use super::error::ApiError;
use super::state::AppState;
use crate::people::CredentialHash;
use crate::projects::activity::Refusal;
use crate::projects::{KeyHash, KeyId, KeyOwner};
use crate::store::Project;

/// The project whose API key came with the request. Only for the calls of agents.
pub(crate) struct Caller(pub(crate) Project, pub(crate) KeyId);

impl FromRequestParts<Arc<AppState>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, Self::Rejection> {
        let mut given = false;
        for key in keys(&parts.headers) {
            given = true;
            let owner = state.stores.projects.key_owner(KeyHash::of(key));
            if let Some(KeyOwner { project, key }) = owner.await? {
                let client = Client::of_parts(parts, state);
                check_address(state, &project, client.address)?;
                state.activity.used(&key, state.clock.now());
                return Ok(Self(project, key));
            }
        }
        if let Some(token) = bearer(&parts.headers) {
            let token = state.stores.people.token(CredentialHash::of(token));
            if token.await?.is_some() {
                let detail = "Agents call this with their API key; a token cannot";
                return Err(ApiError::forbidden(detail).code("not_an_agent"));
            }
        }
        Err(if given {
            ApiError::wrong_key("Unknown API key")
        } else {
            ApiError::unauthorized("No API key: send it as X-API-Key or as Authorization: Bearer")
        })
    }
}

/// The bearer token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?;
    credentials(value.to_str().ok()?, "bearer")
}

/// Refuses clients that the project's allowlist does not have.
fn check_address(state: &AppState, project: &Project, address: IpAddr) -> Result<(), ApiError> {
    if project.allows(address) {
        return Ok(());
    }
    state
        .activity
        .refused(project.id, Refusal::AddressNotAllowed);
    Err(ApiError::forbidden(format!(
        "The project's ip_allowlist does not have {address}: add it there; behind a proxy, start \
         guard-server with --trusted-proxy"
    ))
    .code("address_not_allowed"))
}

/// The keys a request carries: agents send one header, or both.
pub(crate) fn keys(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let bearer = bearer(headers);
    let plain = headers
        .get(API_KEY)
        .and_then(|value| value.to_str().ok())
        .map(str::trim);
    plain.into_iter().chain(bearer)
}

/// The credentials after the scheme. The scheme may be in any case.
fn credentials<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (found, rest) = value.trim().split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn keys_of(pairs: &[(&str, &str)]) -> Vec<String> {
        keys(&headers(pairs)).map(str::to_owned).collect()
    }

    #[test]
    fn a_key_is_read_from_either_header_in_any_case() {
        assert_eq!(keys_of(&[("x-api-KEY", " fg_1 ")]), ["fg_1"]);
        assert_eq!(keys_of(&[("AUTHORIZATION", "bEaReR fg_2")]), ["fg_2"]);
        assert_eq!(keys_of(&[("authorization", "Basic fg_2")]), [""; 0]);
        assert_eq!(
            keys_of(&[("authorization", "Bearer fg_2"), ("x-api-key", "fg_1")]),
            ["fg_1", "fg_2"]
        );
    }
}
