//! The rules as people and programs change them over HTTP.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, Extension, FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use guard_wire::rules::RulesError;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::answer;
use super::book::{self, By, ChangeError, Publishing};
use super::document;
use super::draft;
use super::operation::Operation;
use super::policy::Entry;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::ingest::body;
use crate::query::{self, ListQuery};
use crate::state::AppState;
use crate::store::Control;

/// The collections, and the kind of operation that each holds.
const COLLECTIONS: [(&str, &str); 11] = [
    ("bans", "ban"),
    ("unbans", "unban"),
    ("countries", "country"),
    ("limits", "limit"),
    ("user-agents", "user_agent"),
    ("clouds", "cloud"),
    ("patterns", "pattern"),
    ("features", "feature"),
    ("rate-limit", "rate_limit"),
    ("auto-ban", "auto_ban"),
    ("emergency", "emergency"),
];

/// What is wrong with a field that nothing reads.
const UNKNOWN: &str = "unknown; correct its name or remove it";

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
        Self::new(status, error.to_string())
    }
}

/// Who asks, from where, and what for.
pub(crate) struct Asked {
    state: Arc<AppState>,
    project: crate::store::Project,
    caller: Vec<IpAddr>,
}

impl FromRequestParts<Arc<AppState>> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, ApiError> {
        let Caller(project) = Caller::from_request_parts(parts, state).await?;
        let peer = Extension::<ConnectInfo<SocketAddr>>::from_request_parts(parts, state).await;
        let peer = peer.ok().map(|Extension(ConnectInfo(peer))| peer.ip());
        // A proxy's word is enough to ask for a confirmation.
        let caller = peer.into_iter().chain(forwarded(&parts.headers)).collect();
        Ok(Self {
            state: Arc::clone(state),
            project,
            caller,
        })
    }
}

/// All addresses that proxies name, in whichever header they do.
fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = IpAddr> {
    let named = ["x-forwarded-for", "x-real-ip", "forwarded"];
    let values = named.into_iter().flat_map(|name| headers.get_all(name));
    let texts = values.filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split([',', ';']))
        .filter_map(address)
}

/// An address, perhaps with a port, and as `Forwarded` (RFC 7239) writes it.
fn address(text: &str) -> Option<IpAddr> {
    let text = match text.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("for") => value,
        Some(_) => return None,
        None => text,
    };
    let text = text.trim().trim_matches('"');
    let with_port = || text.parse().map(|it: SocketAddr| it.ip());
    let alone = text.trim_start_matches('[').trim_end_matches(']');
    alone.parse().or_else(|_| with_port()).ok()
}

impl Asked {
    fn by(&self, fields: &mut Fields) -> Result<By, ApiError> {
        Ok(By {
            author: fields.take("author")?,
            reason: fields.take("reason")?,
            caller: self.caller.clone(),
            confirmed: fields.take("confirm")?.unwrap_or(false),
        })
    }

    /// Makes a change in its turn, and wakes who waits before it is answered.
    async fn make(&self, change: impl Future<Output = Result<i64, ChangeError>>) -> Reply {
        let version = {
            let _turn = self.state.changing.lock().await;
            change.await?
        };
        self.state.feed.refresh(self.project.id).await?;
        Ok(Json(json!({ "version": version })))
    }

    fn control(&self) -> &dyn Control {
        &*self.state.control
    }
}

/// The fields of a body that are still to be read.
pub(crate) struct Fields(Map<String, Value>);

impl<S: Sync> FromRequest<S> for Fields {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let body = body::read(request.into_body(), guard_wire::rules::MAX_BYTES).await?;
        if body.is_empty() {
            return Ok(Self(Map::new()));
        }
        serde_json::from_slice(&body)
            .map(Self)
            .map_err(|error| ApiError::bad_request(format!("not a JSON object: {error}")))
    }
}

impl Fields {
    fn take<T: DeserializeOwned>(&mut self, field: &str) -> Result<Option<T>, ApiError> {
        let value = self.0.shift_remove(field).unwrap_or_default();
        serde_json::from_value(value).map_err(|error| refused(field, &error.to_string()))
    }

    fn end(self) -> Result<(), ApiError> {
        match self.0.keys().next() {
            Some(field) => Err(refused(field, UNKNOWN)),
            None => Ok(()),
        }
    }

