//! A queue without a sender, for programs that deliver records themselves.

use guard_wire::Kind;
use guard_wire::fields::Fields;

use crate::batching;
use crate::builder::AgentBuilder;
use crate::error::ConfigError;
use crate::error::SendError;
use crate::intake;
use crate::shared::Shared;
use crate::stats::Stats;

/// Accepts records as an [`Agent`](crate::Agent) does, within the same bounds, and keeps
/// them until they are withdrawn.
///
/// ```
/// use guard_agent::compat::Buffer;
/// use guard_agent::{Agent, Kind, SecurityEvent};
///
/// let buffer = Buffer::new(Agent::builder("an-api-key-of-yours"))?;
/// buffer.record(Kind::Event, SecurityEvent::new("ip_banned").fields())?;
/// assert_eq!(buffer.withdraw(Kind::Event).len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Buffer {
    shared: Shared,
}

impl Buffer {
    /// An empty buffer.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first invalid field.
    pub fn new(builder: AgentBuilder) -> Result<Self, ConfigError> {
        let config = builder.validate()?;
        // Nothing is ever sent, so no identity is needed.
        let shared = Shared::new(config, String::new());
        Ok(Self { shared })
    }

    /// Adds a record. A record that cannot be encoded is counted and reported.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the buffer is full and the policy allows no drop.
    pub fn record(&self, kind: Kind, fields: impl Fields) -> Result<(), SendError> {
        intake::guarded(&self.shared, kind, || {
            intake::take(&self.shared, kind, fields)
        })
    }

    /// True if callers must wait when the buffer is full.
    pub fn blocks(&self) -> bool {
        intake::blocks(&self.shared)
    }

    /// Takes all records of a kind, oldest first, each as JSON.
    pub fn withdraw(&self, kind: Kind) -> Vec<Vec<u8>> {
        batching::withdraw(&self.shared, kind)
    }

    /// Runs `call`, as [`Agent::guarded`](crate::Agent::guarded) does.
    pub fn guarded<T>(&self, call: impl FnOnce(&Self) -> T) -> Option<T> {
        self.shared.guarded_call(|| call(self))
    }

    /// The current statistics.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.shared, false)
    }
}
