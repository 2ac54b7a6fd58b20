//! A parsed batch: the records that can be stored, and those that were left out.

use std::collections::HashMap;

use guard_wire::Kind;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::BatchError;
use super::envelope::{self, Envelope};
use super::record::{self, Invalid};
use super::repair::repair;
use super::signals;
use crate::store::{Batch, KindCounts, NewRecord, ProjectId};

/// How many left-out records an answer describes. All of them are counted.
const MAX_DESCRIBED: usize = 20;

/// A record that was left out of its batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeftOut {
    /// `event` or `metric`.
    kind: &'static str,
    /// Its place among the records of its kind, from 0.
    index: usize,
    /// Why.
    reason: String,
}

/// A parsed batch that is not stored yet.
pub(crate) struct Intake {
    pub(crate) batch: Batch,
    pub(crate) received: KindCounts,
    pub(crate) invalid_timestamps: u64,
    pub(crate) left_out: Vec<LeftOut>,
    /// The newest version of the rules that its events report as applied.
    pub(crate) applied: Option<i64>,
}

impl Intake {
    /// Parses an unencrypted batch. A `batch_id` given beside an encrypted batch takes precedence
    /// over the one inside.
    ///
    /// # Errors
    ///
    /// [`BatchError`] if it is not a batch, or has more than about `max_records` records.
    pub(crate) fn read(
        project: ProjectId,
        bytes: &[u8],
        batch_id: Option<&str>,
        max_records: usize,
    ) -> Result<Self, BatchError> {
        envelope::check_records(bytes, max_records)?;
        let text = repair(envelope::utf8(bytes)?);
        let envelope = Envelope::parse(&text)?;
        let batch_id = batch_id.or(envelope.batch_id());
        Ok(Self::of(project, &envelope, batch_id))
    }

    fn of(project: ProjectId, envelope: &Envelope<'_>, batch_id: Option<&str>) -> Self {
        let mut intake = Self {
            batch: Batch {
                project,
                received_at: Timestamp::now(),
                install_id: None,
                events: Vec::new(),
                metrics: Vec::new(),
                invalid: KindCounts::default(),
            },
            received: KindCounts::default(),
            invalid_timestamps: 0,
            left_out: Vec::new(),
            applied: None,
        };
        intake.batch.events = intake.read_kind(Kind::Event, envelope, batch_id);
        intake.batch.metrics = intake.read_kind(Kind::Metric, envelope, batch_id);
        intake.applied = signals::applied(&intake.batch);
        intake
    }

    fn read_kind(
        &mut self,
        kind: Kind,
        envelope: &Envelope<'_>,
        batch_id: Option<&str>,
    ) -> Vec<NewRecord> {
        let mut seen = HashMap::<&str, usize>::new();
        let mut records = Vec::with_capacity(envelope.records(kind).len());
        for (index, raw) in envelope.records(kind).iter().enumerate() {
            *self.received.of_mut(kind) += 1;
            match record::read(kind, raw) {
                Ok(mut record) => {
                    if let (None, Some(batch_id)) = (&record.idempotency_key, batch_id) {
                        let before = seen.entry(raw.get()).or_default();
                        let key = record::derive_key(batch_id, raw.get(), *before);
                        record.idempotency_key = Some(key);
                        *before += 1;
                    }
                    records.push(record);
                }
                Err(reason) => self.leave_out(kind, index, &reason),
            }
        }
        records
    }

    fn leave_out(&mut self, kind: Kind, index: usize, reason: &Invalid) {
        *self.batch.invalid.of_mut(kind) += 1;
        if kind == Kind::Event && *reason == Invalid::Timestamp {
            self.invalid_timestamps += 1;
        }
        if self.left_out.len() < MAX_DESCRIBED {
            self.left_out.push(LeftOut {
                kind: kind.as_str(),
                index,
                reason: reason.to_string(),
            });
        }
    }
}
