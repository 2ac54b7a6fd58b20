//! Times and limits that cannot be configured. The reason for each is where it is defined.

pub use crate::delivery::backoff::{JITTER, MAX_DELAY, MAX_RETRY_AFTER, MIN_RETRY_AFTER, REST};
pub use crate::delivery::breaker::{FAILURE_THRESHOLD, RECOVERY};
pub use crate::delivery::pace::CATCH_UP;
pub use crate::journal::{RETRY_AFTER, SAVED_WITHIN};
pub use crate::queue::{FIRST_SEND_DELAY, RECORD_OVERHEAD};
pub use crate::report::REPORT_INTERVAL;
pub use crate::rules::{RETRY_INTERVAL, RULES_HOLD, RULES_PATIENCE};
pub use crate::status::{
    DEGRADED_FAILURES, DEGRADED_FILL, FAILED_FAILURES, FAILED_FILL, STATUS_CHANGE_DELAY,
    STATUS_CHANGE_JITTER,
};
pub use crate::store::GATHER;
