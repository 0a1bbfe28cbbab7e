//! Pairs clients with server connections: owns the lease, asks the pool, carries grants between loops as messages that are values.
//!
//! One [`Switch`] stands in each event loop; they share the pools' cores and each other's mailboxes through [`Shared`].
//! Bytes and facts come in by calls, bytes and wishes go out through [`Io`], which the live engine and the simulation both are.
//! It is the only caller of the pool. It reads no clock and knows no socket: a link is a value it passes on.
//!
//! Lock order: a host, then a mailbox. Nothing else is held while either is.

#![cfg_attr(test, allow(clippy::unwrap_used))] // a test may end where its premise fails

mod cancel;
mod claim;
mod classes;
mod client;
mod drawer;
mod ended;
mod entry;
mod hosts;
mod idle;
mod io;
mod keys;
mod lending;
mod mail;
mod passage;
mod patience;
mod proof;
mod refusal;
mod report;
mod secret;
mod server;
mod shared;
mod switch;
mod table;
mod terms;
mod usage;
pub mod voice;
mod waiting;

pub use classes::{ClassRule, ClassRules, Pattern};
pub use ended::Ended;
pub use idle::{Idler, IdlerEnd};
pub use io::{Io, Peer, Sent, Target};
pub use mail::{Asker, Errand, Joining, Lease, Mail, Newcomer};
pub use passage::{Passage, Passing};
pub use patience::Patience;
pub use poolwarden_pool as pool;
pub use poolwarden_relay as relay;
pub use report::{ClientRow, ClientState, Detail, LeaseRow, LoopReport, ServerRow, ServerState, Totals};
pub use secret::Secret;
pub use shared::{Desk, PoolShare, Shared, Tapped};
pub use switch::{Rules, Switch};
pub use terms::{PoolTerms, TermsBook, UserTerms};
pub use usage::{UsageKind, UsageName, UsageRow, Used};
pub use voice::Voice;
pub use waiting::WaiterRow;
