//! What people and machines are shown: the rows of the SQL console, metrics and health over HTTP.
//!
//! Everything is drawn from a [`poolwarden_watch::View`] that is told from outside; nothing here
//! knows a pool, a relay or a configuration file, and nothing here uses a pooled connection.
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))] // a test may end where its premise fails

mod calendar;
pub mod history;
pub mod http;
pub mod manual;
pub mod metrics;
pub mod review;
pub mod sql;
pub mod standing;
pub mod why;

pub use calendar::rfc3339;

#[cfg(test)]
mod made_up;
