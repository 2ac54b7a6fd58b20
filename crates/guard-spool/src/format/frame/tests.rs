use super::*;

const SALT: u32 = 0x9f3a_2b1c;

/// What a scan of a segment with these bytes after its header gives.
fn scan(bytes: &[u8]) -> Vec<Piece<'_>> {
    Scan::new(SALT, bytes).collect()
}

fn record(index: u32, kind: Kind, payload: &[u8]) -> Piece<'_> {
    Piece::Record {
        index,
        kind,
        payload,
    }
}

/// A segment of these events, and where each frame begins and the last ends.
fn segment(payloads: &[&[u8]]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = header(SALT, 1);
    let mut starts = vec![bytes.len()];
    for (index, payload) in (0..).zip(payloads) {
        push_record(&mut bytes, SALT, index, Kind::Event, payload);
        starts.push(bytes.len());
    }
    (bytes, starts)
}

#[test]
fn records_and_seal_are_read_as_they_were_written() {
    let mut bytes = header(SALT, 1_763_942_400_123);
    push_record(&mut bytes, SALT, 0, Kind::Event, b"{}");
    push_record(&mut bytes, SALT, 1, Kind::Metric, b"");
    push_record(&mut bytes, SALT, 7, Kind::Event, &[0xff; 300]);
    push_seal(&mut bytes, SALT, 8);
    let expected = [
        record(0, Kind::Event, b"{}"),
        record(1, Kind::Metric, b""),
        record(7, Kind::Event, &[0xff; 300]),
        Piece::Seal { indices: 8 },
    ];
    assert_eq!(scan(&bytes), expected);
    let created = 1_763_942_400_123;
    assert_eq!(read_header(SALT, &bytes), Header::Known { created });
    assert_eq!(read_seal(SALT, &bytes[bytes.len() - SEAL_LEN..]), Some(8));
}

#[test]
fn the_bytes_of_a_frame_are_those_of_the_specification() {
    let mut bytes = Vec::new();
    push_record(&mut bytes, 0x0403_0201, 5, Kind::Metric, b"abc");
    assert_eq!(bytes[..13], [1, 2, 3, 4, 5, 0, 0, 0, 3, 0, 0, 0, 1]);
    let payload_crc = crc32c::crc32c_append(0x0403_0201, b"abc").to_le_bytes();
    assert_eq!(bytes[13..17], payload_crc);
    let head_crc = crc32c::crc32c_append(0x0403_0201, &bytes[..17]).to_le_bytes();
    assert_eq!(bytes[17..21], head_crc);
    assert_eq!(bytes[21..], *b"abc");
}

#[test]
fn the_checksum_is_crc32c() {
    // The check value of CRC-32/ISCSI.
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn a_header_of_another_version_is_told_from_a_damaged_one() {
    let mut bytes = header(SALT, 1);
    bytes[8] = 2;
    assert_eq!(read_header(SALT, &bytes), Header::Damaged);
    let crc = crc32c::crc32c_append(SALT, &bytes[..20]).to_le_bytes();
    bytes[20..].copy_from_slice(&crc);
    assert_eq!(read_header(SALT, &bytes), Header::Foreign { version: 2 });
    assert_eq!(read_header(SALT, &bytes[..23]), Header::Damaged);
    assert_eq!(read_header(SALT + 1, &bytes), Header::Damaged);
}

#[test]
fn a_damaged_frame_costs_itself_alone() {
    let (bytes, starts) = segment(&[b"first", b"second", b"third"]);
    for at in starts[1]..starts[2] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let unreadable = Piece::Unreadable {
            len: (starts[2] - starts[1]) as u64,
            at_end: false,
        };
        let expected = [
            record(0, Kind::Event, b"first"),
            unreadable,
            record(2, Kind::Event, b"third"),
        ];
        assert_eq!(scan(&damaged), expected, "bit of byte {at}");
    }
}

#[test]
fn a_torn_tail_is_told_by_standing_at_the_end() {
    let (bytes, starts) = segment(&[b"first", b"second"]);
    for at in starts[1] + 1..starts[2] {
        let torn = Piece::Unreadable {
            len: (at - starts[1]) as u64,
            at_end: true,
        };
        assert_eq!(scan(&bytes[..at]), [record(0, Kind::Event, b"first"), torn]);
    }
}

#[test]
fn a_damaged_header_costs_no_record() {
    let (mut bytes, starts) = segment(&[b"first"]);
    bytes[3] ^= 1;
    let unreadable = Piece::Unreadable {
        len: starts[0] as u64,
        at_end: false,
    };
    assert_eq!(scan(&bytes), [unreadable, record(0, Kind::Event, b"first")]);
}

#[test]
fn a_record_that_holds_a_segment_is_one_record() {
    // Of another salt its frames mean nothing; of the same, they are payload.
    let (inner, _) = segment(&[b"forged"]);
    let (bytes, _) = segment(&[&inner, b"next"]);
    let expected = [
        record(0, Kind::Event, &inner),
        record(1, Kind::Event, b"next"),
    ];
    assert_eq!(scan(&bytes), expected);
}

#[test]
fn a_frame_that_stands_twice_is_given_once() {
    let (bytes, starts) = segment(&[b"first", b"second"]);
    let mut twice = bytes.clone();
    twice.extend_from_slice(&bytes[starts[0]..]);
    let records = scan(&twice)
        .into_iter()
        .filter(|piece| matches!(piece, Piece::Record { .. }));
    assert_eq!(records.count(), 2);
}
