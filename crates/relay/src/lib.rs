//! The life of one client connection and of one server connection, as pure state machines.
//!
//! Bytes go in, and come out as [`gather::Out`]: ranges of the input where nothing was changed, own bytes where something was.
//! A [`Client`] stands alone between its requests; while a [`Server`] is lent to it, the server's half
//! holds what is outstanding between the two ([`Server::from_client`], [`Server::from_server`]).
//! Times are nanoseconds since the process's epoch. It knows neither pools nor sockets, and never reads a clock.

#![cfg_attr(test, allow(clippy::unwrap_used))] // a test may end where its premise fails

mod alone;
mod client;
pub mod console;
mod doing;
mod expect;
mod failed;
mod farewell;
mod fingerprint;
mod from_client;
mod from_server;
pub mod gather;
pub mod greet;
mod label;
pub mod login;
mod probe;
mod reading;
mod refuse;
mod server;
mod session;
mod settings;
mod setup;
mod shape;
mod spans;
mod splice;
mod sql;
mod statement;
mod suspect;
mod tracked;
mod tunnel;

pub use client::{Client, Idle};
pub use doing::Doing;
pub use farewell::Farewell;
pub use fingerprint::MAX_QUERY;
pub use from_server::Turn;
pub use gather::Out;
pub use label::{Label, MAX_ROUTE, span};
pub use poolwarden_pgwire as pgwire;
pub use reading::{Heard, Reading, Route};
pub use refuse::{Refused, Torn};
pub use server::{Counts, Fault, Keep, LeaseEnd, Server, Tally, Terms};
pub use session::{Pin, Pins, SessionState};
pub use settings::{Defaults, MAX_SETTINGS, Settings, TRACKED, transition};
pub use spans::{BOUNDS, Histogram, Spans};
pub use statement::Texts;
