//! Truncating long text.

use std::borrow::Cow;

/// The end of text that was cut.
pub const MARK: &str = "...[TRUNCATED]";

/// Cuts `text` to at most `limit` bytes of UTF-8, at a character boundary, and appends [`MARK`].
/// It returns text within the limit unchanged.
///
/// ```
/// use guard_wire::truncate::truncate;
///
/// assert_eq!(truncate("abc", 3), "abc");
/// assert_eq!(truncate("abcd", 3), "abc...[TRUNCATED]");
/// assert_eq!(truncate("aé", 2), "a...[TRUNCATED]");
/// ```
pub fn truncate(text: &str, limit: usize) -> Cow<'_, str> {
    match kept(text, limit) {
        None => Cow::Borrowed(text),
        Some(head) => Cow::Owned([head, MARK].concat()),
    }
}

/// The part of `text` that stays if it is too long; `None` if it is not.
pub(crate) fn kept(text: &str, limit: usize) -> Option<&str> {
    if text.len() <= limit {
        return None;
    }
    Some(&text[..text.floor_char_boundary(limit)])
}
