//! The sidecar of a segment: which of its records are acknowledged.
//!
//! It consists of groups `first u32 | words u32 | crc u32 | bitmap`, little-endian. The bitmap
//! has `words` words of 32 bits for the indices from `first` on. The CRC starts with the
//! segment's salt and covers the rest of the group. A reader stops at the first incomplete
//! group: records that were acknowledged after it are delivered again.

use crate::format::bits::Bits;
use crate::format::frame::u32_at;
use crate::token::MAX_RECORDS;

const HEAD_LEN: usize = 12;
/// A longer gap starts a new group: the head of a group takes as many bytes as the bitmap of 96
/// indices.
const GAP: u32 = 96;

/// Writes groups for indices, which must be in ascending order.
pub(crate) fn encode(salt: u32, indices: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut group: Option<(u32, Vec<u32>)> = None;
    for index in indices {
        let distance = |first: u32, words: &[u32]| {
            let end = u64::from(first) + 32 * words.len() as u64;
            u64::from(index) >= end + u64::from(GAP)
        };
        if let Some((first, words)) = group.take_if(|(first, words)| distance(*first, words)) {
            push(&mut out, salt, first, &words);
        }
        let (first, words) = group.get_or_insert_with(|| (index, Vec::new()));
        let offset = (index - *first) as usize;
        if offset / 32 >= words.len() {
            words.resize(offset / 32 + 1, 0);
        }
        words[offset / 32] |= 1 << (offset % 32);
    }
    if let Some((first, words)) = group {
        push(&mut out, salt, first, &words);
    }
    out
}

fn push(out: &mut Vec<u8>, salt: u32, first: u32, words: &[u32]) {
    let mut head = [0; 8];
    head[..4].copy_from_slice(&first.to_le_bytes());
    let count = u32::try_from(words.len()).unwrap_or(u32::MAX);
    head[4..].copy_from_slice(&count.to_le_bytes());
    let bitmap: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(salt, &head), &bitmap);
    out.extend_from_slice(&head);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&bitmap);
}

/// Returns the acknowledged indices, and the number of bytes that could be read.
pub(crate) fn decode(salt: u32, bytes: &[u8]) -> (Bits, u64) {
    let mut acknowledged = Bits::default();
    let mut rest = bytes;
    while let Some((first, bitmap)) = group(salt, rest) {
        for (index, byte) in (first..).step_by(8).zip(bitmap) {
            for bit in (0..8).filter(|bit| byte & (1 << bit) != 0) {
                acknowledged.insert(index + bit);
            }
        }
        rest = &rest[HEAD_LEN + bitmap.len()..];
    }
    (acknowledged, (bytes.len() - rest.len()) as u64)
}

/// The group at the start of `bytes`, if it is complete and valid.
fn group(salt: u32, bytes: &[u8]) -> Option<(u32, &[u8])> {
    let head = bytes.get(..HEAD_LEN)?;
    let (first, words) = (u32_at(head, 0), u32_at(head, 4));
    if u64::from(first) + 32 * u64::from(words) > u64::from(MAX_RECORDS) + 32 {
        return None;
    }
    let bitmap = bytes.get(HEAD_LEN..HEAD_LEN + 4 * words as usize)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(salt, &head[..8]), bitmap);
    (crc == u32_at(head, 8)).then_some((first, bitmap))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indices(bits: &Bits) -> Vec<u32> {
        bits.iter().collect()
    }

    #[test]
    fn what_was_acknowledged_is_read_back() {
        for set in [
            vec![0],
            vec![0, 1, 2, 31, 32, 33, 127],
            vec![5, 5_000, 5_001, MAX_RECORDS - 1],
        ] {
            let bytes = encode(7, set.iter().copied());
            let (read, len) = decode(7, &bytes);
            assert_eq!((indices(&read), len), (set, bytes.len() as u64));
        }
    }

    #[test]
    fn records_far_apart_take_a_group_each() {
        assert_eq!(encode(7, [0, 100_000]).len(), 2 * (HEAD_LEN + 4));
        assert_eq!(encode(7, (0..1_000).step_by(2)).len(), HEAD_LEN + 4 * 32);
    }

    #[test]
    fn groups_of_another_segment_say_nothing() {
        let (read, len) = decode(8, &encode(7, [1, 2, 3]));
        assert_eq!((indices(&read), len), (vec![], 0));
    }

    #[test]
    fn a_changed_bit_or_a_cut_never_acknowledges_what_was_not() {
        let mut bytes = encode(7, [1, 2, 3]);
        let first = bytes.len();
        bytes.extend(encode(7, [9]));
        for at in 0..bytes.len() {
            let kept = if at < first { vec![] } else { vec![1, 2, 3] };
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert_eq!(indices(&decode(7, &flipped).0), kept, "bit of byte {at}");
            assert_eq!(indices(&decode(7, &bytes[..at]).0), kept, "cut at {at}");
        }
    }
}
