//! Tests of the whole agent against a real HTTP backend with scripted answers.

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
