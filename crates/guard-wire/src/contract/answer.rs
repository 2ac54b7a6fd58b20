//! Answers of a backend.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The answer to a batch.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IngestAnswer {
    /// Whether the backend accepted the batch.
    pub success: bool,
    /// Events found in the batch.
    pub events_received: u64,
    /// Events dropped because their timestamp cannot be read.
    pub events_dropped_invalid_timestamp: u64,
    /// Metrics found in the batch.
    pub metrics_received: u64,
    /// Events that are stored, now or by an earlier batch.
    pub events_processed: u64,
    /// Metrics that are stored, now or by an earlier batch.
    pub metrics_processed: u64,
    /// Null if there are none; otherwise agents send the whole batch again.
    pub errors: Option<Vec<String>>,
}

/// The answer to a status report.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StatusAnswer {
    /// Whether the backend accepted the report.
    pub success: bool,
    /// A message for people.
    pub message: String,
}

/// How many characters of a foreign answer are quoted.
const QUOTED: usize = 60;

/// Describes the body of an answer that no Guard backend wrote: HTML according to `Content-Type`
/// or its first byte, as from a login page or a proxy, or JSON that is not an object. Returns
/// `None` for an empty body and for other text.
///
/// ```
/// use guard_wire::answer::foreign;
///
/// assert_eq!(foreign(Some("application/json"), b"{}"), None);
/// assert_eq!(foreign(Some("text/html"), b""), None);
/// let found = foreign(None, b"<html>Sign in</html>").unwrap();
/// assert_eq!(found, "HTML, which begins \"<html>Sign in</html>\"");
/// assert!(foreign(None, b"[]").unwrap().starts_with("JSON that is not an object"));
/// ```
pub fn foreign(content_type: Option<&str>, body: &[u8]) -> Option<String> {
    let body = without_mark(body).trim_ascii();
    let media = content_type.unwrap_or_default().split(';').next();
    let media = media.unwrap_or_default().trim().to_ascii_lowercase();
    let is_html = matches!(&*media, "text/html" | "application/xhtml+xml");
    let is_json = || serde_json::from_slice::<IgnoredAny>(body).is_ok();
    let what = match body.first()? {
        b'<' => "HTML",
        _ if is_html => "HTML",
        b'{' => return None,
        b'[' => "JSON that is not an object",
        _ if is_json() => "JSON that is not an object",
        _ if media.ends_with("json") => "what is not JSON",
        _ => return None,
    };
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * QUOTED)]);
    let begin: String = text.chars().take(QUOTED).collect();
    Some(format!("{what}, which begins {begin:?}"))
}

