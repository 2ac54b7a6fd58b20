//! Redaction: what stands under a sensitive name never leaves the process.
//!
//! A name is sensitive when it equals a configured header name, ignoring case
//! and surrounding white space. It is looked for in objects at any depth, in
//! two-element lists (`["authorization", "..."]`, as ASGI writes headers), and
//! inside strings that hold JSON.

use std::borrow::Cow;

use crate::json::JsonWriter;
use crate::value::{Tree, Value};

/// What stands in place of a secret.
pub const MARK: &str = "[REDACTED]";

/// Values nested deeper than this are replaced by [`MARK`] unread.
pub const MAX_DEPTH: usize = 10;

/// Strings that look like JSON and are longer than this many bytes are
/// replaced by [`MARK`] unread: parsing them would cost the caller too much.
pub const MAX_JSON_TEXT: usize = 8192;

/// Always sensitive, whatever is configured.
const ALWAYS: [&str; 2] = ["proxy-authorization", "set-cookie"];

/// Knows which names are sensitive.
#[derive(Debug, Clone)]
pub struct Redactor {
    names: Vec<String>,
    /// One bit for each length that a name has.
    lengths: u64,
}

impl Redactor {
    /// A redactor for the given names, to which `proxy-authorization` and
    /// `set-cookie` are always added.
    pub fn new<I, S>(names: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        let mut all: Vec<String> = names
            .into_iter()
            .map(|name| name.as_ref().trim().to_ascii_lowercase())
            .filter(|name| !name.is_empty())
            .chain(ALWAYS.iter().map(ToString::to_string))
            .collect();
        all.sort_unstable();
        all.dedup();
        let lengths = all.iter().fold(0, |bits, name| bits | length_bit(name));
        Self {
            names: all,
            lengths,
        }
    }

    /// Whether what stands under `name` must not be shown.
    pub fn is_sensitive(&self, name: &str) -> bool {
        let name = trim(name);
        self.lengths & length_bit(name) != 0
            && self
                .names
                .iter()
                .any(|sensitive| sensitive.eq_ignore_ascii_case(name))
    }

    /// `value` as JSON text, redacted, with a space behind `:` and `,`.
    ///
    /// ```
    /// use guard_wire::{redact::Redactor, Value};
    ///
    /// let headers = serde_json::json!({"Cookie": "s=1", "host": "h"});
    /// let redacted = Redactor::new(["cookie"]).to_json(&Value::from(&headers));
    /// assert_eq!(redacted, r#"{"Cookie": "[REDACTED]", "host": "h"}"#);
    /// ```
    pub fn to_json<T: Tree>(&self, value: &T) -> String {
        self.render(value, 0).0
    }

    /// What to write in place of `text`, which holds JSON with secrets in it;
    /// nothing when it may be written as it is. `depth` is how deep it stands.
    pub(crate) fn text(&self, text: &str, depth: usize) -> Option<Cow<'static, str>> {
        if is_no_json(text) {
            return None;
        }
        let body = trim(text);
        // JSON within a JSON string, too.
        let is_string = body.len() > 1 && body.starts_with('"') && body.ends_with('"');
        if !is_string && !body.starts_with(['{', '[']) {
            return None;
        }
        if text.len() > MAX_JSON_TEXT {
            return Some(Cow::Borrowed(MARK));
        }
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(json) => {
                let (redacted, changed) = self.render(&Value::from(&json), depth);
                changed.then_some(Cow::Owned(redacted))
            }
            Err(_) => self.is_suspicious(body).then_some(Cow::Borrowed(MARK)),
        }
    }

    /// The JSON of `value`, and whether anything in it was redacted.
    fn render<T: Tree>(&self, value: &T, depth: usize) -> (String, bool) {
        let mut buffer = Vec::new();
        let mut writer = JsonWriter::spaced(&mut buffer, self);
        writer.value(value, depth);
        let redacted = writer.has_redacted();
        (String::from_utf8(buffer).unwrap_or_default(), redacted)
    }

    /// Whether text that looks like JSON but cannot be read as such (cut off,
    /// with NaN, a printed Python dict, nested too deep) may hold a secret: a
    /// sensitive name in quotes, or escapes that could spell one.
    fn is_suspicious(&self, text: &str) -> bool {
        let lower = text.to_ascii_lowercase();
        lower.contains("\\u00")
            || self.names.iter().any(|name| {
                lower
                    .match_indices(name.as_str())
                    .any(|(at, _)| lower[..at].trim_end().ends_with(['"', '\'']))
            })
    }
}

/// Whether text shows by its first letter that it is no JSON, as almost all does.
pub(crate) fn is_no_json(text: &str) -> bool {
    matches!(text.as_bytes(), [b'!' | b'#'..=b'Z' | b'a'..=b'z', ..])
}

/// A bit for the length of `name`; all beyond 63 share one.
fn length_bit(name: &str) -> u64 {
    1 << name.len().min(63)
}

/// `text.trim()`, at once where both ends are plain to see.
fn trim(text: &str) -> &str {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(raw: &str) -> String {
        Redactor::new(["authorization", "cookie"])
            .text(raw, 1)
            .map_or_else(|| raw.to_owned(), Cow::into_owned)
    }

    #[test]
    fn json_that_was_cut_off_is_redacted_when_it_names_a_secret() {
        assert_eq!(text(r#"{"a": 1, "Authorization": "Bearer s3c"#), MARK);
        assert_eq!(text("{'cookie': 's3cret'}"), MARK);
        assert_eq!(text(r#"{"\u0063ookie": "s3cret"#), MARK);
        assert_eq!(text(r#"{"cookie": "s3cret", "n": NaN}"#), MARK);
        assert_eq!(text(r#"{"a": 1, "b": [1, 2"#), r#"{"a": 1, "b": [1, 2"#);
    }

    #[test]
    fn json_within_json_is_redacted() {
        let inner = r#"{"cookie": "s3cret"}"#;
        let outer = serde_json::json!({ "body": inner }).to_string();
        assert!(!text(&outer).contains("s3cret"));
        let string = serde_json::json!(inner).to_string();
        assert!(!text(&string).contains("s3cret"));
        let twice = serde_json::json!(string).to_string();
        assert!(!text(&twice).contains("s3cret"));
    }

    #[test]
    fn json_nested_beyond_any_parser_is_redacted() {
        let deep = format!(
            "{}{{\"cookie\":\"s3cret\"}}{}",
            "[".repeat(500),
            "]".repeat(500)
        );
        assert!(!text(&deep).contains("s3cret"));
    }

    #[test]
    fn harmless_json_keeps_its_spelling() {
        assert_eq!(text(r#"{"a":1.50,"b":[ ]}"#), r#"{"a":1.50,"b":[ ]}"#);
    }
}
