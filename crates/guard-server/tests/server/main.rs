//! The server as its clients see it: each test starts one on a real socket,
//! over a store in a temporary directory.

mod answers;
mod auth;
mod duplicates;
mod encrypted;
mod page;
mod process;
mod properties;
mod queries;
mod rules;
mod support;
mod traps;
