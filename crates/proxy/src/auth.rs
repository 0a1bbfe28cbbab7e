//! Authentication: who may come in and how that is proven, and with what server connections log in.
//!
//! Pure rules (HBA, ident maps) and bounded tables (answers, keys, failures) with the time passed in; asking PostgreSQL is
//! one task per place. What a client is told never says whether a user or a database exists; notes and counters do.

mod bounded;
mod cache;
mod failure;
mod hba;
mod ident;
mod keys;
mod look;
mod outward;
mod query;
mod system;
mod tally;

pub use hba::{Demand, Door, From, Rule, RuleDatabase};
pub use ident::{IdentLine, SystemName};
pub use query::Query;
pub use tally::LoginFailures;

pub(crate) use failure::Source;
pub(crate) use look::{Looked, Memo, Visit, admitted, failed, look_up};
pub(crate) use outward::{outward, refused};
pub(crate) use tally::{Reason, Tally};

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use poolwarden_switch::pool::HostId;
use poolwarden_switch::relay::pgwire::password::Plain;
use poolwarden_switch::relay::pgwire::scram;

/// How clients are let in, beside their users' secrets.
#[derive(Clone, Debug, Default)]
pub struct AuthPlan {
    /// Rules, where the method is to follow them.
    pub rules: Vec<Rule>,
    /// Ident maps for certificates and processes.
    pub maps: Vec<IdentLine>,
    /// How users are looked up who are not listed.
    pub query: Option<Arc<Query>>,
    /// A failed login hears so after this long.
    pub failure_delay: Duration,
    /// Failures of one user from one source that are heard in a minute; 0: any number.
    pub failures_per_minute: u32,
    /// Whether who is let in without a password must still be a known user.
    pub known_users: bool,
}

/// What authentication remembers while the process runs.
#[derive(Default)]
pub(crate) struct Auth {
    pub(crate) cache: cache::Cache,
    pub(crate) askers: query::Askers,
    pub(crate) keys: keys::KeyRing,
    pub(crate) failures: failure::Failures,
    pub(crate) tally: tally::Tally,
    /// Failed clients that have not been told yet.
    pub(crate) delayed: Arc<AtomicU32>,
    verifiers: Verifiers,
}

impl Auth {
    /// Another server stands where this one did: what was heard from the former, or for it, counts no more.
    pub(crate) fn forget(&self, host: HostId) {
        self.cache.forget(host);
        self.keys.forget(host);
    }
}

/// SCRAM secrets made of listed users' passwords in clear, each at that user's first login.
struct Verifiers(Mutex<bounded::Bounded<String, (Plain, scram::Secret)>>);

/// Users whose secrets are kept, in each of two generations.
const KEPT: usize = 8192;

impl Default for Verifiers {
    fn default() -> Self {
        Self(Mutex::new(bounded::Bounded::new(KEPT)))
    }
}
