//! Frames: writes records and seals, and finds them again, also between damaged bytes. The
//! crate's documentation specifies the layout.

use guard_wire::Kind;

use crate::token::MAX_RECORDS;

/// The first bytes of every segment.
const MAGIC: &[u8; 8] = b"GRDSPOOL";
/// Version of the format. A reader ignores segments of another version.
const VERSION: u32 = 1;
/// Bytes before the first frame.
pub(crate) const HEADER_LEN: usize = 24;
/// Bytes of a frame without its payload.
pub(crate) const FRAME_LEN: usize = 21;
/// Bytes of the frame that seals a segment.
pub(crate) const SEAL_LEN: usize = FRAME_LEN;

const TAG_EVENT: u8 = 0;
const TAG_METRIC: u8 = 1;
const TAG_SEAL: u8 = 0x53;

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// Written by this version, at this wall time in milliseconds.
    Known { created: u64 },
    /// Valid, but of another version.
    Foreign { version: u32 },
    /// Not readable.
    Damaged,
}

/// One part of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Record {
        index: u32,
        kind: Kind,
        payload: &'a [u8],
    },
    /// The end, with the number of indices assigned.
    Seal { indices: u32 },
    /// Bytes without a valid frame.
    Unreadable { len: u64, at_end: bool },
}

/// The header of a segment that was created at a wall time in milliseconds.
pub(crate) fn header(salt: u32, created: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&created.to_le_bytes());
    let crc = crc32c::crc32c_append(salt, &bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads the header of a segment.
pub(crate) fn read_header(salt: u32, bytes: &[u8]) -> Header {
    let Some((body, crc)) = bytes
        .get(..HEADER_LEN)
        .and_then(|b| b.split_at_checked(HEADER_LEN - 4))
    else {
        return Header::Damaged;
    };
    if u32_at(crc, 0) != crc32c::crc32c_append(salt, body) || &body[..8] != MAGIC {
        return Header::Damaged;
    }
    match u32_at(body, 8) {
        VERSION => Header::Known {
            created: u64::from(u32_at(body, 12)) | u64::from(u32_at(body, 16)) << 32,
        },
        version => Header::Foreign { version },
    }
}

/// Appends the frame of a record. `payload` is at most `u32::MAX` bytes, which
/// the spool's limit on records guarantees.
pub(crate) fn push_record(out: &mut Vec<u8>, salt: u32, index: u32, kind: Kind, payload: &[u8]) {
    let tag = match kind {
        Kind::Event => TAG_EVENT,
        Kind::Metric => TAG_METRIC,
    };
    push(out, salt, index, tag, payload);
}

/// Appends the frame that seals a segment with this number of indices.
pub(crate) fn push_seal(out: &mut Vec<u8>, salt: u32, indices: u32) {
    push(out, salt, indices, TAG_SEAL, &[]);
}

fn push(out: &mut Vec<u8>, salt: u32, index: u32, tag: u8, payload: &[u8]) {
    let start = out.len();
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&salt.to_le_bytes());
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
    out.push(tag);
    out.extend_from_slice(&crc32c::crc32c_append(salt, payload).to_le_bytes());
    let crc = crc32c::crc32c_append(salt, &out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(payload);
}

/// The frame at the start of `bytes`, and its length, if it is valid.
fn frame(salt: u32, bytes: &[u8]) -> Option<(Piece<'_>, usize)> {
    let head = bytes.get(..FRAME_LEN)?;
    let sound = u32_at(head, 0) == salt
        && u32_at(head, 17) == crc32c::crc32c_append(salt, &head[..FRAME_LEN - 4]);
    if !sound {
        return None;
    }
    let index = u32_at(head, 4);
    let end = FRAME_LEN.checked_add(u32_at(head, 8) as usize)?;
    let payload = bytes.get(FRAME_LEN..end)?;
    if u32_at(head, 13) != crc32c::crc32c_append(salt, payload) || index > MAX_RECORDS {
        return None;
    }
    let kind = match head[12] {
        TAG_EVENT => Kind::Event,
        TAG_METRIC => Kind::Metric,
        TAG_SEAL if payload.is_empty() => return Some((Piece::Seal { indices: index }, end)),
        _ => return None,
    };
    let record = Piece::Record {
        index,
        kind,
        payload,
    };
    Some((record, end))
}

/// The number of indices assigned in a segment, if `bytes`, its last [`SEAL_LEN`] bytes, are a
/// seal.
pub(crate) fn read_seal(salt: u32, bytes: &[u8]) -> Option<u32> {
    match frame(salt, bytes)? {
        (Piece::Seal { indices }, _) => Some(indices),
        _ => None,
    }
}

/// Iterates over the frames of a segment and skips unreadable bytes.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    salt: u32,
    bytes: &'a [u8],
    at: usize,
    /// Indices must rise, so that no record is returned twice.
    next_index: u32,
}

impl<'a> Scan<'a> {
    /// Scans a whole segment, including its header.
    pub(crate) fn new(salt: u32, segment: &'a [u8]) -> Self {
        let at = match read_header(salt, segment) {
            Header::Damaged => 0,
            Header::Known { .. } | Header::Foreign { .. } => HEADER_LEN,
        };
        Self {
            salt,
            bytes: segment,
            at,
            next_index: 0,
        }
    }

    /// The frame at a position, if it is valid and in order.
    fn frame_at(&self, at: usize) -> Option<(Piece<'a>, usize)> {
        let (piece, len) = frame(self.salt, self.bytes.get(at..)?)?;
        match piece {
            Piece::Record { index, .. } if index < self.next_index || index == MAX_RECORDS => None,
            piece => Some((piece, at + len)),
        }
    }

    /// The position of the next valid frame.
    fn next_frame(&self, mut at: usize) -> Option<usize> {
        let marker = self.salt.to_le_bytes();
        loop {
            let rest = self.bytes.get(at + 1..)?;
            at += 1 + rest.windows(marker.len()).position(|four| four == marker)?;
            if self.frame_at(at).is_some() {
                return Some(at);
            }
        }
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if self.at >= self.bytes.len() {
            return None;
        }
        if let Some((piece, end)) = self.frame_at(self.at) {
            self.at = end;
            if let Piece::Record { index, .. } = piece {
                self.next_index = index + 1;
            }
            return Some(piece);
        }
        let next = self.next_frame(self.at);
        let end = next.unwrap_or(self.bytes.len());
        let len = (end - self.at) as u64;
        self.at = end;
        Some(Piece::Unreadable {
            len,
            at_end: next.is_none(),
        })
    }
}

/// Reads four bytes as a number; 0 if there are fewer.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        Some(four) => u32::from_le_bytes(*four),
        None => 0,
    }
}

#[cfg(test)]
mod tests;
