//! Live readers: clients that get events as they arrive.
//!
//! ```text
//! commit -> Tails::committed -> reader of the project: reads arrivals once, writes each event once
//!        -> one queue per client, for the events that match its filter -> client
//! ```
//!
//! A project without live readers has no reader. A client first reads the store from its position,
//! and joins the reader when it has caught up, so nothing is lost or repeated in between. A client
//! that is too slow for the events that arrive loses the oldest of its queue, and is told how many.

mod client;
mod event;
mod hub;
mod places;
mod queue;
mod reader;

pub(crate) use self::client::Client;
pub(crate) use self::hub::Tails;
pub(crate) use self::places::{Full, Places};
