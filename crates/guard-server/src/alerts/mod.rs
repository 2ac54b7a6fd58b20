//! Alerts: conditions on what was committed, and the notifications about them.
//!
//! ```text
//! AlertRule   a condition, and when and where to notify        rule.rs, condition/, quiet_hours.rs
//!   -> evaluator   every 10 s: counts, state of each group
//!   -> Notification, in the same transaction as the state          notification.rs
//!   -> outbox      kept until it is delivered or given up
//!   -> Sender      delivers it to a Channel                        sender.rs, channel.rs, channels/
//! ```
//!
//! Nothing here knows HTTP servers, the command line or a database.

pub mod channel;
pub mod channels;
pub mod condition;
pub mod defaults;
pub mod delivery;
mod error;
pub(crate) mod evaluator;
pub mod manage;
pub mod notification;
pub mod quiet_hours;
pub mod rule;
pub mod sender;
#[cfg(test)]
mod shop;
pub mod standing;

pub use self::channel::{Channel, ChannelKind};
pub use self::condition::Condition;
pub use self::error::AlertError;
pub use self::evaluator::Failures;
pub use self::notification::Notification;
pub use self::quiet_hours::QuietHours;
pub use self::rule::{AlertRule, AlertSettings};
pub use self::sender::{Answer, Retry, SendError, Sender};
