//! What poolwarden remembers of itself: the versions of its configuration with their measured effect,
//! and who did what. One SQLite file in the data directory, written by one thread of one process.
//! [`recording`] is traffic as bytes, and has nothing to do with that file.
//!
//! It decides nothing: what becomes of a version is the caller's word. It never stops anybody: opening cannot
//! fail, a write is waited for no longer than [`Limits::patience`], and what is wrong is in [`Store::state`].
//! It knows no configuration and no pool; secrets are not in what it is given, which the caller guarantees.
//!
//! Invariants: what was acknowledged is in the file and survives `kill -9` and a loss of power; a version's number
//! is never used twice; the last confirmed version and the newest hundred are never removed; no file is deleted or
//! altered that this release cannot read.
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))] // a test may end where its premise fails

mod aside;
mod audit;
mod batch;
mod bound;
mod fault;
mod limits;
mod lock;
mod opening;
mod queue;
mod reader;
mod record;
pub mod recording;
mod schema;
mod shared;
mod state;
mod store;
mod version;
mod writer;

pub use audit::Entry;
pub use fault::{Unread, Unwritten};
pub use limits::Limits;
pub use state::{News, State};
pub use store::{Left, Store};
pub use version::{Effect, KeyChange, Measures, NewVersion, PoolEffect, Ticket, Version, VersionState, Which};
