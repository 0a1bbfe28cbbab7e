//! Sockets: event loops that relay, a login lane, a connect lane, the clock, the watch connection.
//!
//! Everything here is thin and decides nothing: bytes and the time go into the loops' switches, what comes out is done.
//! No async runtime on the data path; accepting, logging in, connecting and watching live on tokio beside it.
//! A socket joins its loop when its owner has proven who it is.

#![cfg_attr(test, allow(clippy::unwrap_used))] // a test may end where its premise fails

mod accept;
mod address;
mod auth;
mod cancel;
mod clock;
mod connect;
mod console;
mod directory;
mod engine;
mod fault;
mod figures;
mod haproxy;
mod hosts;
mod inner;
mod lane;
mod link;
mod login;
mod note;
mod operator;
mod proxy;
mod random;
mod reach;
mod renew;
mod secure;
mod settings;
mod start;
mod stream;
mod talk;
pub mod tls;
mod visitors;
mod wakers;
mod watch;

pub use address::Address;
pub use auth::{AuthPlan, Demand, Door, From, IdentLine, LoginFailures, Query, Rule, RuleDatabase, SystemName};
pub use cancel::PeerFigures;
pub use directory::{Directory, Method, Route, UserEntry};
pub use fault::StartError;
pub use figures::{Cancels, LoopFigures, ProcessFigures};
pub use note::Note;
pub use operator::{Operator, Reply, Who};
pub use poolwarden_switch as switch;
pub use proxy::Proxy;
pub use settings::{HostPlan, Listening, ProcessLimits, Reload, Settings, WatchLogin};
pub use talk::{Rows, Talk};
pub use watch::{Activity, Backend, BackendState, MAX_BACKENDS, MAX_QUERY, Quota};
