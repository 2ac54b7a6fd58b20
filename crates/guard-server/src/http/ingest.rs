//! Accepts batches and status reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use guard_wire::Kind;
use guard_wire::answer::{IngestAnswer, StatusAnswer};
use guard_wire::encrypt::Encryptor;
use guard_wire::header::INSTALL_ID;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::body;
use crate::http::caller::{Caller, keys};
use crate::http::error::ApiError;
use crate::http::openapi::contract::{Batch, EncryptedBatch, Status};
use crate::http::openapi::params::{BodyHeaders, SenderHeaders};
use crate::http::ready::{Alive, alive};
use crate::http::sender::{MAX_NAME, UNKNOWN, sender};
use crate::http::state::{AppState, Limits};
use crate::ingest::envelope::{self, SealedEnvelope};
use crate::ingest::intake::{Intake, LeftOut};
use crate::ingest::signals;
use crate::monitoring::Outcome;
use crate::projects::activity::Refusal;
use crate::projects::quota::{Admission, QuotaExceeded};
use crate::store::{
    AgentId, AgentReport, AgentSignal, KindCounts, LossReport, Project, ProjectId, StatusReport,
};
use crate::visible::shortened;

/// The answer of the contract, plus fields that only this server sends. `errors` stays null even if
/// records were left out: otherwise agents would send the whole batch again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accepted {
    #[serde(flatten)]
    answer: IngestAnswer,
    /// Records that were stored before. Null if the store detects duplicates only later.
    #[schema(required = true)]
    duplicates: Option<KindCounts>,
    /// The first 20 records that were left out.
    invalid: Vec<LeftOut>,
}

/// The server responds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LastStatus {
    #[serde(flatten)]
    alive: Alive,
    /// The last report of the install; null if there is none. Missing without a key and an install.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<AgentReport>)]
    report: Option<Option<AgentReport>>,
}

