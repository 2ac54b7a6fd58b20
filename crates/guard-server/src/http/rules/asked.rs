//! Who asks to read or change the rules, and what all changes have in common. Reading needs the role
//! viewer, changing needs operator. The author of a change is who makes the request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Extension, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use guard_wire::rules::RulesError;
use jiff::Timestamp;

use super::answers::Changed;
use super::bodies::Note;
use crate::http::error::ApiError;
use crate::http::principal::{Principal, in_project};
use crate::http::proxies::named_addresses;
use crate::http::state::AppState;
use crate::off_thread::off_thread;
use crate::people::{AuditEntry, Change as AuditChange, Role};
use crate::rules::versions::ChangeError;
use crate::rules::{Audited, Provenance};
use crate::store::{ProjectId, RulesStore};

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        let status = match &error {
            ChangeError::Rules(_) | ChangeError::Version { .. } => StatusCode::BAD_REQUEST,
            ChangeError::NotFound(_) => StatusCode::NOT_FOUND,
            ChangeError::Unconfirmed(_) => StatusCode::CONFLICT,
            ChangeError::Unmatched | ChangeError::Replaced => StatusCode::PRECONDITION_FAILED,
            ChangeError::Store(error) => return (*error).into(),
        };
        let how = match &error {
            ChangeError::Unconfirmed(_) | ChangeError::Replaced => {
                "; to do it anyway, add \"confirm\": true"
            }
            _ => "",
        };
        let answer = Self::new(status, format!("{error}{how}"));
        match error {
            ChangeError::Rules(RulesError::Field { field, .. }) => answer.field(field),
            _ => answer,
        }
    }
}

/// Who asks, for which project and from which addresses, and the server state.
pub(crate) struct Asked {
    state: Arc<AppState>,
    principal: Principal,
    project: crate::store::Project,
    caller: Vec<IpAddr>,
}

impl FromRequestParts<Arc<AppState>> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, ApiError> {
        let role = if parts.method.is_safe() {
            Role::Viewer
        } else {
            Role::Operator
        };
        let (principal, project) = in_project(role, parts, state).await?;
        let peer = Extension::<ConnectInfo<SocketAddr>>::from_request_parts(parts, state).await;
        let peer = peer.ok().map(|Extension(ConnectInfo(peer))| peer.ip());
        // Forwarded addresses are not trusted, but they are enough to ask for a confirmation.
        let named = named_addresses(&parts.headers);
        let caller = peer.into_iter().chain(named).collect();
        Ok(Self {
            state: Arc::clone(state),
            principal,
            project,
            caller,
        })
    }
}

impl Asked {
    /// The time at which the request is answered.
    pub(super) fn now(&self) -> Timestamp {
        self.state.clock.now()
    }

    /// The author of what the request changes.
    pub(super) fn author(&self) -> String {
        self.principal.actor.who.to_string()
    }

    /// What the history says of a change, and the audit log.
    pub(super) fn by(&self, note: Note, action: &'static str) -> Provenance {
        Provenance {
            author: Some(self.author()),
            reason: note.reason,
            caller: self.caller.clone(),
            confirmed: note.confirm.unwrap_or(false),
            automatic: !self.principal.actor.who.is_human(),
            audited: Some(Audited {
                actor: self.principal.actor.clone(),
                action,
                project: self.project.name.clone(),
            }),
        }
    }

    /// Makes a change after those before it. Wakes the agents that wait for a change, then returns.
    pub(super) async fn make(
        &self,
        change: impl Future<Output = Result<i64, ChangeError>> + Send + 'static,
    ) -> Result<Json<Changed>, ApiError> {
        let version = {
            let _turn = self.state.changing.lock().await;
            // A clock that was just set forward must not end operations.
            self.state.follow_clock().await?;
            off_thread(change).await??
        };
        tracing::info!(
            project = self.project.name,
            version,
            "the rules were changed"
        );
        self.state.feed.refresh(self.project.id).await?;
        Ok(Json(Changed { version, id: None }))
    }

    /// What the audit log says of a change of the draft.
    pub(super) fn of_draft(&self, action: &'static str) -> AuditEntry {
        let change = AuditChange {
            action,
            project: Some(self.project.name.clone()),
            object: "the draft".to_owned(),
            ..AuditChange::default()
        };
        AuditEntry::new(&self.principal.actor, change, self.now())
    }

    /// Runs work that may check many patterns, one at a time. The change that follows reuses the
    /// result, so no other change waits for the check.
    pub(super) async fn check_in_turn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let _turn = self.state.checking.lock().await;
        Ok(off_thread(work).await?)
    }

    /// The store and the caller's project.
    pub(super) fn project(&self) -> (Arc<dyn RulesStore>, ProjectId) {
        (Arc::clone(&self.state.stores.rules), self.project.id)
    }
}
