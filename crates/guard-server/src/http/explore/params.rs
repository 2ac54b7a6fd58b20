//! The parameters of queries.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use guard_wire::Kind;
use jiff::Timestamp;

use crate::http::error::ApiError;
use crate::http::state::AppState;
use crate::query::buckets::Buckets;
use crate::query::filter::Filter;
use crate::query::{QueryError, TimeRange};
use crate::store::{ProjectId, Selection};

/// The most items in a list.
const MAX_LIMIT: u16 = 1000;

/// The parameters of a request.
pub(crate) struct Params(Vec<(String, String)>);

impl FromRequestParts<Arc<AppState>> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, ApiError> {
        let query: Result<Query<_>, QueryRejection> = Query::from_request_parts(parts, state).await;
        let Query(pairs) =
            query.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
        Ok(Self(pairs))
    }
}

impl Params {
    /// Refuses other parameters than these, and parameters that are given twice.
    pub(crate) fn only(self, known: &[&str]) -> Result<Self, ApiError> {
        for (at, (name, _)) in self.0.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let detail = format!(
                    "{name} is not a parameter of this call; it has {}",
                    known.join(", ")
                );
                return Err(ApiError::bad_request(detail)
                    .code("unknown_parameter")
                    .field(name));
            }
            if self.0[..at].iter().any(|(other, _)| other == name) {
                return Err(ApiError::bad_request(format!("{name} is given twice"))
                    .code("repeated_parameter")
                    .field(name));
            }
        }
        Ok(self)
    }

    /// The parameter of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// `limit`, 1 to 1000.
    pub(crate) fn limit(&self, default: u16) -> Result<u16, ApiError> {
        let Some(text) = self.get("limit") else {
            return Ok(default);
        };
        let limit = text.parse().ok();
        let limit = limit.filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.ok_or_else(|| {
            ApiError::bad_request(format!("limit is {text:?}; give 1 to {MAX_LIMIT}"))
                .code("invalid_limit")
                .field("limit")
        })
    }

    /// `filter`.
    pub(crate) fn filter(&self, kind: Kind) -> Result<Filter, ApiError> {
        let filter = Filter::parse(kind, self.get("filter").unwrap_or_default());
        filter.map_err(|error| {
            QueryError {
                code: "invalid_filter",
                field: "filter",
                detail: format!("filter: {error}"),
                position: Some(error.position),
            }
            .into()
        })
    }

    /// `from` and `to`.
    pub(crate) fn range(&self, now: Timestamp) -> Result<TimeRange, QueryError> {
        TimeRange::parse(self.get("from"), self.get("to"), now)
    }

    /// `filter`, `from` and `to`.
    pub(crate) fn selection(
        &self,
        project: ProjectId,
        kind: Kind,
        now: Timestamp,
    ) -> Result<Selection, ApiError> {
        Ok(Selection {
            project,
            range: self.range(now)?,
            filter: Arc::new(self.filter(kind)?),
        })
    }

    /// `interval` and `tz`.
    pub(crate) fn buckets(&self, range: TimeRange) -> Result<Buckets, QueryError> {
        Buckets::new(range, self.get("interval"), self.get("tz"))
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let refused = Self::bad_request(error.detail)
            .code(error.code)
            .field(error.field);
        match error.position {
            Some(position) => refused.position(position),
            None => refused,
        }
    }
}
