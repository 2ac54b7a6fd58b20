//! What a backend's answer says of the rules.

use std::time::{Duration, SystemTime};

use guard_wire::rules::DynamicRules;
use guard_wire::{answer, retry_after, sign};
use serde_json::{Map, Value};

use super::Rules;
use crate::delivery::backoff;
use crate::delivery::classify::because;
use crate::transport::Response;

/// What was learned.
#[derive(Debug, PartialEq)]
pub(crate) enum RulesAnswer {
    /// They are as they were.
    Unchanged,
    /// There are none.
    None,
    /// They are these.
    Rules {
        /// Checked as a whole.
        rules: Box<Rules>,
        /// Whether the backend signed them.
        is_signed: bool,
    },
}

/// Why nothing was learned.
#[derive(Debug, PartialEq)]
pub(crate) struct Failure {
    /// For people.
    pub(crate) why: String,
    /// Whether there was a document, which was refused.
    pub(crate) is_refusal: bool,
    /// How long the backend wants to be left alone.
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

/// What is asked of a signature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trust<'a> {
    /// `payload_signing_secret`: a signature that is there must be right.
    pub(crate) secret: Option<&'a str>,
    /// This backend has signed rules before: one must be there.
    pub(crate) has_signed: bool,
}

/// Reads the answer to a fetch at wall time `now`.
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

/// Refuses what no backend wrote: the page of a proxy or an ingress says nothing of the rules.
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

/// As with records: a 429 means a wait, and what names one means that one.
fn wait(response: &Response, now: SystemTime) -> Option<Duration> {
    let header = response.retry_after.as_deref();
    (header.is_some() || response.status == 429)
        .then(|| backoff::retry_after(retry_after::seconds(header, now, 60.0)))
}

/// Whether the body is signed, as far as the agent has a secret to tell.
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
    fn what_no_backend_wrote_says_nothing_of_the_rules() {
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
    fn a_bad_document_is_refused_with_its_field_and_an_error_is_no_document() {
        let bad = outcome(&answer(200, r#"{"ttl": 0}"#, None), UNSIGNED).expect_err("refused");
        assert!(bad.is_refusal && bad.why.contains("`ttl`"), "{bad:?}");
        let page = outcome(&answer(200, "<html>", None), UNSIGNED).expect_err("refused");
        assert!(page.is_refusal);
        let error = outcome(&answer(500, "", None), UNSIGNED).expect_err("failed");
        assert!(!error.is_refusal);
    }

    #[test]
    fn a_backend_that_asks_to_be_left_alone_is() {
        let busy = Response {
            retry_after: Some("7".to_owned()),
            ..answer(503, "", None)
        };
        let failure = outcome(&busy, UNSIGNED).expect_err("failed");
        assert_eq!(failure.wait, Some(Duration::from_secs(7)));
    }

    #[test]
    fn once_a_backend_has_signed_it_must_go_on_and_a_wrong_signature_is_always_refused() {
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
        // That there are no rules is a statement, too: any proxy answers 404.
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
        // Without a secret there is nothing to check a signature with.
        assert!(outcome(&answer(200, body, wrong), UNSIGNED).is_ok());
    }
}
