//! Writes values as JSON, redacted and truncated.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use uuid::Uuid;

use crate::privacy::redact::{self, Redactor};
use crate::privacy::truncate;
use crate::timestamp::Moment;
use crate::value::{Tree, Value, View};

pub(crate) fn write_time(out: &mut Vec<u8>, at: Timestamp) {
    out.push(b'"');
    // Writing into a Vec cannot fail.
    let written = DateTimePrinter::new().print_timestamp(&at, &mut *out);
    debug_assert!(written.is_ok(), "writing into a Vec cannot fail");
    out.push(b'"');
}

pub(crate) fn write_moment(out: &mut Vec<u8>, at: Moment) {
    out.push(b'"');
    out.extend_from_slice(&at.text());
    out.push(b'"');
}

pub(crate) fn write_uuid(out: &mut Vec<u8>, uuid: Uuid) {
    let mut text = Uuid::encode_buffer();
    write_verbatim(out, uuid.hyphenated().encode_lower(&mut text));
}

/// Writes a JSON string. Almost no text needs escapes: checking first and then copying the
/// whole text is several times faster than escaping byte by byte.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    if has_escapes(text.as_bytes()) {
        return write_json(out, text);
    }
    write_verbatim(out, text);
}

/// Writes a JSON string of text that needs no escapes.
#[inline]
pub(crate) fn write_verbatim(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Whether JSON escapes any of these bytes.
pub(crate) fn has_escapes(text: &[u8]) -> bool {
    any(text, escapes)
}

/// Whether text can be written unchanged: it needs no escapes, and has none of the characters
/// that come before a secret.
pub(crate) fn is_verbatim(text: &[u8]) -> bool {
    !any(text, |word| marks(word) | escapes(word))
}

/// Whether `find` matches any byte. `find` gets eight bytes at a time and sets the high bit of
/// each byte that it matches.
fn any(text: &[u8], find: impl Fn(u64) -> u64) -> bool {
    let Some(last) = text.last_chunk() else {
        let mut word = [b' '; 8];
        for (padded, byte) in word.iter_mut().zip(text) {
            *padded = *byte;
        }
        return find(u64::from_ne_bytes(word)) != 0;
    };
    let words = text.as_chunks().0.iter().chain([last]);
    words.fold(0, |found, word| found | find(u64::from_ne_bytes(*word))) != 0
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH: u64 = ONES * 0x80;

/// Matches the bytes that JSON escapes: control characters, quotes and backslashes.
/// Subtracting 0x20 from a control character sets its high bit.
fn escapes(word: u64) -> u64 {
    let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
    control | equal(word, b'"') | equal(word, b'\\')
}

/// Matches the other bytes that can come before a secret.
fn marks(word: u64) -> u64 {
    equal(word, b':') | equal(word, b'=') | equal(word, b'\'') | equal(word, b'`')
}

/// Matches one byte, which is below 128: XOR makes it zero, and subtracting 1 sets its high bit.
fn equal(word: u64, byte: u8) -> u64 {
    let zero = word ^ (ONES * u64::from(byte));
    zero.wrapping_sub(ONES) & !word & HIGH
}

fn write_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing a scalar into a Vec cannot fail.
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "writing a scalar cannot fail");
}

pub(crate) fn write_scalar<T: Tree>(out: &mut Vec<u8>, value: &View<'_, T>) {
    match value {
        View::Bool(flag) => write_json(out, flag),
        View::Int(number) => write_json(out, number),
        View::UInt(number) => write_json(out, number),
        View::Float(number) if number.is_finite() => write_json(out, number),
        View::Time(at) => write_time(out, *at),
        View::Moment(moment) => write_moment(out, *moment),
        View::Uuid(uuid) => write_uuid(out, *uuid),
        _ => out.extend_from_slice(b"null"),
    }
}

/// Writes values as JSON, redacted and truncated.
pub(crate) struct JsonWriter<'w> {
    out: &'w mut Vec<u8>,
    redactor: &'w Redactor,
    max_text: usize,
    max_len: usize,
    spaced: bool,
    redacted: bool,
}

impl<'w> JsonWriter<'w> {
    /// A writer that cuts text to `max_text` bytes. It stops when `out` is longer than
    /// `max_len`; the caller then refuses the record.
    pub(crate) fn new(
        out: &'w mut Vec<u8>,
        redactor: &'w Redactor,
        max_text: usize,
        max_len: usize,
    ) -> Self {
        Self {
            out,
            redactor,
            max_text,
            max_len,
            spaced: false,
            redacted: false,
        }
    }

