//! Reading timestamps as agents write them, and writing those of Python.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// A point in time in UTC, with the fields of Python's `datetime`.
///
/// ```
/// use guard_wire::timestamp::Moment;
///
/// let at = Moment { year: 2026, month: 11, day: 22, hour: 14, minute: 28, second: 58, micros: 961_533 };
/// assert_eq!(&at.text(), b"2026-11-22T14:28:58.961533+00:00");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Moment {
    pub year: u16,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub micros: u32,
}

impl Moment {
    /// RFC 3339, as `isoformat()` writes it, but always with microseconds.
    pub fn text(self) -> [u8; 32] {
        let mut text = *b"0000-00-00T00:00:00.000000+00:00";
        for (number, at) in [
            ((self.year / 100).into(), 0),
            (self.year.into(), 2),
            (self.month.into(), 5),
            (self.day.into(), 8),
            (self.hour.into(), 11),
            (self.minute.into(), 14),
            (self.second.into(), 17),
            (self.micros / 10_000, 20),
            (self.micros / 100, 22),
            (self.micros, 24),
        ] {
            let number: u32 = number;
            text[at..at + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
        }
        text
    }

    pub(crate) fn to_bytes(self) -> [u8; 11] {
        let [y, z] = self.year.to_le_bytes();
        let [a, b, c, d] = self.micros.to_le_bytes();
        let Self {
            month,
            day,
            hour,
            minute,
            second,
            ..
        } = self;
        [y, z, month, day, hour, minute, second, a, b, c, d]
    }

    pub(crate) fn from_bytes(bytes: [u8; 11]) -> Self {
        let [y, z, month, day, hour, minute, second, a, b, c, d] = bytes;
        Self {
            year: u16::from_le_bytes([y, z]),
            month,
            day,
            hour,
            minute,
            second,
            micros: u32::from_le_bytes([a, b, c, d]),
        }
    }
}

/// All numbers of two digits, as text.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number: u8 = 0;
    while number < 100 {
        pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    pairs
};

/// Reads an RFC 3339 timestamp, with `T` or a space between date and time. Without an offset it
/// is UTC.
///
/// ```
/// use guard_wire::timestamp::parse;
///
/// let aware = parse("2026-11-22 14:28:58.961533+00:00").unwrap();
/// assert_eq!(parse("2026-11-22T14:28:58.961533").unwrap(), aware);
/// assert_eq!(parse("yesterday"), None);
/// ```
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp);
    }
    let naive = text.parse::<DateTime>().ok()?;
    Offset::UTC.to_timestamp(naive).ok()
}

/// Reads a timestamp that all readers, including those of Python, understand in the same way.
/// It must be complete RFC 3339, except that the offset may be absent. It refuses a date without
/// a time, `20261122T142858Z`, second 60, a zone in brackets, and year 0.
pub(crate) fn parse_strictly(text: &str) -> Option<Timestamp> {
    let (head, tail) = text.split_at_checked(19)?;
    let is_like = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text
                .bytes()
                .zip(shape.bytes())
                .all(|(byte, like)| match like {
                    b'0' => byte.is_ascii_digit(),
                    b'T' => matches!(byte, b'T' | b't' | b' '),
                    b'+' => matches!(byte, b'+' | b'-'),
                    _ => byte == like,
                })
    };
    let digits = tail.strip_prefix('.').map_or(0, |rest| {
        rest.bytes().take_while(u8::is_ascii_digit).count() + 1
    });
    let offset = &tail[digits..];
    let has_offset = is_like(offset, "+00:00") && &offset[1..3] < "24";
    let is_shaped = is_like(head, "0000-00-00T00:00:00")
        && &head[..4] != "0000"
        && &head[17..] < "60"
        && (digits == 0 || (2..=10).contains(&digits))
        && (matches!(offset, "" | "Z" | "z") || has_offset);
    parse(text).filter(|_| is_shaped)
}

/// A fast check for timestamps that every backend accepts: `2026-11-22T14:28:58`, up to nine
/// digits after a point, then `Z` or `+00:00`. False for the days 29 to 31, which not every
/// month has: such a timestamp must be parsed.
pub(crate) fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((head, tail)) = bytes.split_at_checked(19) else {
        return false;
    };
    let digit = |at: usize| head[at].is_ascii_digit();
    let number = |at: usize| head[at].wrapping_sub(b'0') * 10 + head[at + 1].wrapping_sub(b'0');
    let has_shape = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18]
        .into_iter()
        .all(digit)
        && [head[4], head[7], head[10], head[13], head[16]] == *b"--T::";
    let fraction = match tail.strip_prefix(b".") {
        Some(rest) => rest.iter().take_while(|byte| byte.is_ascii_digit()).count() + 1,
        None => 0,
    };
    has_shape
        && (1..=12).contains(&number(5))
        && (1..=28).contains(&number(8))
        && number(11) < 24
        && number(14) < 60
        && number(17) < 60
        && fraction != 1
        && fraction <= 10
        && matches!(&tail[fraction..], b"Z" | b"+00:00")
}

/// Converts a Unix time in seconds.
pub fn from_unix_seconds(seconds: f64) -> Option<Timestamp> {
    if !seconds.is_finite() || seconds.abs() > 1e11 {
        return None;
    }
    let micros = (seconds * 1e6).round();
    #[expect(clippy::cast_possible_truncation, reason = "bounded to 1e17 above")]
    Timestamp::from_microsecond(micros as i64).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_python_and_rust_write_is_plain() {
        assert!(is_plain("2026-11-22T14:28:58.961533+00:00"));
        assert!(is_plain("2026-11-22T14:28:58Z"));
        for doubtful in [
            "2026-11-22 14:28:58Z",
            "2026-11-22T14:28:58",
            "2026-11-22T14:28:58.Z",
            "2026-02-30T14:28:58Z",
            "2026-13-01T14:28:58Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T14:28:58+01:00",
            "2026-11-22T14:28:58.0000000001Z",
            "2026-11-22T14:28:é",
        ] {
            assert!(!is_plain(doubtful), "{doubtful}");
        }
    }

    #[test]
    fn what_readers_differ_about_is_not_read_strictly() {
        for common in [
            "2026-11-22T14:28:58Z",
            "2026-11-22t14:28:58z",
            "2026-11-22 14:28:58.961533",
            "2026-11-22T14:28:58.123456789+05:30",
            "2026-11-22T14:28:58-23:59",
        ] {
            assert_eq!(parse_strictly(common), parse(common), "{common}");
            assert!(parse(common).is_some(), "{common}");
        }
        for odd in [
            "",
            "20300101T000000Z",
            "20300101",
            "2030-01-01",
            "2030-01-01T00",
            "2030-06-30T23:59:60Z",
            "2030-01-01T00:00:00Z[UTC]",
            "2030-01-01T00:00:00,5Z",
            "2030-01-01T00:00:00.Z",
            "2030-01-01T00:00:00.0123456789Z",
            "2030-01-01T00:00:00+24:00",
            "2030-01-01T00:00:00+00:00:30",
            "2030-01-01T00:00:00+0000",
            "2030-01-01T00:00:00+00",
            " 2030-01-01T00:00:00Z ",
            "0000-01-01T00:00:00Z",
            "2030-02-30T00:00:00Z",
            "2030-01-01T00:00:0é",
        ] {
            assert_eq!(parse_strictly(odd), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn what_is_plain_can_be_read(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,10})?(Z|\\+00:00)",
        ) {
            prop_assert!(!is_plain(&text) || parse(&text).is_some(), "{}", text);
        }
    }
}
