//! A spool that reads arbitrary bytes. The fuzz target goes further.

mod reader;

use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_files_are_read_without_harm(log in vec(any::<u8>(), 0..500), ack in vec(any::<u8>(), 0..100)) {
        reader::bytes_as_files(&log, &ack);
    }

    #[test]
    fn arbitrary_changes_never_make_a_wrong_record(changes in vec(any::<u8>(), 0..60)) {
        reader::bytes_as_changes(&changes);
    }
}
