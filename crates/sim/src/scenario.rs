//! The scenario file: who asks when and for how long, what goes wrong meanwhile, and what must hold.
//!
//! One format for simulated and live runs. It holds what was written and nothing of how it is run: arrivals are drawn by
//! [`crate::load`], judged by [`crate::load::judge`]. Valid by construction: [`read`] gives a scenario or its faults.

mod group;
mod phase;
mod read;
mod shape;
mod slo;
mod table;

use std::collections::BTreeMap;
use std::time::Duration;

pub use read::read;
pub use shape::Shape;

/// One scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// `[scenario] name`.
    pub name: String,
    /// What every draw of chance begins with.
    pub seed: u64,
    /// Every `[[phase]]` in its order, each beginning where the one before ends; at least one.
    pub phases: Vec<Phase>,
    /// What the pool can serve, in requests per second: what `x = 1.0` means. `None` where nothing needs it.
    pub capacity: Option<f64>,
    /// What is taken for normal again after a phase: this 99th percentile, or less, of whoever arrives in a second.
    pub normal_p99: Option<Duration>,
    /// The modelled PostgreSQL.
    pub postgres: Postgres,
    /// Every `[[load]]`; at least one.
    pub groups: Vec<Group>,
    /// Every `[[fault]]`, by its time.
    pub faults: Vec<Fault>,
    /// Every `[[slo]]`.
    pub slos: Vec<Slo>,
    /// The pooler's own tables, as a `poolwarden.toml`: `[pool]` is `[pools.app]` there.
    pub pooler: String,
}

/// A stretch of time with a load of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Since the scenario's beginning.
    pub begins: Duration,
    /// How long.
    pub lasts: Duration,
}

/// PostgreSQL as a simulation sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Postgres {
    /// Its slots for clients.
    pub max_connections: u32,
    /// What a new connection takes, login included.
    pub connect: Duration,
    /// What every request takes beside its hold: round trips, the pooler's own time.
    pub overhead: Duration,
    /// Processors that holds of kind `cpu` share.
    pub cores: u32,
}

/// Clients that behave alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The class its requests are of; `None`: what the pooler's rules say of user and database.
    pub class: Option<String>,
    /// The application_name its clients start with.
    pub application: String,
    /// The role they log in as; `None`: the run's own.
    pub user: Option<String>,
    /// What is sent.
    pub protocol: Protocol,
    /// Client connections, all opened before the scenario begins and kept.
    pub clients: u32,
    /// What they do when they are refused.
    pub retry: Retry,
    /// After this they have gone away: who was not sent by then is given up, who is answered later is late.
    pub deadline: Option<Duration>,
    /// Longest a request waits for one of the group's connections, as the pools of applications have it; then it is given up.
    pub acquire: Option<Duration>,
    /// Its clients are users: each thinks for so long, asks, waits for its answer, and thinks again. `None`: requests come by the
    /// rate, whoever is there.
    pub think: Option<Law>,
    /// Whether the pooler is told of the deadline (the start-up option `poolwarden.deadline_ms`).
    pub tells_deadline: bool,
    /// Its load in each phase.
    pub parts: Vec<Part>,
}

/// What a request is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// One query.
    Simple,
    /// BEGIN, INSERT, the hold and COMMIT in one go, without waiting for any answer.
    Pipelined,
}

/// What a client does when it is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// Most times it comes again.
    pub times: u32,
    /// How long it waits first.
    pub after: Duration,
    /// By how much each further wait is longer.
    pub factor: f64,
}

/// A group's load in one phase.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Requests per second where the shape says 1.
    pub rate: f64,
    /// How the rate moves.
    pub shape: Shape,
    /// How long a request holds its connection.
    pub hold: Hold,
}

/// How long a request holds its connection, and by what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hold {
    /// By what.
    pub kind: HoldKind,
    /// How long.
    pub law: Law,
    /// At the phase's end it takes so many times as long as at its beginning, and in between as much as is between.
    pub grows: f64,
    /// How long its transaction is idle afterwards. Simulated only.
    pub idle: Duration,
}

