//! Secrets in free text: header lines, printed objects, pairs, assignments.
//!
//! A secret stands behind a sensitive name and a mark: `:` or `=`, or `,` between the
//! two strings of a pair. Where its end is not plain, everything up to the end of the
//! text goes. The text is read once, from the left to the right.

use std::ops::Range;

use memchr::memchr3_iter;

use super::MARK;
use super::names::{Names, ends_with};

/// `text` with [`MARK`] in the place of secrets; nothing if it holds none.
pub(super) fn hide(names: &Names, text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut hidden = String::new();
    let mut named = NamedValue::default();
    let mut copied = 0;
    for mark in memchr3_iter(b':', b'=', b',', bytes) {
        // One within a secret that is hidden already is none.
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

/// Whether a sensitive name stands in front of any quote: enough to give up text that
/// looks like JSON and cannot be read.
pub(super) fn has_quoted_name(names: &Names, text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut quotes = (0..bytes.len()).filter(|&at| is_quote(bytes[at]));
    quotes.any(|at| {
        let name = bytes[..at].strip_suffix(b"\\").unwrap_or(&bytes[..at]);
        names.at_end(name).is_some()
    })
}

/// The secret behind the mark at `mark`, if `name` in front of it ends with a sensitive one.
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

/// Whether it is `{authorization: t}`, which the public agent leaves as it is.
fn is_left_alone(text: &[u8], name: usize, mark: usize, value: &[u8]) -> bool {
    let is_first = name == 1 && text.starts_with(b"{") && text[mark] == b':';
    is_first && !opens_value(value) && !value.first().is_some_and(|&byte| is_quote(byte))
}

/// Where a name may end, without the quotes, brackets and spaces behind it, and whether
/// there are quotes.
fn name_before(text: &[u8]) -> (&[u8], bool) {
    let name = trim_end(text, |byte| is_quote(byte) || b" \t])\\".contains(&byte));
    let closing = &text[name.len()..];
    (name, closing.iter().any(|&byte| is_quote(byte)))
}

/// The name of an entry, without what printing or splitting has left behind it.
pub(super) fn trim_name(name: &[u8]) -> &[u8] {
    name_before(trim_end(name, |byte| byte == b':')).0
}

/// Whether the mark is one of a path such as `cookie::parse`.
fn is_path(text: &[u8], mark: usize) -> bool {
    text[mark..].starts_with(b"::") || (text[mark] == b':' && text[..mark].ends_with(b":"))
}

/// Whether the string whose text begins at `start` is the first one of a pair: behind `(` or
/// `[`, perhaps with `b` in front of the quotes, or a call such as `bytearray(b'cookie')`.
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

/// Whether a printed cookie begins in front of the mark: `<Cookie id=`, `Cookie(version=`,
/// `<SimpleCookie: `, `<Morsel: `.
fn prints_cookie(names: &Names, before: &[u8]) -> bool {
    let class = trim_end(before, is_word);
    let is_printed = ends_with(class, b"<Cookie ")
        || ends_with(class, b"Cookie(")
        || ends_with(before, b"<SimpleCookie")
        || ends_with(before, b"<Morsel");
    is_printed && names.at_end(b"cookie").is_some()
}

/// Whether a value does not end with its line for sure: it is a list, an object, or
/// begins on the next line.
fn opens_value(value: &[u8]) -> bool {
    matches!(
        value.first(),
        Some(b'[' | b'{' | b'(' | b'<' | b'\r' | b'\n')
    )
}

/// What stands between the quotes of a string, if it is plain where it ends.
fn quoted(value: &[u8]) -> Option<Range<usize>> {
    let inner = string(value)?;
    let behind = value[inner.end + 1..].trim_ascii_start().first();
    matches!(behind, None | Some(b',' | b';' | b'}' | b')' | b']' | b'>')).then_some(inner)
}

/// What stands between the quotes of a string.
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

/// Where the line ends, with the lines that continue it: those that are indented.
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

/// Name and value of a header under keys of their own, as in
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

/// Whether a header's name stands under this key.
pub(super) fn is_name_key(key: &[u8]) -> bool {
    ends_with_one(key, &[b"name", b"key", b"header", b"field"])
}

/// Whether a header's value stands under this key.
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

/// How many of the first bytes are of one word.
fn count_word(text: &[u8]) -> usize {
    text.iter().take_while(|byte| is_word(**byte)).count()
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

/// How many of the first bytes are among `bytes`.
fn count(text: &[u8], bytes: &[u8]) -> usize {
    text.iter().take_while(|byte| bytes.contains(byte)).count()
}

/// `text` without the bytes at its end that are taken off.
fn trim_end(text: &[u8], is_taken: impl Fn(u8) -> bool) -> &[u8] {
    let taken = text
        .iter()
        .rev()
        .take_while(|byte| is_taken(**byte))
        .count();
    &text[..text.len() - taken]
}
