//! Limits and the sync interval.

use std::time::Duration;

use crate::error::OptionsError;
use crate::format::frame::{FRAME_LEN, HEADER_LEN, SEAL_LEN};

/// Default limit of the bytes on disk: 1 GiB.
pub const DEFAULT_MAX_BYTES: u64 = 1 << 30;
/// Default maximum length of a segment: 2 MiB.
pub const DEFAULT_SEGMENT_BYTES: u64 = 2 << 20;
/// Longest segment that can be configured: 64 MiB. Reading a segment takes as much memory.
pub const MAX_SEGMENT_BYTES: u64 = 64 << 20;
/// Default maximum length of a record: 1 MiB.
pub const DEFAULT_MAX_RECORD: usize = 1 << 20;
/// Default limit of the quarantine: 64 MiB.
pub const DEFAULT_QUARANTINE_BYTES: u64 = 64 << 20;
/// Default time from an append to its sync: 200 ms.
pub const DEFAULT_SYNC_INTERVAL: Duration = Duration::from_millis(200);

/// The limits of a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Limit of the bytes on disk; at least four segments. It includes adopted directories,
    /// but not the quarantine.
    pub max_bytes: u64,
    /// Maximum length of a segment; at most [`MAX_SEGMENT_BYTES`]. Reading a segment takes as
    /// much memory.
    pub segment_bytes: u64,
    /// Maximum length of a record; a segment must have room for one.
    pub max_record: usize,
    /// Appended records become durable with the first [`tick`](crate::Spool::tick) this long
    /// after the append, or with [`sync`](crate::Spool::sync). A power cut loses younger records.
    pub sync_interval: Duration,
    /// Limit of the quarantine, counted in whole blocks; at least two segments. At the limit,
    /// the oldest files are removed.
    pub quarantine_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_bytes: DEFAULT_MAX_BYTES,
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            max_record: DEFAULT_MAX_RECORD,
            sync_interval: DEFAULT_SYNC_INTERVAL,
            quarantine_bytes: DEFAULT_QUARANTINE_BYTES,
        }
    }
}

impl Options {
    /// Length of a segment with one record, without the payload.
    const OVERHEAD: usize = HEADER_LEN + FRAME_LEN + SEAL_LEN;

    /// # Errors
    ///
    /// The first option that is out of its range, with its value and how to fix it.
    pub fn validate(&self) -> Result<(), OptionsError> {
        let least_segment = (self.max_record.saturating_add(Self::OVERHEAD)) as u64;
        let at_least = |option, value: u64, least: u64, why: &str| {
            if value >= least {
                return Ok(());
            }
            let remedy = format!("set it to at least {least}, {why}");
            Err(OptionsError {
                option,
                value,
                remedy,
            })
        };
        if self.segment_bytes > MAX_SEGMENT_BYTES {
            return Err(OptionsError {
                option: "segment_bytes",
                value: self.segment_bytes,
                remedy: format!("set it to at most {MAX_SEGMENT_BYTES}"),
            });
        }
        at_least(
            "segment_bytes",
            self.segment_bytes,
            least_segment,
            "so that it holds a record of max_record",
        )?;
        at_least(
            "max_bytes",
            self.max_bytes,
            4 * self.segment_bytes,
            "four times segment_bytes",
        )?;
        at_least(
            "quarantine_bytes",
            self.quarantine_bytes,
            2 * self.segment_bytes,
            "twice segment_bytes",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Options::default().validate(), Ok(()));
    }

    #[test]
    fn an_option_out_of_its_range_is_named_with_value_and_remedy() {
        let refused = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            options.validate().unwrap_err().to_string()
        };
        assert_eq!(
            refused(|o| o.max_bytes = 5),
            "max_bytes is 5; set it to at least 8388608, four times segment_bytes"
        );
        assert!(refused(|o| o.max_record = 2 << 20).starts_with("segment_bytes is 2097152; "));
        assert!(
            refused(|o| o.segment_bytes = 2 << 30).starts_with("segment_bytes is 2147483648; ")
        );
        assert!(refused(|o| o.quarantine_bytes = 0).starts_with("quarantine_bytes is 0; "));
    }
}
