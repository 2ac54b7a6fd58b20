//! How much room the data of a project takes, and how long the disk lasts.

use super::Settings;

/// The room that a project's data takes, as the store knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the project's data.
    pub bytes: u64,
    /// How many bytes a day are added, before retention removes others.
    pub bytes_per_day: u64,
    /// Bytes that the disk still has. `None` if the store does not know.
    pub free: Option<u64>,
}

impl Usage {
    /// Days until the disk is full at this growth. `None` if retention stops the growth before
    /// that, or nothing is known.
    pub fn days_left(&self, settings: &Settings) -> Option<u64> {
        let free = self.free?;
        let by_age = self
            .bytes_per_day
            .saturating_mul(settings.retention_days.into());
        let most = by_age.min(settings.retention_bytes.unwrap_or(u64::MAX));
        if most.saturating_sub(self.bytes) <= free {
            return None;
        }
        free.checked_div(self.bytes_per_day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_lasts_until_it_is_full_unless_retention_stops_the_growth() {
        let days = |bytes, bytes_per_day, free, retention_days, retention_bytes| {
            let usage = Usage {
                bytes,
                bytes_per_day,
                free,
            };
            usage.days_left(&Settings {
                retention_days,
                retention_bytes,
                ..Settings::default()
            })
        };
        assert_eq!(days(0, 10, Some(100), 90, None), Some(10));
        assert_eq!(days(0, 10, Some(1000), 90, None), None);
        assert_eq!(days(850, 10, Some(100), 90, None), None);
        assert_eq!(days(0, 10, Some(100), 90, Some(80)), None);
        assert_eq!(days(0, 10, Some(100), 90, Some(200)), Some(10));
        assert_eq!(days(0, 0, Some(0), 90, None), None);
        assert_eq!(days(0, 10, None, 90, None), None);
    }
}
