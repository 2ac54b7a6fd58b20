//! Secrets in free text: header lines, printed objects, pairs, assignments.
//!
//! A secret follows a sensitive name and a mark: `:` or `=`, or `,` between the two strings of a
//! pair. If the end of the secret is unclear, all text up to the end is redacted. The text is
//! read once, from left to right.

use std::ops::Range;

use memchr::memchr3_iter;

use super::MARK;
use super::names::{Names, ends_with};

/// `text` with its secrets replaced by [`MARK`]; `None` if it holds none.
pub(super) fn hide(names: &Names, text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut hidden = String::new();
    let mut named = NamedValue::default();
    let mut copied = 0;
    for mark in memchr3_iter(b':', b'=', b',', bytes) {
        // A mark inside a secret that is already redacted does not count.
        if mark < copied || (bytes[mark] == b',' && !may_end_name(&bytes[..mark])) {
            continue;
        }
        let (name, is_quoted) = name_before(&bytes[..mark]);
        if let Some(secret) = secret_behind(names, bytes, mark, name, is_quoted) {
            hidden.push_str(&text[copied..secret.start]);
            hidden.push_str(MARK);
            copied = secret.end;
        } else {
            named.look(names, name, &bytes[mark + 1..]);
        }
    }
    if named.is_secret() {
        return Some(MARK.to_owned());
    }
    if copied == 0 {
        return None;
    }
    hidden.push_str(&text[copied..]);
    Some(hidden)
}

/// Whether a sensitive name stands before any quote. That is enough to redact text that looks
/// like JSON and cannot be parsed.
pub(super) fn has_quoted_name(names: &Names, text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut quotes = (0..bytes.len()).filter(|&at| is_quote(bytes[at]));
    quotes.any(|at| {
        let name = bytes[..at].strip_suffix(b"\\").unwrap_or(&bytes[..at]);
        names.at_end(name).is_some()
    })
}

/// The secret after the mark at `mark`, if `name` before it ends with a sensitive name.
fn secret_behind(
    names: &Names,
    text: &[u8],
    mark: usize,
    name: &[u8],
    is_quoted: bool,
) -> Option<Range<usize>> {
    let Some(start) = names.at_end(name) else {
        return prints_cookie(names, name).then(|| mark + 1..text.len());
    };
    let is_pair = text[mark] == b',';
    if is_path(text, mark) || (is_pair && !is_pair_of(text, start, mark)) {
        return None;
    }
    let from = mark + 1 + count(&text[mark + 1..], b" \t=>");
    let value = &text[from..];
    if value.trim_ascii_start().is_empty() || is_left_alone(text, start, mark, value) {
        return None;
    }
    if !is_quoted {
        let is_hidden = value.starts_with(MARK.as_bytes());
        let ends_with_line = is_hidden || !opens_value(value);
        let end = if ends_with_line {
            line_end(text, from)
        } else {
            text.len()
        };
        return Some(from..end);
    }
    let inner = quoted(value).unwrap_or(0..value.len());
    Some(from + inner.start..from + inner.end)
}

/// Whether it is `{authorization: t}`, which the public agent does not redact.
fn is_left_alone(text: &[u8], name: usize, mark: usize, value: &[u8]) -> bool {
    let is_first = name == 1 && text.starts_with(b"{") && text[mark] == b':';
    is_first && !opens_value(value) && !value.first().is_some_and(|&byte| is_quote(byte))
}

/// The text before a mark without the quotes, brackets and spaces at its end, and whether there
/// are quotes.
fn name_before(text: &[u8]) -> (&[u8], bool) {
    let name = trim_end(text, |byte| is_quote(byte) || b" \t])\\".contains(&byte));
    let closing = &text[name.len()..];
    (name, closing.iter().any(|&byte| is_quote(byte)))
}

/// The name of an entry without quotes, brackets, spaces and colons at its end.
pub(super) fn trim_name(name: &[u8]) -> &[u8] {
    name_before(trim_end(name, |byte| byte == b':')).0
}

/// Whether the mark belongs to a path such as `cookie::parse`.
fn is_path(text: &[u8], mark: usize) -> bool {
    text[mark..].starts_with(b"::") || (text[mark] == b':' && text[..mark].ends_with(b":"))
}

/// Whether the string that begins at `start` is the first one of a pair: it follows `(` or `[`,
/// may have a `b` before its quotes, and may be inside a call such as `bytearray(b'cookie')`.
fn is_pair_of(text: &[u8], start: usize, mark: usize) -> bool {
    let open = trim_end(&text[..start], |byte| is_quote(byte) || byte == b'\\');
    let open = trim_end(open, |byte| b"bBuUrR".contains(&byte));
    let is_first = matches!(open.trim_ascii_end().last(), Some(b'(' | b'['));
    let is_call = text[..mark].ends_with(b")");
    is_first && (!is_call || begins_call(text[mark + 1..].trim_ascii_start()))
}

