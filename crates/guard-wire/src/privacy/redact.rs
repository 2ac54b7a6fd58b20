//! Redaction: values of sensitive names never leave the process.
//!
//! A name is sensitive if it is a configured header name in one of its usual spellings: in
//! any case, with `_` for `-`, after `HTTP_` as in a WSGI environ, or at the end of a path such
//! as `request.headers.cookie`. The redactor finds it
//!
//! - in objects at any depth, and in lists of alternating names and values, such as the pair
//!   `["authorization", "..."]` of ASGI;
//! - in objects that hold a header under keys such as `name` and `value`, as in HAR files;
//! - in text that contains JSON, header lines, printed objects and pairs, or assignments:
//!   `Cookie: ...`, `{'cookie': '...'}`, `(b'cookie', b'...')`, `cookie=...`.

mod names;
mod text;

use self::names::Names;
use crate::value::{Tree, View};

/// Replaces a secret.
pub const MARK: &str = "[REDACTED]";

/// Values nested deeper than this are replaced by [`MARK`].
pub const MAX_DEPTH: usize = 10;

/// Strings that look like JSON and are longer than this many bytes are replaced by [`MARK`]:
/// parsing them would take too long.
pub const MAX_JSON_TEXT: usize = 8192;

/// Sensitive in every configuration.
const ALWAYS: [&str; 2] = ["proxy-authorization", "set-cookie"];

/// The set of sensitive names.
#[derive(Debug, Clone)]
pub struct Redactor {
    names: Names,
}

impl Redactor {
    /// A redactor for the given names. It always adds `proxy-authorization` and `set-cookie`.
    /// `cookie` also adds `cookies`, under which frameworks and HAR files list single cookies.
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

    /// Whether the value of `name` must be redacted.
    pub fn is_sensitive(&self, name: &str) -> bool {
        let name = trim(name).as_bytes();
        let name = match name.last() {
            Some(byte) if byte.is_ascii_alphanumeric() => name,
            _ => text::trim_name(name),
        };
        let start = self.names.at_end(name);
        // A space before the name means that this is a sentence, not a name.
        start.is_some_and(|start| !name[..start].contains(&b' '))
    }

    /// Whether an entry such as `"name": "Cookie"` says that its object holds a sensitive
    /// header.
    pub(crate) fn names_header<T: Tree>(&self, name: &str, value: &View<'_, T>) -> bool {
        let is_header = value.as_str().is_some_and(|text| self.is_sensitive(text));
        is_header && text::is_name_key(name.as_bytes())
    }

    /// Whether `name` is a key such as `value`, next to which a header's name stands.
    pub(crate) fn is_value_key(name: &str) -> bool {
        text::is_value_key(name.as_bytes())
    }

    /// `text` without its secrets, or `None` if it holds none. For text that does not look
    /// like JSON.
    pub(crate) fn plain_text(&self, text: &str) -> Option<String> {
        text::hide(&self.names, text)
    }

    /// Whether text that looks like JSON but cannot be parsed may hold a secret: a sensitive
    /// name in quotes or with a value, or escapes that could spell one. Such text was cut off,
    /// contains NaN, is a printed Python dict, or is nested too deep.
    pub(crate) fn is_suspicious(&self, text: &str) -> bool {
        let text = trim(text);
        text.contains("\\u00")
            || text.contains("\\U00")
            || text::has_quoted_name(&self.names, text)
            || text::hide(&self.names, text).is_some()
    }
}

/// Whether text looks like JSON and must be parsed.
pub(crate) fn is_like_json(text: &str) -> bool {
    if is_no_json(text) {
        return false;
    }
    let body = trim(text);
    // JSON within a JSON string, too.
    let is_string = body.len() > 1 && body.starts_with('"') && body.ends_with('"');
    is_string || body.starts_with(['{', '['])
}

/// Whether the first byte already shows that text is not JSON, as for almost all text. False
/// for empty text.
pub(crate) fn is_no_json(text: &str) -> bool {
    matches!(text.as_bytes(), [b'!' | b'#'..=b'Z' | b'a'..=b'z', ..])
}

/// `text.trim()`, faster if neither end is a space.
fn trim(text: &str) -> &str {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}
