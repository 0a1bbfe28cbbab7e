//! What PostgreSQL itself tells of its backends, over the watch connection.

/// Most backends that are listed one by one; the rest is counted.
pub const MAX_BACKENDS: usize = 2_000;

/// PostgreSQL's own view, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// When it answered, in milliseconds since 1970 UTC.
    pub seen_at_ms: u64,
    /// How long the answer took, in microseconds.
    pub took_us: u64,
    /// `max_connections`.
    pub max_connections: u32,
    /// `superuser_reserved_connections` + `reserved_connections`.
    pub reserved: u32,
    /// Roles with a CONNECTION LIMIT.
    pub roles: Vec<Quota>,
    /// Databases with a CONNECTION LIMIT.
    pub databases: Vec<Quota>,
    /// Client backends, the longest in a transaction first; at most [`MAX_BACKENDS`].
    pub backends: Vec<Backend>,
    /// Client backends that are not listed.
    pub unlisted: u32,
}

/// A CONNECTION LIMIT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Of which role or database.
    pub name: String,
    /// The limit.
    pub size: u32,
    /// Backends there are.
    pub used: u32,
}

/// What a backend is doing, as `pg_stat_activity.state` says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendState {
    /// Runs a query.
    Active,
    /// Waits for a command.
    #[default]
    Idle,
    /// In a transaction, whole or failed, and waits for a command.
    IdleInTransaction,
    /// Anything else, or not to be seen by the watch user's role.
    Other,
}

/// One client backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// Its process.
    pub pid: u32,
    /// Its role.
    pub role: String,
    /// Its database.
    pub database: String,
    /// What its client calls itself.
    pub application: String,
    /// Its client's address; empty for a unix socket.
    pub addr: String,
    /// Whether it is a server connection of this process.
    pub own: bool,
    /// What it is doing.
    pub state: BackendState,
    /// For how long, in microseconds.
    pub state_us: u64,
    /// Age of its transaction in microseconds; `None`: in none.
    pub transaction_us: Option<u64>,
    /// `wait_event_type` and `wait_event`; empty when it does not wait.
    pub wait: (String, String),
    /// The processes that hold the lock it waits for.
    pub blocked_by: Vec<u32>,
    /// Its newest statement, literals and all, at most [`super::lease::MAX_QUERY`] bytes; for people who may see SQL.
    pub query: String,
}

impl Backend {
    /// Whether it waits for a lock that another backend holds.
    #[must_use]
    pub fn waits_for_lock(&self) -> bool {
        self.wait.0 == "Lock" || !self.blocked_by.is_empty()
    }
}