fn begins_call(text: &[u8]) -> bool {
    let word = count_word(text);
    word > 0 && text.get(word) == Some(&b'(')
}

/// Whether the text before the mark starts a printed cookie: `<Cookie id=`, `Cookie(version=`,
/// `<SimpleCookie: `, `<Morsel: `.
fn prints_cookie(names: &Names, before: &[u8]) -> bool {
    let class = trim_end(before, is_word);
    let is_printed = ends_with(class, b"<Cookie ")
        || ends_with(class, b"Cookie(")
        || ends_with(before, b"<SimpleCookie")
        || ends_with(before, b"<Morsel");
    is_printed && names.at_end(b"cookie").is_some()
}

/// Whether a value may go on after its line: it is a list or an object, or begins on the next
/// line.
fn opens_value(value: &[u8]) -> bool {
    matches!(
        value.first(),
        Some(b'[' | b'{' | b'(' | b'<' | b'\r' | b'\n')
    )
}

/// The text between the quotes of a string, if its end is clear.
fn quoted(value: &[u8]) -> Option<Range<usize>> {
    let inner = string(value)?;
    let behind = value[inner.end + 1..].trim_ascii_start().first();
    matches!(behind, None | Some(b',' | b';' | b'}' | b')' | b']' | b'>')).then_some(inner)
}

/// The text between the quotes of a string.
fn string(value: &[u8]) -> Option<Range<usize>> {
    let prefix = count(&value[..value.len().min(2)], b"bBuUrR");
    let quote = *value.get(prefix).filter(|byte| is_quote(**byte))?;
    let start = prefix + 1;
    let mut end = start;
    while *value.get(end)? != quote {
        end += if value[end] == b'\\' { 2 } else { 1 };
    }
    Some(start..end)
}

/// The end of the line, including the indented lines that continue it.
fn line_end(text: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(found) = text[at..].iter().position(|byte| b"\r\n".contains(byte)) {
        let end = at + found;
        let next = end
            + if text[end..].starts_with(b"\r\n") {
                2
            } else {
                1
            };
        if !matches!(text.get(next), Some(b' ' | b'\t')) {
            return end;
        }
        at = next;
    }
    text.len()
}

/// A header whose name and value have separate keys, as in
/// `{'name': 'Cookie', 'value': 's=1'}` or `Header(name=..., value=...)`.
#[derive(Default)]
struct NamedValue {
    has_name: bool,
    has_value: bool,
}

impl NamedValue {
    fn look(&mut self, names: &Names, key: &[u8], value: &[u8]) {
        self.has_value |= is_value_key(key);
        if !self.has_name && is_name_key(key) {
            let value = &value[count(value, b" \t=>")..];
            let name = match string(value) {
                Some(inner) => &value[inner],
                None => &value[..count_word(value)],
            };
            self.has_name = names.at_end(name) == Some(0);
        }
    }

    fn is_secret(&self) -> bool {
        self.has_name && self.has_value
    }
}

/// Whether this is a key for a header's name.
pub(super) fn is_name_key(key: &[u8]) -> bool {
    ends_with_one(key, &[b"name", b"key", b"header", b"field"])
}

/// Whether this is a key for a header's value.
pub(super) fn is_value_key(key: &[u8]) -> bool {
    ends_with_one(key, &[b"value", b"values", b"val"])
}

fn ends_with_one(key: &[u8], words: &[&[u8]]) -> bool {
    words.iter().any(|word| ends_with(key, word))
}

/// Whether the first string of a pair may end here.
fn may_end_name(text: &[u8]) -> bool {
    text.last()
        .is_some_and(|&byte| is_quote(byte) || byte == b')')
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_".contains(&byte)
}

/// The length of the word at the start.
fn count_word(text: &[u8]) -> usize {
    text.iter().take_while(|byte| is_word(**byte)).count()
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

/// How many bytes at the start are among `bytes`.
fn count(text: &[u8], bytes: &[u8]) -> usize {
    text.iter().take_while(|byte| bytes.contains(byte)).count()
}

/// `text` without the bytes at its end for which `is_taken` is true.
fn trim_end(text: &[u8], is_taken: impl Fn(u8) -> bool) -> &[u8] {
    let taken = text
        .iter()
        .rev()
        .take_while(|byte| is_taken(**byte))
        .count();
    &text[..text.len() - taken]
}
