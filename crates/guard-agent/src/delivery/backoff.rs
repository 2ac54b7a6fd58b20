//! When to try again. Pure: randomness and time come from the caller.

use std::time::Duration;

/// The longest wait between two attempts of a round, in seconds, before jitter.
pub const MAX_DELAY: f64 = 60.0;
/// Maximum jitter, as a share of the planned wait. Jitter only lengthens a wait.
pub const JITTER: f64 = 0.25;
/// How long a batch rests after a round of attempts, before jitter.
pub const REST: Duration = Duration::from_secs(90);
/// The shortest `Retry-After` that is honoured. Without it, a value of 0 or a date in
/// the past would make the agent retry as fast as it can.
pub const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);
/// The longest `Retry-After` that is honoured.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// The wait before the next attempt: `factor * 2^(attempt - 1)` seconds for attempts
/// counted from 1, at most [`MAX_DELAY`], plus up to [`JITTER`] of it. `random` is from
/// 0 (no jitter) to 1.
pub(crate) fn delay(attempt: u32, factor: f64, random: f64) -> Duration {
    let planned = guard_wire::backoff::delay(attempt.saturating_sub(1), factor, MAX_DELAY);
    spread(
        Duration::try_from_secs_f64(planned).unwrap_or_default(),
        random,
    )
}

/// The wait between two rounds.
pub(crate) fn rest(random: f64) -> Duration {
    spread(REST, random)
}

/// The wait that the backend asked for, limited to [`MIN_RETRY_AFTER`]..[`MAX_RETRY_AFTER`].
pub(crate) fn retry_after(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(MAX_RETRY_AFTER)
        .clamp(MIN_RETRY_AFTER, MAX_RETRY_AFTER)
}

fn spread(planned: Duration, random: f64) -> Duration {
    planned.mul_f64(1.0 + JITTER * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let seconds = |attempt| delay(attempt, 1.0, 0.0).as_secs_f64();
        assert_eq!(
            [1, 2, 3, 6, 7, 4000].map(seconds),
            [1.0, 2.0, 4.0, 32.0, 60.0, 60.0]
        );
    }

    #[test]
    fn jitter_only_lengthens_and_at_most_by_a_quarter() {
        for attempt in 1..9 {
            let (least, most) = (delay(attempt, 0.5, 0.0), delay(attempt, 0.5, 1.0));
            assert_eq!(most, least.mul_f64(1.25));
        }
        assert!(rest(0.0) > delay(u32::MAX, 1e9, 0.0));
    }

    #[test]
    fn retry_after_is_capped_and_never_early() {
        assert_eq!(retry_after(7.5), Duration::from_millis(7500));
        assert_eq!(retry_after(0.0), MIN_RETRY_AFTER);
        assert_eq!(retry_after(1e9), MAX_RETRY_AFTER);
        assert_eq!(retry_after(f64::INFINITY), MAX_RETRY_AFTER);
    }
}
