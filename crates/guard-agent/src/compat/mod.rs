//! For programs that keep or deliver records themselves, as the Python package's compatible
//! classes do: a queue without a sender, a sender without a queue, and accounting for a
//! buffer outside the agent.

mod buffer;
mod direct_client;
mod external_buffer;

pub use buffer::Buffer;
pub use direct_client::DirectClient;
