//! All pools of one PostgreSQL server and their door, as a pure state machine.
//!
//! [`Host`] owns every slot (server connection), every limit and every wait queue of one server.
//! It is driven from outside: facts and wishes go in through [`Host::handle`] together with the time,
//! what must be done comes out of [`Host::poll_action`], what became true out of [`Host::poll_event`].
//! It knows ids, never sockets; it knows neither PostgreSQL's protocol nor who watches it.
//! Same inputs at the same times give the same actions and events, always.
#![warn(missing_docs)]

mod account;
mod action;
mod admin;
mod admit;
mod apply;
mod check;
mod checkout;
mod connect;
mod door;
mod ending;
mod evict;
mod expiry;
mod facts;
mod fair;
mod gate;
mod host;
mod id;
mod input;
mod lease;
mod limit;
mod limits;
mod list;
mod pace;
mod pool;
mod queue;
mod random;
mod record;
mod settings;
mod settle;
mod slot;
mod snapshot;
mod time;
mod timer;
mod turn;
mod view;

pub use action::{Action, CloseReason, Event};
pub use checkout::{CheckoutOutcome, CheckoutRecord, LeaseEnd, LeaseRecord};
pub use host::Host;
pub use id::{ClassId, ConnId, HostId, LoopId, PoolId, Ticket};
pub use input::{
    Checkin, ConnectFailure, EndCause, Failure, Fitness, Handled, Input, Opened, Phases, Reason, Refusal, Request,
    ServerFacts, Verb, Wake,
};
pub use limit::Limit;
pub use record::InputLog;
pub use settings::{ClassSettings, DatabaseSettings, Guard, HostSettings, Mode, PoolKey, UserSettings};
pub use snapshot::{ClassSnapshot, HostSnapshot, LimitUse, OCCUPANCY_BUCKETS, PoolSnapshot, Slots, WAIT_BUCKETS};
pub use time::Time;
