//! Adding, changing and removing alerts and channels, for the API and the command line. Each change
//! has an entry in the audit log.

mod alerts;
mod channels;

use thiserror::Error;

pub use self::alerts::{
    AlertView, MAX_MUTE, add_alert, add_defaults, change_alert, mute_alert, remove_alert,
};
pub use self::channels::{add_channel, change_channel, remove_channel};
use super::AlertError;
use crate::people::credential::NoRandomness;
use crate::store::StoreError;

/// Why an alert or a channel cannot be added, changed or removed.
#[derive(Debug, Error)]
pub enum ManageError {
    /// A field is wrong.
    #[error(transparent)]
    Field(#[from] AlertError),
    /// There is no such alert.
    #[error("there is no alert {0} in this project")]
    NoSuchAlert(String),
    /// There is no such channel.
    #[error("there is no channel {0}")]
    NoSuchChannel(String),
    /// There are too many.
    #[error("there are {limit} {what} already; remove one first")]
    TooMany {
        /// Alerts or channels.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// Alerts use the channel.
    #[error("these alerts use the channel: {0}; take it out of them first")]
    InUse(String),
    /// Somebody else changed it at the same time.
    #[error("somebody changed it at the same time; read it again and repeat the change")]
    Changed,
    /// No id could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
