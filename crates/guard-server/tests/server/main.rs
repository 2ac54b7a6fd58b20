//! The server as its clients see it. Each test starts a server on a real socket, with a store in a
//! temporary directory.

mod adoption;
mod alerts;
mod answers;
mod audited;
mod auth;
mod backup;
mod bad_rules;

mod clocks;
mod crowds;
mod drafts;
mod duplicates;
mod encrypted;
mod endings;
mod explore;
mod explore_commands;
mod history;
mod holding;
mod lock;
mod logged;
mod memory;
mod monitoring;
mod operations;
mod patterns;
mod principals;
mod process;
mod project_commands;
mod projects;
mod properties;
mod proxies;
mod queries;
mod readiness;
mod rules;
mod sessions;
mod settings;
mod shield;
mod starting;
mod storage;
mod support;
mod tail;
mod tls;
mod traps;
mod versions;
mod visible;
