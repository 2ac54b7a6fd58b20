//! Classifies answers: what an answer means for the batch. When to retry is decided in
//! [`super::backoff`].

use std::time::SystemTime;

use guard_wire::{answer, retry_after};

use crate::transport::{Response, TransportError};

/// The decision about a batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// The backend confirmed the batch.
    Delivered,
    /// Keep and try again on the schedule.
    Retry(DeliveryError),
    /// Keep and try again after this many seconds, never earlier.
    Wait(f64, DeliveryError),
    /// Too large, but smaller batches may be accepted.
    TooLarge,
    /// The backend refused a record or the whole batch. Holds the backend's reason.
    Refused(Option<String>),
}

/// Why a batch was not delivered. Used for messages and by the breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeliveryError {
    /// No answer: no connection, a timeout, or an incomplete answer.
    Unreachable(String),
    /// The application's own transport failed.
    Transport(String),
    /// A 2xx answer saying that the batch was not accepted, with the backend's reason.
    Denied(Option<String>),
    /// A 2xx answer that does not come from a Guard backend: its status and its content.
    Foreign(u16, String),
    /// A redirect. Redirects are never followed.
    Redirect(u16),
    /// 401 or 403: the key is wrong. Holds the backend's reason.
    Unauthorized(u16, Option<String>),
    /// 404: the endpoint is wrong.
    NotFound,
    /// 429.
    Throttled,
    /// Any other status, and the backend's reason.
    Status(u16, Option<String>),
}

impl DeliveryError {
    /// True if the error counts toward opening the breaker. A backend that asks the agent to
    /// wait is alive, so that does not count.
    pub(crate) fn opens_breaker(&self) -> bool {
        !matches!(self, DeliveryError::Throttled)
    }

    /// Describes the error and the remedy.
    pub(crate) fn message(&self) -> String {
        match self {
            DeliveryError::Unreachable(why) => {
                format!("backend unreachable ({why}); check the endpoint and the network")
            }
            DeliveryError::Transport(why) => {
                format!("the program's own transport failed ({why}); see what it does there")
            }
            DeliveryError::Denied(reason) => format!(
                "backend answered success:false or errors{}",
                because(reason.as_deref(), "; see the backend's log")
            ),
            DeliveryError::Foreign(status, found) => format!(
                "endpoint answered {status} with {found}: not a Guard backend's answer; set \
                 endpoint to where the API is, and look for a proxy or a login page before it"
            ),
            DeliveryError::Redirect(status) => format!(
                "backend answered {status}, a redirect, which is never followed; \
                 set endpoint to where the API is"
            ),
            DeliveryError::Unauthorized(status, reason) => format!(
                "backend answered {status}{}; check api_key, project_id and payload_signing_secret",
                because(reason.as_deref(), "")
            ),
            DeliveryError::NotFound => {
                "backend answered 404; check that endpoint is a Guard API".into()
            }
            DeliveryError::Throttled => {
                "backend answered 429; it asks for fewer requests; raise buffer_size".into()
            }
            DeliveryError::Status(status, reason) => format!(
                "backend answered {status}{}",
                because(reason.as_deref(), "; see the backend's log")
            ),
        }
    }
}

/// Formats the backend's reason to follow a statement; `otherwise` if it gave none.
pub(crate) fn because(reason: Option<&str>, otherwise: &str) -> String {
    reason.map_or_else(|| otherwise.to_owned(), |reason| format!(": {reason:?}"))
}

