//! The HTTP API through which people and programs change the rules. Reading needs the role viewer,
//! changing needs operator. The author of a change is who makes the request. `P` stands
//! for `/api/v1/projects/{project}`.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, Extension, FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use guard_wire::rules::RulesError;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::bodies::{Body, DocumentBody, DraftBody, Note, OperationBody};
use super::serve;
use crate::http::error::ApiError;
use crate::http::principal::{Principal, in_project};
use crate::http::proxies::named_addresses;
use crate::http::query::{self, ListQuery};
use crate::http::state::AppState;
use crate::off_thread::off_thread;
use crate::people::{Change as AuditChange, Role};
use crate::rules::operation::{Operation, Schema};
use crate::rules::policy::Entry;
use crate::rules::versions::{self, ChangeError, Publishing};
use crate::rules::{Provenance, document, draft};
use crate::store::{ProjectId, RulesStore};

type Reply = Result<Json<Value>, ApiError>;

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
    fn by(&self, note: Note) -> Provenance {
        Provenance {
            author: Some(self.principal.actor.who.to_string()),
            reason: note.reason,
            caller: self.caller.clone(),
            confirmed: note.confirm.unwrap_or(false),
            automatic: !self.principal.actor.who.is_human(),
        }
    }

    /// Makes a change after those before it. Wakes the agents that wait for a change, then returns.
    async fn make(
        &self,
        did: Did,
        change: impl Future<Output = Result<i64, ChangeError>> + Send + 'static,
    ) -> Reply {
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
        let change = AuditChange {
            action: did.action,
            project: Some(self.project.name.clone()),
            object: did.object,
            before: Value::Null,
            after: json!({ "version": version, "reason": did.reason }),
        };
        self.principal.record(&self.state, change).await;
        self.state.feed.refresh(self.project.id).await?;
        Ok(Json(json!({ "version": version })))
    }

    /// Adds a change of the draft to the audit log.
    async fn record(&self, action: &'static str) {
        let change = AuditChange {
            action,
            project: Some(self.project.name.clone()),
            object: "the draft".to_owned(),
            ..AuditChange::default()
        };
        self.principal.record(&self.state, change).await;
    }

    /// Runs work that may check many patterns, one at a time. The change that follows reuses the
    /// result, so no other change waits for the check.
    async fn check_in_turn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let _turn = self.state.checking.lock().await;
        Ok(off_thread(work).await?)
    }

    /// The store and the caller's project.
    fn project(&self) -> (Arc<dyn RulesStore>, ProjectId) {
        (Arc::clone(&self.state.stores.rules), self.project.id)
    }
}

/// What a change does, for the audit log.
struct Did {
    action: &'static str,
    object: String,
    reason: Option<String>,
}

impl Did {
    fn new(action: &'static str, object: impl Display, by: &Provenance) -> Self {
        Self {
            action,
            object: object.to_string(),
            reason: by.reason.clone(),
        }
    }
}

/// The path of a collection of operations.
#[derive(Deserialize)]
pub(crate) struct InCollection {
    collection: String,
}

/// The path of an entry.
#[derive(Deserialize)]
pub(crate) struct EntryPath {
    collection: String,
    id: String,
}

/// The path of a version.
#[derive(Deserialize)]
pub(crate) struct VersionPath {
    version: i64,
}

/// The kind of operation in a collection.
fn kind(collection: &str) -> Result<&'static Schema, ApiError> {
    let no_such_path = || ApiError::new(StatusCode::NOT_FOUND, "No such path");
    Operation::in_collection(collection).ok_or_else(no_such_path)
}

/// `POST P/rules/{collection}`: adds an operation that starts now.
pub(crate) async fn put(
    asked: Asked,
    Path(InCollection { collection }): Path<InCollection>,
    Body(mut body): Body<OperationBody>,
) -> Reply {
    let (schema, now) = (kind(&collection)?, asked.state.clock.now());
    let by = asked.by(body.note());
    let operation = Operation::read(schema, body.fields).map_err(ChangeError::from)?;
    let seconds = body.duration_s;
    // Checking a pattern may take long.
    let checked = async move { Entry::new(operation, seconds, &by, now).map(|entry| (entry, by)) };
    let (entry, by) = off_thread(checked).await?.map_err(ChangeError::from)?;
    let id = entry.operation.id();
    let did = Did::new("rules.add", &entry.operation, &by);
    let (store, project) = asked.project();
    let change = async move { versions::put(&*store, project, &entry, &by, now).await };
    let Json(mut answer) = asked.make(did, change).await?;
    answer["id"] = json!(id);
    Ok(Json(answer))
}

