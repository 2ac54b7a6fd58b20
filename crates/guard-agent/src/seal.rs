//! Sealing: builds a request body from records. The body stays the same over all retries.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use guard_wire::encrypt::EncryptError;
use guard_wire::envelope::{self, BatchHead, ENCRYPTED_PATH, Envelope};
use guard_wire::{Kind, header, sign};
use jiff::Timestamp;

use crate::config::Config;
use crate::transport::Request;

/// Compression level. Telemetry is repetitive, so even the lowest level shrinks it to about
/// a tenth.
const EFFORT: u32 = 1;

/// Builds requests from records under one configuration.
pub(crate) struct Sealer {
    envelope: Envelope,
    config: Config,
}

/// A batch ready to post.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    /// The request. Cheap to clone.
    pub(crate) request: Request,
    /// Size of the body before compression. Backends limit this size.
    pub(crate) plain_len: usize,
}

impl Sealer {
    pub(crate) fn new(config: &Config) -> Self {
        let settings = &config.settings;
        Self {
            envelope: Envelope {
                project_id: settings
                    .project_id
                    .clone()
                    .unwrap_or_else(|| "default".to_owned()),
                agent_version: settings.agent_version.clone(),
                guard_version: settings.guard_version.clone(),
                guard_core_version: settings.guard_core_version.clone(),
            },
            config: config.clone(),
        }
    }

    /// Number of record bytes that fit into a body of `max` bytes.
    pub(crate) fn room(&self, max: usize) -> usize {
        let room = max.saturating_sub(self.envelope.overhead());
        match self.config.encryptor {
            // Nonce and tag take 28 bytes, and base64 turns 3 bytes into 4.
            Some(_) => (room / 4 * 3).saturating_sub(64),
            None => room,
        }
    }

    /// Signs, encrypts and compresses a batch. With an encryption key, nothing is ever posted in
    /// plain text.
    pub(crate) fn seal<R: AsRef<[u8]>>(
        &self,
        kind: Kind,
        records: &[R],
        now: Timestamp,
    ) -> Result<Sealed, EncryptError> {
        let batch_id = envelope::batch_id(u64::try_from(now.as_millisecond()).unwrap_or(0));
        let (path, body) = match &self.config.encryptor {
            Some(encryptor) => {
                let payload = encryptor.encrypt(&envelope::payload(kind, records))?;
                (ENCRYPTED_PATH, self.envelope.encrypted(&batch_id, &payload))
            }
            None => (kind.path(), self.plain(kind, records, batch_id, now)),
        };
        let plain_len = body.len();
        let mut headers = vec![("Content-Type", "application/json".to_owned())];
        if let Some(signature) = self.sign(&body) {
            headers.push((header::SIGNATURE, signature));
        }
        let body = if self.is_compressed(plain_len) {
            headers.push(("Content-Encoding", "gzip".to_owned()));
            gzip(&body)
        } else {
            body
        };
        let body = Some(Bytes::from(body));
        let request = Request {
            headers,
            body,
            ..Request::new(path)
        };
        Ok(Sealed { request, plain_len })
    }

    fn plain<R: AsRef<[u8]>>(
        &self,
        kind: Kind,
        records: &[R],
        batch_id: String,
        now: Timestamp,
    ) -> Vec<u8> {
        let records_len: usize = records.iter().map(|record| record.as_ref().len()).sum();
        let head = BatchHead {
            batch_id,
            created_at: now.to_string(),
            compressed: self.is_compressed(records_len + self.envelope.overhead()),
        };
        self.envelope.plain(&head, kind, records)
    }

    /// Builds a signed request with a small JSON body, such as a status report.
    pub(crate) fn post(&self, path: &'static str, body: Vec<u8>) -> Request {
        let mut headers = vec![("Content-Type", "application/json".to_owned())];
        if let Some(signature) = self.sign(&body) {
            headers.push((header::SIGNATURE, signature));
        }
        let body = Some(Bytes::from(body));
        Request {
            headers,
            body,
            ..Request::new(path)
        }
    }

    fn sign(&self, body: &[u8]) -> Option<String> {
        sign::sign(body, self.config.signing_secret.as_deref()?)
    }

