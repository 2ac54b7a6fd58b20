//! Redaction: what stands under a sensitive name never leaves the process.
//!
//! A name is sensitive when it is a configured header name, in any of the forms that
//! the name of a header takes: in any case, with `_` for `-`, behind `HTTP_` as in a WSGI
//! environ, at the end of a path such as `request.headers.cookie`. It is looked for
//!
//! - in objects at any depth, and in lists of names and values in turn, such as the pair
//!   `["authorization", "..."]` of ASGI;
//! - in objects that hold a header under keys such as `name` and `value`, as HAR writes
//!   them;
//! - in text that holds JSON, header lines, printed objects and pairs, or assignments:
//!   `Cookie: ...`, `{'cookie': '...'}`, `(b'cookie', b'...')`, `cookie=...`.

use std::borrow::Cow;

mod names;
mod text;

use self::names::Names;
use crate::privacy::json::JsonWriter;
use crate::value::{Tree, Value, View};

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
    names: Names,
}

impl Redactor {
    /// A redactor for the given names, to which `proxy-authorization` and
    /// `set-cookie` are always added. With `cookie` comes `cookies`: frameworks and HAR
    /// keep under it, one by one, what the header holds.
    pub fn new<I, S>(names: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        let given: Vec<S> = names.into_iter().collect();
        let given = given.iter().map(S::as_ref);
        let is_cookie = |name: &str| name.trim().eq_ignore_ascii_case("cookie");
        let cookies = given.clone().any(is_cookie).then_some("cookies");
        Self {
            names: Names::new(given.chain(ALWAYS).chain(cookies)),
        }
    }

    /// Whether what stands under `name` must not be shown.
    pub fn is_sensitive(&self, name: &str) -> bool {
        let name = trim(name).as_bytes();
        let name = match name.last() {
            Some(byte) if byte.is_ascii_alphanumeric() => name,
            _ => text::trim_name(name),
        };
        let start = self.names.at_end(name);
        // Words in front of it make it a sentence.
        start.is_some_and(|start| !name[..start].contains(&b' '))
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

    /// Whether `name` and what stands under it tell that a sensitive value stands beside
    /// them: `"name": "Cookie"`.
    pub(crate) fn names_header<T: Tree>(&self, name: &str, value: &View<'_, T>) -> bool {
        let is_header = value.as_str().is_some_and(|text| self.is_sensitive(text));
        is_header && text::is_name_key(name.as_bytes())
    }

    /// Whether it is the value of a header whose name stands beside it.
    pub(crate) fn is_value_key(name: &str) -> bool {
        text::is_value_key(name.as_bytes())
    }

    /// What to write in place of `text`, which looks like JSON; nothing when it may be
    /// written as it is. `depth` is how deep it stands.
    pub(crate) fn json_text(&self, text: &str, depth: usize) -> Option<Cow<'static, str>> {
        if text.len() > MAX_JSON_TEXT {
            return Some(Cow::Borrowed(MARK));
        }
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(json) => {
                let (redacted, changed) = self.render(&Value::from(&json), depth);
                changed.then_some(Cow::Owned(redacted))
            }
            Err(_) => self
                .is_suspicious(trim(text))
                .then_some(Cow::Borrowed(MARK)),
        }
    }

    /// What to write in place of `text`, which does not look like JSON; nothing when it may
    /// be written as it is.
    pub(crate) fn plain_text(&self, text: &str) -> Option<String> {
        text::hide(&self.names, text)
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
    /// sensitive name in quotes or with a value, or escapes that could spell one.
    fn is_suspicious(&self, text: &str) -> bool {
        text.contains("\\u00")
            || text.contains("\\U00")
            || text::has_quoted_name(&self.names, text)
            || text::hide(&self.names, text).is_some()
    }
}

/// Whether text has to be read as JSON.
pub(crate) fn is_like_json(text: &str) -> bool {
    if is_no_json(text) {
        return false;
    }
    let body = trim(text);
    // JSON within a JSON string, too.
    let is_string = body.len() > 1 && body.starts_with('"') && body.ends_with('"');
    is_string || body.starts_with(['{', '['])
}

/// Whether text shows by its first letter that it is no JSON, as almost all does.
pub(crate) fn is_no_json(text: &str) -> bool {
    matches!(text.as_bytes(), [b'!' | b'#'..=b'Z' | b'a'..=b'z', ..])
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
        let redactor = Redactor::new(["authorization", "cookie"]);
        let redacted = redactor.json_text(raw, 1);
        redacted.map_or_else(|| raw.to_owned(), Cow::into_owned)
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
