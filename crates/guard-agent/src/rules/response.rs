//! Parsing a backend's answer about the rules.

use std::time::{Duration, SystemTime};

use guard_wire::rules::DynamicRules;
use guard_wire::{answer, retry_after, sign};
use serde_json::{Map, Value};

use super::Rules;
use crate::delivery::backoff;
use crate::delivery::classify::because;
use crate::transport::Response;

/// The result of an answer.
#[derive(Debug, PartialEq)]
pub(crate) enum RulesAnswer {
    /// The rules have not changed.
    Unchanged,
    /// There are no rules.
    None,
    /// These are the rules.
    Rules {
        /// The validated document.
        rules: Box<Rules>,
        /// True if the backend signed them.
        is_signed: bool,
    },
}

/// Why an answer brought no result.
#[derive(Debug, PartialEq)]
pub(crate) struct Failure {
    /// The reason, for messages.
    pub(crate) why: String,
    /// True if the answer held a document and it was refused.
    pub(crate) is_refusal: bool,
    /// How long the backend asked the agent to wait.
    pub(crate) wait: Option<Duration>,
}

impl Failure {
    pub(crate) fn unanswered(why: String) -> Self {
        Self {
            why,
            is_refusal: false,
            wait: None,
        }
    }

    fn refused(why: impl Into<String>) -> Self {
        Self {
            is_refusal: true,
            ..Self::unanswered(why.into())
        }
    }
}

/// Requirements for the signature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trust<'a> {
    /// `payload_signing_secret`: if there is a signature, it must be valid.
    pub(crate) secret: Option<&'a str>,
    /// This backend has signed rules before, so a signature is required.
    pub(crate) has_signed: bool,
}

/// Parses the answer to a fetch at wall time `now`.
pub(crate) fn read(
    response: &Response,
    trust: Trust<'_>,
    now: SystemTime,
) -> Result<RulesAnswer, Failure> {
    match response.status {
        304 => return Ok(RulesAnswer::Unchanged),
        200 | 204 | 404 => {}
        status => {
            let reason = answer::reason(&response.body);
            let because = because(reason.as_deref(), "");
            return Err(Failure {
                wait: wait(response, now),
                ..Failure::unanswered(format!("backend answered {status}{because}"))
            });
        }
    }
    check_origin(response)?;
    let is_signed = check_signature(response, trust)?;
    if response.status != 200 {
        return Ok(RulesAnswer::None);
    }
    let (document, json) = DynamicRules::with_json(&response.body)
        .map_err(|error| Failure::refused(error.to_string()))?;
    let visible = json.bytes().filter(|byte| !byte.is_ascii_whitespace());
    if visible.eq(*b"{}") {
        return Ok(RulesAnswer::None);
    }
    Ok(RulesAnswer::Rules {
        rules: Box::new(Rules { document, json }),
        is_signed,
    })
}

/// Refuses answers that no backend wrote, such as the page of a proxy or an ingress.
fn check_origin(response: &Response) -> Result<(), Failure> {
    let Response { status, body, .. } = response;
    let found = answer::foreign(response.content_type.as_deref(), body);
    let is_object = || serde_json::from_slice::<Map<String, Value>>(body).is_ok();
    let found = match (status, found) {
        (204, _) => return Ok(()),
        (200, Some(found)) => return Err(Failure::refused(format!("they are {found}"))),
        (_, Some(found)) => found,
        (200, None) if body.trim_ascii().is_empty() => "nothing".to_owned(),
        (404, None) if !is_object() => "what is not JSON".to_owned(),
        _ => return Ok(()),
    };
    Err(Failure::unanswered(format!(
        "endpoint answered {status} with {found}, as no Guard backend does; look for a proxy \
         before it"
    )))
}

/// The requested wait, as for records: a 429 always means a wait, and an explicit one wins.
fn wait(response: &Response, now: SystemTime) -> Option<Duration> {
    let header = response.retry_after.as_deref();
    (header.is_some() || response.status == 429)
        .then(|| backoff::retry_after(retry_after::seconds(header, now, 60.0)))
}

