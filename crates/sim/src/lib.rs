//! The same decisions in a made-up world: the very switch, pool and relay that run, on bytes, clocks and troubles from a seed.
//!
//! A [`World`] plays clients, event loops, the lane beside them and PostgreSQL; every reply is checked where it arrives,
//! every invariant of the core after every step, and at the end nothing may be left over. Equal seeds give equal worlds.
//! It reads no clock and draws no chance but its own.

mod agenda;
mod backend;
mod classes;
mod client;
mod edge;
mod lane;
pub mod load;
mod loops;
mod people;
mod plan;
mod postgres;
pub mod queueing;
mod random;
pub mod recorded;
mod replay;
mod round;
pub mod scenario;
mod script;
mod spread;
mod sql;
pub mod study;
mod trouble;
mod verdict;
mod wire;
mod world;

pub use client::Tally;
pub use plan::{Database, Plan, Trouble};
pub use poolwarden_switch as switch;
pub use spread::{Quantiles, Spread};
pub use world::{Verdict, World};
