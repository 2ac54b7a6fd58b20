//! A queue that nobody sends from, for programs that deliver records themselves.

use guard_wire::Kind;
use guard_wire::fields::Fields;

use crate::batching;
use crate::builder::AgentBuilder;
use crate::error::ConfigError;
use crate::error::SendError;
use crate::intake;
use crate::shared::Shared;
use crate::stats::Stats;

/// Takes records as an [`Agent`](crate::Agent) does, within the same bounds, and
/// keeps them until they are withdrawn.
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
    /// [`ConfigError`] for the first field that cannot be used.
    pub fn new(builder: AgentBuilder) -> Result<Self, ConfigError> {
        let config = builder.validate()?;
        // Nothing is ever sent: there is nothing to identify.
        let shared = Shared::new(config, String::new());
        Ok(Self { shared })
    }

    /// Takes a record. One that cannot be encoded is counted and reported.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the buffer is full and nothing may be dropped for room.
    pub fn record(&self, kind: Kind, fields: impl Fields) -> Result<(), SendError> {
        intake::take(&self.shared, kind, fields)
    }

    /// Whether a full buffer is to make callers wait.
    pub fn blocks(&self) -> bool {
        intake::blocks(&self.shared)
    }

    /// Takes out everything of a kind, oldest first, each record as JSON.
    pub fn withdraw(&self, kind: Kind) -> Vec<Vec<u8>> {
        batching::withdraw(&self.shared, kind)
    }

    /// The numbers of this moment.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.shared, false)
    }
}
