//! Fuzzes the spool's reader with arbitrary files and with arbitrary changes to valid files.
//!
//!     cargo +nightly fuzz run spool
#![no_main]

#[path = "../../crates/guard-spool/tests/reader/mod.rs"]
mod reader;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    if choice % 2 == 0 {
        let (log, ack) = bytes.split_at(bytes.len() * usize::from(*choice) / 256);
        reader::bytes_as_files(log, ack);
    } else {
        reader::bytes_as_changes(bytes);
    }
});
