//! What is asked of whoever operates, and what came of it. Plain values.

use std::pin::Pin;

use poolwarden_store::Version;
use poolwarden_watch::Moved;

use crate::standing::Standing;

/// What comes of an order, soon.
pub type Doing<T> = Pin<Box<dyn Future<Output = Result<T, Refused>> + Send>>;

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Of which kind.
    pub kind: RefusedKind,
    /// Why, in words.
    pub error: String,
    /// What to do instead.
    pub fix: String,
}

/// How an order can be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedKind {
    /// What it names is not there.
    Absent,
    /// It is there, and nothing of the kind can be done with it now.
    Idle,
    /// Not yet, or not any more: it is starting, or too busy to say.
    Unready,
}

/// A class is to be shed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShedOrder {
    /// The class's name, as it was written.
    pub class: String,
    /// For how long, as it was written: `10m`; `0s` ends it.
    pub length: String,
    /// Who asks, for the log.
    pub by: String,
}

/// A class is shed, or no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shed {
    /// The class's name.
    pub class: String,
    /// Until when it is shed, in milliseconds since 1970 UTC; `None`: no longer.
    pub until_ms: Option<u64>,
}

/// Leases are to be cancelled or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseOrder {
    /// What to do.
    pub act: LeaseAct,
    /// To whom.
    pub meant: Meant,
    /// Who asks, for the log.
    pub by: String,
}

/// What can be done to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseAct {
    /// What it runs is cancelled.
    Cancel,
    /// Its client leaves, what it runs is cancelled, its server connection is closed.
    Terminate,
}

impl LeaseAct {
    /// The verb.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Terminate => "terminate",
        }
    }
}

/// Which leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// Of the server connection with this serial.
    Conn(u64),
    /// All that are stuck in pools of this database.
    Stuck(String),
}

/// What was done to leases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acted {
    /// To whom it was done.
    pub done: Vec<Done>,
    /// To whom it was not, by the server connection's serial, and why.
    pub skipped: Vec<(u64, String)>,
}

/// One lease to which it was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The server connection's serial.
    pub conn: u64,
    /// Database name that clients ask for.
    pub pool: String,
    /// The pool's user.
    pub user: String,
    /// Its server's name.
    pub server: String,
    /// PostgreSQL's process, where it told.
    pub pid: Option<u32>,
    /// The client's serial.
    pub client: u64,
    /// What the client calls itself.
    pub application: String,
}

/// Pools are to lend no more, or again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolOrder {
    /// Which of the two.
    pub act: PoolAct,
    /// Database name that clients ask for; `None`: all.
    pub pool: Option<String>,
    /// Who asks, for the log.
    pub by: String,
}

/// What can be done to a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolAct {
    /// It lends no more; who comes waits.
    Pause,
    /// It lends again.
    Resume,
}

impl PoolAct {
    /// The verb.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

/// What was done to pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolsActed {
    /// Which pools, by the database name that clients ask for.
    pub pools: Vec<String>,
    /// Their server connections that are still lent.
    pub lent: u32,
}

/// A change of the configuration is to be rehearsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanOrder {
    /// A whole file's text; `None`: the file that runs.
    pub text: Option<String>,
    /// Single settings on top of it: `pools.app.size=40`.
    pub set: Vec<String>,
    /// Who asks, for the log.
    pub by: String,
}

/// A change of the configuration is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyOrder {
    /// A whole file's text; `None`: single settings, or the file as it is.
    pub text: Option<String>,
    /// Single settings on top of what runs: `pools.app.size=40`.
    pub set: Vec<String>,
    /// What it is for.
    pub reason: Option<String>,
    /// It is undone unless it is confirmed within this time, as it was written: `5m`.
    pub confirm_within: Option<String>,
    /// Why findings of level error are no obstacle.
    pub force: Option<String>,
    /// Who asks.
    pub by: String,
}

/// What waits for a confirmation is to stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfirmOrder {
    /// Who asks.
    pub by: String,
}

/// An earlier version is to run again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RollbackOrder {
    /// Its number; `None`: the one before.
    pub to: Option<u64>,
    /// What it is for.
    pub reason: Option<String>,
    /// Who asks.
    pub by: String,
}

/// What runs after a change.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// As the history has it; `None`: it is not there (yet).
    pub version: Option<Version>,
    /// How it stands.
    pub standing: Standing,
    /// The file it runs by; `None`: it does not run by one that is written.
    pub file: Option<String>,
    /// What comes of it, in a sentence.
    pub effect: String,
    /// What there is to say besides.
    pub notes: Vec<String>,
}

/// What would change, and what would come of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Settings that differ from what runs.
    pub changes: Vec<PlannedChange>,
    /// Every pool that is there.
    pub pools: Vec<PlannedPool>,
    /// What comes of it, in a sentence.
    pub effect: String,
    /// What requests of the pool with the most of them would wait, before and after, by simulation of recorded traffic; `None`: there
    /// is too little of it.
    pub waits: Option<(PlannedWait, PlannedWait)>,
    /// What is in vain, what waits for a restart, what the file's reader remarks.
    pub notes: Vec<String>,
}

/// What requests of a pool wait under some settings.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedWait {
    /// Its database and user.
    pub pool: (String, String),
    /// Half of them wait less, in milliseconds.
    pub p50_ms: f64,
    /// One in twenty waits longer.
    pub p95_ms: f64,
    /// One in a hundred waits longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// The share of requests that are refused or given up.
    pub failed_share: f64,
}

/// One setting that differs. A secret says no more than that it is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedChange {
    /// Full key.
    pub key: String,
    /// `None`: it was not there.
    pub from: Option<String>,
    /// `None`: it is there no more.
    pub to: Option<String>,
    /// Whether it can change while the process runs.
    pub live: bool,
}

/// One pool of one server before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedPool {
    /// The server's name.
    pub server: String,
    /// What limits the pool.
    pub moved: Moved,
}