/// Returns true if the body is signed. Without a secret the agent cannot check that.
fn check_signature(response: &Response, trust: Trust<'_>) -> Result<bool, Failure> {
    let Some(secret) = trust.secret else {
        return Ok(false);
    };
    match &response.signature {
        Some(signature) if sign::verify(&response.body, signature, secret) => Ok(true),
        Some(_) => Err(Failure::refused(
            "their signature is wrong; check payload_signing_secret on both sides",
        )),
        None if trust.has_signed => Err(Failure::refused(
            "they are not signed, though this backend signed earlier ones; \
             check payload_signing_secret on its side",
        )),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSIGNED: Trust<'_> = Trust {
        secret: None,
        has_signed: false,
    };

    fn answer(status: u16, body: &str, signature: Option<String>) -> Response {
        Response {
            status,
            signature,
            body: body.as_bytes().to_vec(),
            ..Response::default()
        }
    }

    fn outcome(response: &Response, trust: Trust<'_>) -> Result<RulesAnswer, Failure> {
        read(response, trust, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn no_rules_is_not_a_failure() {
        for (status, body) in [
            (200, "{}"),
            (200, " {\n} "),
            (200, "\u{feff}{}"),
            (204, ""),
            (404, "{\"detail\":\"no\"}"),
        ] {
            let read = outcome(&answer(status, body, None), UNSIGNED);
            assert_eq!(read, Ok(RulesAnswer::None));
        }
        let read = outcome(&answer(304, "", None), UNSIGNED);
        assert_eq!(read, Ok(RulesAnswer::Unchanged));
    }

    #[test]
    fn answers_that_no_backend_wrote_are_ignored() {
        let page = "<html><h1>404 Not Found</h1></html>";
        for (status, body, words) in [
            (200, "", "answered 200 with nothing"),
            (200, " \n", "answered 200 with nothing"),
            (200, page, "they are HTML, which begins \"<html>"),
            (200, "[]", "they are JSON that is not an object"),
            (200, "null", "they are JSON that is not an object"),
            (200, "not found", "not a rules document"),
            (404, "", "answered 404 with what is not JSON"),
            (
                404,
                "default backend - 404",
                "answered 404 with what is not JSON",
            ),
            (404, page, "answered 404 with HTML"),
            (404, "[]", "answered 404 with JSON that is not an object"),
        ] {
            let failure = outcome(&answer(status, body, None), UNSIGNED).expect_err(body);
            assert!(failure.why.contains(words), "{}", failure.why);
        }
        let html = Response {
            content_type: Some("text/html".to_owned()),
            ..answer(404, "{}", None)
        };
        assert!(outcome(&html, UNSIGNED).is_err());
    }

    #[test]
    fn an_invalid_document_is_refused_with_its_field_and_an_error_is_not_a_document() {
        let bad = outcome(&answer(200, r#"{"ttl": 0}"#, None), UNSIGNED).expect_err("refused");
        assert!(bad.is_refusal && bad.why.contains("`ttl`"), "{bad:?}");
        let page = outcome(&answer(200, "<html>", None), UNSIGNED).expect_err("refused");
        assert!(page.is_refusal);
        let error = outcome(&answer(500, "", None), UNSIGNED).expect_err("failed");
        assert!(!error.is_refusal);
    }

    #[test]
    fn a_backend_that_asks_for_a_wait_gets_it() {
        let busy = Response {
            retry_after: Some("7".to_owned()),
            ..answer(503, "", None)
        };
        let failure = outcome(&busy, UNSIGNED).expect_err("failed");
        assert_eq!(failure.wait, Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_backend_that_has_signed_must_keep_signing_and_a_wrong_signature_is_always_refused() {
        let body = r#"{"version": 2}"#;
        let right = sign::sign(body.as_bytes(), "secret");
        let wrong = sign::sign(body.as_bytes(), "other");
        for (signature, has_signed, taken) in [
            (right.clone(), false, Some(true)),
            (right.clone(), true, Some(true)),
            (wrong.clone(), false, None),
            (wrong.clone(), true, None),
            (None, false, Some(false)),
            (None, true, None),
        ] {
            let trust = Trust {
                secret: Some("secret"),
                has_signed,
            };
            let read = match outcome(&answer(200, body, signature.clone()), trust) {
                Ok(RulesAnswer::Rules { is_signed, .. }) => Some(is_signed),
                Ok(other) => panic!("{other:?}"),
                Err(failure) => {
                    assert!(failure.is_refusal);
                    None
                }
            };
            assert_eq!(read, taken, "{signature:?}, {has_signed}");
        }
        // "No rules" needs a signature too, because any proxy can answer 404.
        for (status, body) in [(404, "{}"), (204, ""), (200, "{}")] {
            let trust = |has_signed| Trust {
                secret: Some("secret"),
                has_signed,
            };
            let unsigned = answer(status, body, None);
            assert_eq!(outcome(&unsigned, trust(false)), Ok(RulesAnswer::None));
            assert!(outcome(&unsigned, trust(true)).is_err_and(|failure| failure.is_refusal));
            let signed = answer(status, body, sign::sign(body.as_bytes(), "secret"));
            assert_eq!(outcome(&signed, trust(true)), Ok(RulesAnswer::None));
        }
        // Without a secret a signature cannot be checked.
        assert!(outcome(&answer(200, body, wrong), UNSIGNED).is_ok());
    }
}
