//! The load engine: a scenario's clients with real sockets, before anything that speaks PostgreSQL's protocol.
//!
//! One thread, one epoll, thousands of connections: who is sent when is decided by the scenario's arrivals, never by how fast
//! answers come. How late it was itself goes into the record, so that a run on a starved machine is void and not wrong.

mod call;
mod engine;
mod login;
mod report;
mod session;
mod socket;
mod sql;
mod target;
mod text;

pub(crate) use engine::run;
pub(crate) use report::{drill, simulated};
pub(crate) use target::Target;
pub(crate) use text::{drill_text, simulated_text};