/// `DELETE P/rules/{collection}/{id}`: removes the operation of this entry.
pub(crate) async fn remove_entry(
    asked: Asked,
    Path(EntryPath { collection, id }): Path<EntryPath>,
    Body(note): Body<Note>,
) -> Reply {
    let (schema, now) = (kind(&collection)?, asked.state.clock.now());
    let by = asked.by(note);
    let did = Did::new("rules.remove", format!("{collection}/{id}"), &by);
    let (store, project) = asked.project();
    let change =
        async move { versions::remove_entry(&*store, project, schema, &id, &by, now).await };
    asked.make(did, change).await
}

/// An entry in an answer.
#[derive(Serialize)]
struct Listed {
    id: String,
    #[serde(flatten)]
    entry: Entry,
}

/// `GET P/rules/entries`: the operations in force.
pub(crate) async fn entries(asked: Asked) -> Reply {
    let ((store, project), now) = (asked.project(), asked.state.clock.now());
    let listed = async move {
        let (version, entries) = versions::in_force(&*store, project, now).await?;
        let listed = entries.into_iter().map(|entry| Listed {
            id: entry.operation.id(),
            entry,
        });
        Ok::<_, ChangeError>((version, listed.collect::<Vec<_>>()))
    };
    let (version, entries) = off_thread(listed).await??;
    Ok(Json(json!({ "version": version, "entries": entries })))
}

/// `GET P/rules/published`: the published document without operations. A later `PUT` can name
/// its tag.
pub(crate) async fn published(asked: Asked) -> Result<impl IntoResponse, ApiError> {
    let (store, project) = asked.project();
    let published = async move { versions::published(&*store, project).await };
    let published = off_thread(published).await??;
    let tag = [(header::ETAG, format!("\"{}\"", published.tag))];
    Ok((tag, Json(json!({ "document": published.rules }))))
}

/// `PUT P/rules/published`: replaces the published document. With `If-Match`, it replaces
/// only a document with one of these tags. The operations stay. The server assigns the version.
pub(crate) async fn publish(
    asked: Asked,
    headers: HeaderMap,
    Body(body): Body<DocumentBody>,
) -> Reply {
    let ((document, note), now) = (body.parts(), asked.state.clock.now());
    let by = asked.by(note);
    let did = Did::new("rules.publish", "the published document", &by);
    let checking = async move { document::read(document.get().as_bytes(), now) };
    let rules = asked
        .check_in_turn(checking)
        .await?
        .map_err(ChangeError::from)?;
    let (store, project) = asked.project();
    let change = async move {
        let tags = serve::tags(&headers, &header::IF_MATCH).map(|tag| tag.trim_matches('"'));
        let tags: Vec<_> = tags.collect();
        let is_any = tags.contains(&"*") || !headers.contains_key(header::IF_MATCH);
        let publishing = Publishing {
            rules: &rules,
            expected: (!is_any).then_some(&tags),
            version: None,
            action: "publish",
        };
        versions::publish(&*store, project, publishing, &by, now).await
    };
    asked.make(did, change).await
}

/// A version of the history.
#[derive(Serialize)]
pub(crate) struct Version {
    version: i64,
    #[serde(flatten)]
    change: crate::store::Change,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Box<RawValue>>,
}

/// Returns a stored document unchanged.
fn raw(document: String) -> Result<Box<RawValue>, ChangeError> {
    Ok(RawValue::from_string(document).map_err(RulesError::from)?)
}

/// `GET P/rules/versions`: the history, newest first.
pub(crate) async fn versions(
    asked: Asked,
    query: Result<Query<ListQuery<i64>>, QueryRejection>,
) -> Reply {
    let (before, limit) = query::part(query)?;
    let (store, project) = asked.project();
    let history = store.rules_history(project, before.unwrap_or(i64::MAX), limit);
    let history = history.await?;
    // A full page may be the last one; then the next one is empty.
    let is_full = history.len() == usize::from(limit);
    let oldest = history.last().map(|(version, _)| *version);
    let next_before = oldest.filter(|_| is_full);
    let versions: Vec<_> = history
        .into_iter()
        .map(|(version, change)| Version {
            version,
            change,
            document: None,
        })
        .collect();
    Ok(Json(
        json!({ "versions": versions, "next_before": next_before }),
    ))
}