    /// The rules document, which is all that is left.
    fn document(mut self) -> Result<Value, ApiError> {
        let document = self.take("document")?;
        let document =
            document.ok_or_else(|| refused("document", "missing; give the rules document"))?;
        self.end()?;
        Ok(document)
    }

    /// The operation of a kind: the fields that are left.
    fn operation(mut self, collection: &str) -> Result<Operation, ApiError> {
        let kind = COLLECTIONS.iter().find(|(name, _)| *name == collection);
        let Some((_, kind)) = kind else {
            return Err(ApiError::new(StatusCode::NOT_FOUND, "No such path"));
        };
        if self.0.insert("kind".to_owned(), json!(kind)).is_some() {
            return Err(refused("kind", UNKNOWN));
        }
        operation_of(&self.0).map_err(|problem| refused(&culprit(&self.0, &problem), &problem))
    }
}

fn operation_of(fields: &Map<String, Value>) -> Result<Operation, String> {
    serde_json::from_value(Value::Object(fields.clone())).map_err(|error| error.to_string())
}

/// The field that is missing, or the one without which there is another problem or
/// none: for a wrong value serde does not name it.
fn culprit(fields: &Map<String, Value>, problem: &str) -> String {
    let missing = problem.strip_prefix("missing field `");
    if let Some((missing, _)) = missing.and_then(|rest| rest.split_once('`')) {
        return missing.to_owned();
    }
    let is_culprit = |field: &&String| {
        let mut others = fields.clone();
        others.shift_remove(*field);
        operation_of(&others).map_or_else(|other| other != problem, |_| true)
    };
    let named = fields.keys().filter(|field| *field != "kind");
    named
        .into_iter()
        .find(is_culprit)
        .cloned()
        .unwrap_or_default()
}

fn refused(field: &str, problem: &str) -> ApiError {
    ChangeError::from(RulesError::Field {
        field: field.to_owned(),
        problem: problem.to_owned(),
    })
    .into()
}

/// `POST /api/v1/rules/{collection}`: an operation, from now on.
pub(crate) async fn put(asked: Asked, Path(collection): Path<String>, mut fields: Fields) -> Reply {
    let now = Timestamp::now();
    let seconds: Option<i64> = fields.take("duration_s")?;
    let by = asked.by(&mut fields)?;
    let operation = fields.operation(&collection)?;
    let entry = Entry::new(operation, seconds, &by, now).map_err(ChangeError::from)?;
    let change = book::put(asked.control(), asked.project.id, &entry, &by, now);
    asked.make(change).await
}

/// `DELETE /api/v1/rules/{collection}`: takes the operation named by the body back.
/// A ban of an address that is taken back is lifted everywhere.
pub(crate) async fn remove(
    asked: Asked,
    Path(collection): Path<String>,
    mut fields: Fields,
) -> Reply {
    let now = Timestamp::now();
    let by = asked.by(&mut fields)?;
    // What is about the same thing is found by its name alone.
    for (field, value) in [
        ("emergency", ("allowed", json!([]))),
        ("limits", ("requests", json!(1))),
        ("limits", ("window_s", json!(1))),
        ("rate-limit", ("requests", json!(1))),
        ("rate-limit", ("window_s", json!(1))),
        ("auto-ban", ("threshold", json!(1))),
        ("features", ("enabled", json!(true))),
    ]
    .into_iter()
    .filter(|(name, _)| *name == collection)
    .map(|(_, field)| field)
    {
        fields.0.entry(field).or_insert(value);
    }
    let operation = fields.operation(&collection)?;
    let change = book::remove(asked.control(), asked.project.id, operation, &by, now);
    asked.make(change).await
}

/// `GET /api/v1/rules/entries`: the operations in force.
pub(crate) async fn entries(asked: Asked) -> Reply {
    let in_force = book::in_force(asked.control(), asked.project.id, Timestamp::now());
    let (version, entries) = in_force.await?;
    Ok(Json(json!({ "version": version, "entries": entries })))
}

/// `GET /api/v1/rules/published`: the published document, without the operations
/// upon it. Its tag can be named when another is published.
pub(crate) async fn published(asked: Asked) -> Result<impl IntoResponse, ApiError> {
    let published = book::published(asked.control(), asked.project.id).await?;
    let tag = [(header::ETAG, format!("\"{}\"", published.tag))];
    Ok((tag, Json(json!({ "document": published.rules }))))
}

