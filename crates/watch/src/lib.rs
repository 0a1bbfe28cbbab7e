//! From facts to understanding: what the running process is told about itself, as plain values.
//!
//! [`View`] is one picture of the process for SHOW, metrics and whoever looks; [`Averages`] turns
//! its growing totals into rates; [`StateLog`] turns the core's events into one line per change of
//! state. It knows the core's names and nothing of sockets, clocks, files or how a picture is drawn.
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))] // a test may end where its premise fails

mod averages;
mod in_vain;
pub mod remedy;
mod state_log;
mod view;

pub use averages::Averages;
pub use in_vain::raised_in_vain;
pub use poolwarden_pool as pool;
pub use state_log::{Field, FieldValue, Level, LogLine, StateLog};
pub use view::{
    Cancels, CertificateView, ClassView, ClientState, ClientView, ConfigView, DatabaseView, HostView, LoopView,
    PeerView, PinView, PoolTraffic, ProcessState, ProcessView, ServerState, ServerView, SessionStateView, SessionView,
    Traffic, UserView, Uses, View,
};
