//! What the core obeys. Built by the configuration, valid by construction, swapped in whole by `Input::Apply`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ClassId;

/// When a server connection goes back to its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Mode {
    /// When the client leaves.
    Session,
    /// After each transaction.
    #[default]
    Transaction,
    /// After each statement; transaction blocks are refused.
    Statement,
}

impl Mode {
    /// The word of the configuration file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Transaction => "transaction",
            Self::Statement => "statement",
        }
    }
}

/// Whether admission acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Guard {
    /// It shares by class, sheds, and keeps reserves.
    #[default]
    Enforce,
    /// It pools plainly, oldest first, and counts what it would have shed.
    Observe,
}

/// One `[classes.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassSettings {
    /// Its name.
    pub name: String,
    /// Share of server time when classes compete; at least 1.
    pub weight: u32,
    /// Server connections of a pool kept for it, in pools where some rule assigns it.
    pub reserve: u32,
    /// Longest wait of its requests; `None`: the pool's.
    pub max_wait: Option<Duration>,
}

impl ClassSettings {
    /// A class of this weight and nothing else.
    #[must_use]
    pub fn new(name: &str, weight: u32) -> Self {
        Self { name: name.to_owned(), weight, reserve: 0, max_wait: None }
    }
}

/// What a pool is known by: the database name clients ask for, and the user they log in as.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolKey {
    /// Name clients ask for (not always PostgreSQL's own).
    pub database: String,
    /// User clients log in as.
    pub user: String,
}

/// One `[pools.NAME]`: every user's pool of that database obeys it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// When a connection returns.
    pub mode: Mode,
    /// Most server connections per (database, user); at least 1.
    pub size: u32,
    /// Server connections kept open per (database, user) once a client has been there; at most `size`.
    pub min_size: u32,
    /// Server connections beyond `size`, allowed once the oldest waiter has waited `reserve_after`.
    pub reserve: u32,
    /// See `reserve`.
    pub reserve_after: Duration,
    /// Most server connections of all users of this database together; `None` is unlimited.
    pub max_connections: Option<u32>,
    /// Longest wait for a connection while the server is up and the pool not paused.
    pub max_wait: Duration,
    /// Longest wait while the pool is paused.
    pub pause_wait: Duration,
    /// Longest wait while the server is down.
    pub down_wait: Duration,
    /// Most waiting requests per pool; the next one is refused by `queue_length`.
    pub max_queue: u32,
    /// Age at which an idle connection is closed; each connection's own, jittered by ±10 %. Zero: never.
    pub lifetime: Duration,
    /// Idle time after which a connection above `min_size` is closed. Zero: never.
    pub idle_timeout: Duration,
    /// New clients are refused and nothing is lent.
    pub disabled: bool,
    /// Whether a connection must be reset before another client gets it (session mode with a reset query).
    pub reset: bool,
    /// Classes that some rule assigns to requests here: only their reserves are kept.
    pub classes: Vec<ClassId>,
}

impl DatabaseSettings {
    /// The same for a pool with one client, whose connection nobody else gets.
    pub(crate) fn alone(self) -> Self {
        Self {
            mode: Mode::Session,
            size: 1,
            min_size: 0,
            reserve: 0,
            lifetime: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            reset: false,
            ..self
        }
    }
}

/// One `[users.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct UserSettings {
    /// Most server connections over all pools of this user on this server; `None` is unlimited.
    pub max_connections: Option<u32>,
    /// Overrides the database's pool size.
    pub size: Option<u32>,
    /// Overrides the database's mode.
    pub mode: Option<Mode>,
    /// The class that a rule assigns to this user.
    pub class: Option<ClassId>,
}

/// Everything one host obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSettings {
    /// Databases by the name clients ask for.
    pub databases: BTreeMap<String, DatabaseSettings>,
    /// What serves any other name, `[pools."*"]`.
    pub any: Option<DatabaseSettings>,
    /// Every class by its id; never empty. An id beyond it is taken for the first.
    pub classes: Vec<ClassSettings>,
    /// Whether admission acts.
    pub guard: Guard,
    /// Most pools that `any` may have at once.
    pub max_any_pools: u32,
    /// How long a pool of `any` without clients and connections is kept before it is retired (its counters are kept in the host's totals).
    pub any_idle: Duration,
    /// Users that have settings of their own.
    pub users: BTreeMap<String, UserSettings>,
    /// The host budget: most server connections of all pools together. `None` is `auto`: (PostgreSQL's max_connections - both reserves -
    /// others' backends - 2) / `instances` from the newest [`crate::ServerFacts`], and `unknown_budget` while there are none.
    pub max_connections: Option<u32>,
    /// Most server connections of one user over all pools of this host, for users without a limit of their own; `None` is unlimited.
    pub max_user_connections: Option<u32>,
    /// See `max_connections`.
    pub unknown_budget: u32,
    /// Processes that share this PostgreSQL; divides `auto`.
    pub instances: u32,
    /// Connects in flight at the start, and after a failure.
    pub connects_start: u32,
    /// Most connects in flight; each successful round doubles up to here.
    pub connects_max: u32,
    /// A connect that takes longer than this fails (the rim enforces it; the core counts on an answer no later than twice this).
    pub connect_timeout: Duration,
    /// First and largest back-off after a failed connect; the wait is uniform in [0, min(max, base * 2^failures)].
    pub backoff: (Duration, Duration),
    /// An ending connection without end of file becomes a ghost after this (10 s).
    pub ending_timeout: Duration,
    /// A ghost is counted no longer than this (60 s).
    pub ghost_timeout: Duration,
    /// How long a skipped older waiter is left behind for a waiter of the freed connection's own loop: at most this many skips in a row (16).
    pub affinity_skips: u32,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Transaction,
            size: 20,
            min_size: 0,
            reserve: 0,
            reserve_after: Duration::from_millis(500),
            max_connections: None,
            max_wait: Duration::from_secs(2),
            pause_wait: Duration::from_secs(60),
            down_wait: Duration::from_secs(15),
            max_queue: 100_000,
            lifetime: Duration::from_secs(3600),
            idle_timeout: Duration::from_secs(600),
            disabled: false,
            reset: false,
            classes: Vec::new(),
        }
    }
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            databases: BTreeMap::new(),
            any: None,
            classes: vec![
                ClassSettings::new("default", 4),
                ClassSettings { max_wait: Some(Duration::from_secs(60)), ..ClassSettings::new("batch", 1) },
                ClassSettings::new("critical", 8),
            ],
            guard: Guard::Enforce,
            max_any_pools: 1000,
            any_idle: Duration::from_secs(3600),
            users: BTreeMap::new(),
            max_connections: None,
            max_user_connections: None,
            unknown_budget: 50,
            instances: 1,
            connects_start: 4,
            connects_max: 16,
            connect_timeout: Duration::from_secs(15),
            backoff: (Duration::from_millis(100), Duration::from_secs(5)),
            ending_timeout: Duration::from_secs(10),
            ghost_timeout: Duration::from_secs(60),
            affinity_skips: 16,
        }
    }
}
