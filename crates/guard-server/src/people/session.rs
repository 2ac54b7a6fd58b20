//! Sessions of people who signed in, and the links with which people choose their first password.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Default of [`SessionLimits::idle`]: a working day.
const IDLE: Duration = Duration::from_secs(12 * 3600);
/// Default of [`SessionLimits::total`].
const TOTAL: Duration = Duration::from_secs(14 * 24 * 3600);

/// A session of a person who signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The person.
    pub person: String,
    /// When the person signed in.
    pub created_at: Timestamp,
    /// When the last request came. It is stored at intervals, not with each request.
    pub seen_at: Timestamp,
}

/// How long a session lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// A session without requests for this long has ended.
    pub idle: Duration,
    /// A session ends this long after the sign-in.
    pub total: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            idle: IDLE,
            total: TOTAL,
        }
    }
}

impl SessionLimits {
    /// Whether `session` has ended at `now`.
    pub fn is_over(&self, session: &Session, now: Timestamp) -> bool {
        let older = |at: Timestamp, limit: Duration| {
            let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
            now.duration_since(at) >= limit
        };
        older(session.created_at, self.total) || older(session.seen_at, self.idle)
    }
}

/// A link that works once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupLink {
    /// The person who chooses a password with it. `None` for the first admin, who chooses a name
    /// too.
    pub person: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_it_is_idle_or_old() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let limits = SessionLimits {
            idle: Duration::from_secs(10),
            total: Duration::from_secs(100),
        };
        let is_over = |seen, now| {
            let session = Session {
                person: "anna".to_owned(),
                created_at: at(1000),
                seen_at: at(seen),
            };
            limits.is_over(&session, at(now))
        };
        assert!(!is_over(1000, 1009) && is_over(1000, 1010));
        assert!(!is_over(1095, 1099) && is_over(1099, 1100));
        // The clock was set back.
        assert!(!is_over(1000, 500));
    }
}
