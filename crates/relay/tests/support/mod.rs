//! What the relay is tested against: a model PostgreSQL, and a small pool that lends the models out through the relay.
#![allow(clippy::unwrap_used, missing_docs, dead_code, unreachable_pub)] // tests: each binary uses its part of this

pub mod backend;
pub mod command;
pub mod piece;
pub mod reply;
pub mod script;
pub mod state;
pub mod wire;
