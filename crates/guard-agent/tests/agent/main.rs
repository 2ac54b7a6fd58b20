//! The agent as a whole, against a real HTTP backend that answers by script.

mod answers;
mod behaviour;
mod support;