/// Classifies an answer. `now` is needed for a `Retry-After` that is a date. A 429
/// without a readable header waits 60 seconds.
pub(crate) fn classify(answer: &Result<Response, TransportError>, now: SystemTime) -> Verdict {
    let response = match answer {
        Ok(response) => response,
        Err(TransportError::Refused(why)) => {
            return Verdict::Retry(DeliveryError::Transport(why.clone()));
        }
        Err(error) => return Verdict::Retry(DeliveryError::Unreachable(error.to_string())),
    };
    let reason = || answer::reason(&response.body);
    match response.status {
        status @ 200..=299 => {
            let content_type = response.content_type.as_deref();
            if let Some(found) = answer::foreign(content_type, &response.body) {
                Verdict::Retry(DeliveryError::Foreign(status, found))
            } else if answer::denies(&response.body) {
                Verdict::Retry(DeliveryError::Denied(reason()))
            } else {
                Verdict::Delivered
            }
        }
        status @ 300..=399 => Verdict::Retry(DeliveryError::Redirect(status)),
        400 | 422 => Verdict::Refused(reason()),
        status @ (401 | 403) => Verdict::Retry(DeliveryError::Unauthorized(status, reason())),
        404 => Verdict::Retry(DeliveryError::NotFound),
        413 => Verdict::TooLarge,
        429 => {
            let header = response.retry_after.as_deref();
            Verdict::Wait(
                retry_after::seconds(header, now, 60.0),
                DeliveryError::Throttled,
            )
        }
        503 if response.retry_after.is_some() => {
            let header = response.retry_after.as_deref();
            match retry_after::seconds(header, now, f64::NAN) {
                seconds if seconds.is_nan() => Verdict::Retry(DeliveryError::Status(503, reason())),
                seconds => Verdict::Wait(seconds, DeliveryError::Status(503, reason())),
            }
        }
        status => Verdict::Retry(DeliveryError::Status(status, reason())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, retry_after: Option<&str>, body: &str) -> Verdict {
        let response = Response {
            status,
            retry_after: retry_after.map(str::to_owned),
            body: body.as_bytes().to_vec(),
            ..Response::default()
        };
        classify(&Ok(response), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn every_answer_of_the_contract_has_its_verdict() {
        use DeliveryError::{Denied, NotFound, Redirect, Status, Throttled, Unauthorized};
        use Verdict::{Delivered, Refused, Retry, TooLarge, Wait};
        let table = [
            (200, None, r#"{"success":true,"errors":null}"#, Delivered),
            (200, None, r#"{"success":true,"errors":[]}"#, Delivered),
            (201, None, "", Delivered),
            (202, None, "", Delivered),
            (204, None, "", Delivered),
            (200, None, "{}", Delivered),
            (200, None, "thanks", Delivered),
            (200, None, r#"{"success":false}"#, Retry(Denied(None))),
            (
                200,
                None,
                r#"{"success":true,"errors":["x"]}"#,
                Retry(Denied(Some("x".into()))),
            ),
            (302, None, "", Retry(Redirect(302))),
            (400, None, "", Refused(None)),
            (422, None, "", Refused(None)),
            (401, None, "", Retry(Unauthorized(401, None))),
            (403, None, "", Retry(Unauthorized(403, None))),
            (404, None, "", Retry(NotFound)),
            (413, None, "", TooLarge),
            (429, Some("7"), "", Wait(7.0, Throttled)),
            (
                429,
                Some("Thu, 01 Jan 1970 00:01:40 GMT"),
                "",
                Wait(100.0, Throttled),
            ),
            (429, Some("soon"), "", Wait(60.0, Throttled)),
            (429, None, "", Wait(60.0, Throttled)),
            (500, None, "", Retry(Status(500, None))),
            (503, None, "", Retry(Status(503, None))),
            (503, Some("9"), "", Wait(9.0, Status(503, None))),
            (503, Some("soon"), "", Retry(Status(503, None))),
            (418, None, "", Retry(Status(418, None))),
        ];
        for (status, header, body, expected) in table {
            assert_eq!(
                verdict(status, header, body),
                expected,
                "{status} {header:?} {body}"
            );
        }
    }

    #[test]
    fn a_message_gives_the_backends_reason_on_one_line() {
        let disk_full = Some("disk\nfull".to_owned());
        for (error, message) in [
            (
                DeliveryError::Status(503, disk_full.clone()),
                r#"backend answered 503: "disk\nfull""#,
            ),
            (
                DeliveryError::Status(503, None),
                "backend answered 503; see the backend's log",
            ),
            (
                DeliveryError::Denied(disk_full),
                r#"backend answered success:false or errors: "disk\nfull""#,
            ),
        ] {
            assert_eq!(error.message(), message);
        }
    }

    #[test]
    fn a_2xx_from_another_server_keeps_the_batch_and_describes_the_answer() {
        let verdict = |content_type: Option<&str>, body: &str| {
            let response = Response {
                status: 200,
                content_type: content_type.map(str::to_owned),
                body: body.as_bytes().to_vec(),
                ..Response::default()
            };
            classify(&Ok(response), SystemTime::UNIX_EPOCH)
        };
        let page = "<!doctype html><title>Sign in</title>";
        for (content_type, body, words) in [
            (
                Some("text/html; charset=utf-8"),
                page,
                "HTML, which begins \"<!doctype html>",
            ),
            (None, page, "HTML"),
            (
                None,
                "[]",
                "JSON that is not an object, which begins \"[]\"",
            ),
        ] {
            let Verdict::Retry(error) = verdict(content_type, body) else {
                panic!("{body}");
            };
            assert!(error.opens_breaker());
            let message = error.message();
            assert!(
                message.starts_with("endpoint answered 200 with "),
                "{message}"
            );
            assert!(message.contains(words), "{message}");
        }
        assert_eq!(verdict(Some("text/html"), ""), Verdict::Delivered);
    }

    #[test]
    fn a_failed_custom_transport_is_not_reported_as_an_unreachable_backend() {
        let refused = Err(TransportError::Refused("it returned False".into()));
        let verdict = classify(&refused, SystemTime::UNIX_EPOCH);
        let error = DeliveryError::Transport("it returned False".into());
        assert_eq!(verdict, Verdict::Retry(error.clone()));
        assert!(
            error
                .message()
                .contains("own transport failed (it returned False)")
        );
    }

    #[test]
    fn only_a_request_to_wait_does_not_count_for_the_breaker() {
        assert!(!DeliveryError::Throttled.opens_breaker());
        assert!(DeliveryError::Unreachable("refused".into()).opens_breaker());
        assert!(DeliveryError::Unauthorized(401, None).opens_breaker());
    }
}
