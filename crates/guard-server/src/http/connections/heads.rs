//! Finds bare line feeds (without a carriage return) in the heads of requests. A proxy in front of
//! the server may read such a line as part of the line before, and let a forbidden request through.

/// Bytes of a line that are kept. Longer lines do not matter here.
const MAX_LINE: usize = 256;

/// Parses the bytes of a connection just far enough to know where each head begins and ends.
#[derive(Debug, Default)]
pub(super) struct Heads {
    at: At,
    /// The start of the current line.
    line: Vec<u8>,
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
    /// Processes `bytes`. Replaces a bare line feed in a head with a NUL, so that the parser
    /// answers 400.
    pub(super) fn follow(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let passed = match self.at {
                At::Body(left) => self.pass(left, bytes.len(), At::Body, At::Before),
                At::Chunk(left) => self.pass(left, bytes.len(), At::Chunk, At::ChunkSize),
                At::Before | At::Head | At::ChunkSize | At::Trailer => self.read_line(bytes),
            };
            bytes = &mut bytes[passed..];
        }
    }

    /// Skips at most `left` bytes of a body.
    fn pass(&mut self, left: u64, len: usize, more: fn(u64) -> At, then: At) -> usize {
        let passed = usize::try_from(left).map_or(len, |left| left.min(len));
        let left = left.saturating_sub(passed as u64);
        self.at = if left == 0 { then } else { more(left) };
        passed
    }

    fn read_line(&mut self, bytes: &mut [u8]) -> usize {
        let is_head = matches!(self.at, At::Before | At::Head);
        for (index, byte) in bytes.iter_mut().enumerate() {
            let before = std::mem::replace(&mut self.last, *byte);
            if *byte != b'\n' {
                if self.line.len() < MAX_LINE {
                    self.line.push(*byte);
                }
                continue;
            }
            if is_head && before != b'\r' {
                *byte = 0;
                continue;
            }
            let line = std::mem::take(&mut self.line);
            self.end_line(line.trim_ascii());
            return index + 1;
        }
        bytes.len()
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
        Heads::default().follow(&mut whole);
        let mut pieces = text.as_bytes().to_vec();
        let mut heads = Heads::default();
        for byte in &mut pieces {
            heads.follow(std::slice::from_mut(byte));
        }
        assert_eq!(whole, pieces);
        String::from_utf8(whole).unwrap()
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