/// How long something takes that is not always the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// It is.
    Constant(Duration),
    /// Log-normal: half are shorter than the first, one in a hundred is longer than the second.
    LogNormal(Duration, Duration),
    /// Exponential, with this mean.
    Exponential(Duration),
}

/// By what a connection is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldKind {
    /// `pg_sleep`: costs the machine nothing.
    Sleep,
    /// Work on a processor.
    Cpu,
    /// Sleep behind one lock that all such requests want.
    Lock,
}

/// Something that goes wrong. Simulated only.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Since the scenario's beginning.
    pub at: Duration,
    /// What it is.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// PostgreSQL does nothing for so long.
    Stall(Duration),
    /// PostgreSQL goes down, ending every session, and is back after so long.
    Restart(Duration),
    /// An application of this name takes so many of its slots for so long.
    ForeignSlots(u32, Duration, String),
    /// This share of the pooler's backends is killed.
    BackendKill(f64),
}

/// What must hold of some requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slo {
    /// Of this group; `None`: of all.
    pub group: Option<usize>,
    /// In these phases; empty: in all.
    pub phases: Vec<usize>,
    /// Least share served.
    pub served: Option<f64>,
    /// Largest 99th percentile of the latency of the served.
    pub p99: Option<Duration>,
    /// Least goodput of the phase, as a share of the capacity.
    pub goodput: Option<f64>,
    /// Longest until normal again, after the end of each of its phases.
    pub recover_within: Option<Duration>,
    /// Least refused.
    pub refused_at_least: Option<u64>,
    /// Most refusals that were wrong: no true SQLSTATE, or a session that did not live on.
    pub wrong_at_most: Option<u64>,
}

impl Scenario {
    /// How long all phases take.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        self.phases.iter().map(|phase| phase.lasts).sum()
    }

    /// Roles of its groups beside the run's own, each once.
    #[must_use]
    pub fn users(&self) -> Vec<&str> {
        let named: BTreeMap<&str, ()> =
            self.groups.iter().filter_map(|group| group.user.as_deref()).map(|user| (user, ())).collect();
        named.into_keys().collect()
    }
}

impl Law {
    /// The mean.
    #[must_use]
    pub fn mean(&self) -> Duration {
        match *self {
            Self::Constant(all) => all,
            // The mean of a log-normal is its median times e to the half variance.
            Self::LogNormal(p50, _) => p50.mul_f64((self.sigma().powi(2) / 2.0).exp()),
            Self::Exponential(mean) => mean,
        }
    }

    /// Of a log-normal, the standard deviation of the logarithm; else 0.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        /// The 99th percentile of the standard normal distribution.
        const Z99: f64 = 2.326_347_874;
        match *self {
            Self::LogNormal(p50, p99) => (p99.as_secs_f64() / p50.as_secs_f64()).ln() / Z99,
            Self::Constant(_) | Self::Exponential(_) => 0.0,
        }
    }

    /// So many times as long.
    #[must_use]
    pub fn times(self, times: f64) -> Self {
        let longer = |span: Duration| span.mul_f64(times);
        match self {
            _ if times == 1.0 => self,
            Self::Constant(all) => Self::Constant(longer(all)),
            Self::LogNormal(p50, p99) => Self::LogNormal(longer(p50), longer(p99)),
            Self::Exponential(mean) => Self::Exponential(longer(mean)),
        }
    }
}

impl Hold {
    /// What a hold takes that was drawn, when this share of the phase is over.
    #[must_use]
    pub fn grown(&self, drawn: Duration, share: f64) -> Duration {
        if self.grows == 1.0 { drawn } else { drawn.mul_f64((self.grows - 1.0).mul_add(share, 1.0)) }
    }
}

impl HoldKind {
    /// The word of the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sleep => "sleep",
            Self::Cpu => "cpu",
            Self::Lock => "lock",
        }
    }
}

impl Default for Postgres {
    /// As PostgreSQL and a local network have it.
    fn default() -> Self {
        Self { max_connections: 100, connect: Duration::from_millis(5), overhead: Duration::ZERO, cores: 2 }
    }
}