    /// A writer that cuts nothing and writes a space after `:` and `,`.
    pub(crate) fn spaced(out: &'w mut Vec<u8>, redactor: &'w Redactor) -> Self {
        Self {
            spaced: true,
            ..Self::new(out, redactor, usize::MAX, usize::MAX)
        }
    }

    /// Whether it has redacted anything.
    pub(crate) fn has_redacted(&self) -> bool {
        self.redacted
    }

    pub(crate) fn redact(&mut self) {
        self.redacted = true;
        write_text(self.out, redact::MARK);
    }

    /// Writes `value`, which is `depth` levels below the record's field.
    pub(crate) fn value<T: Tree>(&mut self, value: &T, depth: usize) {
        self.view(&value.view(), depth);
    }

    pub(crate) fn view<T: Tree>(&mut self, view: &View<'_, T>, depth: usize) {
        if depth > redact::MAX_DEPTH {
            return self.redact();
        }
        match view {
            View::Str(text) => self.text(text, depth),
            View::List(items) => self.list(items, depth),
            View::Map(fields) => self.map(fields, depth),
            scalar => write_scalar(self.out, scalar),
        }
    }

    pub(crate) fn text(&mut self, text: &str, depth: usize) {
        if redact::is_like_json(text) {
            let safe = redact_json(self.redactor, text, depth);
            self.redacted |= safe.is_some();
            self.cut(safe.as_deref().unwrap_or(text));
        } else {
            self.plain(text);
        }
    }

    /// Writes text that does not look like JSON. It cuts first, then redacts the rest.
    pub(crate) fn plain(&mut self, text: &str) {
        if text.len() <= self.max_text && is_verbatim(text.as_bytes()) {
            return write_verbatim(self.out, text);
        }
        let head = truncate::kept(text, self.max_text);
        match self.redactor.plain_text(head.unwrap_or(text)) {
            None => self.write_cut(text, head),
            Some(safe) => {
                self.redacted = true;
                let shorter = truncate::kept(&safe, self.max_text);
                self.write_cut(&safe, shorter.or(head.map(|_| safe.as_str())));
            }
        }
    }

    /// Writes `text`, cut to the limit.
    fn cut(&mut self, text: &str) {
        self.write_cut(text, truncate::kept(text, self.max_text));
    }

    /// Writes `text`, or only its `head` if there is one.
    fn write_cut(&mut self, text: &str, head: Option<&str>) {
        match head {
            None => write_text(self.out, text),
            Some(head) => {
                write_text(self.out, head);
                self.out.pop();
                self.out.extend_from_slice(truncate::MARK.as_bytes());
                self.out.push(b'"');
            }
        }
    }

    fn list<T: Tree>(&mut self, items: &[T], depth: usize) {
        let is_of_pairs = items.len().is_multiple_of(2);
        let mut is_secret = false;
        self.out.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if self.out.len() > self.max_len {
                break;
            }
            if index > 0 {
                self.separate(b',');
            }
            let view = item.view();
            if is_secret {
                self.redact();
            } else {
                self.view(&view, depth + 1);
            }
            let is_name = is_of_pairs && index.is_multiple_of(2);
            is_secret = is_name
                && view
                    .as_str()
                    .is_some_and(|name| self.redactor.is_sensitive(name));
        }
        self.out.push(b']');
    }

    fn map<T: Tree>(&mut self, fields: &[(T::Name, T)], depth: usize) {
        let names_header =
            |(name, value): &(T::Name, T)| self.redactor.names_header(name.as_ref(), &value.view());
        let is_header = fields.iter().any(names_header);
        self.out.push(b'{');
        for (name, value) in fields {
            let name = name.as_ref();
            if is_header && Redactor::is_value_key(name) {
                self.named(name, Self::redact);
            } else {
                self.entry(name, &value.view(), depth + 1);
            }
        }
        self.out.push(b'}');
    }

    /// Writes an entry of the object that was opened last. Its value is `depth` levels below
    /// the record's field.
    pub(crate) fn entry<T: Tree>(&mut self, name: &str, value: &View<'_, T>, depth: usize) {
        let is_hidden = self.redactor.is_sensitive(name);
        self.named(name, |writer| {
            if is_hidden {
                writer.redact();
            } else {
                writer.view(value, depth);
            }
        });
    }

    /// Writes a name, and `content` as its value.
    fn named(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        if self.out.len() > self.max_len {
            return;
        }
        // A value never ends in an opening brace: this is the first entry.
        if self.out.last() != Some(&b'{') {
            self.separate(b',');
        }
        self.plain(name);
        self.separate(b':');
        content(self);
    }

    fn separate(&mut self, mark: u8) {
        self.out.push(mark);
        if self.spaced {
            self.out.push(b' ');
        }
    }
}

