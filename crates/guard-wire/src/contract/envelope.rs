//! The body of a batch, built from encoded records.

use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Serialize;

use crate::record::kind::Kind;

/// The path for encrypted batches of both kinds.
pub const ENCRYPTED_PATH: &str = "/api/v1/events/encrypted";

/// The facts that all batches of an agent share.
#[derive(Debug, Clone, Serialize)]
pub struct Envelope {
    /// The project; `"default"` when none is configured.
    pub project_id: String,
    /// The version of the agent.
    pub agent_version: String,
    /// The version of the guard that uses the agent, if known.
    pub guard_version: Option<String>,
    /// The version of guard-core, if known.
    pub guard_core_version: Option<String>,
}

/// The facts of one batch.
#[derive(Debug, Clone, Serialize)]
pub struct BatchHead {
    /// `"<unix ms>-<8 hex>"`, the same for all retries.
    pub batch_id: String,
    /// RFC 3339.
    pub created_at: String,
    /// Whether the body is sent compressed.
    pub compressed: bool,
}

impl Envelope {
    /// The body of an unencrypted batch.
    pub fn plain<R: AsRef<[u8]>>(&self, head: &BatchHead, kind: Kind, records: &[R]) -> Vec<u8> {
        #[derive(Serialize)]
        struct Rest<'a> {
            project_id: &'a str,
            #[serde(flatten)]
            head: &'a BatchHead,
            agent_version: &'a str,
            guard_version: Option<&'a str>,
            guard_core_version: Option<&'a str>,
        }
        let rest = Rest {
            project_id: &self.project_id,
            head,
            agent_version: &self.agent_version,
            guard_version: self.guard_version.as_deref(),
            guard_core_version: self.guard_core_version.as_deref(),
        };
        let mut body = payload(kind, records);
        body.pop();
        body.push(b',');
        let rest = to_json(&rest);
        body.extend_from_slice(rest.get(1..).unwrap_or_default());
        body
    }

    /// The body of a batch with an encrypted [`payload`].
    pub fn encrypted(&self, batch_id: &str, encrypted_payload: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            encrypted_payload: &'a str,
            batch_id: &'a str,
            agent_version: &'a str,
            guard_version: Option<&'a str>,
            guard_core_version: Option<&'a str>,
        }
        to_json(&Body {
            encrypted_payload,
            batch_id,
            agent_version: &self.agent_version,
            guard_version: self.guard_version.as_deref(),
            guard_core_version: self.guard_core_version.as_deref(),
        })
    }

    /// Length of an unencrypted batch without its records and commas.
    pub fn overhead(&self) -> usize {
        let head = BatchHead {
            batch_id: batch_id(u64::MAX),
            created_at: jiff::Timestamp::MAX.to_string(),
            compressed: false,
        };
        self.plain::<&[u8]>(&head, Kind::Metric, &[]).len()
    }
}

/// `{"events":[...],"metrics":[...]}`, the part of a batch that is encrypted.
///
/// ```
/// use guard_wire::{Kind, envelope::payload};
///
/// let body = payload(Kind::Event, &[b"{}", b"{}"]);
/// assert_eq!(body, br#"{"events":[{},{}],"metrics":[]}"#);
/// ```
pub fn payload<R: AsRef<[u8]>>(kind: Kind, records: &[R]) -> Vec<u8> {
    let len: usize = records.iter().map(|record| record.as_ref().len() + 1).sum();
    let mut body = Vec::with_capacity(len + 512);
    body.push(b'{');
    for (index, each) in Kind::ALL.into_iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.push(b'"');
        body.extend_from_slice(each.key().as_bytes());
        body.extend_from_slice(b"\":[");
        if each == kind {
            for (index, record) in records.iter().enumerate() {
                if index > 0 {
                    body.push(b',');
                }
                body.extend_from_slice(record.as_ref());
            }
        }
        body.push(b']');
    }
    body.push(b'}');
    body
}

/// A new batch id for a batch made `unix_ms` milliseconds after the epoch.
pub fn batch_id(unix_ms: u64) -> String {
    let mut random = [0; 4];
    // Without randomness the time must suffice: each record has its own key anyway.
    SystemRandom::new().fill(&mut random).unwrap_or_default();
    format!("{unix_ms}-{:08x}", u32::from_ne_bytes(random))
}

fn to_json<T: Serialize>(body: &T) -> Vec<u8> {
    // Serializing structs of strings and flags cannot fail.
    serde_json::to_vec(body).unwrap_or_default()
}
