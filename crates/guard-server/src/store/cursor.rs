//! A position in a list. Only the engine that made it can interpret it.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::StoreError;

/// The longest accepted cursor, in characters.
const MAX_LEN: usize = 256;

/// A position in a list, as URL-safe text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(Box<[u8]>);

impl Cursor {
    /// A cursor for a position that the engine encodes in these bytes.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes in which the engine encoded the position.
    pub(crate) const fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Display for Cursor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl FromStr for Cursor {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        if text.is_empty() || text.len() > MAX_LEN {
            return Err(StoreError::InvalidCursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text);
        bytes
            .map(|bytes| Self(bytes.into()))
            .map_err(|_| StoreError::InvalidCursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_url_safe_text_and_parses_back() {
        let cursor = Cursor::new(&[0xfb, 0xff, 0xfe, 0]);
        let text = cursor.to_string();
        let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(text.bytes().all(is_safe), "{text}");
        assert_eq!(text.parse(), Ok(cursor));
    }

    #[test]
    fn invalid_cursor_text_is_refused() {
        for text in ["", "x", "a b", "a=", &"A".repeat(MAX_LEN + 1)] {
            assert_eq!(text.parse::<Cursor>(), Err(StoreError::InvalidCursor));
        }
    }
}