impl Redactor {
    /// `value` as redacted JSON text, with a space after `:` and `,`.
    ///
    /// ```
    /// use guard_wire::{redact::Redactor, Value};
    ///
    /// let headers = serde_json::json!({"Cookie": "s=1", "host": "h"});
    /// let redacted = Redactor::new(["cookie"]).to_json(&Value::from(&headers));
    /// assert_eq!(redacted, r#"{"Cookie": "[REDACTED]", "host": "h"}"#);
    /// ```
    pub fn to_json<T: Tree>(&self, value: &T) -> String {
        render(self, value, 0).0
    }
}

/// `text` without its secrets, or `None` if it holds none. For text that looks like JSON and
/// stands `depth` levels deep.
fn redact_json(redactor: &Redactor, text: &str, depth: usize) -> Option<Cow<'static, str>> {
    if text.len() > redact::MAX_JSON_TEXT {
        return Some(Cow::Borrowed(redact::MARK));
    }
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(json) => {
            let (safe, changed) = render(redactor, &Value::from(&json), depth);
            changed.then_some(Cow::Owned(safe))
        }
        Err(_) => redactor
            .is_suspicious(text)
            .then_some(Cow::Borrowed(redact::MARK)),
    }
}

/// The JSON of `value`, and whether anything in it was redacted.
fn render<T: Tree>(redactor: &Redactor, value: &T, depth: usize) -> (String, bool) {
    let mut buffer = Vec::new();
    let mut writer = JsonWriter::spaced(&mut buffer, redactor);
    writer.value(value, depth);
    let redacted = writer.has_redacted();
    (String::from_utf8(buffer).unwrap_or_default(), redacted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn text_is_written_as_json_is(text in "[ -~\\x00-\\x1f\\x7f-\\xff\"\\\\]{0,40}") {
            let mut out = Vec::new();
            write_text(&mut out, &text);
            prop_assert_eq!(String::from_utf8(out).unwrap(), json!(text).to_string());
        }

        #[test]
        fn escapes_are_found_wherever_they_stand(
            place in 0_usize..40,
            behind in 0_usize..40,
            byte in prop_oneof![0_u8..32, Just(b'"'), Just(b'\\')],
        ) {
            let mut text = vec![b'a'; place + behind];
            prop_assert!(!has_escapes(&text));
            text.insert(place, byte);
            prop_assert!(has_escapes(&text));
        }
    }

    fn redacted(raw: &str) -> String {
        let redactor = Redactor::new(["authorization", "cookie"]);
        let safe = redact_json(&redactor, raw, 1);
        safe.map_or_else(|| raw.to_owned(), Cow::into_owned)
    }

    #[test]
    fn json_that_was_cut_off_is_redacted_when_it_names_a_secret() {
        assert_eq!(
            redacted(r#"{"a": 1, "Authorization": "Bearer s3c"#),
            redact::MARK
        );
        assert_eq!(redacted("{'cookie': 's3cret'}"), redact::MARK);
        assert_eq!(redacted(r#"{"\u0063ookie": "s3cret"#), redact::MARK);
        assert_eq!(redacted(r#"{"cookie": "s3cret", "n": NaN}"#), redact::MARK);
        assert_eq!(redacted(r#"{"a": 1, "b": [1, 2"#), r#"{"a": 1, "b": [1, 2"#);
    }

    #[test]
    fn json_within_json_is_redacted() {
        let inner = r#"{"cookie": "s3cret"}"#;
        let outer = serde_json::json!({ "body": inner }).to_string();
        assert!(!redacted(&outer).contains("s3cret"));
        let string = serde_json::json!(inner).to_string();
        assert!(!redacted(&string).contains("s3cret"));
        let twice = serde_json::json!(string).to_string();
        assert!(!redacted(&twice).contains("s3cret"));
    }

    #[test]
    fn json_nested_beyond_any_parser_is_redacted() {
        let deep = format!(
            "{}{{\"cookie\":\"s3cret\"}}{}",
            "[".repeat(500),
            "]".repeat(500)
        );
        assert!(!redacted(&deep).contains("s3cret"));
    }

    #[test]
    fn harmless_json_keeps_its_spelling() {
        assert_eq!(redacted(r#"{"a":1.50,"b":[ ]}"#), r#"{"a":1.50,"b":[ ]}"#);
    }
}