/// The body without a byte order mark, which some programs write first.
pub(crate) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// Whether the body of a 2xx answer says that the backend did not accept the batch: `success` is
/// false, or `errors` is not empty. False for an empty body, for `{}`, and for a body that is
/// not a JSON object; [`foreign`] finds bodies that no backend wrote.
///
/// If the body was cut off, or is not valid JSON (it contains `NaN`), the readable part counts.
/// If it ends before `success` is true, the batch counts as not accepted: a batch that is sent
/// again is stored once, but a batch that is dropped is lost.
///
/// ```
/// use guard_wire::answer::denies;
///
/// assert!(!denies(b""));
/// assert!(!denies(br#"{"success": true, "errors": []}"#));
/// assert!(denies(br#"{"success": false}"#));
/// assert!(denies(br#"{"success": true, "errors": ["disk full"]}"#));
/// assert!(denies(br#"{"errors": ["disk full", "and so on, for more than is re"#));
/// ```
pub fn denies(body: &[u8]) -> bool {
    let mut rest = without_mark(body);
    if !rest.trim_ascii_start().starts_with(b"{") {
        return false;
    }
    let (mut depth, mut was_taken) = (0_usize, false);
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return false;
                }
            }
            b'"' => {
                let Some((text, behind)) = split_string(tail) else {
                    break;
                };
                rest = behind;
                let value = behind.trim_ascii_start().strip_prefix(b":");
                let value = value.filter(|_| depth == 1).map(<[u8]>::trim_ascii_start);
                match (text, value) {
                    (b"success", Some(value)) if value.starts_with(b"false") => return true,
                    (b"success", Some(value)) => was_taken |= value.starts_with(b"true"),
                    (b"errors", Some(value)) if holds_anything(value) => return true,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    !was_taken
}

/// How many records of an accepted batch the backend received but did not process, according to
/// its answer.
///
/// ```
/// use guard_wire::answer::left_out;
///
/// assert_eq!(left_out(br#"{"events_received": 5, "events_processed": 3}"#), 2);
/// assert_eq!(left_out(b"{}"), 0);
/// ```
pub fn left_out(body: &[u8]) -> u64 {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Counts {
        events_received: u64,
        metrics_received: u64,
        events_processed: Option<u64>,
        metrics_processed: Option<u64>,
    }
    let counts: Counts = serde_json::from_slice(body).unwrap_or_default();
    let missing = |received: u64, processed: Option<u64>| {
        processed.map_or(0, |processed| received.saturating_sub(processed))
    };
    let events = missing(counts.events_received, counts.events_processed);
    events.saturating_add(missing(counts.metrics_received, counts.metrics_processed))
}

/// How many characters of a reason are kept.
const MAX_REASON: usize = 200;

/// The backend's reason for refusing a batch or one of its records: `detail`, the first of
/// `errors`, the first of the `invalid` records, or `message`. At most 200 characters. The text
/// comes from outside: print it with `{:?}`, which escapes control characters.
///
/// ```
/// use guard_wire::answer::reason;
///
/// assert_eq!(reason(br#"{"detail": "disk full"}"#).as_deref(), Some("disk full"));
/// assert_eq!(reason(br#"{"errors": ["disk full"]}"#).as_deref(), Some("disk full"));
/// let left_out = br#"{"invalid": [{"kind": "event", "index": 3, "reason": "no timestamp"}]}"#;
/// assert_eq!(reason(left_out).as_deref(), Some("no timestamp"));
/// assert_eq!(reason(b"{}"), None);
/// ```
pub fn reason(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(without_mark(body)).ok()?;
    ["detail", "errors", "invalid", "message"]
        .iter()
        .find_map(|key| in_words(&answer[*key]))
        .map(|text| text.chars().take(MAX_REASON).collect())
}

/// The text of a value: the text itself, that of the first entry of a list, or that of an
/// object's `reason` or `msg`.
fn in_words(value: &Value) -> Option<String> {
    match value {
        Value::Array(list) => in_words(list.first()?),
        Value::Object(object) => {
            let text = object.get("reason").or_else(|| object.get("msg"));
            Some(text.map_or_else(|| value.to_string(), text_of))
        }
        Value::Null | Value::Bool(_) => None,
        other => Some(text_of(other)).filter(|text| !text.is_empty()),
    }
}

fn text_of(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Splits JSON after an opening quote: the text of the string, and the rest after it.
fn split_string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut is_escaped = false;
    let end = text.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    })?;
    Some((&text[..end], &text[end + 1..]))
}

