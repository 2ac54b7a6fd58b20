//! The delays between retries.

/// `base * 2^attempt` seconds, at most `max`.
///
/// ```
/// use guard_wire::backoff::delay;
///
/// assert_eq!(delay(0, 0.5, 60.0), 0.5);
/// assert_eq!(delay(3, 1.0, 60.0), 8.0);
/// assert_eq!(delay(400, 1.0, 60.0), 60.0);
/// ```
pub fn delay(attempt: u32, base: f64, max: f64) -> f64 {
    let exponent = i32::try_from(attempt).unwrap_or(i32::MAX);
    (base * 2.0_f64.powi(exponent)).min(max)
}
