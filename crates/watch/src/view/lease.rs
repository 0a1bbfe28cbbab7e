//! What a lent server connection is doing and for whom, who waits, and who used what: told by the loops.

use poolwarden_pool::{HostId, PoolId};

/// What goes on between a client and the server connection it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaseState {
    /// Nothing, outside a transaction.
    #[default]
    Idle,
    /// A request runs.
    Active,
    /// A transaction is open, and the server waits for the client.
    IdleInTransaction,
}

impl LeaseState {
    /// The state's name in `holders`, SHOW HOLDERS and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Active => "active",
            Self::IdleInTransaction => "idle_in_transaction",
        }
    }
}

/// One lease: a server connection that is lent now. Times in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseView {
    /// Its server, which may be gone from [`crate::View::hosts`].
    pub host: HostId,
    /// The pool.
    pub pool: PoolId,
    /// Serial of the client that holds it.
    pub client: u64,
    /// What the client calls itself.
    pub application: String,
    /// The client's address; `unix` for a unix socket.
    pub addr: String,
    /// Its port; 0 for a unix socket.
    pub port: u16,
    /// How long it has been lent.
    pub held_us: u64,
    /// What goes on.
    pub state: LeaseState,
    /// For how long.
    pub state_us: u64,
    /// Of `held_us`: with a request running.
    pub on_server_us: u64,
    /// Of `held_us`: in a transaction with none running.
    pub idle_in_transaction_us: u64,
    /// `route` of the newest statement's comment (sqlcommenter).
    pub route: Option<String>,
    /// Fingerprint of the newest statement; 0 where there was none that could be read.
    pub fingerprint: u64,
    /// The newest statement, normalised: no literals; at most [`MAX_QUERY`] bytes. Empty with fingerprint 0.
    pub query: String,
}

/// Most bytes of a normalised statement that are kept for people.
pub const MAX_QUERY: usize = 400;

/// Requests that wait now, of one application at one address in one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaiterView {
    /// Its server, which may be gone from [`crate::View::hosts`].
    pub host: HostId,
    /// The pool.
    pub pool: PoolId,
    /// What they call themselves.
    pub application: String,
    /// Their address; `unix` for a unix socket.
    pub addr: String,
    /// How many wait.
    pub count: u32,
    /// How long the oldest of them has waited, in microseconds.
    pub oldest_us: u64,
}

/// By what use is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UsageKind {
    /// What clients call themselves.
    Application,
    /// Whom they logged in as.
    User,
    /// The network they come from: /24 of IPv4, /64 of IPv6, `unix`.
    Network,
    /// `route` of the comment of the first statement of a lease that has one (sqlcommenter).
    Route,
    /// The fingerprint of a lease's longest statement, as hexadecimal digits.
    Query,
}

impl UsageKind {
    /// Every kind once.
    pub const ALL: [Self; 5] = [Self::Application, Self::User, Self::Network, Self::Route, Self::Query];

    /// The kind's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::User => "user",
            Self::Network => "network",
            Self::Route => "route",
            Self::Query => "query",
        }
    }
}

/// What everybody of one name used of one pool, since the name was first seen (or seen again after it gave up its place to others).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageView {
    /// Its server, which may be gone from [`crate::View::hosts`].
    pub host: HostId,
    /// The pool.
    pub pool: PoolId,
    /// By what.
    pub kind: UsageKind,
    /// The name; `None` is everybody who has no place of their own.
    pub name: Option<String>,
    /// Of `kind` [`UsageKind::Query`]: the normalised statement, at most [`MAX_QUERY`] bytes; else empty.
    pub query: String,
    /// The sums.
    pub used: Used,
}

/// Sums over ended leases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Leases ended. Of `Query`: times it was the longest statement of one.
    pub leases: u64,
    /// Microseconds lent. Of `Query`: those of the leases it was longest in.
    pub held_us: u64,
    /// Of those, with a request running.
    pub on_server_us: u64,
    /// Of those, in a transaction with none running.
    pub idle_in_transaction_us: u64,
    /// Microseconds waited before those leases.
    pub waited_us: u64,
    /// Requests refused.
    pub refused: u64,
}

impl Used {
    /// Adds another's sums.
    pub fn add(&mut self, other: &Self) {
        self.leases += other.leases;
        self.held_us += other.held_us;
        self.on_server_us += other.on_server_us;
        self.idle_in_transaction_us += other.idle_in_transaction_us;
        self.waited_us += other.waited_us;
        self.refused += other.refused;
    }
}