    fn is_compressed(&self, len: usize) -> bool {
        let settings = &self.config.settings;
        settings.compression_enabled && len >= settings.compression_threshold
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::new(EFFORT));
    // Writing into a Vec cannot fail.
    let written = encoder.write_all(body);
    debug_assert!(written.is_ok(), "a Vec takes everything");
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use serde_json::{Value, json};

    use super::*;
    use crate::builder::AgentBuilder;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn builder() -> AgentBuilder {
        AgentBuilder::new("a-valid-api-key".to_owned())
    }

    fn seal(builder: AgentBuilder, records: &[&str]) -> Sealed {
        let config = builder.validate().expect("valid");
        let now = Timestamp::from_second(1_795_357_738).expect("a time");
        Sealer::new(&config)
            .seal(Kind::Metric, records, now)
            .expect("sealed")
    }

    fn header<'a>(sealed: &'a Sealed, name: &str) -> Option<&'a str> {
        let mut headers = sealed.request.headers.iter();
        headers
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    fn body(sealed: &Sealed) -> Vec<u8> {
        sealed.request.body.clone().expect("a body").to_vec()
    }

    #[test]
    fn a_small_batch_is_the_contracts_envelope() {
        let sealed = seal(builder().project_id("shop"), &["{\"n\":1}", "{\"n\":2}"]);
        let mut got: Value = serde_json::from_slice(&body(&sealed)).expect("JSON");
        let batch_id = got["batch_id"].take();
        assert!(
            batch_id
                .as_str()
                .expect("text")
                .starts_with("1795357738000-")
        );
        assert_eq!(
            got,
            json!({
                "project_id": "shop", "events": [], "metrics": [{"n": 1}, {"n": 2}], "batch_id": null,
                "created_at": "2026-11-22T14:28:58Z", "compressed": false,
                "agent_version": env!("CARGO_PKG_VERSION"), "guard_version": null,
                "guard_core_version": null,
            })
        );
        assert_eq!(sealed.request.path, "/api/v1/metrics");
        assert_eq!(header(&sealed, "Content-Encoding"), None);
    }

    #[test]
    fn a_large_batch_is_signed_and_then_compressed() {
        let record = format!("{{\"text\":\"{}\"}}", "x".repeat(2000));
        let sealed = seal(builder().payload_signing_secret("k"), &[&record]);
        assert_eq!(header(&sealed, "Content-Encoding"), Some("gzip"));
        let mut plain = Vec::new();
        GzDecoder::new(&body(&sealed)[..])
            .read_to_end(&mut plain)
            .expect("gzip");
        assert_eq!(plain.len(), sealed.plain_len);
        let signature = header(&sealed, header::SIGNATURE).expect("signed");
        assert!(sign::verify(&plain, signature, "k"));
        let json: Value = serde_json::from_slice(&plain).expect("JSON");
        assert_eq!(json["compressed"], true);
    }

    #[test]
    fn an_encrypted_batch_holds_no_record_in_plain_text() {
        let sealed = seal(
            builder().project_encryption_key(KEY),
            &["{\"n\":\"visible\"}"],
        );
        let json: Value = serde_json::from_slice(&body(&sealed)).expect("JSON");
        assert_eq!(sealed.request.path, "/api/v1/events/encrypted");
        assert!(!json.to_string().contains("visible"));
        let payload = json["encrypted_payload"].as_str().expect("text");
        let encryptor = guard_wire::encrypt::Encryptor::new(KEY).expect("a key");
        let plain = encryptor.decrypt(payload).expect("opens");
        assert_eq!(plain, br#"{"events":[],"metrics":[{"n":"visible"}]}"#);
    }

    #[test]
    fn records_that_fill_the_room_make_a_body_within_the_limit() {
        for builder in [builder(), builder().project_encryption_key(KEY)] {
            let config = builder
                .project_id("p".repeat(50))
                .validate()
                .expect("valid");
            let sealer = Sealer::new(&config);
            let record = "x".repeat(sealer.room(10_000) - 1);
            let sealed = sealer
                .seal(Kind::Event, &[record], Timestamp::now())
                .expect("sealed");
            assert!(sealed.plain_len <= 10_000, "{}", sealed.plain_len);
            assert!(sealed.plain_len > 9_800, "{}", sealed.plain_len);
        }
    }
}