/// Stores a batch of events and metrics.
///
/// The answer comes when the batch is committed. A record that cannot be
/// stored is left out and counted; the others are stored. `*_processed` includes duplicates, which
/// are stored already. `errors` is always null: otherwise agents would send the whole batch again.
#[utoipa::path(
    post, path = "/api/v1/events", operation_id = "send_events", tag = "Agents",
    security(("key" = [])), params(SenderHeaders, BodyHeaders), request_body = Batch,
    responses((status = OK, body = Accepted))
)]
pub(crate) async fn events(
    state: State<Arc<AppState>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Accepted>, ApiError> {
    plain(state, caller, headers, body).await
}

/// Stores a batch of events and metrics, as `POST /api/v1/events` does.
#[utoipa::path(
    post, path = "/api/v1/metrics", operation_id = "send_metrics", tag = "Agents",
    security(("key" = [])), params(SenderHeaders, BodyHeaders), request_body = Batch,
    responses((status = OK, body = Accepted))
)]
pub(crate) async fn metrics(
    state: State<Arc<AppState>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Accepted>, ApiError> {
    plain(state, caller, headers, body).await
}

async fn plain(
    State(state): State<Arc<AppState>>,
    Caller(project, _): Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Accepted>, ApiError> {
    check_room(&state)?;
    if project.settings.require_encryption {
        state
            .activity
            .refused(project.id, Refusal::EncryptionRequired);
        return Err(encryption_required());
    }
    let admission = admitted(&state, &project)?;
    let agent = sender(&headers);
    let limits = state.limits;
    let intake = decode(
        &state,
        limits,
        project,
        headers,
        body,
        |bytes, limits, project| Ok(Intake::read(project.id, bytes, None, limits.records)?),
    )
    .await?;
    store(&state, agent, intake, admission).await
}

/// Stores an encrypted batch.
#[utoipa::path(
    post, path = "/api/v1/events/encrypted", operation_id = "send_encrypted", tag = "Agents",
    security(("key" = [])), params(SenderHeaders, BodyHeaders), request_body = EncryptedBatch,
    responses((status = OK, body = Accepted))
)]
pub(crate) async fn encrypted(
    State(state): State<Arc<AppState>>,
    Caller(project, _): Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Accepted>, ApiError> {
    check_room(&state)?;
    let admission = admitted(&state, &project)?;
    let agent = sender(&headers);
    let limits = state.limits;
    let intake = decode(
        &state,
        limits,
        project,
        headers,
        body,
        |bytes, limits, project| {
            let sealed: SealedEnvelope = envelope::owned(envelope::utf8(bytes)?)?;
            let plain = decrypt(project, &sealed.encrypted_payload)?;
            if plain.len() > limits.decoded {
                return Err(ApiError::too_large(limits.decoded));
            }
            Ok(Intake::read(
                project.id,
                &plain,
                sealed.batch_id(),
                limits.records,
            )?)
        },
    )
    .await?;
    store(&state, agent, intake, admission).await
}

/// Takes a report of how an agent is. A report has at most 64 KiB.
#[utoipa::path(
    post, path = "/api/v1/status", operation_id = "send_status", tag = "Agents",
    security(("key" = [])), params(SenderHeaders, BodyHeaders), request_body = Status,
    responses((status = OK, body = StatusAnswer))
)]
pub(crate) async fn status(
    State(state): State<Arc<AppState>>,
    Caller(project, _): Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<StatusAnswer>, ApiError> {
    let mut agent = sender(&headers);
    let is_named = headers.contains_key(INSTALL_ID);
    let limits = Limits {
        encoded: state.limits.encoded.min(state.limits.status),
        decoded: state.limits.decoded.min(state.limits.status),
        ..state.limits
    };
    let read = decode(
        &state,
        limits,
        project,
        headers,
        body,
        move |bytes, _, project| {
            let report: Map<String, Value> = envelope::owned(envelope::utf8(bytes)?)?;
            let named = report.get("install_id").and_then(Value::as_str);
            if let Some(named) = named.filter(|_| !is_named) {
                agent.install_id = shortened(named, MAX_NAME);
            }
            let signal = signals::reported(&report);
            let pid = report.get("pid").and_then(Value::as_u64);
            let losses = LossReport {
                project: project.id,
                install_id: agent.install_id.clone(),
                process: format!("{}/{}", agent.process, pid.unwrap_or_default()),
                at: Timestamp::now(),
                totals: signals::lost(&report),
            };
            let report = StatusReport {
                project: project.id,
                install_id: agent.install_id.clone(),
                received_at: Timestamp::now(),
                body: Value::Object(report).to_string(),
            };
            Ok((report, agent, signal, losses))
        },
    );
    let (report, agent, signal, losses) = read.await?;
    let project = report.project;
    state.check_ins.save_report(report).await?;
    if !losses.totals.is_empty() {
        let new = state.stores.losses.report_losses(losses).await?;
        state.monitor.lost(&new);
    }
    state.check_ins.note(project, agent, signal);
    Ok(Json(StatusAnswer {
        success: true,
        message: "Status received".to_owned(),
    }))
}

/// Says that the server responds.
///
/// With a key and `X-Agent-Install-Id`, the answer also has the last report of that install. Without
/// them it needs no key.
#[utoipa::path(
    get, path = "/api/v1/status", operation_id = "get_status", tag = "Agents",
    security(("key" = []), ()), params(SenderHeaders), responses((status = OK, body = LastStatus))
)]
pub(crate) async fn last_status(
    State(state): State<Arc<AppState>>,
    headers: HeaderMap,
    caller: Result<Caller, ApiError>,
) -> Result<Json<LastStatus>, ApiError> {
    let Json(alive) = alive().await;
    let mut report = None;
    if keys(&headers).next().is_some() && headers.contains_key(INSTALL_ID) {
        let (Caller(project, _), agent) = (caller?, sender(&headers));
        let fleet = &state.stores.fleet;
        report = Some(fleet.report(project.id, &agent.install_id).await?);
    }
    Ok(Json(LastStatus { alive, report }))
}

/// Refuses records while the disk is nearly full. Everything else goes on.
fn check_room(state: &AppState) -> Result<(), ApiError> {
    if state.storage.is_full() {
        return Err(ApiError::unavailable(
            "the server's disk is nearly full; send the request again later",
        ));
    }
    Ok(())
}

/// Reads the body and passes the plain bytes to `read`, which runs on a worker thread.
async fn decode<T: Send + 'static>(
    state: &AppState,
    limits: Limits,
    project: Project,
    headers: HeaderMap,
    body: Body,
    read: impl FnOnce(&[u8], Limits, &Project) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let raw = body::read(body, limits.encoded, &state.memory).await?;
    let id = project.id;
    let work = move || {
        let bytes = body::decode(&raw, &headers, &project, limits)?;
        read(&bytes, limits, &project)
    };
    state.workers.run(work).await?.inspect_err(|error| {
        // The key is known, so only the signature can be wrong.
        if error.status() == StatusCode::UNAUTHORIZED {
            state.activity.refused(id, Refusal::Signature);
        }
    })
}

