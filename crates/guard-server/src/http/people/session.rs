//! Sessions of people.

use axum::Json;
use axum::http::{HeaderMap, header};
use serde::Serialize;

use crate::http::principal::Viewer;
use crate::people::{Role, Scope, Who};

/// The cookie of a session.
pub(crate) const COOKIE: &str = "guard_session";

/// Who makes the request.
#[derive(Debug, Serialize)]
pub(crate) struct SignedIn {
    who: Who,
    /// The name of the person, or the label of the token.
    name: String,
    role: Role,
    projects: Scope,
}

/// `GET /api/v1/session`: who am I?
pub(crate) async fn get(Viewer(principal): Viewer) -> Json<SignedIn> {
    let name = match &principal.actor.who {
        Who::Person(name) | Who::Token(name) => name.clone(),
        other => other.to_string(),
    };
    Json(SignedIn {
        who: principal.actor.who,
        name,
        role: principal.role,
        projects: principal.projects,
    })
}

/// The values of the session cookie. A browser sends several if a cookie of the same name was set
/// for another path.
pub(crate) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::COOKIE).iter();
    let pairs = values
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(';'));
    pairs.filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (name.trim() == COOKIE).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_found_among_other_cookies() {
        let found = |value: &str| {
            let headers = HeaderMap::from_iter([(header::COOKIE, value.parse().unwrap())]);
            cookies(&headers).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(found("a=1; guard_session=x; b=2"), ["x"]);
        assert_eq!(found("guard_session=x;guard_session=y"), ["x", "y"]);
        assert!(found("my_guard_session=x; guard_session").is_empty());
    }
}
