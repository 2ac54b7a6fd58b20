//! Finds what the parser of heads would treat badly.
//!
//! - Bare line feeds, without a carriage return: a proxy in front of the server may read such a line
//!   as part of the line before, and let a forbidden request through. The parser gets a NUL instead,
//!   so that it answers 400.
//! - Long request lines: the parser would answer 431 without a reason, and close the connection
//!   while the client still sends. It gets the line cut to [`MAX_REQUEST_LINE`] bytes, and requests
//!   with such a line are refused (`messages`).

/// Bytes of a line that are kept. Longer lines do not matter here.
const MAX_LINE: usize = 256;
/// The longest request line. A filter of 4,096 bytes takes at most half of it.
pub(super) const MAX_REQUEST_LINE: usize = 24 * 1024;
/// What ends a line that was cut.
const CUT: &[u8] = b" HTTP/1.1";

/// Parses the bytes of a connection just far enough to know where each head begins and ends.
#[derive(Debug, Default)]
pub(super) struct Heads {
    at: At,
    /// The start of the current line.
    line: Vec<u8>,
    /// How many bytes of the current line came so far.
    len: usize,
    last: u8,
    framing: Framing,
}

#[derive(Debug, Default, Clone, Copy)]
enum At {
    /// Empty lines before a request are skipped.
    #[default]
    Before,
    Head,
    Body(u64),
    ChunkSize,
    Chunk(u64),
    Trailer,
}

#[derive(Debug, Default, Clone, Copy)]
enum Framing {
    #[default]
    None,
    Length(u64),
    Chunked,
}

impl Heads {
    /// Processes `bytes`, of which the first ones stay. Returns how many.
    pub(super) fn follow(&mut self, bytes: &mut [u8]) -> usize {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() {
            let rest = &mut bytes[at..];
            let (passed, stay) = match self.at {
                At::Body(left) => self.pass(left, rest.len(), At::Body, At::Before),
                At::Chunk(left) => self.pass(left, rest.len(), At::Chunk, At::ChunkSize),
                At::Before | At::Head | At::ChunkSize | At::Trailer => self.read_line(rest),
            };
            if kept < at {
                bytes.copy_within(at..at + stay, kept);
            }
            at += passed;
            kept += stay;
        }
        kept
    }

    /// Skips at most `left` bytes of a body. Returns how many, and that all of them stay.
    fn pass(&mut self, left: u64, len: usize, more: fn(u64) -> At, then: At) -> (usize, usize) {
        let passed = usize::try_from(left).map_or(len, |left| left.min(len));
        let left = left.saturating_sub(passed as u64);
        self.at = if left == 0 { then } else { more(left) };
        (passed, passed)
    }

    /// Reads to the end of the line. Returns how many bytes that was, and how many of them stay.
    fn read_line(&mut self, bytes: &mut [u8]) -> (usize, usize) {
        let is_head = matches!(self.at, At::Before | At::Head);
        let is_first = matches!(self.at, At::Before);
        let mut stay = 0;
        for index in 0..bytes.len() {
            let byte = bytes[index];
            let before = std::mem::replace(&mut self.last, byte);
            let is_end = byte == b'\n' && !(is_head && before != b'\r');
            let passed = match self.len.checked_sub(MAX_REQUEST_LINE) {
                Some(beyond) if is_first && !is_end => CUT.get(beyond).copied(),
                _ if byte == b'\n' && !is_end => Some(0),
                _ => Some(byte),
            };
            if let Some(passed) = passed {
                bytes[stay] = passed;
                stay += 1;
            }
            if is_end {
                self.len = 0;
                let line = std::mem::take(&mut self.line);
                self.end_line(line.trim_ascii());
                return (index + 1, stay);
            }
            self.len += 1;
            if self.line.len() < MAX_LINE && byte != b'\n' {
                self.line.push(byte);
            }
        }
        (bytes.len(), stay)
    }

