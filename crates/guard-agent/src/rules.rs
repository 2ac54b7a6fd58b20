//! Dynamic rules: fetched on demand, kept for as long as they say.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use guard_wire::rules::DynamicRules;
use guard_wire::sign;
use jiff::Timestamp;

use crate::delivery::transport::{Request, Response};
use crate::lock;
use crate::shared::Shared;

const PATH: &str = "/api/v1/rules";

/// After a fetch that failed or brought no rules, the next is made no sooner.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// A rules document, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// The fields, as the contract names them.
    pub document: DynamicRules,
    /// The document as the backend sent it: a JSON object.
    pub json: String,
}

/// What is known of the rules.
#[derive(Default)]
pub(crate) struct Cache {
    state: Mutex<Known>,
    /// Held by whoever fetches, so that others wait for the same answer.
    pub(crate) fetching: Mutex<()>,
}

#[derive(Default)]
struct Known {
    rules: Option<Arc<Rules>>,
    /// Until when no new fetch is made.
    fresh_until: Option<Instant>,
    updated: Option<Timestamp>,
}

impl Cache {
    /// The last good document, unless it has ended.
    pub(crate) fn current(&self, now: Timestamp) -> Option<Arc<Rules>> {
        let known = lock(&self.state);
        known
            .rules
            .clone()
            .filter(|rules| !rules.document.is_expired(now))
    }

    /// Whether the document may be used without asking the backend.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        lock(&self.state)
            .fresh_until
            .is_some_and(|until| now < until)
    }

    /// When a document was last taken over.
    pub(crate) fn updated(&self) -> Option<Timestamp> {
        lock(&self.state).updated
    }

    fn store(&self, rules: Option<Rules>, now: Instant, wall: Timestamp) {
        let mut known = lock(&self.state);
        let ttl = rules
            .as_ref()
            .and_then(|rules| u64::try_from(rules.document.ttl).ok());
        known.fresh_until = Some(now + ttl.map_or(RETRY_INTERVAL, Duration::from_secs));
        if rules.is_some() {
            known.updated = Some(wall);
        }
        known.rules = rules.map(Arc::new);
    }

    fn keep(&self, now: Instant) {
        lock(&self.state).fresh_until = Some(now + RETRY_INTERVAL);
    }
}

/// Asks the backend. When that fails the last good document stays in force.
pub(crate) async fn fetch(shared: &Shared) {
    let request = Request {
        path: PATH,
        headers: Vec::new(),
        body: None,
    };
    let answer = shared.exchange(request).await;
    let now = shared.clock().now();
    let outcome = answer
        .map_err(|error| error.to_string())
        .and_then(|response| read(&response, shared.config.signing_secret.as_deref()));
    shared.tally.rules_fetched(outcome.is_ok());
    match outcome {
        Ok(Answer::Unchanged) => shared.rules.keep(now),
        Ok(Answer::None) => shared.rules.store(None, now, Timestamp::default()),
        Ok(Answer::Rules(rules)) => {
            let wall = Timestamp::try_from(shared.clock().wall()).unwrap_or_default();
            shared.rules.store(Some(*rules), now, wall);
        }
        Err(why) => {
            shared.rules.keep(now);
            shared.warn("rules", "rules", || {
                format!("rules not fetched: {why}; the last good ones stay in force")
            });
        }
    }
}

#[derive(Debug, PartialEq)]
enum Answer {
    Unchanged,
    None,
    Rules(Box<Rules>),
}

/// Reads the answer to a fetch. A signature that is there must be right.
fn read(response: &Response, secret: Option<&str>) -> Result<Answer, String> {
    match response.status {
        304 => return Ok(Answer::Unchanged),
        204 | 404 => return Ok(Answer::None),
        200 => {}
        status => return Err(format!("backend answered {status}")),
    }
    if let (Some(secret), Some(signature)) = (secret, &response.signature)
        && !sign::verify(&response.body, signature, secret)
    {
        return Err("their signature is wrong; check payload_signing_secret on both sides".into());
    }
    let json = String::from_utf8(response.body.clone()).map_err(|error| error.to_string())?;
    if matches!(json.trim(), "" | "{}" | "null") {
        return Ok(Answer::None);
    }
    let document = DynamicRules::from_json(json.as_bytes()).map_err(|error| error.to_string())?;
    Ok(Answer::Rules(Box::new(Rules { document, json })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str, signature: Option<String>) -> Response {
        Response {
            status,
            signature,
            body: body.as_bytes().to_vec(),
            ..Response::default()
        }
    }

    #[test]
    fn no_rules_is_not_a_failure() {
        for (status, body) in [
            (200, "{}"),
            (200, ""),
            (204, ""),
            (404, "{\"detail\":\"no\"}"),
        ] {
            assert_eq!(read(&answer(status, body, None), None), Ok(Answer::None));
        }
        assert_eq!(read(&answer(304, "", None), None), Ok(Answer::Unchanged));
    }

    #[test]
    fn a_bad_document_is_refused_with_its_field() {
        let why = read(&answer(200, r#"{"ttl": 0}"#, None), None).expect_err("refused");
        assert!(why.contains("`ttl`"), "{why}");
        assert!(read(&answer(200, "<html>", None), None).is_err());
        assert!(read(&answer(500, "", None), None).is_err());
    }

    #[test]
    fn a_wrong_signature_is_refused_and_a_right_one_taken() {
        let body = r#"{"version": 2}"#;
        let right = sign::sign(body.as_bytes(), "secret");
        assert!(read(&answer(200, body, right.clone()), Some("secret")).is_ok());
        assert!(read(&answer(200, body, right), Some("other")).is_err());
    }

    #[test]
    fn a_document_that_has_ended_is_not_given_out() {
        let cache = Cache::default();
        let document = DynamicRules {
            expires_at: Some("2026-11-22T00:00:00Z".to_owned()),
            ..DynamicRules::default()
        };
        let json = String::new();
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        cache.store(
            Some(Rules { document, json }),
            Instant::now(),
            at("2026-11-21T00:00:00Z"),
        );
        assert!(cache.current(at("2026-11-21T23:59:59Z")).is_some());
        assert!(cache.current(at("2026-11-22T00:00:00Z")).is_none());
    }
}