/// `PUT /api/v1/rules/published`: a document in place of the published one, or, with
/// `If-Match`, of one that has one of these tags. The operations stay; the version is the
/// server's to give.
pub(crate) async fn publish(asked: Asked, headers: HeaderMap, mut fields: Fields) -> Reply {
    let by = asked.by(&mut fields)?;
    let (document, now) = (fields.document()?.to_string(), Timestamp::now());
    let rules = document::read(document.as_bytes(), now).map_err(ChangeError::from)?;
    let tags = answer::tags(&headers, &header::IF_MATCH).map(|tag| tag.trim_matches('"'));
    let tags: Vec<_> = tags.collect();
    let is_any = tags.contains(&"*") || !headers.contains_key(header::IF_MATCH);
    let publishing = Publishing {
        rules: &rules,
        expected: (!is_any).then_some(&tags),
        version: None,
        action: "publish",
    };
    let change = book::publish(asked.control(), asked.project.id, publishing, &by, now);
    asked.make(change).await
}

#[derive(Serialize)]
struct Version {
    version: i64,
    #[serde(flatten)]
    change: crate::store::Change,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Value>,
}

/// `GET /api/v1/rules/versions`: the history, newest first.
pub(crate) async fn versions(
    asked: Asked,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Reply {
    let page = query::page(query)?;
    let before = page.before.unwrap_or(i64::MAX);
    let history = asked
        .control()
        .rules_history(asked.project.id, before, page.limit)
        .await?;
    let oldest = history.last().map(|(version, _)| *version);
    let next_before = query::next_before(page, history.len(), oldest);
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

/// `GET /api/v1/rules/versions/{version}`: how a version came about, and the document
/// that it gave to guards.
pub(crate) async fn version(asked: Asked, path: Result<Path<i64>, PathRejection>) -> Reply {
    let stored = book::at(asked.control(), asked.project.id, number(path)?).await?;
    let document = serde_json::from_str(&stored.document)
        .map_err(|error| ChangeError::from(RulesError::from(error)))?;
    let (version, change) = (stored.version, stored.change);
    let version = Version {
        version,
        change,
        document: Some(document),
    };
    Ok(Json(json!(version)))
}

fn number(path: Result<Path<i64>, PathRejection>) -> Result<i64, ApiError> {
    let not_a_number = |_| ApiError::bad_request("a version is a whole number; see the history");
    path.map(|Path(version)| version).map_err(not_a_number)
}

/// `POST /api/v1/rules/versions/{version}/rollback`.
pub(crate) async fn roll_back(
    asked: Asked,
    path: Result<Path<i64>, PathRejection>,
    mut fields: Fields,
) -> Reply {
    let version = number(path)?;
    let by = asked.by(&mut fields)?;
    fields.end()?;
    let (project, now) = (asked.project.id, Timestamp::now());
    let change = book::roll_back(asked.control(), project, version, &by, now);
    asked.make(change).await
}

/// `GET /api/v1/rules/draft`.
pub(crate) async fn draft(asked: Asked) -> Reply {
    let draft = draft::get(asked.control(), asked.project.id).await?;
    let document: Value = serde_json::from_str(&draft.document)
        .map_err(|error| ChangeError::from(RulesError::from(error)))?;
    Ok(Json(
        json!({ "document": document, "saved_at": draft.saved_at, "author": draft.author }),
    ))
}

/// `PUT /api/v1/rules/draft`: answers what publishing it would change.
pub(crate) async fn save_draft(asked: Asked, mut fields: Fields) -> Reply {
    let author = fields.take("author")?;
    let (document, now) = (fields.document()?.to_string(), Timestamp::now());
    let (control, project) = (asked.control(), asked.project.id);
    draft::save(control, project, document.as_bytes(), author, now).await?;
    diff(asked).await
}

/// `DELETE /api/v1/rules/draft`.
pub(crate) async fn discard_draft(asked: Asked) -> Result<StatusCode, ApiError> {
    draft::discard(asked.control(), asked.project.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/v1/rules/draft/diff`.
pub(crate) async fn diff(asked: Asked) -> Reply {
    let changes = draft::diff(asked.control(), asked.project.id).await?;
    Ok(Json(json!({ "changes": changes })))
}

/// `POST /api/v1/rules/draft/publish`.
pub(crate) async fn publish_draft(asked: Asked, mut fields: Fields) -> Reply {
    let by = asked.by(&mut fields)?;
    fields.end()?;
    let (project, now) = (asked.project.id, Timestamp::now());
    let change = draft::publish(asked.control(), project, &by, now);
    asked.make(change).await
}
