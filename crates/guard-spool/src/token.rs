//! Tokens: how the owner of a spool names a record.

/// Bits of a token that hold the record's index in its segment.
const INDEX_BITS: u32 = 24;
/// Most records in one segment: one for each index that a token can hold.
pub(crate) const MAX_RECORDS: u32 = 1 << INDEX_BITS;

/// Names one record of one [`Spool`](crate::Spool) value, for as long as that value lives.
///
/// It converts to and from `u64`, so that a caller can keep the tokens of several kinds of
/// store in one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

impl Token {
    /// The token of a record: the segment's serial number and the record's index.
    pub(crate) fn new(serial: u64, index: u32) -> Self {
        Self(serial << INDEX_BITS | u64::from(index))
    }

    /// The serial number of the record's segment.
    pub(crate) fn serial(self) -> u64 {
        self.0 >> INDEX_BITS
    }

    /// The record's index in its segment.
    pub(crate) fn index(self) -> u32 {
        let index = self.0 & u64::from(MAX_RECORDS - 1);
        u32::try_from(index).unwrap_or(MAX_RECORDS)
    }
}

impl From<u64> for Token {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl From<Token> for u64 {
    fn from(token: Token) -> Self {
        token.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_the_segment_and_the_index_of_its_record() {
        let token = Token::new(7, MAX_RECORDS - 1);
        assert_eq!((token.serial(), token.index()), (7, MAX_RECORDS - 1));
        assert_eq!(Token::from(u64::from(token)), token);
    }
}
