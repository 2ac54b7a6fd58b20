//! Alerts from start to end over a simulated clock, on a real store.

mod conditions;
mod cost;
mod failures;
mod restarts;
mod storage;
mod world;