    fn end_line(&mut self, line: &[u8]) {
        self.at = match self.at {
            At::Before if line.is_empty() => At::Before,
            At::Head if line.is_empty() => match std::mem::take(&mut self.framing) {
                Framing::None | Framing::Length(0) => At::Before,
                Framing::Length(length) => At::Body(length),
                Framing::Chunked => At::ChunkSize,
            },
            At::Before | At::Head => {
                self.read_framing(line);
                At::Head
            }
            At::ChunkSize => match chunk_size(line) {
                0 => At::Trailer,
                // The line end after the chunk counts too.
                size => At::Chunk(size.saturating_add(2)),
            },
            At::Trailer if line.is_empty() => At::Before,
            other => other,
        };
    }

    fn read_framing(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return;
        };
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case(b"content-length")
            && !matches!(self.framing, Framing::Chunked)
        {
            self.framing = Framing::Length(number(&value[1..], 10));
        }
    }
}

fn chunk_size(line: &[u8]) -> u64 {
    let digits = line.split(|byte| *byte == b';').next();
    number(digits.unwrap_or_default(), 16)
}

/// The parser refuses text that is not a number.
fn number(text: &[u8], radix: u32) -> u64 {
    let text = std::str::from_utf8(text).unwrap_or_default();
    u64::from_str_radix(text.trim(), radix).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `text` after processing, and checks that its split into pieces does not matter.
    fn followed(text: &str) -> String {
        let mut whole = text.as_bytes().to_vec();
        let kept = Heads::default().follow(&mut whole);
        whole.truncate(kept);
        let mut pieces = Vec::new();
        let mut heads = Heads::default();
        for byte in text.bytes() {
            let mut piece = [byte];
            let kept = heads.follow(&mut piece);
            pieces.extend_from_slice(&piece[..kept]);
        }
        assert_eq!(whole, pieces);
        String::from_utf8(whole).unwrap()
    }

    #[test]
    fn a_long_request_line_is_cut_and_everything_else_stays() {
        let rest = "Host: x\r\nContent-Length: 3\r\n\r\n\n\n\nGET / HTTP/1.1\r\n\r\n";
        let short = format!(
            "POST /{} HTTP/1.1\r\n{rest}",
            "a".repeat(MAX_REQUEST_LINE - 16)
        );
        assert_eq!(followed(&short), short);
        for more in [100, 100_000] {
            let long = format!(
                "POST /{} HTTP/1.1\r\n{rest}",
                "a".repeat(MAX_REQUEST_LINE + more)
            );
            let cut = format!(
                "POST /{} HTTP/1.1\n{rest}",
                "a".repeat(MAX_REQUEST_LINE - 6)
            );
            assert_eq!(followed(&long), cut);
        }
    }

    #[test]
    fn line_feeds_in_bodies_stay_as_they_are() {
        for text in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "\r\nPOST / HTTP/1.1\r\ncontent-LENGTH: 4\r\n\r\n\n\na\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n\n\n\n\r\n0\r\nA: b\r\n\r\n",
        ] {
            assert_eq!(followed(text), text);
        }
    }

    #[test]
    fn bare_line_feeds_in_any_head_become_nul() {
        for (text, expected) in [
            (
                "GET / HTTP/1.1\nHost: x\r\n\r\n",
                "GET / HTTP/1.1\0Host: x\r\n\r\n",
            ),
            (
                "GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
                "GET / HTTP/1.1\r\nA: b\0C: d\r\n\r\n",
            ),
            ("\nGET / HTTP/1.1\r\n\r\n", "\0GET / HTTP/1.1\r\n\r\n"),
            ("GET / HTTP/1.1\r\n\n", "GET / HTTP/1.1\r\n\0"),
        ] {
            assert_eq!(followed(text), expected);
            for first in [
                "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n\n\n\n",
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n\n23456789\n\r\n0\r\n\r\n",
            ] {
                let (text, expected) = ([first, text].concat(), [first, expected].concat());
                assert_eq!(followed(&text), expected);
            }
        }
    }
}
