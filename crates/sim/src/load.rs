//! What both kinds of run share: arrivals from a seed, and the record that a run leaves to be judged.
//!
//! Arrivals are open: each has its intended time before anything runs, and latency counts from there, whoever was late.

mod arrival;
mod client;
pub mod judge;
mod record;
mod summary;
mod traffic;

pub use crate::spread::Quantiles;
pub use arrival::{Arrival, Arrivals};
pub use record::{End, Record, Sample};
pub use summary::{Cell, Second, Summary, Tally};
pub use traffic::{Outcome, Step, Traffic};