/// `GET P/rules/versions/{version}`: the origin of a version, and the document that guards
/// received.
pub(crate) async fn version(
    asked: Asked,
    path: Result<Path<VersionPath>, PathRejection>,
) -> Result<Json<Version>, ApiError> {
    let (store, project) = asked.project();
    let stored = versions::at(&*store, project, number(path)?).await?;
    let document = raw(stored.document)?;
    let (version, change) = (stored.version, stored.change);
    let version = Version {
        version,
        change,
        document: Some(document),
    };
    Ok(Json(version))
}

fn number(path: Result<Path<VersionPath>, PathRejection>) -> Result<i64, ApiError> {
    let not_a_number = |_| ApiError::bad_request("a version is a whole number; see the history");
    path.map(|Path(VersionPath { version })| version)
        .map_err(not_a_number)
}

/// `POST P/rules/versions/{version}/rollback`.
pub(crate) async fn roll_back(
    asked: Asked,
    path: Result<Path<VersionPath>, PathRejection>,
    Body(note): Body<Note>,
) -> Reply {
    let version = number(path)?;
    let by = asked.by(note);
    let did = Did::new("rules.roll_back", format!("version {version}"), &by);
    let (store, project) = asked.project();
    let checking = async move { versions::rechecked(&*store, project, version).await };
    let old = asked.check_in_turn(checking).await??;
    let ((store, project), now) = (asked.project(), asked.state.clock.now());
    let change = async move { versions::roll_back_to(&*store, project, &old, &by, now).await };
    asked.make(did, change).await
}

/// `GET P/rules/draft`.
pub(crate) async fn draft(asked: Asked) -> Result<Json<Draft>, ApiError> {
    let (store, project) = asked.project();
    let draft = draft::get(&*store, project).await?;
    Ok(Json(Draft {
        document: raw(draft.document)?,
        saved_at: draft.saved_at,
        author: draft.author,
    }))
}

/// The draft in an answer.
#[derive(Serialize)]
pub(crate) struct Draft {
    document: Box<RawValue>,
    saved_at: Timestamp,
    author: Option<String>,
}

/// `PUT P/rules/draft`: returns what publishing it would change.
pub(crate) async fn save_draft(asked: Asked, Body(body): Body<DraftBody>) -> Reply {
    let DraftBody { document } = body;
    let author = Some(asked.principal.actor.who.to_string());
    let now = asked.state.clock.now();
    let (store, project) = asked.project();
    let save = async move {
        let document = document.get().as_bytes();
        draft::save(&*store, project, document, author, now).await
    };
    asked.check_in_turn(save).await??;
    asked.record("rules.save_draft").await;
    diff(asked).await
}

/// `DELETE P/rules/draft`.
pub(crate) async fn discard_draft(asked: Asked) -> Result<StatusCode, ApiError> {
    let (store, project) = asked.project();
    draft::discard(&*store, project).await?;
    asked.record("rules.discard_draft").await;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET P/rules/draft/diff`.
pub(crate) async fn diff(asked: Asked) -> Reply {
    let (store, project) = asked.project();
    let diff = async move { draft::diff(&*store, project).await };
    let changes = asked.check_in_turn(diff).await??;
    Ok(Json(json!({ "changes": changes })))
}

/// `POST P/rules/draft/publish`.
pub(crate) async fn publish_draft(asked: Asked, Body(note): Body<Note>) -> Reply {
    let (by, now) = (asked.by(note), asked.state.clock.now());
    let did = Did::new("rules.publish_draft", "the published document", &by);
    let (store, project) = asked.project();
    let check = async move { draft::check(&*store, project, now).await };
    let checked = asked.check_in_turn(check).await??;
    let ((store, project), now) = (asked.project(), asked.state.clock.now());
    let change = async move { draft::publish(&*store, project, checked, &by, now).await };
    asked.make(did, change).await
}