/// Admits a batch within the project's quota, before any work on its body.
fn admitted<'a>(state: &'a AppState, project: &Project) -> Result<Admission<'a>, ApiError> {
    state
        .quotas
        .admit(project, state.clock.uptime())
        .map_err(|QuotaExceeded { retry_after }| {
            state.activity.refused(project.id, Refusal::Quota);
            let seconds = retry_after.as_secs();
            let detail = format!(
                "The project has used up its quota of records per minute: send the batch again in \
                 {seconds} s; an admin can raise quota_per_minute"
            );
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, detail)
                .code("quota_exceeded")
                .retry_after(u16::try_from(seconds).unwrap_or(u16::MAX))
        })
}

fn encryption_required() -> ApiError {
    ApiError::forbidden(
        "This project accepts encrypted batches only: set project_encryption_key in the agent, or \
         let an admin turn require_encryption off",
    )
    .code("encryption_required")
}

fn decrypt(project: &Project, payload: &str) -> Result<Vec<u8>, ApiError> {
    let key = project.encryption_key.as_ref().ok_or_else(|| {
        ApiError::bad_request(
            "This project has no encryption key: start guard-server with --encryption-key",
        )
    })?;
    let failed = |error: &dyn std::fmt::Display| {
        ApiError::bad_request(format!("Failed to decrypt payload: {error}"))
    };
    Encryptor::new(key.expose())
        .map_err(|error| failed(&error))?
        .decrypt(payload)
        .map_err(|error| failed(&error))
}

async fn store(
    state: &AppState,
    agent: AgentId,
    intake: Intake,
    admission: Admission<'_>,
) -> Result<Json<Accepted>, ApiError> {
    let Intake {
        mut batch,
        received,
        invalid_timestamps,
        left_out,
        applied,
    } = intake;
    let is_named = agent.install_id != UNKNOWN;
    batch.install_id = is_named.then(|| agent.install_id.clone());
    let project = batch.project;
    let (events, metrics) = (batch.events.len(), batch.metrics.len());
    let invalid = batch.invalid;
    let records = received.events + received.metrics;
    admission.charge(records);
    let append = state.stores.telemetry.append(batch, state.limits.types);
    // A batch that was not stored is sent again.
    let receipt = append.await.inspect_err(|_| admission.give_back(records))?;
    let duplicates = receipt.duplicates.unwrap_or_default();
    state.tails.committed(project);
    for (kind, taken) in [(Kind::Event, events), (Kind::Metric, metrics)] {
        let again = duplicates.of(kind);
        let new = (taken as u64).saturating_sub(again);
        let counts = [
            (Outcome::Stored, new),
            (Outcome::Duplicate, again),
            (Outcome::Invalid, invalid.of(kind)),
        ];
        for (outcome, n) in counts {
            state.monitor.received(kind.as_str(), outcome, n);
        }
    }
    count_left_out(state, project, invalid).await;
    if let Some(version) = applied {
        let signal = AgentSignal::Applied(version);
        state.check_ins.note(project, agent, signal);
    }
    Ok(Json(Accepted {
        answer: IngestAnswer {
            success: true,
            events_received: received.events,
            events_dropped_invalid_timestamp: invalid_timestamps,
            metrics_received: received.metrics,
            events_processed: events as u64,
            metrics_processed: metrics as u64,
            errors: None,
        },
        duplicates: receipt.duplicates,
        invalid: left_out,
    }))
}

/// Counts the records that were left out of their batch as losses of the server.
async fn count_left_out(state: &AppState, project: ProjectId, invalid: KindCounts) {
    let lost = [
        ("invalid_event", invalid.events),
        ("invalid_metric", invalid.metrics),
    ];
    let lost: BTreeMap<_, _> = lost.into_iter().filter(|(_, n)| *n > 0).collect();
    if lost.is_empty() {
        return;
    }
    let counted = state
        .stores
        .losses
        .count_losses(project, Timestamp::now(), lost);
    // The records are stored: a failure here must not make the agent send them again.
    if let Err(error) = counted.await {
        tracing::debug!(%error, "cannot count the records that were left out");
    }
}
