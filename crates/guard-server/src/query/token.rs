//! The `cursor` of a list: a position that belongs to one query.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use super::{QueryError, TimeRange};
use crate::fingerprint::fingerprint;

/// The longest position of an engine, in bytes.
const MAX_POSITION: usize = 64;
/// The bytes before the position: the query, and both ends of its range.
const HEAD: usize = 3 * 8;

/// Where the next page of a query begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageToken {
    /// The range of the first page. Relative times of later pages refer to it.
    pub range: TimeRange,
    /// The position, as the engine made it.
    pub position: Vec<u8>,
}

impl PageToken {
    /// The text of a token for a query with these parameters.
    pub fn encode(&self, parameters: &[&str]) -> String {
        let mut bytes = query_of(parameters).to_vec();
        bytes.extend(self.range.from.as_microsecond().to_be_bytes());
        bytes.extend(self.range.to.as_microsecond().to_be_bytes());
        bytes.extend(&self.position);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token of a query with these parameters.
    ///
    /// # Errors
    ///
    /// [`QueryError`] if it is none, or one of another query.
    pub fn decode(text: &str, parameters: &[&str]) -> Result<Self, QueryError> {
        let token = Self::read(text).ok_or_else(|| {
            QueryError::new(
                "invalid_cursor",
                "cursor",
                "cursor is not one that this server made; take it from `next`, or leave it out",
            )
        })?;
        let (query, token) = token;
        if query != query_of(parameters) {
            let detail = "cursor belongs to another query; repeat that one unchanged, or leave the cursor out";
            return Err(QueryError::new("invalid_cursor", "cursor", detail));
        }
        Ok(token)
    }

    fn read(text: &str) -> Option<([u8; 8], Self)> {
        if text.len() > (HEAD + MAX_POSITION) * 2 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (query, rest) = bytes.split_first_chunk::<8>()?;
        let (from, rest) = rest.split_first_chunk::<8>()?;
        let (to, position) = rest.split_first_chunk::<8>()?;
        let time = |bytes| Timestamp::from_microsecond(i64::from_be_bytes(bytes)).ok();
        let range = TimeRange {
            from: time(*from)?,
            to: time(*to)?,
        };
        let is_valid = range.from < range.to && (1..=MAX_POSITION).contains(&position.len());
        let position = position.to_owned();
        is_valid.then_some((*query, Self { range, position }))
    }
}

fn query_of(parameters: &[&str]) -> [u8; 8] {
    let mut query = [0; 8];
    query.copy_from_slice(&fingerprint(parameters).as_bytes()[..8]);
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_by_its_own_query_only() {
        let now = "2026-11-30T14:00:00Z".parse().unwrap();
        let token = PageToken {
            range: TimeRange::parse(None, None, now).unwrap(),
            position: vec![1, 2, 3],
        };
        let text = token.encode(&["default", "a"]);
        assert_eq!(PageToken::decode(&text, &["default", "a"]), Ok(token));
        for other in [&["default", "b"], &["other", "a"], &["defaulta", ""]] {
            let error = PageToken::decode(&text, other).unwrap_err();
            assert_eq!(error.code, "invalid_cursor");
        }
        for text in ["", "x", "AAAA", "a b", &text[..30], &"A".repeat(500)] {
            assert!(
                PageToken::decode(text, &["default", "a"]).is_err(),
                "{text}"
            );
        }
    }
}
