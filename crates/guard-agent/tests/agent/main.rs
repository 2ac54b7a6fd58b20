//! The agent as a whole, against a real HTTP backend that answers by script.

mod answers;
mod behaviour;
mod bounds;
mod durability;
mod ends;
mod faults;
mod parts;
mod redis;
mod rules;
mod spool;
mod spool_lost;
mod support;
