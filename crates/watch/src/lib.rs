//! From facts to understanding: what the running process is told about itself, as plain values.
//!
//! [`View`] is one picture of the process for SHOW, metrics and whoever looks; [`Averages`] turns
//! its growing totals into rates; [`StateLog`] turns the core's events into one line per change of
//! state. It knows the core's names and nothing of sockets, clocks, files or how a picture is drawn.
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))] // a test may end where its premise fails

mod alert;
mod answer;
mod averages;
mod case;
mod cause;
mod ceiling;
mod forecast;
mod gain;
mod in_vain;
mod layer;
mod memory;
mod occupancy;
mod owner;
mod queueing;
pub mod remedy;
pub mod say;
mod share;
mod span;
mod state_log;
mod trial;
mod view;
mod watcher;
pub mod why;

pub use alert::{Alert, Alerts, Notice, Subject, Urgency};
pub use averages::Averages;
pub use cause::CauseCode;
pub use ceiling::{Ceiling, Moved, ceiling, moved};
pub use forecast::{Exhaustion, Forecast};
pub use in_vain::raised_in_vain;
pub use poolwarden_pool as pool;
pub use state_log::{Field, FieldValue, Level, LogLine, StateLog};
pub use trial::{Effect, Finding, Harm, Measures, TRIAL_MS, Trial, smaller};
pub use view::{
    Activity, Backend, BackendState, Cancels, CertificateView, ChangeView, ClassView, ClientState, ClientView,
    ConfigView, DatabaseView, HostView, LeaseState, LeaseView, LoopView, MAX_BACKENDS, MAX_CHANGES, MAX_QUERY,
    PeerView, PinView, PoolTraffic, ProbeResult, ProbeView, ProcessState, ProcessView, Quota, ServerState, ServerView,
    SessionStateView, SessionView, Traffic, UsageKind, UsageView, Used, UserView, Uses, View, WaiterView,
};
pub use watcher::Watch;
