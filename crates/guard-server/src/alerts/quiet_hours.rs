//! A span of each day without notifications of alerts.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::AlertError;

/// A span of each day, in a time zone. It may span midnight.
///
/// The span begins and ends at moments of the local clock. At a time that occurs twice, the first
/// one counts; for a time that is skipped, the moment after the gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// When it begins, such as `22:00`.
    pub from: String,
    /// When it ends, such as `07:00`. It may be before `from`: then it ends on the next day.
    pub to: String,
    /// An IANA time zone, such as `Europe/Berlin`.
    #[serde(default = "utc")]
    pub tz: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl QuietHours {
    pub(super) fn check(&self) -> Result<(), AlertError> {
        let error = |field: &str, problem: String| {
            let field = format!("quiet_hours.{field}");
            Err(AlertError::alert(field, problem))
        };
        for (field, text) in [("from", &self.from), ("to", &self.to)] {
            if time(text).is_none() {
                return error(
                    field,
                    format!("{text:?} is no time; give one such as 22:00"),
                );
            }
        }
        if time(&self.from) == time(&self.to) {
            return error(
                "to",
                "it is equal to from; disable the alert instead".to_owned(),
            );
        }
        if TimeZone::get(&self.tz).is_err() {
            let problem = format!(
                "{:?} is no time zone; give one such as Europe/Berlin or UTC",
                self.tz
            );
            return error("tz", problem);
        }
        Ok(())
    }

    /// Whether `now` is in it.
    pub fn contains(&self, now: Timestamp) -> bool {
        let (Some(from), Some(to)) = (time(&self.from), time(&self.to)) else {
            return false;
        };
        // The database of time zones is part of the program.
        let zone = TimeZone::get(&self.tz).unwrap_or(TimeZone::UTC);
        let today = zone.to_datetime(now).date();
        let moment = |date: jiff::civil::Date, time: Time| {
            let zoned = date.to_datetime(time).to_zoned(zone.clone());
            zoned.ok().map(|zoned| zoned.timestamp())
        };
        // The span that began today, and the one that began yesterday.
        [Ok(today), today.yesterday()].into_iter().any(|date| {
            let span = date.ok().and_then(|date| {
                let last = if to > from {
                    date
                } else {
                    date.checked_add(1.day()).ok()?
                };
                Some(moment(date, from)?..moment(last, to)?)
            });
            span.is_some_and(|span| span.contains(&now))
        })
    }
}

/// Reads `HH:MM`.
fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<i8>().ok()).flatten()
    };
    Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(from: &str, to: &str, tz: &str) -> QuietHours {
        QuietHours {
            from: from.to_owned(),
            to: to.to_owned(),
            tz: tz.to_owned(),
        }
    }

    #[track_caller]
    fn check(hours: &QuietHours, cases: &[(&str, bool)]) {
        for (at, is_quiet) in cases {
            assert_eq!(hours.contains(at.parse().unwrap()), *is_quiet, "{at}");
        }
    }

    #[test]
    fn a_span_may_lie_within_a_day_or_over_midnight() {
        check(
            &quiet("09:00", "17:30", "UTC"),
            &[
                ("2026-11-30T08:59:59Z", false),
                ("2026-11-30T09:00:00Z", true),
                ("2026-11-30T17:29:59Z", true),
                ("2026-11-30T17:30:00Z", false),
            ],
        );
        check(
            &quiet("22:00", "07:00", "Europe/Berlin"),
            &[
                ("2026-11-30T20:59:59Z", false),
                ("2026-11-30T21:00:00Z", true),
                ("2026-12-01T00:00:00Z", true),
                ("2026-12-01T05:59:59Z", true),
                ("2026-12-01T06:00:00Z", false),
            ],
        );
    }

    #[test]
    fn it_follows_the_local_clock_in_summer() {
        check(
            &quiet("22:00", "07:00", "Europe/Berlin"),
            &[
                ("2026-07-01T19:59:59Z", false),
                ("2026-07-01T20:00:00Z", true),
                ("2026-07-02T04:59:59Z", true),
                ("2026-07-02T05:00:00Z", false),
            ],
        );
    }

    #[test]
    fn a_span_over_the_change_to_summer_is_an_hour_shorter() {
        // In Berlin, 02:00 becomes 03:00 on 29 March 2026.
        check(
            &quiet("22:00", "07:00", "Europe/Berlin"),
            &[
                ("2026-03-28T20:59:59Z", false),
                ("2026-03-28T21:00:00Z", true),
                ("2026-03-29T04:59:59Z", true),
                ("2026-03-29T05:00:00Z", false),
            ],
        );
        // It ends at a time that does not exist.
        check(
            &quiet("22:00", "02:30", "Europe/Berlin"),
            &[
                ("2026-03-29T00:59:59Z", true),
                ("2026-03-29T01:29:59Z", true),
                ("2026-03-29T01:30:00Z", false),
            ],
        );
    }

    #[test]
    fn a_span_over_the_change_to_winter_is_an_hour_longer_and_ends_once() {
        // In Berlin, 03:00 becomes 02:00 on 25 October 2026.
        check(
            &quiet("22:00", "07:00", "Europe/Berlin"),
            &[
                ("2026-10-24T20:00:00Z", true),
                ("2026-10-25T05:59:59Z", true),
                ("2026-10-25T06:00:00Z", false),
            ],
        );
        check(
            &quiet("22:00", "02:30", "Europe/Berlin"),
            &[
                ("2026-10-25T00:29:59Z", true),
                ("2026-10-25T00:30:00Z", false),
                ("2026-10-25T01:15:00Z", false),
            ],
        );
    }

    #[test]
    fn what_is_no_span_is_refused_with_the_field() {
        for (hours, field) in [
            (quiet("24:00", "07:00", "UTC"), "quiet_hours.from"),
            (quiet("22:00", "7", "UTC"), "quiet_hours.to"),
            (quiet("22:00", "22:00", "UTC"), "quiet_hours.to"),
            (quiet("22:00", "07:00", "Berlin"), "quiet_hours.tz"),
        ] {
            assert_eq!(hours.check().unwrap_err().field, field);
        }
        assert_eq!(quiet("22:00", "07:00", "Asia/Tokyo").check(), Ok(()));
    }
}