/// Whether the JSON value at the start is neither empty, null, false nor zero.
fn holds_anything(value: &[u8]) -> bool {
    let (first, tail) = value.split_first().unwrap_or((&b'n', &[]));
    let next = tail.trim_ascii_start().first();
    match first {
        b'[' => next != Some(&b']'),
        b'{' => next != Some(&b'}'),
        b'"' => tail.first() != Some(&b'"'),
        b'n' | b'f' => false,
        _ => {
            let is_of_it = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
            let token = value.iter().copied().take_while(is_of_it);
            let token = String::from_utf8(token.collect()).unwrap_or_default();
            token.parse() != Ok(0.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_can_be_read_of_a_cut_or_odd_body_counts() {
        let errors = format!(
            r#"{{"detail": [1, "]}}"], "errors": ["{}"#,
            "x".repeat(90_000)
        );
        for denial in [
            errors.as_str(),
            r#"{"x": NaN, "success": false}"#,
            "\u{feff}{\"success\": false}",
            r#"{"detail": "success\": true", "rows": ["#,
            r#"{"detail": {"success": true}, "#,
            r#"{"success": true, "errors": 2}"#,
            r#"{"success": true, "errors": {"x": 1}}"#,
        ] {
            assert!(denies(denial.as_bytes()), "{denial:.80}");
        }
        for other in [
            r#"{"success": true, "rows": [1, 2"#,
            r#"{"x": Infinity, "success": true, "errors": 0.0}"#,
            r#"{"success": true, "errors": ""}"#,
            r#"{"success": true, "errors": { } }"#,
            r#"{"detail": {"success": false, "errors": ["of another"]}}"#,
            r#"[{"success": false}]"#,
            "thanks",
        ] {
            assert!(!denies(other.as_bytes()), "{other:.80}");
        }
    }

    #[test]
    fn a_reason_is_found_in_each_form_that_backends_give_it() {
        for (body, expected) in [
            (
                r#"{"detail": "disk full", "message": "no"}"#,
                Some("disk full"),
            ),
            (
                r#"{"success": false, "message": "disk full"}"#,
                Some("disk full"),
            ),
            (
                r#"{"success": true, "errors": ["disk full", "x"]}"#,
                Some("disk full"),
            ),
            (
                r#"{"errors": null, "invalid": [{"reason": "too long"}]}"#,
                Some("too long"),
            ),
            (
                r#"{"detail": [{"loc": ["body"], "msg": "Field required"}]}"#,
                Some("Field required"),
            ),
            (r#"{"detail": {"code": 7}}"#, Some(r#"{"code":7}"#)),
            (r#"{"errors": 2}"#, Some("2")),
            (r#"{"success": true, "errors": []}"#, None),
            (r#"{"detail": ""}"#, None),
            (r#"["disk full"]"#, None),
            ("disk full", None),
            ("", None),
        ] {
            assert_eq!(reason(body.as_bytes()).as_deref(), expected, "{body}");
        }
        let long = json!({"detail": "é".repeat(5_000)}).to_string();
        assert_eq!(reason(long.as_bytes()), Some("é".repeat(MAX_REASON)));
    }

    #[test]
    fn what_no_backend_wrote_is_told_from_what_says_little() {
        let json = Some("application/json; charset=utf-8");
        let html = Some("Text/HTML; charset=utf-8");
        for (content_type, body) in [
            (None, "<!doctype html>"),
            (json, "\u{feff}\n <html>"),
            (Some("application/xhtml+xml"), "x"),
            (html, "Sign in"),
            (html, "{}"),
            (None, "<?xml version=\"1.0\"?>"),
            (json, "[]"),
            (None, " [{\"success\": true}]"),
            (None, "[1, 2"),
            (None, "null"),
            (None, "true"),
            (None, "\"OK\""),
            (json, "thanks"),
            (Some("application/problem+json"), "thanks"),
        ] {
            assert!(
                foreign(content_type, body.as_bytes()).is_some(),
                "{content_type:?} {body}"
            );
        }
        for (content_type, body) in [
            (None, ""),
            (html, " \r\n"),
            (json, ""),
            (None, "{}"),
            (json, "\u{feff}{\"success\": true}"),
            (Some("text/plain"), "{\"success\": true}"),
            (None, "thanks"),
            (Some("text/plain"), "thanks"),
        ] {
            assert_eq!(
                foreign(content_type, body.as_bytes()),
                None,
                "{content_type:?}"
            );
        }
    }

    #[test]
    fn of_a_foreign_body_only_its_beginning_is_told_on_one_line() {
        let page = ["<html>\n\u{1b}[31mé", &"x".repeat(5000)].concat();
        let found = foreign(None, page.as_bytes()).unwrap();
        assert!(
            found.starts_with("HTML, which begins \"<html>\\n\\u{1b}[31m"),
            "{found}"
        );
        assert!(found.len() < 120 && !found.contains('\n'), "{found}");
    }

    proptest! {
        #[test]
        fn any_body_is_read(body in proptest::collection::vec(any::<u8>(), 0..60)) {
            denies(&body);
            foreign(None, &body);
            foreign(Some("application/json"), &body);
            denies(&[b"{\"errors\":", &body[..]].concat());
            denies(&[b"{]}", &body[..]].concat());
        }

        #[test]
        fn an_object_denies_by_its_own_fields_alone(
            before in "[a-z{}\\[\\]\",:\\\\]{0,20}",
            success in any::<bool>(),
            errors in prop_oneof![
                Just(json!([])), Just(json!({})), Just(json!(null)), Just(json!("")), Just(json!(0)),
                Just(json!([""])), Just(json!("x")), Just(json!(1)), Just(json!(true)),
            ],
        ) {
            let has_errors = match &errors {
                Value::Array(items) => !items.is_empty(),
                Value::String(text) => !text.is_empty(),
                Value::Number(number) => number.as_f64() != Some(0.0),
                other => *other == json!(true),
            };
            let body = json!({"a": before, "errors": errors, "success": success}).to_string();
            prop_assert_eq!(denies(body.as_bytes()), !success || has_errors, "{}", body);
        }
    }
}
